package http_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// hookKey signs what hook doubles are sent, and so does hookSigner: while secrets are rotated, both do.
const hookKey = "a-key-for-hooks-of-32-characters"

func hookSigner() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte("a-seed-for-hooks-of-32-character"))
}

// hookDouble receives hooks over HTTP. It keeps what it is told, by the name in the metadata, and checks who tells it.
type hookDouble struct {
	t   testing.TB
	URL string

	mu     sync.Mutex
	told   map[string][]map[string]any
	answer func(name string, event map[string]any) (status int, body any)
}

// newHookDouble starts a receiver that has nothing to say (204), until answering changes it.
func newHookDouble(t testing.TB) *hookDouble {
	t.Helper()
	d := &hookDouble{t: t, told: map[string][]map[string]any{}}
	s := httptest.NewServer(d)
	t.Cleanup(s.Close)
	d.URL = s.URL
	d.answering(http.StatusNoContent, nil)
	return d
}

// on configures points to be asked of the double.
func (d *hookDouble) on(points ...string) []string {
	env := append(make([]string, 0, 1+3*len(points)), anonymousOn)
	for _, point := range points {
		stem := "GOTRUE_HOOK_" + strings.ToUpper(point)
		env = append(env, stem+"_ENABLED=true", stem+"_URI="+d.URL,
			stem+"_SECRETS=v1,whsec_"+base64.StdEncoding.EncodeToString([]byte(hookKey))+
				"|v1a,whpk_"+base64.StdEncoding.EncodeToString(hookSigner()[32:])+":whsk_"+base64.StdEncoding.EncodeToString(hookSigner()))
	}
	return env
}

func (d *hookDouble) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	signed := []byte(r.Header.Get("Webhook-Id") + "." + r.Header.Get("Webhook-Timestamp") + "." + string(raw))
	mac := hmac.New(sha256.New, []byte(hookKey))
	mac.Write(signed)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)) +
		", v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(hookSigner(), signed))
	if got := r.Header.Get("Webhook-Signature"); got != want {
		d.t.Errorf("signature %q, want %q", got, want)
	}
	sent, err := strconv.ParseInt(r.Header.Get("Webhook-Timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(sent, 0)).Abs() > patience {
		d.t.Errorf("signed at %q", r.Header.Get("Webhook-Timestamp"))
	}
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		d.t.Errorf("%s with %q", r.Method, r.Header.Get("Content-Type"))
	}
	var event map[string]any
	if err := json.Unmarshal(raw, &event); err != nil {
		d.t.Errorf("%v: %s", err, raw)
	}
	name, _ := member(event, "metadata.name").(string)
	d.mu.Lock()
	d.told[name] = append(d.told[name], event)
	answer := d.answer
	d.mu.Unlock()
	status, body := answer(name, event)
	if status == 0 {
		<-r.Context().Done() // until the gateway has waited long enough
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if body != nil {
		_ = json.NewEncoder(w).Encode(body)
	}
}

// answering changes what the double answers to everything; the status 0 is no answer at all.
func (d *hookDouble) answering(status int, body any) {
	d.calling(func(string, map[string]any) (int, any) { return status, body })
}

func (d *hookDouble) calling(answer func(name string, event map[string]any) (int, any)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = answer
}

// took returns what was told under a name since the last call.
func (d *hookDouble) took(name string) []map[string]any {
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := d.told[name]
	delete(d.told, name)
	return taken
}

// refusing is the answer of a hook that refuses.
func refusing(status int, message string) any {
	return map[string]any{"error": map[string]any{"http_code": status, "message": message}}
}

// failures are what a hook may answer instead of something useful, and what the client gets.
var failures = []struct {
	name       string
	status     int
	body       any
	wantStatus int
	wantCode   string
	wantText   string
}{
	{"refuses", 200, refusing(418, "not here"), 418, "unknown", "not here"},
	{"refuses without a status", 200, refusing(0, "not here"), 500, "unexpected_failure", "not here"},
	{"fails", 500, nil, 500, "unexpected_failure", "Unexpected status code returned from hook: 500"},
	{"is no object", 200, []int{1}, 500, "unexpected_failure", "Error unmarshaling JSON output."},
	{"does not answer", 0, nil, 422, "hook_timeout", "Failed to reach hook within maximum time of 5.000000 seconds"},
}

func signUpBodyOf(email string) map[string]any {
	return map[string]any{"email": email, "password": goodPassword, "data": map[string]any{"a": 1}}
}

