package http_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// Nothing in the log tells who somebody is or lets anybody in: not when all goes well, not when requests or the database fail.
// (What a user's own trigger writes into its message is logged: it is the operator's only trace of the failure.)
func TestLogHoldsNoSecretsAndNoAddresses(t *testing.T) {
	t.Parallel()
	s := start(t, anonymousOn, phoneOn, smsConfirm, limitOn, "GOTRUE_LOG_LEVEL=debug", "GOTRUE_API_REQUEST_ID_HEADER=X-Request-Id",
		"POSTERN_TOKEN_KEYS=a-token-key-of-more-than-32-characters-000001")
	admin := s.serviceRole()
	s.exec(`create function public.chatty() returns trigger language plpgsql as $$
		begin
			if new.raw_user_meta_data ->> 'fail' = 'divide' then perform 1 / 0; end if;
			if new.raw_user_meta_data ->> 'fail' = 'unique' then insert into auth.users (id) select id from auth.users limit 1; end if;
			return new;
		end $$;
		create trigger chatty before insert on auth.users for each row execute function public.chatty()`)
	secrets := []string{
		jwtSecret, "a-token-key-of-more", admin, "secret-address", "491511234567", "secret-word", "s3cr3t", "203.0.113.77", "$2a$", "$argon2", "user_agent_7",
	}
	keep := func(a *answer) *answer {
		if a.Status == http.StatusOK && strings.Contains(string(a.Raw), `"access_token"`) {
			me := a.session()
			secrets = append(secrets, me.Access, me.Refresh, me.Access[strings.LastIndex(me.Access, ".")+1:])
		}
		return a
	}
	header := map[string]string{"X-Forwarded-For": "203.0.113.77", "User-Agent": "user_agent_7", "X-Client": "s3cr3t-client"}
	do := func(method, path, body, bearer string) *answer {
		return keep(s.do(call{Method: method, Path: path, Body: body, Bearer: bearer, Header: header}))
	}
	email := `"email": "secret-address@example.com"`
	me := do("POST", "/signup", `{`+email+`, "password": "secret-word", "data": {"full_name": "s3cr3t"}}`, "").want(200).session()
	do("POST", "/signup", `{`+email+`, "password": "secret-word"}`, "").want(422)
	do("POST", "/signup", `{"phone": "+491511234567", "password": "secret-word"}`, "").want(200)
	do("POST", "/signup", `{"email": "secret-address", "password": "secret-word"}`, "").want(400)
	for _, fail := range []string{"divide", "unique"} {
		do("POST", "/signup", `{"email": "secret-address-2@example.com", "password": "secret-word", "data": {"fail": "`+fail+`", "x": "s3cr3t"}}`, "").want(500)
	}
	do("POST", "/token?grant_type=password", `{`+email+`, "password": "secret-word"}`, "").want(200)
	do("POST", "/token?grant_type=password", `{`+email+`, "password": "secret-word-2"}`, "").want(400)
	do("POST", "/token?grant_type=password", `{`+email+`, "password": "secret-word-2`, "").want(400)
	do("POST", "/token?grant_type=refresh_token&refresh_token=s3cr3t", `{"refresh_token": "`+me.Refresh+`"}`, "").want(200)
	do("POST", "/token?grant_type=refresh_token", `{"refresh_token": "s3cr3ts3cr3t"}`, "").want(400)
	do("GET", "/user?apikey=s3cr3t", "", me.Access).want(200)
	do("GET", "/user", "", me.Access+"s3cr3t").want(403)
	do("GET", "/secret-address@example.com", "", "").want(404)
	do("PUT", "/user", `{"password": "secret-word-3", "current_password": "secret-word", "nonce": "s3cr3t"}`, me.Access).want(200)
	do("PUT", "/user", `{"email": "secret-address-3@example.com"}`, me.Access).want(200)
	do("GET", "/admin/users?filter=secret-address", "", admin).want(200)
	do("GET", "/admin/users/secret-address", "", admin).want(404)
	do("POST", "/admin/users", `{"email": "secret-address-4@example.com", "password_hash": "$argon2id$s3cr3t"}`, admin).want(400)
	do("POST", "/admin/users", `{"email": "secret-address-5@example.com", "id": "`+me.UserID+`"}`, admin).want(500)
	s.exec(`update auth.users set encrypted_password = 's3cr3t no hash' where email = 'secret-address@example.com'`)
	do("POST", "/token?grant_type=password", `{`+email+`, "password": "secret-word"}`, "").want(500)
	do("POST", "/logout", "", me.Access).want(204)
	s.set("disable_signup = true")

	log := s.Log.String()
	for _, secret := range secrets {
		if i := strings.Index(log, secret); i >= 0 {
			t.Errorf("%q is in the log: …%s…", secret, log[max(0, i-200):min(len(log), i+200)])
		}
	}
	if dsn := s.db.GatewayDSN; strings.Contains(log, dsn) {
		t.Error("the connection string is in the log")
	}
}

// One line per request, but for health checks, with what it cost (STYLE 3.4).
func TestRequestLines(t *testing.T) {
	t.Parallel()
	s := start(t)
	me := s.member("me@example.com")
	s.get("/health", "").want(200)
	s.get("/auth/v1/user?x=1", me.Access).want(200)
	s.get("/admin/users/"+me.UserID, me.Access).want(403)
	s.get("/nowhere", "").want(404)
	s.do(call{Method: "PATCH", Path: "/signup"}).want(405)
	var lines []map[string]any
	// The line is written after the answer has left.
	s.eventually("four request lines", func() bool {
		lines = nil
		for text := range strings.Lines(s.Log.String()) {
			var line map[string]any
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Fatalf("not JSON: %s", text)
			}
			if line["msg"] == "request" {
				lines = append(lines, line)
			}
		}
		return len(lines) >= 4
	})
	want := []string{
		`{"method": "GET", "route": "/user", "status": 200, "statements": 1, "ms": "<number>", "request_id": "<uuid>"}`,
		`{"method": "GET", "route": "/admin/users/{user_id}", "status": 403, "statements": 1}`,
		`{"method": "GET", "route": "", "status": 404, "statements": 0}`,
		`{"method": "PATCH", "route": "/signup", "status": 405, "statements": 0}`,
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines: %v", len(lines), lines)
	}
	for i := range want {
		raw, _ := json.Marshal(lines[i]) // it came from JSON
		(&answer{t: t, Raw: raw}).holds(want[i], false)
	}
}

// Requests say it too, but the operator is to know before the first of them.
func TestAProviderThatCannotSendIsNamedAtStart(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"GOTRUE_SMS_PROVIDER=pigeon": "GOTRUE_SMS_PROVIDER is none of",
		"GOTRUE_SMS_PROVIDER=vonage": "GOTRUE_SMS_VONAGE_API_KEY is not set",
		"GOTRUE_SMS_PROVIDER=":       "",
	} {
		log := start(t, line).Log.String()
		if warned := strings.Contains(log, "SMS provider"); warned != (want != "") || !strings.Contains(log, want) {
			t.Errorf("%s: %s", line, log)
		}
	}
}
