package http_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/postern-auth/postern/gateway/seal"
)

// appCode is what an authenticator app shows so many steps from now, by another implementation than the gateway's.
func appCode(t testing.TB, secret string, steps int) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, time.Now().Add(time.Duration(steps)*30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// wrongCode is one that the app shows at no time near now.
func wrongCode(t testing.TB, secret string) string {
	t.Helper()
	for guess := 0; ; guess++ {
		code, isNear := fmt.Sprintf("%06d", guess), false
		for steps := -3; steps <= 3; steps++ {
			isNear = isNear || code == appCode(t, secret, steps)
		}
		if !isNear {
			return code
		}
	}
}

// enrol adds an authenticator app to the account.
func (s *server) enrol(me session, name string) (factor, secret string) {
	s.t.Helper()
	a := s.post("/factors", map[string]any{"factor_type": "totp", "friendly_name": name}, me.Access).want(200)
	return a.text("id"), a.text("totp.secret")
}

// challenged opens a challenge of a factor.
func (s *server) challenged(me session, factor string) string {
	s.t.Helper()
	return s.post("/factors/"+factor+"/challenge", map[string]any{}, me.Access).want(200).text("id")
}

func verifying(me session, factor, challenge, code string) call {
	return call{
		Method: "POST", Path: "/factors/" + factor + "/verify", Bearer: me.Access,
		Body: map[string]any{"challenge_id": challenge, "code": code},
	}
}

// verified raises a session to aal2.
func (s *server) verified(me session, factor, secret string) session {
	s.t.Helper()
	return s.do(verifying(me, factor, s.challenged(me, factor), appCode(s.t, secret, 0))).want(200).session()
}

func aalOf(t testing.TB, access string) string {
	t.Helper()
	aal, _ := claimsOf(t, access)["aal"].(string)
	return aal
}

// From enrolment to aal2 and back, with what else happens on the way (contract mfa-hooks.md 1.4 to 1.9).
func TestLifeOfAnAuthenticatorApp(t *testing.T) {
	t.Parallel()
	s := start(t, reuseInterval+"0")
	me := s.quickMember("ada@example.com")
	other := s.open(me.UserID)
	a := s.post("/auth/v1/factors", `{"factor_type": "totp", "friendly_name": "app"}`, me.Access).want(200)
	a.holds(`{"id": "<uuid>", "type": "totp", "friendly_name": "app", "totp": {"qr_code": "<text>", "secret": "<text>", "uri": "<text>"}}`, true)
	factor, secret := a.text("id"), a.text("totp.secret")
	if want := "otpauth://totp/app.example.com:ada@example.com?algorithm=SHA1&digits=6&issuer=app.example.com&period=30&secret=" + secret; a.text("totp.uri") != want {
		t.Errorf("uri %s", a.text("totp.uri"))
	}
	if picture := a.text("totp.qr_code"); !strings.HasPrefix(picture, "<?xml") || !strings.Contains(string(a.Raw), "<rect x=") {
		t.Errorf("picture %.80s", picture)
	}
	s.get("/user", me.Access).holds(`{"factors": [{"id": "`+factor+`", "created_at": "<time>", "updated_at": "<time>", "status": "unverified",
		"friendly_name": "app", "factor_type": "totp", "phone": "", "last_challenged_at": null}]}`, false)
	stored := s.one(`select secret from auth.mfa_factors`)
	if !strings.HasPrefix(stored, seal.FactorPrefix) || strings.Contains(s.one(`select f::text from auth.mfa_factors f`), secret) {
		t.Errorf("the secret is stored as %s", stored)
	}
	if strings.Contains(s.Log.String(), secret) {
		t.Error("the secret is in the log")
	}

	before := time.Now().Unix()
	c := s.do(call{Method: "POST", Path: "/factors/" + factor + "/challenge", Bearer: me.Access}).want(200) // no body is needed
	c.holds(`{"id": "<uuid>", "type": "totp", "expires_at": "<number>"}`, true)
	if expires, _ := c.at("expires_at").(float64); int64(expires) < before+300 || int64(expires) > time.Now().Unix()+300 {
		t.Errorf("expires_at %v", expires)
	}
	challenge := c.text("id")
	s.do(verifying(me, factor, challenge, wrongCode(t, secret))).refused(422, "mfa_verification_failed")
	v := s.do(verifying(me, factor, challenge, " "+appCode(t, secret, 0)+"\n")).want(200)
	v.headers(map[string]string{"Sb-Auth-User-Id": "", "Sb-Auth-Session-Id": "", "Sb-Auth-Refresh-Token-Counter": "", "Content-Type": "application/json"})
	v.holds(`{"access_token": "<text>", "token_type": "bearer", "expires_in": 3600, "expires_at": "<number>", "refresh_token": "<text>",
		"user": {"factors": [{"status": "verified"}]}}`, false)
	strong := v.session()
	if strong.ID != me.ID || aalOf(t, strong.Access) != "aal2" {
		t.Errorf("claims %v", claimsOf(t, strong.Access))
	}
	s.get("/user", me.Access).want(200) // the token of before is good until it expires
	s.get("/user", other.Access).refused(403, "session_not_found")
	renewed := s.renew(strong.Refresh).want(200).session()
	if aalOf(t, renewed.Access) != "aal2" {
		t.Error("a refresh lost aal2")
	}

	// What needs aal2 (contract mfa-hooks.md 1.10).
	weak := s.open(me.UserID)
	s.put("/user", `{"email": "new@example.com"}`, weak.Access).refused(401, "insufficient_aal")
	s.post("/factors", `{"factor_type": "totp", "friendly_name": "b"}`, weak.Access).refused(403, "insufficient_aal")
	s.delete("/factors/"+factor, nil, weak.Access).refused(422, "insufficient_aal")
	s.put("/user", `{"email": "new@example.com"}`, strong.Access).want(200)
	second, _ := s.enrol(strong, "b")
	s.delete("/factors/"+second, nil, weak.Access).want(200)

	s.delete("/factors/"+factor, nil, strong.Access).want(200).holds(`{"id": "`+factor+`"}`, true)
	s.delete("/factors/"+factor, nil, strong.Access).refused(404, "mfa_factor_not_found")
	if last := s.renew(renewed.Refresh).want(200).session(); aalOf(t, last.Access) != "aal1" {
		t.Error("without the factor the session is at aal2 still")
	}
	s.get("/user", weak.Access).holds(`{"factors": "<none>"}`, false)
	want := "factor_in_progress,challenge_created,verification_attempted,token_refreshed"
	if got := strings.Join(s.audit(), ","); !strings.Contains(got, want) || !strings.Contains(got, "factor_unenrolled") {
		t.Errorf("audit log %s", got)
	}
}

// The refresh token of before is used up, whatever the reuse interval: nobody gets aal2 with what was stolen at aal1.
func TestRefreshTokenOfBeforeASecondFactor(t *testing.T) {
	t.Parallel()
	s := start(t, reuseInterval+"3600")
	me := s.quickMember("ada@example.com")
	factor, secret := s.enrol(me, "app")
	strong := s.verified(me, factor, secret)
	s.renew(me.Refresh).refused(400, "refresh_token_already_used")
	if strong.Refresh == me.Refresh {
		t.Error("the refresh token stays")
	}
}

// Every refusal of the contract's tables (mfa-hooks.md 1.1, 1.4, 1.5, 1.7).
func TestWhatFactorsRefuse(t *testing.T) {
	t.Parallel()
	const noFactor = "5ad83af2-bf46-4d53-b2ad-9bd26d8a6e1a"
	given := func(s *server) values {
		me := s.quickMember("ada@example.com")
		v := of(me)
		v["factor"], v["secret"] = s.enrol(me, "app")
		v["challenge"] = s.challenged(me, v["factor"])
		v["wrong"] = wrongCode(t, v["secret"])
		v["sessionless"] = s.edited(me.Access, map[string]any{"session_id": nil})
		bob := s.member("bob@example.com")
		v["bob"] = bob.Access
		v["bobs"], _ = s.enrol(bob, "app")
		return v
	}
	enrol := func(bearer, body string) call {
		return call{Method: "POST", Path: "/factors", Body: body, Bearer: bearer}
	}
	challenge := func(bearer, factor string) call {
		return call{Method: "POST", Path: "/factors/" + factor + "/challenge", Bearer: bearer}
	}
	verify := func(bearer, factor, body string) call {
		return call{Method: "POST", Path: "/factors/" + factor + "/verify", Body: body, Bearer: bearer}
	}
	answered := func(code string) string { return `{"challenge_id": "{challenge}", "code": "` + code + `"}` }
	const noSession = `A valid session and a registered user are required to enroll a factor`
	var table []Scenario
	for _, c := range []struct {
		name   string
		call   call
		status int
		code   string
		msg    string
		env    []string
		sql    string
	}{
		{"enrol: no token", enrol("", `{}`), 401, "no_authorization", "This endpoint requires a valid Bearer token", nil, ""},
		{"enrol: service role", enrol("{admin}", `{"factor_type": "totp"}`), 403, "bad_jwt", "invalid claim: missing sub claim", nil, ""},
		{"enrol: no session", enrol("{sessionless}", `{"factor_type": "totp"}`), 500, "unexpected_failure", noSession, nil, ""},
		{"enrol: no body", enrol("{access}", ""), 400, "bad_json", "", nil, ""},
		{"enrol: no type", enrol("{access}", `{}`), 400, "validation_failed", "factor_type needs to be totp, phone, or webauthn", nil, ""},
		{"enrol: webauthn", enrol("{access}", `{"factor_type": "webauthn"}`), 422, "mfa_webauthn_enroll_not_enabled", "MFA enroll is disabled for WebAuthn", nil, ""},
		{"enrol: phone is off", enrol("{access}", `{"factor_type": "phone", "phone": "+49"}`), 422, "mfa_phone_enroll_not_enabled", "MFA enroll is disabled for Phone", nil, ""},
		{"enrol: long issuer", enrol("{access}", `{"factor_type": "totp", "issuer": "`+strings.Repeat("ä", 60)+`"}`), 400, "validation_failed", "issuer is too long for a QR code", nil, ""},
		{"challenge: no id", challenge("{access}", "x"), 404, "validation_failed", "factor_id must be an UUID", nil, ""},
		{"challenge: unknown", challenge("{access}", noFactor), 404, "mfa_factor_not_found", "Factor not found", nil, ""},
		{"challenge: somebody else's", challenge("{access}", "{bobs}"), 404, "mfa_factor_not_found", "Factor not found", nil, ""},
		{"challenge: ended session", challenge("{access}", "{factor}"), 403, "session_not_found", "", nil, `create function public.gone() returns trigger language plpgsql as $$ begin delete from auth.sessions; return null; end $$;
			create trigger gone after insert on auth.mfa_challenges execute function public.gone()`},
		{"verify: no id", verify("{access}", "x", answered("123456")), 404, "validation_failed", "factor_id must be an UUID", nil, ""},
		{"verify: somebody else's", verify("{access}", "{bobs}", answered("123456")), 404, "mfa_factor_not_found", "Factor not found", nil, ""},
		{"verify: no body", verify("{access}", "{factor}", ""), 400, "bad_json", "", nil, ""},
		{"verify: short challenge id", verify("{access}", "{factor}", `{"challenge_id": "x", "code": "123456"}`), 400, "bad_json", `Could not parse request body as JSON: uuid: incorrect UUID length 1 in string "x"`, nil, ""},
		{"verify: empty challenge id", verify("{access}", "{factor}", `{"challenge_id": "", "code": "123456"}`), 400, "bad_json", `Could not parse request body as JSON: uuid: incorrect UUID length 0 in string ""`, nil, ""},
		{"verify: null as challenge id", verify("{access}", "{factor}", `{"challenge_id": null, "code": "123456"}`), 422, "mfa_factor_not_found", "", nil, ""},
		{"verify: no id, short challenge id", verify("{access}", "x", `{"challenge_id": "x"}`), 404, "validation_failed", "factor_id must be an UUID", nil, ""},
		{"verify: unknown, nonsense", verify("{access}", noFactor, "nonsense"), 404, "mfa_factor_not_found", "Factor not found", nil, ""},
		{"verify: no code", verify("{access}", "{factor}", answered("")), 400, "validation_failed", "Code needs to be non-empty", nil, ""},
		{"verify: no challenge", verify("{access}", "{factor}", `{"code": "123456"}`), 422, "mfa_factor_not_found", "MFA factor with the provided challenge ID not found", nil, ""},
		{"verify: another factor's challenge", verify("{bob}", "{bobs}", answered("123456")), 422, "mfa_factor_not_found", "MFA factor with the provided challenge ID not found", nil, ""},
		{"verify: no session", verify("{sessionless}", "{factor}", answered("123456")), 500, "unexpected_failure", "Cannot read SessionId claim as UUID", nil, ""},
		{"verify: wrong", verify("{access}", "{factor}", answered("{wrong}")), 422, "mfa_verification_failed", "Invalid TOTP code entered", nil, ""},
		{"verify: letters", verify("{access}", "{factor}", answered("abcdef")), 422, "mfa_verification_failed", "Invalid TOTP code entered", nil, ""},
		{"remove: no id", call{Method: "DELETE", Path: "/factors/x", Bearer: "{access}"}, 404, "validation_failed", "factor_id must be an UUID", nil, ""},
		{"remove: somebody else's", call{Method: "DELETE", Path: "/factors/{bobs}", Bearer: "{access}"}, 404, "mfa_factor_not_found", "Factor not found", nil, ""},
		{"remove: no session", call{Method: "DELETE", Path: "/factors/{factor}", Bearer: "{sessionless}"}, 500, "unexpected_failure", "A valid session and factor are required to unenroll a factor", nil, ""},
	} {
		if c.msg == "" {
			c.msg = "<text>"
		}
		raw := fmt.Sprintf(`{"code": %d, "error_code": %q, "msg": %q}`, c.status, c.code, c.msg)
		table = append(table, Scenario{
			Name: c.name, Env: c.env, SQL: c.sql, Given: given, Request: c.call, WantStatus: c.status, WantBody: raw,
		})
	}
	for _, path := range []string{"/factors", "/factors/" + noFactor} {
		table = append(table, Scenario{Name: "GET " + path, Given: given, Request: call{Method: "GET", Path: path, Bearer: "{access}"}, WantStatus: 405})
	}
	run(t, table)
}

func TestAnonymousUsersHaveNoFactors(t *testing.T) {
	t.Parallel()
	s := start(t, anonymousOn)
	me := s.post("/signup", `{}`, "").want(200).session()
	a := s.post("/factors", `{"factor_type": "totp"}`, me.Access).refused(403, "no_authorization")
	if a.text("msg") != "Anonymous user not allowed to perform these actions" {
		t.Errorf("msg %q", a.text("msg"))
	}
	s.post("/factors", "nonsense", me.Access).refused(403, "no_authorization")
	s.post("/factors/x/verify", "nonsense", me.Access).refused(403, "no_authorization")
}

// A challenge is for one address and a while, is answered once, and survives wrong codes.
func TestChallengesEnd(t *testing.T) {
	t.Parallel()
	s := start(t)
	me := s.quickMember("ada@example.com")
	factor, secret := s.enrol(me, "app")
	challenge := s.challenged(me, factor)
	elsewhere := verifying(me, factor, challenge, appCode(t, secret, 0))
	elsewhere.Header = map[string]string{"X-Forwarded-For": "192.0.2.7"}
	if a := s.do(elsewhere).refused(422, "mfa_ip_address_mismatch"); a.text("msg") != "Challenge and verify IP addresses mismatch." {
		t.Errorf("msg %q", a.text("msg"))
	}
	for range 3 {
		s.do(verifying(me, factor, challenge, wrongCode(t, secret))).refused(422, "mfa_verification_failed")
	}
	expired := s.challenged(me, factor)
	s.exec(`update auth.mfa_challenges set created_at = created_at - interval '301 seconds' where id = $1::text::uuid`, expired)
	a := s.do(verifying(me, factor, expired, appCode(t, secret, 0))).refused(422, "mfa_challenge_expired")
	if want := "MFA challenge " + expired + " has expired, verify against another challenge or create a new challenge."; a.text("msg") != want {
		t.Errorf("msg %q", a.text("msg"))
	}
	if s.one(`select count(*) from auth.mfa_challenges where id = $1::text::uuid`, expired) != "0" {
		t.Error("an expired challenge is kept")
	}
	code := appCode(t, secret, 0)
	me = s.do(verifying(me, factor, challenge, code)).want(200).session()
	s.do(verifying(me, factor, challenge, code)).refused(422, "mfa_ip_address_mismatch")
	// As in the reference, a code is good for another challenge while it is shown.
	s.do(verifying(me, factor, s.challenged(me, factor), appCode(t, secret, 0))).want(200)
}

// Two right codes at once on one challenge: one wins, and one session has the new tokens.
func TestOneOfTwoRightCodesWins(t *testing.T) {
	t.Parallel()
	s := start(t)
	gateways := []*server{s, startOn(t, s.db)}
	me := s.quickMember("ada@example.com")
	factor, secret := s.enrol(me, "app")
	challenge := s.challenged(me, factor)
	c := verifying(me, factor, challenge, appCode(t, secret, 0))
	answers := make([]*answer, 8)
	var trying sync.WaitGroup
	for i := range answers {
		trying.Go(func() {
			a, err := gateways[i%2].send(c)
			if err != nil {
				t.Error(err)
			}
			answers[i] = a
		})
	}
	trying.Wait()
	won := 0
	for _, a := range answers {
		if a == nil {
			continue
		}
		if a.Status == http.StatusOK {
			won++
			continue
		}
		a.refused(422, "mfa_ip_address_mismatch")
	}
	if counter := s.one(`select counter from auth.refresh_tokens`); won != 1 || counter != "2" {
		t.Errorf("%d won, the counter is %s", won, counter)
	}
}

// Parallel guessing does not get past the limit: of 200 wrong codes at once as many are compared as guesses are allowed.
func TestParallelGuessingAtSecondFactors(t *testing.T) {
	t.Parallel()
	s := start(t)
	gateways := []*server{s, startOn(t, s.db)}
	me := s.quickMember("ada@example.com")
	factor, secret := s.enrol(me, "app")
	began := time.Now()
	wrong := verifying(me, factor, s.challenged(me, factor), wrongCode(t, secret))
	statuses := make([]int, 200)
	var guessing sync.WaitGroup
	places := make(chan struct{}, 20)
	for i := range statuses {
		guessing.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			a, err := gateways[i%2].send(wrong)
			if err != nil {
				t.Error(err)
				return
			}
			statuses[i] = a.Status
		})
	}
	guessing.Wait()
	count := map[int]int{}
	for _, status := range statuses {
		count[status]++
	}
	// One more becomes free every ten seconds.
	most := 30 + int(time.Since(began)/(10*time.Second))
	if count[422] < 30 || count[422] > most || count[422]+count[429] != len(statuses) {
		t.Errorf("%v, want 30 to %d times 422 and else 429", count, most)
	}
	s.exec(`update auth.rate_limits set full_at = now() + interval '5 minutes' where limiter = 'guesses'`)
	right := verifying(me, factor, s.challenged(me, factor), appCode(t, secret, 0))
	if a := s.do(right).refused(429, "over_request_rate_limit"); a.Header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	s.exec(`select postern.unblock($1)`, me.UserID)
	s.do(right).want(200)
}

