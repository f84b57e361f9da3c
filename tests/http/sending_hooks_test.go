package http_test

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// byHook is the environment of a gateway whose mails and SMS go to a double; a relay would take what goes past it.
func byHook(d *hookDouble, r *relay, env ...string) []string {
	out := append(mailing(r, "GOTRUE_EXTERNAL_PHONE_ENABLED=true", "GOTRUE_SMS_MAX_FREQUENCY=1ms", "GOTRUE_RATE_LIMIT_SMS_SENT=100000"),
		d.on("send_email", "send_sms")...)
	return append(out, env...)
}

// sending is a request that has something sent: what has to be there before it, and the request for the account or address of a name.
type sending struct {
	name    string
	given   func(s *server, name string) session
	request func(me session, name string) call
	action  string // email_action_type; "" of SMS
	phone   bool
}

func at(name string) string { return name + "@example.com" }

// numbered is the telephone number of a name.
func numbered(name string) string {
	number := 0
	for _, letter := range name {
		number = number*31%99_999_999 + int(letter)
	}
	return fmt.Sprintf("49%09d", number)
}

// sendings are all ways to have a mail or SMS sent that a request waits for.
func sendings() []sending {
	post := func(path, member string, more map[string]any) func(session, string) call {
		return func(me session, name string) call {
			value := at(name)
			if member == "phone" {
				value = numbered(name)
			}
			return call{Method: http.MethodPost, Path: path, Body: with(map[string]any{member: value}, more), Bearer: me.Access}
		}
	}
	put := func(body func(name string) map[string]any) func(session, string) call {
		return func(me session, name string) call {
			return call{Method: http.MethodPut, Path: "/user", Body: body(name), Bearer: me.Access}
		}
	}
	member := func(s *server, name string) session { return s.member(at(name)) }
	unconfirmed := func(s *server, name string) session {
		s.account(at(name))
		s.exec(`update auth.users set email_confirmed_at = null where email = $1`, at(name))
		return session{Access: s.serviceRole()}
	}
	phoned := func(s *server, name string) session {
		me := s.member(at(name))
		s.exec(`update auth.users set email = null, phone = $2, phone_confirmed_at = now() where email = $1`, at(name), numbered(name))
		return me
	}
	admin := func(s *server, _ string) session { return session{Access: s.serviceRole()} }
	password := map[string]any{"password": goodPassword}
	return []sending{
		{"sign-up", nil, post("/signup", "email", with(password, challenge())), "signup", false},
		{"sign-up again", unconfirmed, post("/signup", "email", password), "signup", false},
		{"otp of nobody", nil, post("/otp", "email", challenge()), "signup", false},
		{"otp", member, post("/otp", "email", nil), "magiclink", false},
		{"magic link", member, post("/magiclink", "email", challenge()), "magiclink", false},
		{"recovery", member, post("/recover", "email", challenge()), "recovery", false},
		{"resend", unconfirmed, post("/resend", "email", map[string]any{"type": "signup"}), "signup", false},
		{"reauthentication", member, func(me session, _ string) call {
			return call{Method: http.MethodGet, Path: "/reauthenticate", Bearer: me.Access}
		}, "reauthentication", false},
		{"invitation", admin, post("/invite", "email", nil), "invite", false},
		{"invitation again", unconfirmed, post("/invite", "email", nil), "invite", false},
		{"change of address", member, put(func(name string) map[string]any {
			return with(map[string]any{"email": "new-" + at(name)}, challenge())
		}), "email_change", false},
		{"change of address again", func(s *server, name string) session {
			me := member(s, name)
			s.put("/user", map[string]any{"email": "former-" + at(name)}, me.Access).want(200)
			return me
		}, post("/resend", "email", map[string]any{"type": "email_change"}), "email_change", false},
		{"sign-up by phone", nil, post("/signup", "phone", password), "", true},
		{"otp by phone", phoned, post("/otp", "phone", nil), "", true},
		{"otp by phone of nobody", nil, post("/otp", "phone", map[string]any{"channel": "carrier pigeon"}), "", true},
		{"reauthentication by phone", phoned, func(me session, _ string) call {
			return call{Method: http.MethodGet, Path: "/reauthenticate", Bearer: me.Access}
		}, "", true},
		{"change of number", phoned, put(func(name string) map[string]any { return map[string]any{"phone": numbered("new" + name)} }), "", true},
	}
}

// plain makes a name of a scenario fit for an address.
func plain(name string) string { return strings.ReplaceAll(name, " ", "-") }

// keys are the names of an object's members, in order.
func keys(object any) []string {
	members, _ := object.(map[string]any)
	return slices.Sorted(maps.Keys(members))
}

