package http_test

import "testing"

// A failure that nobody expected has no code in a header and no id in its body (contract core.md 1.6).
func TestUnclassifiedFailure(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.account("me@example.com")
	s.exec(`update auth.users set encrypted_password = 'not a hash'`)
	request := call{Method: "POST", Path: "/token?grant_type=password", Body: `{"email": "me@example.com", "password": "correct horse"}`}
	const message = "Unexpected failure, please check server logs for more information"
	a := s.do(request).want(500)
	a.holds(`{"code": 500, "error_code": "unexpected_failure", "msg": "`+message+`"}`, true)
	a.headers(map[string]string{"X-Sb-Error-Code": "", "X-Request-Id": "<any>"})
	request.Header = map[string]string{"X-Supabase-Api-Version": "2024-01-01"}
	a = s.do(request).want(500)
	a.holds(`{"code": "unexpected_failure", "message": "`+message+`"}`, true)
	a.headers(map[string]string{"X-Sb-Error-Code": "", "X-Supabase-Api-Version": "2024-01-01"})
}