// Per client, challenges and verifications have a limit each, which is asked after the factor is found (contract mfa-hooks.md 0.4).
func TestLimitsOfFactors(t *testing.T) {
	t.Parallel()
	s := start(t, limitOn)
	me := s.quickMember("ada@example.com")
	factor, _ := s.enrol(me, "app")
	for name, c := range map[string]struct {
		call   call
		status int
	}{
		"challenge": {call{Method: "POST", Path: "/factors/" + factor + "/challenge", Bearer: me.Access}, 200},
		"verify":    {verifying(me, factor, factor, ""), 400},
		"nonsense":  {call{Method: "POST", Path: "/factors/" + factor + "/verify", Body: "nonsense", Bearer: me.Access}, 400},
	} {
		passed := 0
		s.exec(`delete from auth.rate_limits`)
		for range 40 {
			if s.do(c.call.from("192.0.2.1")).Status == c.status {
				passed++
			}
		}
		if passed < 30 || passed > 35 {
			t.Errorf("%s: %d got through", name, passed)
		}
		a := s.do(c.call.from("192.0.2.1"))
		if a.refused(429, "over_request_rate_limit"); a.text("msg") != "Request rate limit reached" {
			t.Errorf("%s: msg %q", name, a.text("msg"))
		}
		s.do(c.call.from("192.0.2.2")).want(c.status)
		unknown := c.call
		unknown.Path = strings.Replace(unknown.Path, factor, "x", 1)
		s.do(unknown.from("192.0.2.1")).refused(404, "validation_failed")
	}
}

