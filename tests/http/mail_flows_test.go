package http_test

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const verifier = "a-code-verifier-of-at-least-43-characters-0123456789"

// challenge is what a client with verifier sends.
func challenge() map[string]any {
	sum := sha256.Sum256([]byte(verifier))
	return map[string]any{"code_challenge": base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method": "s256"}
}

// with is a body with more members.
func with(body map[string]any, more map[string]any) map[string]any {
	out := map[string]any{}
	maps.Copy(out, body)
	maps.Copy(out, more)
	return out
}

// verifyCode presents a code.
func verifyCode(kind, email, code string) call {
	return call{Method: http.MethodPost, Path: "/verify", Body: map[string]any{"type": kind, "email": email, "token": code}}
}

// verifyHash presents the token of a link.
func verifyHash(kind, hash string) call {
	return call{Method: http.MethodPost, Path: "/verify", Body: map[string]any{"type": kind, "token_hash": hash}}
}

// token is the token in a mail's link.
func (m received) token() string { return m.Link.Query().Get("token") }

// flow is a way to have a mail sent to an address that is an unconfirmed or a confirmed account's, or nobody's.
type flow struct {
	name     string
	given    func(s *server, email string)
	request  func(email string) call
	kind     string // type in the link
	confirms bool
}

func mailFlows() []flow {
	post := func(path string, more map[string]any) func(string) call {
		return func(email string) call {
			return call{Method: http.MethodPost, Path: path, Body: with(map[string]any{"email": email}, more)}
		}
	}
	confirmed := func(s *server, email string) { s.account(email) }
	unconfirmed := func(s *server, email string) {
		s.account(email)
		s.exec(`update auth.users set email_confirmed_at = null where email = $1`, email)
	}
	password := map[string]any{"password": goodPassword}
	return []flow{
		{"sign-up", nil, post("/signup", password), "signup", true},
		{"sign-up again", unconfirmed, post("/signup", password), "signup", true},
		{"resend of a sign-up", unconfirmed, post("/resend", map[string]any{"type": "signup"}), "signup", true},
		{"otp of nobody", nil, post("/otp", nil), "signup", true},
		{"magic link of nobody", nil, post("/magiclink", nil), "signup", true},
		{"otp", confirmed, post("/otp", nil), "magiclink", false},
		{"otp without sign-up", confirmed, post("/otp", map[string]any{"create_user": false}), "magiclink", false},
		{"magic link", confirmed, post("/magiclink", nil), "magiclink", false},
		{"recovery", confirmed, post("/recover", nil), "recovery", false},
		{"recovery of an unconfirmed account", unconfirmed, post("/recover", nil), "recovery", true},
	}
}

// Every mail ends in a session by its code, by its link's token, by following the link, and by the code exchange of PKCE.
func TestMailedCodesAndLinksSignIn(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	for i, f := range mailFlows() {
		for way, use := range map[string]func(s *server, f flow, email string, mail received) session{
			"code": func(s *server, f flow, email string, mail received) session {
				return s.do(verifyCode(f.kind, strings.ToUpper(email), mail.Code)).want(200).session()
			},
			"code of type email": func(s *server, _ flow, email string, mail received) session {
				return s.do(verifyCode("email", email, mail.Code)).want(200).session()
			},
			"token_hash": func(s *server, f flow, _ string, mail received) session {
				return s.do(verifyHash(f.kind, mail.token())).want(200).session()
			},
			"link": func(s *server, f flow, _ string, mail received) session {
				return s.landedWith(s.follow(mail), f.kind)
			},
			"link of type email": func(s *server, f flow, _ string, mail received) session {
				query := mail.Link.Query()
				query.Set("type", "email")
				told := map[bool]string{true: "signup", false: "magiclink"}[f.kind == "signup"]
				return s.landedWith(s.get("/verify?"+query.Encode(), ""), told)
			},
		} {
			t.Run(f.name+"/"+way, func(t *testing.T) {
				t.Parallel()
				s := s.in(t)
				email := strings.ReplaceAll(way, " ", "-") + string(rune('a'+i)) + "@example.com"
				if f.given != nil {
					f.given(s, email)
				}
				s.do(f.request(email)).want(200)
				mail := s.mail(r, email, 1)
				if got := mail.Link.Query().Get("type"); got != f.kind || len(mail.token()) != 56 || len(mail.Code) != 6 {
					t.Fatalf("type %q, code %q, link %s", got, mail.Code, mail.Link)
				}
				me := use(s, f, email, mail)
				s.signedIn(me, email, "otp")
				s.renew(me.Refresh).want(200)
				for _, again := range []call{
					verifyCode(f.kind, email, mail.Code), verifyHash(f.kind, mail.token()), verifyCode("email", email, mail.Code),
				} {
					s.do(again).refused(403, "otp_expired")
				}
				if _, _, fragment := s.follow(mail).landed(); fragment.Get("error_code") != "otp_expired" {
					t.Errorf("the link again: %v", fragment)
				}
			})
		}
	}
}

// landedWith reads the session in the fragment that a link leads to.
func (s *server) landedWith(a *answer, kind string) session {
	s.t.Helper()
	address, query, fragment := a.landed()
	if address != "https://app.example.com" || len(query) > 0 || fragment.Get("type") != kind || fragment.Get("token_type") != "bearer" ||
		!fragment.Has("sb") || fragment.Get("expires_in") != "3600" {
		s.t.Fatalf("%s %v %v, want type %s", address, query, fragment, kind)
	}
	me := session{Access: fragment.Get("access_token"), Refresh: fragment.Get("refresh_token")}
	me.ID, _ = claimsOf(s.t, me.Access)["session_id"].(string)
	return me
}

// signedIn checks a session that a mail led to.
func (s *server) signedIn(me session, email, method string) {
	s.t.Helper()
	user := s.get("/user", me.Access).want(200)
	if user.text("email") != email || user.text("email_confirmed_at") == "" {
		s.t.Errorf("signed in as %s", user.Raw)
	}
	raw := &answer{t: s.t, Raw: []byte(s.one(`select json_agg(authentication_method)::text from auth.mfa_amr_claims where session_id = $1::uuid`, me.ID))}
	if raw.text("0") != method {
		s.t.Errorf("amr %s, want %s", raw.Raw, method)
	}
}

// With a challenge, the link leads to an auth code, which only the verifier exchanges, and only once.
func TestLinksOfPKCEEndInAnAuthCode(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	methods := map[string]string{"signup": "email/signup", "magiclink": "magiclink", "recovery": "recovery"}
	for i, f := range mailFlows() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := s.in(t)
			email := "pkce" + string(rune('a'+i)) + "@example.com"
			if f.given != nil {
				f.given(s, email)
			}
			c := f.request(email)
			c.Body = with(c.Body.(map[string]any), challenge())
			s.do(c).want(200)
			mail := s.mail(r, email, 1)
			if !strings.HasPrefix(mail.token(), "pkce_") || len(mail.token()) != 61 {
				t.Fatalf("token %q", mail.token())
			}
			address, query, fragment := s.follow(mail).landed()
			code := query.Get("code")
			if address != "https://app.example.com" || code == "" || len(fragment) > 0 {
				t.Fatalf("%s %v %v", address, query, fragment)
			}
			exchange := func(verifier string) call {
				return call{Method: "POST", Path: "/token?grant_type=pkce", Body: map[string]any{"auth_code": code, "code_verifier": verifier}}
			}
			s.do(exchange(verifier+"x")).refused(400, "bad_code_verifier")
			wins := 0
			for _, a := range s.atOnce(exchange(verifier), exchange(verifier), exchange(verifier)) {
				if a.Status == 200 {
					wins++
					s.signedIn(a.session(), email, methods[f.kind])
				} else {
					a.refused(404, "flow_state_not_found")
				}
			}
			if wins != 1 {
				t.Errorf("%d exchanges of one code", wins)
			}
			_, query, fragment = s.follow(mail).landed()
			if query.Get("error_code") != "otp_expired" || fragment.Get("error_code") != "otp_expired" {
				t.Errorf("the link again: %v %v", query, fragment)
			}
		})
	}
}

