package http_test

import (
	"net/http"
	"testing"
)

// What is wrong with a request is told after what is wrong with its caller, and nothing is done for whoever may not call (contract
// core.md 1.1 and 1.8, admin.md 0.1 and 1).
func TestWhatIsWrongWithTheCallerComesFirst(t *testing.T) {
	t.Parallel()
	s := start(t)
	me, gone, banned := s.member("me@example.com"), s.member("gone@example.com"), s.member("banned@example.com")
	s.exec(`delete from auth.sessions where user_id = $1`, gone.UserID)
	s.exec(`update auth.users set banned_until = now() + interval '1 h' where id = $1`, banned.UserID)
	admin := s.serviceRole()
	ended := s.edited(gone.Access, map[string]any{"role": "service_role"})
	for _, c := range []struct {
		method, path, body, bearer string
		status                     int
		code                       string // "" for an answer without a body of ours
	}{
		{"PUT", "/user", "{", gone.Access, 403, "session_not_found"},
		{"PUT", "/user", "{", banned.Access, 403, "user_banned"},
		{"PUT", "/user", "{", me.Access, 400, "bad_json"},
		{"DELETE", "/user", "", gone.Access, 403, "session_not_found"},
		{"DELETE", "/user", "", me.Access, 405, ""},
		{"GET", "/user/nowhere", "", banned.Access, 403, "user_banned"},
		{"GET", "/user/nowhere", "", me.Access, 404, ""},
		{"DELETE", "/user/identities/x", "", gone.Access, 403, "session_not_found"},
		{"DELETE", "/user/identities/x", "", me.Access, 404, "manual_linking_disabled"},
		{"POST", "/admin/users", "{", me.Access, 403, "not_admin"},
		{"POST", "/admin/users", "{", gone.Access, 403, "session_not_found"},
		{"POST", "/admin/users", "{", ended, 403, "session_not_found"},
		{"POST", "/admin/users", `{"email": "x@example.com", "password": "correct horse"}`, me.Access, 403, "not_admin"},
		{"POST", "/invite", "{", me.Access, 403, "not_admin"},
		{"POST", "/admin/generate_link", "{", me.Access, 403, "not_admin"},
		{"PUT", "/admin/users/" + me.UserID, "{", me.Access, 403, "not_admin"},
		{"DELETE", "/admin/users/" + me.UserID, "{", me.Access, 403, "not_admin"},
		{"PATCH", "/admin/users", "", me.Access, 403, "not_admin"},
		{"GET", "/admin/nowhere", "", me.Access, 403, "not_admin"},
		{"GET", "/admin", "", me.Access, 403, "not_admin"},
		{"GET", "/admin/nowhere", "", ended, 403, "session_not_found"},
		{"PATCH", "/admin/users", "", admin, 405, ""},
		{"GET", "/admin/nowhere", "", admin, 404, ""},
		{"PUT", "/admin/users/me", "{", admin, 404, "validation_failed"},
		{"DELETE", "/admin/users/6fa459ea-ee8a-4ca4-894e-db77e160355e", "{", admin, 404, "user_not_found"},
		{"PUT", "/admin/users/" + me.UserID, "{", admin, 400, "bad_json"},
		{"POST", "/admin/users", "{", admin, 400, "bad_json"},
	} {
		t.Run(c.method+" "+c.path+" "+c.code, func(t *testing.T) {
			a := s.do(call{Method: c.method, Path: c.path, Body: c.body, Bearer: c.bearer})
			if c.code == "" {
				a.want(c.status)
				return
			}
			a.refused(c.status, c.code)
		})
	}
}

// A change of account that is no JSON counts towards the client's limit, and is refused by it (contract core.md 6.3).
func TestLimitOfChangesComesBeforeTheBody(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_RATE_LIMIT_HEADER=X-Client")
	me := s.member("me@example.com")
	for range 1000 {
		a := s.do(call{Method: "PUT", Path: "/user", Body: "{", Bearer: me.Access, Header: map[string]string{"X-Client": "a"}})
		if a.Status == http.StatusTooManyRequests {
			a.refused(http.StatusTooManyRequests, "over_request_rate_limit")
			s.do(call{Method: "PUT", Path: "/user", Body: "{", Bearer: me.Access, Header: map[string]string{"X-Client": "b"}}).refused(400, "bad_json")
			return
		}
		a.refused(http.StatusBadRequest, "bad_json")
	}
	t.Error("never limited")
}