// Every mail and SMS goes to its hook, once and before the answer, with the contract's input; relays and providers see nothing of it.
func TestHooksSendInsteadOfRelaysAndProviders(t *testing.T) {
	t.Parallel()
	d, r := newHookDouble(t), startRelay(t)
	s := start(t, byHook(d, r)...)
	for _, one := range sendings() {
		name := plain(one.name)
		var me session
		if one.given != nil {
			me = one.given(s, name)
		}
		point := map[bool]string{false: "send-email", true: "send-sms"}[one.phone]
		d.took(point)
		c := one.request(me, name)
		if !one.phone {
			c.Path += map[bool]string{false: "?", true: "&"}[strings.Contains(c.Path, "?")] + "redirect_to=https://app.example.com/in"
		}
		s.do(c).want(200)
		told := d.took(point)
		if len(told) != 1 {
			t.Errorf("%s: the hook was asked %d times", one.name, len(told))
			continue
		}
		event := told[0]
		for path, want := range map[string]any{"metadata.name": point, "metadata.ip_address": "127.0.0.1", "user.aud": "authenticated"} {
			if got := member(event, path); got != want {
				t.Errorf("%s: %s is %v, want %v", one.name, path, got, want)
			}
		}
		if n := s.one(`select count(*) from auth.users where id = $1::uuid`, member(event, "user.id")); n != "1" {
			t.Errorf("%s: told of another account", one.name)
		}
		if one.phone {
			checkSMS(t, one, event)
		} else {
			checkEmailData(t, s, one, event)
		}
	}
	s.drained()
	if got := s.one(`select count(*) from auth.outbox where state <> 'sent' or sealed is not null or attempts <> 1 or payload ? 'before'`); got != "0" {
		t.Errorf("%s rows are not as after one attempt", got)
	}
	if r.attempts() > 0 {
		t.Errorf("%d mails went to the relay", r.attempts())
	}
}

func checkSMS(t *testing.T, one sending, event map[string]any) {
	t.Helper()
	number := numbered(plain(one.name))
	if one.name == "change of number" {
		number = numbered("new" + plain(one.name))
	}
	if member(event, "sms.phone") != number || !regexp.MustCompile(`^\d{6}$`).MatchString(fmt.Sprint(member(event, "sms.otp"))) {
		t.Errorf("%s: %v", one.name, event["sms"])
	}
	if got := keys(event); !slices.Equal(got, []string{"metadata", "sms", "user"}) || len(keys(event["sms"])) != 2 {
		t.Errorf("%s: %v, %v", one.name, got, event["sms"])
	}
}

func checkEmailData(t *testing.T, s *server, one sending, event map[string]any) {
	t.Helper()
	if got := keys(event); !slices.Equal(got, []string{"email_data", "metadata", "user"}) {
		t.Errorf("%s: members %v", one.name, got)
	}
	want := map[string]string{
		"email_action_type": "^" + one.action + "$", "redirect_to": `^https://app\.example\.com/in$`, "site_url": "^" + regexp.QuoteMeta(s.URL) + "$",
		"token": `^\d{6}$`, "token_hash": "^(pkce_)?[0-9a-f]{56}$",
		"token_new": "^$", "token_hash_new": "^$", "old_email": "^$", "old_phone": "^$", "provider": "^$", "factor_type": "^$",
	}
	if one.action == "email_change" {
		want["token_new"], want["token_hash_new"] = want["token"], want["token_hash"]
		if got := member(event, "user.new_email"); got != "new-"+at(plain(one.name)) && got != "former-"+at(plain(one.name)) {
			t.Errorf("%s: new_email %v", one.name, got)
		}
	}
	for name, form := range want {
		if got := fmt.Sprint(member(event, "email_data."+name)); !regexp.MustCompile(form).MatchString(got) {
			t.Errorf("%s: %s is %q, want %s", one.name, name, got, form)
		}
	}
	if got := keys(event["email_data"]); len(got) != len(want) {
		t.Errorf("%s: email_data has %v", one.name, got)
	}
}