// The code in a mail of a PKCE flow signs in directly; an auth code expires.
func TestCodesOfPKCEFlows(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	s.account("ada@example.com")
	body := with(map[string]any{"email": "ada@example.com"}, challenge())
	s.post("/otp", body, "").want(200)
	s.do(verifyCode("magiclink", "ada@example.com", s.mail(r, "ada@example.com", 1).Code)).want(200).session()
	s.post("/otp", body, "").want(200)
	s.do(verifyHash("magiclink", s.mail(r, "ada@example.com", 2).token())).want(200).session()

	s.post("/recover", body, "").want(200)
	_, query, _ := s.follow(s.mail(r, "ada@example.com", 3)).landed()
	s.exec(`update auth.flow_state set created_at = created_at - interval '301 seconds'`)
	s.post("/token?grant_type=pkce", map[string]any{"auth_code": query.Get("code"), "code_verifier": verifier}, "").refused(422, "flow_state_expired")

	// Without its flow the link is not used up.
	s.post("/recover", body, "").want(200)
	s.exec(`delete from auth.flow_state`)
	mail := s.mail(r, "ada@example.com", 4)
	if _, _, fragment := s.follow(mail).landed(); fragment.Get("error_code") != "flow_state_not_found" {
		t.Errorf("%v", fragment)
	}
	s.do(verifyHash("recovery", mail.token())).want(200).session()
}

