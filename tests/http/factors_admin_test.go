package http_test

import (
	"strings"
	"testing"
)

// Administrators see, rename and remove factors (contract admin.md 8).
func TestAdministratorsAndFactors(t *testing.T) {
	t.Parallel()
	s := start(t)
	me, admin := s.quickMember("ada@example.com"), s.serviceRole()
	list := "/admin/users/" + me.UserID + "/factors"
	if a := s.get(list, admin).want(200); string(a.Raw) != "[]" {
		t.Errorf("no factors: %s", a.Raw)
	}
	factor, secret := s.enrol(me, "app")
	me = s.verified(me, factor, secret)
	s.get(list, admin).want(200).holds(`[{"id": "`+factor+`", "status": "verified", "friendly_name": "app", "factor_type": "totp", "phone": "",
		"created_at": "<time>", "updated_at": "<time>", "last_challenged_at": "<time>"}]`, true)
	one := list + "/" + factor
	s.put(one, `{"friendly_name": "renamed", "phone": "+4915"}`, admin).want(200).holds(`{"id": "`+factor+`", "friendly_name": "renamed", "phone": ""}`, false)
	s.put(one, `{}`, admin).want(200)
	for _, c := range []struct {
		method, path, body, bearer string
		status                     int
		code                       string
	}{
		{"GET", list, "", me.Access, 403, "not_admin"},
		{"PUT", one, `{}`, me.Access, 403, "not_admin"},
		{"DELETE", one, "", me.Access, 403, "not_admin"},
		{"GET", "/admin/users/x/factors", "", admin, 404, "validation_failed"},
		{"PUT", "/admin/users/x/factors/y", `{}`, admin, 404, "validation_failed"},
		{"PUT", list + "/y", `{}`, admin, 404, "validation_failed"},
		{"PUT", one, ``, admin, 400, "bad_json"},
		{"DELETE", strings.Replace(one, me.UserID, s.account("bob@example.com"), 1), "", admin, 404, "mfa_factor_not_found"},
		{"DELETE", strings.Replace(one, me.UserID, factor, 1), "", admin, 404, "user_not_found"},
	} {
		s.do(call{Method: c.method, Path: c.path, Body: c.body, Bearer: c.bearer}).refused(c.status, c.code)
	}
	s.get(one, admin).want(405)
	s.delete(one, nil, admin).want(200).holds(`{"id": "`+factor+`", "friendly_name": "renamed", "status": "verified"}`, false)
	s.delete(one, nil, admin).refused(404, "mfa_factor_not_found")
	if got := s.one(`select concat(payload ->> 'actor_id', ' ', ip_address) from auth.audit_log_entries where payload ->> 'action' = 'factor_deleted'`); got != me.UserID+" 127.0.0.1" {
		t.Errorf("the audit log names %s", got)
	}
	if renewed := s.renew(me.Refresh).want(200).session(); aalOf(t, renewed.Access) != "aal1" {
		t.Error("the session is at aal2 still")
	}

	factor, _ = s.enrol(s.open(me.UserID), "again")
	s.delete("/admin/users/"+me.UserID, `{"should_soft_delete": true}`, admin).want(200)
	if s.one(`select count(*) from auth.mfa_factors where id = $1::text::uuid`, factor) != "0" {
		t.Error("a deleted account has factors")
	}
}