// Codes and links that a hook got work as those of a mail do.
func TestCodesOfHooksSignIn(t *testing.T) {
	t.Parallel()
	d, r := newHookDouble(t), startRelay(t)
	s := start(t, byHook(d, r)...)
	mail := func() (token, hash string) {
		t.Helper()
		told := d.took("send-email")
		if len(told) != 1 {
			t.Fatalf("told %d times", len(told))
		}
		token, _ = member(told[0], "email_data.token").(string)
		hash, _ = member(told[0], "email_data.token_hash").(string)
		return token, hash
	}
	for _, f := range mailFlows() {
		email := at(plain(f.name))
		if f.given != nil {
			f.given(s, email)
			f.given(s, "link-"+email)
		}
		s.do(f.request(email)).want(200)
		code, _ := mail()
		s.signedIn(s.do(verifyCode(f.kind, email, code)).want(200).session(), email, "otp")
		s.do(f.request("link-" + email)).want(200)
		_, hash := mail()
		s.signedIn(s.do(verifyHash(f.kind, hash)).want(200).session(), "link-"+email, "otp")
	}
	d.took("send-sms")
	s.post("/otp", map[string]any{"phone": "+4915"}, "").want(200)
	otp, _ := member(d.took("send-sms")[0], "sms.otp").(string)
	s.post("/verify", map[string]any{"type": "sms", "phone": "4915", "token": otp}, "").want(200).session()

	// One call for both halves of a change of address, crossed: token is the present address's, token_hash the new one's.
	me := s.member("ada@example.com")
	for _, way := range []string{"codes", "links"} {
		present, next := s.one(`select email from auth.users where id = $1::uuid`, me.UserID), way+"@example.org"
		s.put("/user", map[string]any{"email": next}, me.Access).want(200)
		event := d.took("send-email")[0]
		text := func(name string) string { value, _ := member(event, "email_data."+name).(string); return value }
		if way == "codes" {
			s.do(verifyCode("email_change", present, text("token_new"))).refused(403, "otp_expired")
			s.do(verifyCode("email_change", present, text("token"))).want(200)
			s.do(verifyCode("email_change", next, text("token_new"))).want(200).session()
		} else {
			s.do(verifyHash("email_change", text("token_hash"))).want(200)
			if status := s.one(`select email_change_token_new = '' and email_change_token_current <> '' from auth.users where id = $1::uuid`, me.UserID); status != "true" {
				t.Error("token_hash is not that of the new address")
			}
			s.do(verifyHash("email_change", text("token_hash_new"))).want(200).session()
		}
		if got := s.one(`select email from auth.users where id = $1::uuid`, me.UserID); got != next {
			t.Errorf("%s: the address is %s", way, got)
		}
	}
}

// A change of address and number at once has both sent.
func TestChangeOfAddressAndNumberByHook(t *testing.T) {
	t.Parallel()
	d, r := newHookDouble(t), startRelay(t)
	s := start(t, byHook(d, r, "GOTRUE_SMS_OTP_LENGTH=8")...)
	me := s.member("ada@example.com")
	before := s.kept()
	d.calling(func(name string, _ map[string]any) (int, any) {
		if name == "send-sms" {
			return 200, refusing(418, "no reception")
		}
		return 204, nil
	})
	both := map[string]any{"email": "new@example.com", "phone": "4915"}
	s.put("/user", both, me.Access).refused(418, "unknown")
	if after := s.kept(); after != before {
		t.Errorf("one of them was refused, and this is left:\n%s", difference(before, after))
	}
	d.answering(204, nil)
	s.put("/user", both, me.Access).want(200)
	d.took("send-email")
	told := d.took("send-sms")
	if otp := fmt.Sprint(member(told[len(told)-1], "sms.otp")); len(otp) != 8 {
		t.Errorf("otp %q", otp)
	}
	s.drained()
}

// kept is what auth holds, but for what a refused request leaves behind on purpose: its traces in the audit log and among the
// hooks that failed, and its place in the limits.
func (s *server) kept() string {
	s.t.Helper()
	var rows []string
	for _, table := range s.column(`select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'auth'
		and tablename not in ('audit_log_entries', 'hook_runs', 'rate_limits')`) {
		rows = append(rows, s.column(`select '`+table+` ' || to_jsonb(t)::text from `+table+` t`)...)
	}
	slices.Sort(rows)
	return strings.Join(rows, "\n")
}

// difference is the lines that only one of two texts has.
func difference(before, after string) string {
	old, now := strings.Split(before, "\n"), strings.Split(after, "\n")
	var out []string
	for _, line := range old {
		if !slices.Contains(now, line) {
			out = append(out, "- "+line)
		}
	}
	for _, line := range now {
		if !slices.Contains(old, line) {
			out = append(out, "+ "+line)
		}
	}
	return strings.Join(out, "\n")
}