// What a request may not have: nothing is sent, and nothing tells whether an account exists.
func TestMailRequestsOfNobody(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	s.account("confirmed@example.com")
	for _, c := range []call{
		{Method: "POST", Path: "/recover", Body: `{"email": "nobody@example.com"}`},
		{Method: "POST", Path: "/resend", Body: `{"type": "signup", "email": "nobody@example.com"}`},
		{Method: "POST", Path: "/resend", Body: `{"type": "signup", "email": "confirmed@example.com"}`},
		{Method: "POST", Path: "/resend", Body: `{"type": "email_change", "email": "confirmed@example.com"}`},
	} {
		if a := s.do(c).want(200); strings.TrimSpace(string(a.Raw)) != "{}" {
			t.Errorf("%s: %s", c.Path, a.Raw)
		}
	}
	s.post("/otp", map[string]any{"email": "nobody@example.com", "create_user": false}, "").refused(422, "otp_disabled")
	// A known, confirmed account: a made-up user, and no mail.
	a := s.post("/signup", map[string]any{"email": "confirmed@example.com", "password": goodPassword}, "").want(200)
	if a.text("id") == s.one(`select id from auth.users where email = 'confirmed@example.com'`) {
		t.Error("the answer shows the account's id")
	}
	if n := s.one(`select count(*) from auth.outbox`); n != "0" || len(r.all()) != 0 {
		t.Errorf("%s mails queued", n)
	}
}

// A change of address, confirmed by both addresses or by the new one alone, by codes and by links.
func TestChangeOfAddress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		secure, links, reversed bool
		more                    map[string]any
	}{
		"secure by code":           {true, false, false, nil},
		"secure by code, reversed": {true, false, true, nil},
		"secure by link":           {true, true, false, nil},
		"secure by PKCE link":      {true, true, true, challenge()},
		"single by code":           {false, false, false, nil},
		"single by link":           {false, true, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, r := startMailing(t, "GOTRUE_MAILER_SECURE_EMAIL_CHANGE_ENABLED="+map[bool]string{true: "true", false: "false"}[c.secure])
			me := s.member("old@example.com")
			s.put("/user", with(map[string]any{"email": "New@example.com"}, c.more), me.Access).want(200)
			mails := []received{s.mail(r, "new@example.com", 1)}
			if c.secure {
				mails = append(mails, s.mail(r, "old@example.com", 1))
				if mails[0].Code == mails[1].Code && mails[0].token() == mails[1].token() {
					t.Error("both mails hold the same code")
				}
			}
			if c.reversed {
				mails[0], mails[1] = mails[1], mails[0]
			}
			for i, mail := range mails {
				last := i == len(mails)-1
				if c.links {
					s.followChange(mail, last, c.more != nil)
				} else if a := s.do(verifyCode("email_change", mail.To, mail.Code)).want(200); last {
					a.session()
				} else if a.text("code") != "200" || a.text("access_token") != "" {
					t.Fatalf("half confirmed: %s", a.Raw)
				}
				if got := s.one(`select email from auth.users`); (got == "new@example.com") != last {
					t.Errorf("after mail %d the address is %s", i, got)
				}
				s.do(verifyHash("email_change", mail.token())).refused(403, "otp_expired")
			}
			if got := s.one(`select identity_data ->> 'email' from auth.identities`); got != "new@example.com" {
				t.Errorf("identity %s", got)
			}
			if c.secure == (len(r.to("old@example.com")) == 0) {
				t.Errorf("%d mails to the old address", len(r.to("old@example.com")))
			}
		})
	}
}

// followChange opens the link of a change of address.
func (s *server) followChange(mail received, last, isPKCE bool) {
	s.t.Helper()
	_, query, fragment := s.follow(mail).landed()
	switch {
	case !last && !strings.Contains(fragment.Get("message"), "Confirmation"):
		s.t.Errorf("half confirmed: %v", fragment)
	case last && isPKCE:
		s.post("/token?grant_type=pkce", map[string]any{"auth_code": query.Get("code"), "code_verifier": verifier}, "").want(200).session()
	case last && fragment.Get("access_token") == "":
		s.t.Errorf("no session: %v", fragment)
	}
}