func TestBeforeUserCreatedHookOverHTTP(t *testing.T) {
	t.Parallel()
	d := newHookDouble(t)
	s := start(t, d.on("before_user_created")...)
	for name, c := range map[string]call{
		"sign-up":    {Method: "POST", Path: "/signup", Body: signUpBodyOf("New@example.com")},
		"anonymous":  {Method: "POST", Path: "/signup", Body: `{"data": {"a": 1}}`},
		"otp":        {Method: "POST", Path: "/otp", Body: `{"email": "otp@example.com", "data": {"a": 1}}`},
		"magic link": {Method: "POST", Path: "/magiclink", Body: `{"email": "link@example.com", "data": {"a": 1}}`},
	} {
		s.do(c).want(200)
		told := d.took("before-user-created")
		if len(told) != 1 {
			t.Fatalf("%s: the hook was asked %d times", name, len(told))
		}
		for path, want := range map[string]any{
			"user.role": "", "user.created_at": "0001-01-01T00:00:00Z", "user.user_metadata.a": 1.0, "metadata.ip_address": "127.0.0.1",
		} {
			if got := member(told[0], path); got != want {
				t.Errorf("%s: %s is %v, want %v", name, path, got, want)
			}
		}
		if n := s.one(`select count(*) from auth.users where id = $1::uuid`, member(told[0], "user.id")); n != "1" {
			t.Errorf("%s: the account has another id than the hook was told", name)
		}
	}

	s.post("/signup", signUpBodyOf("new@example.com"), "").want(422)
	s.post("/otp", `{"email": "new@example.com"}`, "").want(200)
	s.post("/otp", `{"email": "nobody@example.com", "create_user": false}`, "").refused(422, "otp_disabled")
	s.post("/signup", `{"email": "weak@example.com", "password": "x"}`, "").refused(422, "weak_password")
	if n := len(d.took("before-user-created")); n != 0 {
		t.Errorf("asked %d times about accounts that are not created", n)
	}
}

func TestBeforeUserCreatedHookThatFails(t *testing.T) {
	t.Parallel()
	d := newHookDouble(t)
	s := start(t, d.on("before_user_created")...)
	for _, f := range failures {
		d.answering(f.status, f.body)
		a := s.post("/signup", signUpBodyOf("new@example.com"), "").refused(f.wantStatus, f.wantCode)
		if a.text("msg") != f.wantText {
			t.Errorf("%s: msg %q", f.name, a.text("msg"))
		}
		byHook := strings.HasPrefix(f.name, "refuses")
		if got := a.Header.Get("X-Sb-Error-Code"); (got == "") != byHook {
			t.Errorf("%s: x-sb-error-code %q", f.name, got)
		}
	}
	d.answering(200, refusing(418, "not here"))
	for _, path := range []string{"/signup", "/otp", "/magiclink"} {
		body := map[string]any{}
		if path != "/signup" {
			body["email"] = "new@example.com"
		}
		s.post(path, body, "").refused(418, "unknown")
	}
	if n := s.one(`select count(*) from auth.users`); n != "0" {
		t.Errorf("%s accounts got past the hook", n)
	}
}

// A client over its limit cannot have the hook asked again and again.
func TestLimitsComeBeforeHooks(t *testing.T) {
	t.Parallel()
	d := newHookDouble(t)
	d.answering(200, refusing(418, "not here"))
	s := start(t, append(d.on("before_user_created"), limitOn)...)
	s.set("rate_limit_otp = 1, rate_limit_anonymous_users = 1")
	for path, body := range map[string]string{"/otp": `{"email": "new@example.com"}`, "/signup": `{}`} {
		refused := 0
		for range 40 {
			if s.do(call{Method: "POST", Path: path, Body: body}.from("192.0.2.1")).Status == http.StatusTooManyRequests {
				refused++
			}
		}
		if asked := len(d.took("before-user-created")); refused == 0 || asked+refused != 40 {
			t.Errorf("%s: asked %d times, %d refused", path, asked, refused)
		}
	}
}

func TestAfterUserCreatedHookOverHTTP(t *testing.T) {
	t.Parallel()
	d := newHookDouble(t)
	s := start(t, append(d.on("after_user_created"), "GOTRUE_MAILER_AUTOCONFIRM=false", "GOTRUE_SMTP_MAX_FREQUENCY=1ms")...)
	s.post("/signup", signUpBodyOf("new@example.com"), "").want(200)
	s.post("/otp", `{"email": "otp@example.com"}`, "").want(200)
	s.post("/otp", `{"email": "otp@example.com"}`, "").want(200)
	addresses := make([]string, 0, 3)
	for _, event := range d.took("after-user-created") {
		address, _ := member(event, "user.email").(string)
		addresses = append(addresses, address)
		if role := member(event, "user.role"); role != "authenticated" {
			t.Errorf("role %v: not the stored account", role)
		}
	}
	if !slices.Equal(addresses, []string{"new@example.com", "otp@example.com", "otp@example.com"}) {
		t.Errorf("told of %v", addresses)
	}

	// Whatever it answers, the account stays.
	d.answering(200, refusing(418, "too late"))
	if msg := s.post("/signup", signUpBodyOf("late@example.com"), "").refused(500, "unexpected_failure").text("msg"); msg != "Error invoking hook" {
		t.Errorf("msg %q", msg)
	}
	s.post("/signup", `{}`, "").refused(418, "unknown")
	if n := s.one(`select count(*) from auth.users`); n != "4" {
		t.Errorf("%s accounts, want 4", n)
	}

	// A made-up answer for an address that is known tells nobody anything.
	d.took("after-user-created")
	s.account("known@example.com")
	s.post("/signup", signUpBodyOf("known@example.com"), "").want(200)
	if n := len(d.took("after-user-created")); n != 0 {
		t.Errorf("told %d times of an account that exists", n)
	}
}

