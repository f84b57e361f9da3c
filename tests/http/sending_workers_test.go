package http_test

import (
	"fmt"
	"strings"
	"testing"
)

// Notifications wait for a worker, which asks the hook, again while that fails, and gives up what it refuses.
func TestNotificationsByHook(t *testing.T) {
	t.Parallel()
	d, r := newHookDouble(t), startRelay(t)
	s := start(t, byHook(d, r, "GOTRUE_MAILER_SECURE_EMAIL_CHANGE_ENABLED=false", "GOTRUE_SMS_AUTOCONFIRM=true",
		"GOTRUE_MAILER_NOTIFICATIONS_PASSWORD_CHANGED_ENABLED=true", "GOTRUE_MAILER_NOTIFICATIONS_EMAIL_CHANGED_ENABLED=true",
		"GOTRUE_MAILER_NOTIFICATIONS_PHONE_CHANGED_ENABLED=true", "GOTRUE_MAILER_NOTIFICATIONS_IDENTITY_LINKED_ENABLED=true")...)
	me := s.member("ada@example.com")
	told := func(action string) map[string]any {
		t.Helper()
		var found map[string]any
		s.eventually(action, func() bool {
			for _, event := range d.took("send-email") {
				if member(event, "email_data.email_action_type") == action {
					found = event
				}
			}
			return found != nil
		})
		return found
	}
	d.answering(500, nil)
	s.put("/user", map[string]any{"password": "another good password"}, me.Access).want(200)
	s.eventually("the hook was asked", func() bool { return s.one(`select last_reply from auth.outbox`) != "" })
	d.answering(204, nil)
	d.took("send-email")
	s.dueNow(func() bool { return s.one(`select state from auth.outbox`) == "sent" })
	event := told("password_changed_notification")
	for path, want := range map[string]any{
		"user.id": me.UserID, "email_data.token": "", "email_data.token_hash": "", "email_data.site_url": s.URL,
		"email_data.redirect_to": "https://app.example.com", "metadata.ip_address": nil,
	} {
		if got := member(event, path); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	if got := s.one(`select attempts from auth.outbox`); got != "2" {
		t.Errorf("%s attempts", got)
	}

	s.put("/user", map[string]any{"phone": "4911"}, me.Access).want(200)
	if got := member(told("identity_linked_notification"), "email_data.provider"); got != "phone" {
		t.Errorf("provider %v", got)
	}
	s.put("/user", map[string]any{"phone": "4922"}, me.Access).want(200)
	if got := member(told("phone_changed_notification"), "email_data.old_phone"); got != "4911" {
		t.Errorf("old_phone %v", got)
	}
	s.put("/user", map[string]any{"email": "new@example.com"}, me.Access).want(200)
	hash := fmt.Sprint(member(told("email_change"), "email_data.token_hash"))
	s.do(verifyHash("email_change", hash)).want(200)
	event = told("email_changed_notification")
	if got := fmt.Sprint(member(event, "email_data.old_email"), " ", member(event, "user.email")); got != "ada@example.com new@example.com" {
		t.Errorf("old_email and email: %v", got)
	}

	d.answering(200, refusing(403, "we do not write to new@example.com"))
	s.put("/user", map[string]any{"password": "a third good password"}, me.Access).want(200)
	s.eventually("it is given up", func() bool {
		return strings.Contains(s.one(`select coalesce(max(last_reply), '') from auth.outbox where state = 'dead'`), "we do not write")
	})
	if strings.Contains(s.Log.String(), "new@example.com") {
		t.Error("the log names the address")
	}
	if r.attempts() > 0 {
		t.Errorf("%d mails went to the relay", r.attempts())
	}
}

// What a gateway left behind that died before its first attempt ended, another one hands to the hook.
func TestHooksSendWhatADeadGatewayLeft(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"http", "function"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			d, r := newHookDouble(t), startRelay(t)
			s := start(t, map[bool][]string{true: sendingFunctions(r), false: byHook(d, r)}[way == "function"]...)
			s.sendingFunction(``)
			id := s.account("ada@example.com")
			s.enqueue("ada", 2)
			s.exec(`update auth.outbox set user_id = $1, request_id = 'r1', leased_by = id::text, attempts = 1, next_attempt_at = now()`, id)
			s.exec(`update auth.outbox set channel = 'sms', kind = 'confirmation' where recipient = 'ada2@example.com'`)
			s.drained()
			if got := s.one(`select count(*) from auth.outbox where state = 'sent' and attempts = 2 and sealed is null`); got != "2" {
				t.Fatalf("%s of 2 are sent: %s", got, s.one(`select string_agg(concat_ws(' ', state, attempts, last_reply), ', ') from auth.outbox`))
			}
			events := append(d.took("send-email"), d.took("send-sms")...)
			if way == "function" {
				events = s.eventsOfFunction()
			}
			if len(events) != 2 || member(events[0], "email_data.token") != "314159" || member(events[0], "user.email") != "ada@example.com" ||
				member(events[1], "sms.otp") != "314159" {
				t.Errorf("told %v", events)
			}
		})
	}
}

// Hooks that are switched on and off with SQL are followed at once: the statement that queues a mail says who sends it.
func TestSendingHookSwitchedOnAndOff(t *testing.T) {
	t.Parallel()
	d := newHookDouble(t)
	s, r := startMailing(t)
	send := func(email string) { s.post("/otp", map[string]any{"email": email}, "").want(200); s.drained() }
	send("one@example.com")
	s.exec(`update auth.settings set hook_send_email_enabled = true, hook_send_email_uri = 'pg-functions://postgres/app/send'`)
	s.sendingFunction(``)
	send("two@example.com")
	s.exec(`update auth.settings set hook_send_email_enabled = false`)
	send("three@example.com")
	if r.once(2); len(r.to("two@example.com")) != 0 || s.sentByFunction() != "1" {
		t.Errorf("%d mails by the relay, %s by the hook", len(r.all()), s.sentByFunction())
	}
	// Enabled without an address, nothing falls back to the relay.
	s.exec(`update auth.settings set hook_send_email_enabled = true, hook_send_email_uri = ''`)
	if msg := s.post("/otp", map[string]any{"email": "four@example.com"}, "").refused(500, "unexpected_failure").text("msg"); !strings.Contains(msg, "unsupported protocol") {
		t.Errorf("msg %q", msg)
	}
	if n := len(d.took("send-email")); n != 0 {
		t.Errorf("%d calls over HTTP", n)
	}
}
