package http_test

import (
	"slices"
	"strings"
	"testing"
)

const factorHookURI = "pg-functions://postgres/app/attempt"

// factorFunction makes a function for the hook mfa_verification_attempt, which keeps what it is told and then does as the body says.
func (s *server) factorFunction(body string) {
	s.t.Helper()
	s.exec(`create schema if not exists app;
		grant usage on schema app to supabase_auth_admin;
		create table if not exists app.attempts (n bigserial, event jsonb);
		grant all on app.attempts to supabase_auth_admin; grant usage on sequence app.attempts_n_seq to supabase_auth_admin;
		create or replace function app.attempt(event jsonb) returns jsonb language plpgsql as $$
		begin insert into app.attempts (event) values (event); ` + body + ` end $$;
		revoke execute on function app.attempt from public; grant execute on function app.attempt to supabase_auth_admin`)
}

// attemptsTold checks what a hook was told of a factor's attempts: right codes and wrong ones.
func attemptsTold(t *testing.T, told []map[string]any, me session, factor string, want ...any) {
	t.Helper()
	valid := make([]any, 0, len(told))
	for _, event := range told {
		for path, want := range map[string]any{
			"user_id": me.UserID, "factor_id": factor, "factor_type": "totp", "metadata.name": "mfa-verification", "metadata.ip_address": "127.0.0.1",
		} {
			if got := member(event, path); got != want {
				t.Errorf("%s is %v, want %v", path, got, want)
			}
		}
		if names := keys(event); !slices.Equal(names, []string{"factor_id", "factor_type", "metadata", "user_id", "valid"}) {
			t.Errorf("told %v", names)
		}
		valid = append(valid, event["valid"])
	}
	if !slices.Equal(valid, want) {
		t.Errorf("told %v, want %v", valid, want)
	}
}

// The hook mfa_verification_attempt over HTTP: told of right and wrong codes, and of nothing that has no challenge to answer.
func TestFactorVerificationHookOverHTTP(t *testing.T) {
	t.Parallel()
	d := newHookDouble(t)
	s := start(t, d.on("mfa_verification_attempt")...)
	me := s.quickMember("ada@example.com")
	factor, secret := s.enrol(me, "app")
	challenge := s.challenged(me, factor)
	right := func() call { return verifying(me, factor, challenge, appCode(t, secret, 0)) }
	wrong := verifying(me, factor, challenge, wrongCode(t, secret))

	s.do(verifying(me, factor, factor, "123456")).refused(422, "mfa_factor_not_found")
	s.do(wrong).refused(422, "mfa_verification_failed")
	d.answering(200, map[string]any{"decision": "continue"})
	me = s.do(right()).want(200).session()
	attemptsTold(t, d.took("mfa-verification"), me, factor, false, true)

	challenge = s.challenged(me, factor)
	for _, f := range failures {
		d.answering(f.status, f.body)
		a := s.do(right()).refused(f.wantStatus, f.wantCode)
		if a.text("msg") != f.wantText {
			t.Errorf("%s: msg %q", f.name, a.text("msg"))
		}
		if f.name == "does not answer" {
			s.explains(a, "point, outcome", "mfa_verification_attempt | timeout")
		}
	}
	d.answering(200, map[string]any{"decision": true})
	s.do(right()).refused(500, "unexpected_failure")

	other := s.open(me.UserID)
	d.answering(200, map[string]any{"decision": "reject"})
	if msg := s.do(wrong).refused(422, "mfa_ip_address_mismatch").text("msg"); msg == "" {
		t.Error("no msg")
	}
	s.get("/user", other.Access).want(200) // nobody was asked
	if msg := s.do(right()).refused(403, "mfa_verification_rejected").text("msg"); msg != "Further MFA verification attempts will be rejected." {
		t.Errorf("msg %q", msg)
	}
	for _, ended := range []session{me, other} {
		s.get("/user", ended.Access).refused(403, "session_not_found")
	}
	me = s.open(me.UserID)
	challenge = s.challenged(me, factor)
	d.answering(200, map[string]any{"decision": "reject", "message": "enough"})
	if msg := s.do(verifying(me, factor, challenge, wrongCode(t, secret))).refused(403, "mfa_verification_rejected").text("msg"); msg != "enough" {
		t.Errorf("msg %q", msg)
	}
}