// What a hook refuses leaves nothing behind: no account, no code, no time, nothing that is sent later. What was pending still is.
func TestWhatHooksRefuseIsTakenBack(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"http", "function"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			d, r := newHookDouble(t), startRelay(t)
			env := byHook(d, r)
			if way == "function" {
				env = sendingFunctions(r)
			}
			s := start(t, env...)
			sending := func(accepts bool) {
				if way == "function" {
					s.sendingFunction(map[bool]string{true: ``, false: `return '{"error": {"http_code": 418, "message": "not here"}}';`}[accepts])
				} else if d.answering(204, nil); !accepts {
					d.answering(200, refusing(418, "not here"))
				}
			}
			for _, one := range sendings() {
				name := plain(one.name)
				sending(true)
				var me session
				if one.given != nil {
					me = one.given(s, name)
					// A code is pending already, and stays it.
					s.do(one.request(me, name)).want(200)
					s.drained()
				}
				before, sent := s.kept(), s.sentByFunction()
				sending(false)
				a := s.do(one.request(me, name)).refused(418, "unknown")
				if a.text("msg") != "not here" || a.Header.Get("X-Sb-Error-Code") != "" {
					t.Errorf("%s: %s", one.name, a.Raw)
				}
				if after := s.kept(); after != before {
					t.Errorf("%s: something is left:\n%s", one.name, difference(before, after))
				}
				if s.sentByFunction() != sent {
					t.Errorf("%s: what the function wrote is left", one.name)
				}
			}
			if r.attempts() > 0 {
				t.Errorf("%d mails went to the relay", r.attempts())
			}
		})
	}
}

// A code that was used before its hook refused is not taken back, nor is the account that it confirmed.
func TestWhatWasUsedIsNotTakenBack(t *testing.T) {
	t.Parallel()
	d, r := newHookDouble(t), startRelay(t)
	s := start(t, byHook(d, r)...)
	d.calling(func(_ string, event map[string]any) (int, any) {
		code, _ := member(event, "email_data.token").(string)
		if a, err := s.send(verifyCode("signup", "ada@example.com", code)); err != nil || a.Status != http.StatusOK {
			t.Errorf("the code is not good yet: %v", err)
		}
		return 200, refusing(418, "not here")
	})
	s.post("/signup", signUpBodyOf("ada@example.com"), "").refused(418, "unknown")
	if got := s.one(`select concat_ws(' ', u.confirmed_at is not null, (select count(*) from auth.sessions)) from auth.users u`); got != "t 1" {
		t.Errorf("confirmed, sessions: %s", got)
	}
	s.signIn("ada@example.com", goodPassword)
}

// Failures of a mail's hook are answered as those of every other hook.
func TestSendingHookThatFails(t *testing.T) {
	t.Parallel()
	d, r := newHookDouble(t), startRelay(t)
	s := start(t, byHook(d, r)...)
	for _, f := range failures {
		d.answering(f.status, f.body)
		for path, body := range map[string]any{"/signup": signUpBodyOf("new@example.com"), "/otp": map[string]any{"phone": "4915"}} {
			if msg := s.post(path, body, "").refused(f.wantStatus, f.wantCode).text("msg"); msg != f.wantText {
				t.Errorf("%s: msg %q", f.name, msg)
			}
		}
		if got := s.one(`select (select count(*) from auth.users) + (select count(*) from auth.outbox)`); got != "0" {
			t.Errorf("%s: %s rows are left", f.name, got)
		}
	}
	s.eventually("the failures are recorded", func() bool {
		return s.one(`select string_agg(distinct point, ' ' order by point) || ' ' || count(*) from auth.hook_runs
			where outcome <> 'ok' and request_id <> ''`) == fmt.Sprint("send_email send_sms ", 2*len(failures))
	})
}

// An account that something of the operator's needs stays when its mail is refused, without a code.
func TestNewAccountThatCannotBeTakenBack(t *testing.T) {
	t.Parallel()
	d, r := newHookDouble(t), startRelay(t)
	s := start(t, byHook(d, r)...)
	s.exec(`create table public.profiles (id uuid primary key references auth.users);
		create function public.add_profile() returns trigger language plpgsql security definer as $$ begin
			insert into public.profiles values (new.id); return new; end $$;
		create trigger add_profile after insert on auth.users for each row execute function public.add_profile()`)
	d.answering(200, refusing(418, "not here"))
	s.post("/signup", signUpBodyOf("new@example.com"), "").refused(418, "unknown")
	if got := s.one(`select concat_ws(' ', confirmation_token = '', confirmation_sent_at is null) from auth.users`); got != "t t" {
		t.Errorf("code and time: %s", got)
	}
	if got := s.one(`select (select count(*) from auth.outbox) + (select count(*) from auth.one_time_tokens)`); got != "0" {
		t.Errorf("%s rows are left", got)
	}
	d.answering(204, nil)
	s.post("/signup", signUpBodyOf("new@example.com"), "").want(200)
}
