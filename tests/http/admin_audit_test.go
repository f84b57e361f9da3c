package http_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestAdminReadsTheAuditLog(t *testing.T) {
	t.Parallel()
	s := start(t, anonymousOn)
	admin := s.serviceRole()
	me := s.quickMember("me@example.com")
	s.exec(`update auth.users set raw_user_meta_data = '{"full_name": "Ada \"the\" Countess"}'`)
	s.put("/user", `{"data": {"a": 1}}`, me.Access).want(200)
	s.post("/token?grant_type=refresh_token", map[string]any{"refresh_token": me.Refresh}, "").want(200)
	s.post("/admin/users", `{"email": "other@example.com"}`, admin).want(200)
	s.post("/logout", nil, me.Access).want(http.StatusNoContent)

	ask := func(query string) *answer { return s.get("/admin/audit?"+query, admin).want(200) }
	if n, texts := s.statements(func() { ask("") }); n != 1 {
		t.Errorf("%d statements: %v", n, texts)
	}
	entry := func(action, kind, rest string) string {
		return fmt.Sprintf(`{"id": "<uuid>", "created_at": "<time>", "ip_address": "", "payload": {"action": "%s", "log_type": "%s", %s}}`, action, kind, rest)
	}
	mine := `"actor_id": "` + me.UserID + `", "actor_username": "me@example.com", "actor_name": "Ada \"the\" Countess", "actor_via_sso": false`
	want := "[" + strings.Join([]string{
		entry("logout", "account", mine),
		entry("user_signedup", "team", `"actor_id": "00000000-0000-0000-0000-000000000000", "actor_username": "service_role", "actor_via_sso": false,
			"traits": {"user_id": "<uuid>", "user_email": "other@example.com", "user_phone": "", "provider": "email"}`),
		entry("token_refreshed", "token", mine), entry("user_modified", "user", mine),
	}, ",") + "]"
	ask("").holds(want, true)
	ask("page=2&per_page=3").headers(map[string]string{"X-Total-Count": "4", "Link": `</admin/audit?page=2&per_page=3>; rel="last"`})
	for query, actions := range map[string]string{
		"query=action:LOG": "logout", "query=author:countess": "logout token_refreshed user_modified", "query=author:me@": "logout token_refreshed user_modified",
		"query=type:team": "user_signedup", "query=type:": "logout user_signedup token_refreshed user_modified", "query=action:%25": "logout user_signedup token_refreshed user_modified",
		"query=action:nothing": "", "query=author:%5C": "", "per_page=1&page=2": "user_signedup", "query=": "logout user_signedup token_refreshed user_modified",
	} {
		a := ask(query)
		got := make([]string, len(a.json().([]any)))
		for i := range got {
			got[i] = a.text(fmt.Sprint(i, ".payload.action"))
		}
		if strings.Join(got, " ") != actions {
			t.Errorf("%s: %v, want %s", query, got, actions)
		}
	}
	for _, query := range []string{"x", "action", "nothing:x", ":x", "%00", "ACTION:x"} {
		a := s.get("/admin/audit?query="+query, admin).refused(http.StatusBadRequest, "validation_failed")
		if plain, _ := url.QueryUnescape(query); plain != "\x00" && a.text("msg") != "Invalid query scope: "+plain {
			t.Errorf("msg %q", a.text("msg"))
		}
	}
	s.get("/admin/audit?page=x", admin).refused(http.StatusBadRequest, "validation_failed")
	s.get("/admin/audit?per_page=0", admin).refused(http.StatusBadRequest, "validation_failed")
}

func TestAuditLogCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_AUDIT_LOG_DISABLE_POSTGRES=true")
	me := s.member("me@example.com")
	s.put("/user", `{"data": {"a": 1}}`, me.Access).want(200)
	s.post("/logout", nil, me.Access).want(http.StatusNoContent)
	if got := s.audit(); len(got) != 0 {
		t.Errorf("audit log %v", got)
	}
	s.get("/admin/audit", s.serviceRole()).want(200).holds(`[]`, true)
}