// The same as a function: what it writes stays when it rejects or refuses, and not when it raises or takes too long.
func TestFactorVerificationHookAsFunction(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_HOOK_MFA_VERIFICATION_ATTEMPT_ENABLED=true", "GOTRUE_HOOK_MFA_VERIFICATION_ATTEMPT_URI="+factorHookURI)
	s.factorFunction(`return '{"decision": "continue"}';`)
	me := s.quickMember("ada@example.com")
	factor, secret := s.enrol(me, "app")
	challenge := s.challenged(me, factor)
	s.do(verifying(me, factor, challenge, wrongCode(t, secret))).refused(422, "mfa_verification_failed")
	me = s.do(verifying(me, factor, challenge, appCode(t, secret, 0))).want(200).session()
	told := func() string { return s.one(`select count(*) from app.attempts`) }
	if got := s.column(`select event ->> 'valid' from app.attempts order by n`); !slices.Equal(got, []string{"false", "true"}) {
		t.Errorf("told %v", got)
	}

	challenge = s.challenged(me, factor)
	attempt := func() *answer { return s.do(verifying(me, factor, challenge, appCode(t, secret, 0))) }
	s.factorFunction(`return '{"error": {"http_code": 418, "message": "not now"}}';`)
	s.explains(attempt().refused(418, "unknown"), "point, outcome, message", "mfa_verification_attempt | refused | not now")
	s.factorFunction(`raise exception 'broken' using hint = 'mend it';`)
	a := attempt().want(500)
	a.holds(`{"code": "P0001", "message": "broken", "hint": "mend it"}`, true)
	s.explains(a, "point, outcome, message", "mfa_verification_attempt | failed | broken")
	s.factorFunction(`perform pg_sleep(20); return '{}';`)
	a = attempt().refused(500, "unexpected_failure")
	if !strings.Contains(a.text("msg"), "Error running hook URI: "+factorHookURI) {
		t.Errorf("msg %q", a.text("msg"))
	}
	s.explains(a, "point, outcome", "mfa_verification_attempt | timeout")
	if told() != "3" {
		t.Errorf("%s of what the function wrote stayed, want 3", told())
	}
	s.factorFunction(`return '{"decision": "reject"}';`)
	attempt().refused(403, "mfa_verification_rejected")
	s.get("/user", me.Access).refused(403, "session_not_found")
	if told() != "4" {
		t.Errorf("%s of what the function wrote stayed, want 4", told())
	}
}

// The custom_access_token hook sees and makes the claims of a verification; when it fails nothing of the verification stays, or, over
// HTTP, no session (DESIGN 10).
func TestTokenHookAtASecondFactor(t *testing.T) {
	t.Parallel()
	s := start(t, hookOn...)
	s.exec(`create table public.methods (method text); grant all on public.methods to public`)
	s.exec(tokenHook(`insert into public.methods values (event ->> 'authentication_method'); return jsonb_build_object('claims', claims || '{"plan": "gold"}')`))
	me := s.quickMember("ada@example.com")
	factor, secret := s.enrol(me, "app")
	challenge := s.challenged(me, factor)
	s.exec(tokenHook(`raise exception 'broken'`))
	s.do(verifying(me, factor, challenge, appCode(t, secret, 0))).want(500)
	if got := s.one(`select concat(s.aal, ' ', f.status, ' ', t.counter) from auth.sessions s, auth.mfa_factors f, auth.refresh_tokens t`); got != "aal1 unverified 0" {
		t.Errorf("after a failure: %s", got)
	}
	s.exec(tokenHook(`insert into public.methods values (event ->> 'authentication_method'); return jsonb_build_object('claims', claims || '{"plan": "gold"}')`))
	strong := s.do(verifying(me, factor, challenge, appCode(t, secret, 0))).want(200).session()
	if claims := claimsOf(t, strong.Access); claims["plan"] != "gold" || claims["aal"] != "aal2" || s.one(`select method from public.methods`) != "totp" {
		t.Errorf("claims %v", claims)
	}

	d := newHookDouble(t)
	remote := startOn(t, s.db, d.on("custom_access_token")...)
	challenge = remote.challenged(strong, factor)
	remote.do(verifying(strong, factor, challenge, appCode(t, secret, 0))).want(500)
	remote.get("/user", strong.Access).refused(403, "session_not_found")
}

// New factors and removed ones are told to the account (contract core.md 9.1), later verifications are not.
func TestFactorsAreTold(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t, "GOTRUE_MAILER_NOTIFICATIONS_MFA_FACTOR_ENROLLED_ENABLED=true", "GOTRUE_MAILER_NOTIFICATIONS_MFA_FACTOR_UNENROLLED_ENABLED=true",
		"GOTRUE_MAILER_SUBJECTS_MFA_FACTOR_ENROLLED_NOTIFICATION=new {{ .FactorType }}", "GOTRUE_MAILER_SUBJECTS_MFA_FACTOR_UNENROLLED_NOTIFICATION=gone {{ .FactorType }}")
	me := s.quickMember("ada@example.com")
	factor, secret := s.enrol(me, "app")
	draft, _ := s.enrol(me, "draft")
	s.delete("/factors/"+draft, nil, me.Access).want(200)
	me = s.verified(me, factor, secret)
	me = s.verified(me, factor, secret)
	s.delete("/admin/users/"+me.UserID+"/factors/"+factor, nil, s.serviceRole()).want(200)
	factor, _ = s.enrol(me, "another")
	s.delete("/factors/"+factor, nil, me.Access).want(200)
	s.drained()
	subjects := make([]string, 0, 3)
	for _, mail := range r.to("ada@example.com") {
		subjects = append(subjects, mail.Subject)
	}
	slices.Sort(subjects)
	if want := []string{"gone totp", "gone totp", "new totp"}; !slices.Equal(subjects, want) {
		t.Errorf("mails %v, want %v", subjects, want)
	}
}