func TestPasswordVerificationHookOverHTTP(t *testing.T) {
	t.Parallel()
	d := newHookDouble(t)
	s := start(t, d.on("password_verification_attempt")...)
	me := s.member("me@example.com")
	good, bad := grant(`{"email": "me@example.com", "password": "`+goodPassword+`"}`), grant(`{"email": "me@example.com", "password": "another"}`)

	s.do(good).want(200)
	d.answering(200, map[string]any{"decision": "continue"})
	s.do(bad).refused(400, "invalid_credentials")
	s.do(grant(`{"email": "nobody@example.com", "password": "another"}`)).refused(400, "invalid_credentials")
	valid := make([]any, 0, 2)
	for _, event := range d.took("password-verification") {
		if event["user_id"] != me.UserID {
			t.Errorf("user_id %v", event["user_id"])
		}
		valid = append(valid, event["valid"])
	}
	if !slices.Equal(valid, []any{true, false}) {
		t.Errorf("told %v, want true and false and nothing of unknown accounts", valid)
	}

	for _, f := range failures {
		d.answering(f.status, f.body)
		if msg := s.do(good).refused(f.wantStatus, f.wantCode).text("msg"); msg != f.wantText {
			t.Errorf("%s: msg %q", f.name, msg)
		}
	}
	d.answering(200, map[string]any{"decision": true})
	s.do(good).refused(500, "unexpected_failure")
	d.answering(200, map[string]any{"decision": "reject"})
	s.do(good).refused(400, "invalid_credentials")
	s.get("/user", me.Access).want(200)
	d.answering(200, map[string]any{"decision": "reject", "message": "enough", "should_logout_user": true})
	if msg := s.do(good).refused(400, "invalid_credentials").text("msg"); msg != "enough" {
		t.Errorf("msg %q", msg)
	}
	s.get("/user", me.Access).refused(403, "session_not_found")
}

func TestTokenHookOverHTTP(t *testing.T) {
	t.Parallel()
	d := newHookDouble(t)
	s := start(t, d.on("custom_access_token")...)
	gold := func(_ string, event map[string]any) (int, any) {
		claims, _ := event["claims"].(map[string]any)
		claims["plan"] = "gold"
		return 200, map[string]any{"claims": claims}
	}
	s.account("me@example.com")
	signIn := grant(`{"email": "me@example.com", "password": "` + goodPassword + `"}`)

	// At a sign-in: the session that nobody got is gone.
	for _, f := range failures {
		d.answering(f.status, f.body)
		if msg := s.do(signIn).refused(f.wantStatus, f.wantCode).text("msg"); msg != f.wantText {
			t.Errorf("%s: msg %q", f.name, msg)
		}
	}
	d.answering(200, map[string]any{"claims": map[string]any{"sub": 1}})
	if msg := s.do(signIn).refused(500, "unexpected_failure").text("msg"); !strings.Contains(msg, "- (root): aal is required\n") {
		t.Errorf("msg %q", msg)
	}
	d.answering(204, nil)
	if msg := s.do(signIn).refused(500, "unexpected_failure").text("msg"); !strings.Contains(msg, "given: null") {
		t.Errorf("msg %q", msg)
	}
	if n := s.one(`select count(*) from auth.sessions`); n != "0" {
		t.Errorf("%s sessions remain that nobody got", n)
	}

	d.took("customize-access-token")
	d.calling(gold)
	me := s.do(signIn).want(200).session()
	if claims := claimsOf(t, me.Access); claims["plan"] != "gold" || claims["sub"] != me.UserID {
		t.Errorf("claims %v", claims)
	}
	s.get("/user", me.Access).want(200)

	// At a refresh: the token that the client has goes on being good, however often the hook fails.
	refresh := call{Method: "POST", Path: "/token?grant_type=refresh_token", Body: map[string]any{"refresh_token": me.Refresh}}
	for range 3 {
		d.answering(503, nil)
		s.do(refresh).refused(500, "unexpected_failure")
	}
	s.exec(`update auth.refresh_tokens set updated_at = now() - interval '1 hour'`)
	d.calling(gold)
	again := s.do(refresh).want(200).session()
	if again.ID != me.ID || claimsOf(t, again.Access)["plan"] != "gold" {
		t.Errorf("the session did not go on: %v", claimsOf(t, again.Access))
	}

	told := d.took("customize-access-token")
	if first, last := told[0], told[len(told)-1]; first["authentication_method"] != "password" ||
		last["authentication_method"] != "token_refresh" || first["user_id"] != me.UserID {
		t.Errorf("told %v, %v", first, last)
	}
}