// Factors of Supabase Auth go on working: the plain secret is sealed at its first verification here, and goes back as it was.
func TestAuthenticatorAppsOfSupabaseAuth(t *testing.T) {
	t.Parallel()
	s := start(t, tokenKeys+testKeys("one"))
	me := s.quickMember("ada@example.com")
	const secret, factor = "LTKVWWKR7PZKHXZZQ34KME5TE2UJ3MR3", "6ed321d9-c7cd-43bb-8cab-999d4287c3d1"
	s.exec(`insert into auth.mfa_factors (id, user_id, friendly_name, factor_type, status, created_at, updated_at, secret)
		values ($1::text::uuid, $2::text::uuid, 'phone', 'totp', 'verified', now(), now(), $3)`, factor, me.UserID, secret)
	stored := func() string { return s.one(`select secret from auth.mfa_factors where id = $1::text::uuid`, factor) }
	s.do(verifying(me, factor, s.challenged(me, factor), wrongCode(t, secret))).refused(422, "mfa_verification_failed")
	if stored() != secret {
		t.Error("a wrong code changes the secret")
	}
	me = s.verified(me, factor, strings.ToLower(secret))
	first := stored()
	if !strings.HasPrefix(first, seal.FactorPrefix) {
		t.Errorf("stored as %s", first)
	}
	me = s.verified(me, factor, secret)
	if stored() != first {
		t.Error("sealed again with the same key")
	}

	// With a newer key in front it is sealed once more; without the key that sealed it, it cannot be read.
	rotated := startOn(t, s.db, tokenKeys+testKeys("two", "one"))
	me = rotated.verified(session{Access: me.Access, UserID: me.UserID, ID: me.ID}, factor, secret)
	if stored() == first {
		t.Error("not sealed with the newer key")
	}
	a := s.do(verifying(me, factor, s.challenged(me, factor), appCode(t, secret, 0))).refused(500, "unexpected_failure")
	if a.text("msg") != "Database error verifying MFA TOTP secret" {
		t.Errorf("msg %q", a.text("msg"))
	}

	program := buildPostern(t)
	env := environment(s.URL, s.db.OwnerDSN, tokenKeys+testKeys("one"))
	if out, err := runPostern(t, program, env, "hand-back"); err == nil || !strings.Contains(out, factor) {
		t.Errorf("hand-back without the key: %v\n%s", err, out)
	}
	s.exec(`insert into auth.mfa_challenges (id, factor_id, created_at, ip_address, otp_code) values (gen_random_uuid(), $1::text::uuid, now(), '::1', 'x')`, factor)
	env = environment(s.URL, s.db.OwnerDSN, tokenKeys+testKeys("two"))
	if out, err := runPostern(t, program, env, "hand-back"); err != nil || !strings.Contains(out, "1 authenticator app") {
		t.Errorf("hand-back: %v\n%s", err, out)
	}
	if stored() != secret || s.one(`select count(*) from auth.mfa_challenges where otp_code = 'x'`) != "0" {
		t.Errorf("handed back as %s", stored())
	}
}