// resend sends both mails of a change again, and the first ones are void.
func TestResendOfAChangeOfAddress(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	me := s.member("old@example.com")
	s.put("/user", map[string]any{"email": "new@example.com"}, me.Access).want(200)
	first := s.mail(r, "new@example.com", 1)
	s.post("/resend", map[string]any{"type": "email_change", "email": "old@example.com"}, "").want(200)
	second, other := s.mail(r, "new@example.com", 2), s.mail(r, "old@example.com", 2)
	s.do(verifyCode("email_change", "new@example.com", first.Code)).refused(403, "otp_expired")
	s.do(verifyHash("email_change", first.token())).refused(403, "otp_expired")
	s.do(verifyCode("email_change", "new@example.com", second.Code)).want(200)
	s.do(verifyCode("email_change", "old@example.com", other.Code)).want(200).session()
}

// A change is sent again, as what it is, to whom address or number names (contract core.md 7.6): in a link of PKCE if it began so, with
// a code as long as those of its kind.
func TestResendByTheOtherName(t *testing.T) {
	t.Parallel()
	d := newHookDouble(t)
	s := start(t, byHook(d, startRelay(t), "GOTRUE_SMS_OTP_LENGTH=8", "GOTRUE_MAILER_OTP_LENGTH=6")...)
	me := s.member("old@example.com")
	s.exec(`update auth.users set phone = '4915', phone_confirmed_at = now()`)
	s.put("/user", map[string]any{"email": "new@example.com", "phone": "4916"}, me.Access).want(200)
	d.took("send-email")
	d.took("send-sms")

	s.post("/resend", with(map[string]any{"type": "email_change", "phone": "4915"}, challenge()), "").want(200)
	told := d.took("send-email")[0]
	for _, name := range []string{"email_data.token", "email_data.token_new"} {
		if code, _ := member(told, name).(string); len(code) != 6 {
			t.Errorf("%s is %q", name, code)
		}
	}
	for _, name := range []string{"email_data.token_hash", "email_data.token_hash_new"} {
		if hash, _ := member(told, name).(string); !strings.HasPrefix(hash, "pkce_") {
			t.Errorf("%s is %q", name, hash)
		}
	}
	s.post("/resend", map[string]any{"type": "phone_change", "email": "old@example.com"}, "").want(200)
	code, _ := member(d.took("send-sms")[0], "sms.otp").(string)
	if len(code) != 8 {
		t.Errorf("texted %q", code)
	}
	s.post("/verify", map[string]any{"type": "phone_change", "phone": "4916", "token": code}, "").want(200)
}

// Whatever is verified, app_metadata names the providers of the account's identities afterwards, the oldest first (contract core.md 7.8).
func TestVerificationsNameTheProviders(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t, "GOTRUE_EXTERNAL_PHONE_ENABLED=true", "GOTRUE_SMS_MAX_FREQUENCY=1ms", "GOTRUE_SMS_TEST_OTP=4915:123456,4916:123456")
	named := func(what string, a *answer, want string) {
		t.Helper()
		if got := a.want(200).text("user.app_metadata"); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	s.post("/otp", map[string]any{"phone": "4915"}, "").want(200)
	me := s.post("/verify", map[string]any{"type": "sms", "phone": "4915", "token": "123456"}, "").want(200).session()
	s.put("/user", map[string]any{"email": "ada@example.com"}, me.Access).want(200)
	both := `{"provider":"phone","providers":["phone","email"]}`
	named("a first address", s.do(verifyCode("email_change", "ada@example.com", s.mail(r, "ada@example.com", 1).Code)), both)

	const stale = `update auth.users set raw_app_meta_data = '{"provider": "email", "plan": "gold"}'`
	both = `{"plan":"gold","provider":"phone","providers":["phone","email"]}`
	s.exec(stale)
	s.post("/otp", map[string]any{"email": "ada@example.com"}, "").want(200)
	named("a sign-in", s.do(verifyCode("magiclink", "ada@example.com", s.mail(r, "ada@example.com", 2).Code)), both)
	s.exec(stale)
	s.post("/otp", map[string]any{"phone": "4915"}, "").want(200)
	named("a sign-in by number", s.post("/verify", map[string]any{"type": "sms", "phone": "4915", "token": "123456"}, ""), both)
	s.exec(stale)
	s.put("/user", map[string]any{"phone": "4916"}, me.Access).want(200)
	named("another number", s.post("/verify", map[string]any{"type": "phone_change", "phone": "4916", "token": "123456"}, ""), both)
}

