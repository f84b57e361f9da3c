package http_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const sendingURI = "pg-functions://postgres/app/send"

// sendingFunctions is the environment of a gateway whose mails and SMS a function sends, which sendingFunction makes.
func sendingFunctions(r *relay) []string {
	return mailing(r, "GOTRUE_EXTERNAL_PHONE_ENABLED=true", "GOTRUE_SMS_MAX_FREQUENCY=1ms", "GOTRUE_RATE_LIMIT_SMS_SENT=100000",
		"GOTRUE_HOOK_SEND_EMAIL_ENABLED=true", "GOTRUE_HOOK_SEND_EMAIL_URI="+sendingURI,
		"GOTRUE_HOOK_SEND_SMS_ENABLED=true", "GOTRUE_HOOK_SEND_SMS_URI="+sendingURI)
}

// sendingFunction makes a function that keeps what it is told and then does as the body says.
func (s *server) sendingFunction(body string) {
	s.t.Helper()
	s.exec(`create schema if not exists app;
		grant usage on schema app to supabase_auth_admin;
		create table if not exists app.sent (n bigserial, event jsonb);
		grant all on app.sent to supabase_auth_admin; grant usage on sequence app.sent_n_seq to supabase_auth_admin;
		create or replace function app.send(event jsonb) returns jsonb language plpgsql as $$
		begin insert into app.sent (event) values (event); ` + body + ` return '{}'; end $$;
		revoke execute on function app.send from public; grant execute on function app.send to supabase_auth_admin`)
}

// sentByFunction is how often the function's writes stayed.
func (s *server) sentByFunction() string {
	s.t.Helper()
	if s.one(`select to_regclass('app.sent') is null`) == "true" {
		return ""
	}
	return s.one(`select count(*) from app.sent`)
}

func (s *server) eventsOfFunction() []map[string]any {
	s.t.Helper()
	var events []map[string]any
	for _, text := range s.column(`select event::text from app.sent order by event -> 'sms' nulls first, n`) {
		var event map[string]any
		if err := json.Unmarshal([]byte(text), &event); err != nil {
			s.t.Fatal(err)
		}
		events = append(events, event)
	}
	return events
}

// Functions send as receivers of HTTP do: the code is told them, and kept nowhere else; that it is sent is noted with what they write.
func TestFunctionsSend(t *testing.T) {
	t.Parallel()
	s := start(t, sendingFunctions(startRelay(t))...)
	s.sendingFunction(``)
	s.post("/signup", signUpBodyOf("new@example.com"), "").want(200)
	s.post("/otp", map[string]any{"phone": "4915"}, "").want(200)
	events := s.eventsOfFunction()
	if len(events) != 2 {
		t.Fatalf("%d calls", len(events))
	}
	mail, text := events[0], events[1]
	if len(keys(mail["email_data"])) != 11 || member(mail, "metadata.name") != "send-email" || member(mail, "metadata.ip_address") != "127.0.0.1" ||
		member(mail, "user.email") != "new@example.com" || member(mail, "user.confirmation_sent_at") != nil {
		t.Errorf("told %v", mail)
	}
	if got := s.one(`select count(*) from auth.outbox where state = 'sent' and sealed is null and sent_at is not null and payload ? 'before' = false`); got != "2" {
		t.Errorf("%s of 2 are noted as sent", got)
	}
	code, otp := fmt.Sprint(member(mail, "email_data.token")), fmt.Sprint(member(text, "sms.otp"))
	dump, log := s.dump(), s.Log.String()
	for _, secret := range []string{code, otp, fmt.Sprint(member(mail, "email_data.token_hash"))} {
		if strings.Contains(dump, `"`+secret+`"`) || strings.Contains(log, `"`+secret+`"`) || len(secret) > 10 && strings.Contains(dump+log, secret) {
			t.Errorf("%s stands in a table or in the log", secret)
		}
	}
	s.do(verifyCode("signup", "new@example.com", code)).want(200).session()
	s.post("/verify", map[string]any{"type": "sms", "phone": "4915", "token": otp}, "").want(200).session()
}

// Errors of functions that send are answered as the contract says, and what a function knows is not kept with them.
func TestFunctionsThatDoNotSend(t *testing.T) {
	t.Parallel()
	s := start(t, append(sendingFunctions(startRelay(t)), "GOTRUE_MAILER_NOTIFICATIONS_PASSWORD_CHANGED_ENABLED=true")...)
	for name, c := range map[string]struct {
		body   string
		status int
		want   string
	}{
		"raises":             {`raise exception 'out of stamps' using detail = 'd';`, 500, `{"code": "P0001", "message": "out of stamps", "detail": "d"}`},
		"raises a status":    {`raise exception 'out of stamps' using errcode = 'PT402';`, 402, `{"code": "PT402", "message": "out of stamps"}`},
		"fails":              {`perform 1 / 0;`, 500, `{"error_code": "unexpected_failure", "msg": "Error running hook URI: ` + sendingURI + `"}`},
		"takes half an hour": {`perform pg_sleep(1800);`, 500, `{"error_code": "unexpected_failure", "msg": "Error running hook URI: ` + sendingURI + `"}`},
		"is no object":       {`return '[]'::jsonb;`, 500, `{"error_code": "unexpected_failure", "msg": "Error unmarshaling JSON output."}`},
	} {
		s.sendingFunction(c.body)
		s.post("/signup", signUpBodyOf("new@example.com"), "").holds(c.want, false)
		if a := s.post("/otp", map[string]any{"phone": "4915"}, ""); a.Status != c.status {
			t.Errorf("%s: %d %s", name, a.Status, a.Raw)
		}
		if got := s.one(`select (select count(*) from auth.users) + (select count(*) from auth.outbox) + (select count(*) from app.sent)`); got != "0" {
			t.Errorf("%s: %s rows are left", name, got)
		}
	}

	// A worker's attempt: tried again, and the secret is not in the words that are kept.
	s.sendingFunction(`raise exception 'no stamps for %', event -> 'email_data' ->> 'token';`)
	id := s.account("ada@example.com")
	s.enqueue("ada", 1)
	s.exec(`update auth.outbox set user_id = $1`, id)
	s.eventually("a worker tried", func() bool { return s.one(`select last_reply from auth.outbox`) != "" })
	if got := s.one(`select concat_ws(' ', state, sealed is not null, last_reply) from auth.outbox`); !strings.Contains(got, "queued t") ||
		!strings.Contains(got, "no stamps for ***") || strings.Contains(got+s.Log.String(), "314159") {
		t.Errorf("after an attempt: %s", got)
	}
	if got := s.one(`select message || ' ' || (user_id = $1) from auth.hook_runs order by created_at desc limit 1`, id); got != "no stamps for *** true" {
		t.Errorf("recorded: %s", got)
	}
	s.sendingFunction(``)
	s.dueNow(func() bool { return s.one(`select state from auth.outbox`) == "sent" })
}