// On a database that Supabase Auth made, its user goes on with the app: one more sign-in reaches aal2 with the code that it shows.
func TestAuthenticatorAppOfAnAdoptedDatabase(t *testing.T) {
	t.Parallel()
	account := readFixture(t).account(t, secondFactor)
	s := startAdoptedOn(t, adopted(t))
	strong := s.renew(account.Refresh).want(200).session()
	me := s.signIn(account.Email, account.Password)
	if aalOf(t, strong.Access) != "aal2" || aalOf(t, me.Access) != "aal1" {
		t.Errorf("the session is at %s, a new one at %s", aalOf(t, strong.Access), aalOf(t, me.Access))
	}
	factor := s.get("/user", me.Access).text("factors.0.id")
	me = s.verified(me, factor, s.one(`select secret from auth.mfa_factors where id = $1::text::uuid`, factor))
	if aalOf(t, me.Access) != "aal2" || !strings.HasPrefix(s.one(`select secret from auth.mfa_factors`), seal.FactorPrefix) {
		t.Errorf("the session is at %s", aalOf(t, me.Access))
	}
	s.get("/user", strong.Access).want(200)
}

// testKeys are token keys made of names.
func testKeys(names ...string) string {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = name + strings.Repeat("-", 40)
	}
	return strings.Join(keys, ",")
}