// Two accounts that want one address: each code is its own account's.
func TestTwoChangesToOneAddress(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t, "GOTRUE_MAILER_SECURE_EMAIL_CHANGE_ENABLED=false")
	one, two := s.member("one@example.com"), s.member("two@example.com")
	s.put("/user", map[string]any{"email": "new@example.com"}, one.Access).want(200)
	first := s.mail(r, "new@example.com", 1)
	s.put("/user", map[string]any{"email": "new@example.com"}, two.Access).want(200)
	second := s.mail(r, "new@example.com", 2)
	if got := s.do(verifyCode("email_change", "new@example.com", second.Code)).want(200).session().UserID; got != two.UserID {
		t.Errorf("signed in as %s, want %s", got, two.UserID)
	}
	if a := s.do(verifyCode("email_change", "new@example.com", first.Code)); a.Status == 200 {
		t.Errorf("a second account took the address: %s", a.Raw)
	}
	s.do(verifyHash("email_change", first.token())).refused(422, "email_exists")
}

// A change of password in an old session needs the code that GET /reauthenticate mails; it works once.
func TestReauthentication(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t, "GOTRUE_SECURITY_UPDATE_PASSWORD_REQUIRE_REAUTHENTICATION=true")
	me := s.member("ada@example.com")
	s.exec(`update auth.sessions set created_at = created_at - interval '25 hours'`)
	change := func(password, nonce string) *answer {
		return s.put("/user", map[string]any{"password": password, "nonce": nonce}, me.Access)
	}
	change("another password", "").refused(400, "reauthentication_needed")
	s.get("/reauthenticate", me.Access).want(200)
	code := s.mail(r, "ada@example.com", 1).Code
	change("another password", wrong(code)).refused(422, "reauthentication_not_valid")
	change("another password", s.one(`select reauthentication_token from auth.users`)).refused(422, "reauthentication_not_valid")
	s.do(verifyCode("reauthentication", "ada@example.com", code)).refused(403, "otp_expired")
	s.exec(`update auth.users set reauthentication_sent_at = reauthentication_sent_at - interval '86401 seconds'`)
	change("another password", code).refused(422, "reauthentication_not_valid")
	s.exec(`update auth.users set reauthentication_sent_at = now()`)
	// A right code is used up, even where the new password is refused.
	change(goodPassword, code).refused(422, "same_password")
	change("another password", code).refused(422, "reauthentication_not_valid")
	s.exec(`update auth.users set reauthentication_sent_at = null`)
	s.get("/reauthenticate", me.Access).want(200)
	code = s.mail(r, "ada@example.com", 2).Code
	change("another password", code).want(200)
	change("a third password", code).refused(422, "reauthentication_not_valid")
	s.signIn("ada@example.com", "another password")
}

// wrong is another code.
func wrong(code string) string {
	return strings.Map(func(r rune) rune { return '0' + (r-'0'+1)%10 }, code)
}

// Links lead where the request asked, if that is allowed, else to the Referer, else to the site (contract core.md 8).
func TestRedirectsOfLinks(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t, "GOTRUE_URI_ALLOW_LIST=https://*.example.org/**,myapp://**")
	for i, c := range []struct {
		query, header, referer, want string
	}{
		{"", "", "", "https://app.example.com"},
		{"https://app.example.com/welcome?a=1&b=2#c", "", "", "https://app.example.com/welcome"},
		{"https://a.example.org/x", "", "", "https://a.example.org/x"},
		{"myapp://callback", "", "", "myapp://callback"},
		{"https://evil.example.net/", "", "", "https://app.example.com"},
		{"https://evil.example.net/", "", "https://a.example.org/from", "https://a.example.org/from"},
		{"https://a.example.org/query", "https://a.example.org/header", "", "https://a.example.org/header"},
		{"", "", "https://evil.example.net/", "https://app.example.com"},
	} {
		email := "r" + string(rune('a'+i)) + "@example.com"
		request := call{Method: "POST", Path: "/otp?redirect_to=" + url.QueryEscape(c.query), Body: map[string]any{"email": email}, Header: map[string]string{}}
		if c.header != "" {
			request.Header["redirect_to"] = c.header
		}
		if c.referer != "" {
			request.Header["Referer"] = c.referer
		}
		s.do(request).want(200)
		mail := s.mail(r, email, 1)
		address, query, fragment := s.follow(mail).landed()
		if address != c.want || fragment.Get("access_token") == "" && !strings.Contains(c.query, "#") {
			t.Errorf("%+v: %s %v %v", c, address, query, fragment)
		}
		// The address in the link is judged again when it is followed.
		evil := mail.Link.Query()
		evil.Set("redirect_to", "https://evil.example.net/")
		if address, _, _ := s.get("/verify?"+evil.Encode(), "").landed(); address != "https://app.example.com" {
			t.Errorf("a changed link leads to %s", address)
		}
	}
}
