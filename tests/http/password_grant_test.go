package http_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
)

// quickHash is goodPassword's bcrypt hash of the lowest cost, where only a comparison that fails, or refuses, is wanted.
const quickHash = "$2a$04$wl32d8BLDSSB.hPXfn6K6e3.2qBAIRafz1DFX995UpzoN/t5j.X12"

// quickMember is an account with quickHash and a session.
func (s *server) quickMember(email string) session {
	s.t.Helper()
	return s.open(s.one(`select postern.create_user(email => $1, password_hash => $2)`, email, quickHash))
}

func grant(body string) call {
	return call{Method: "POST", Path: "/token?grant_type=password", Body: body}
}

func TestPasswordGrant(t *testing.T) {
	t.Parallel()
	known := func(s *server) values { return values{"user": s.account("known@example.com")} }
	run(t, []Scenario{
		{
			Name: "by address, in any case", Given: known, Request: grant(`{"email": "KNOWN@Example.com", "password": "correct horse battery"}`),
			WantStatus: 200, WantStatements: 2, WantAudit: []string{"login"}, Exact: true,
			WantHeader: map[string]string{"Sb-Auth-User-Id": "<any>", "Sb-Auth-Session-Id": "<any>", "Sb-Auth-Refresh-Token-Counter": "0"},
			WantBody: `{"access_token": "<text>", "token_type": "bearer", "expires_in": 3600, "expires_at": "<number>", "refresh_token": "<text>", "weak_password": null,
				"user": {"id": "{user}", "aud": "authenticated", "role": "authenticated", "email": "known@example.com", "email_confirmed_at": "<time>", "phone": "",
					"confirmed_at": "<time>", "last_sign_in_at": "<time>", "app_metadata": {"provider": "email", "providers": ["email"]}, "user_metadata": "<any>",
					"identities": [{"identity_id": "<uuid>", "id": "{user}", "user_id": "{user}", "identity_data": "<any>", "provider": "email", "email": "known@example.com",
						"last_sign_in_at": "<time>", "created_at": "<time>", "updated_at": "<time>"}],
					"created_at": "<time>", "updated_at": "<time>", "is_anonymous": false}}`,
			Then: func(s *server, a *answer, v values) {
				me := a.session()
				s.get("/user", me.Access).want(200)
				if got := s.one(`select encrypted_password from auth.users`); got != goodPasswordHash {
					s.t.Error("a hash of today's form was replaced")
				}
				if got := s.one(`select payload::text from auth.audit_log_entries where payload ->> 'action' = 'login'`); !strings.Contains(got, `"traits":{"provider" : "email"}`) &&
					!strings.Contains(got, `"provider":"email"`) {
					s.t.Errorf("audit entry %s", got)
				}
			},
		},
		{
			Name: "by number, as people write it", Env: []string{phoneOn}, Given: func(s *server) values { return values{"user": s.accountIn("", "49151234", true)} },
			Request:    grant(`{"phone": "+49 151 234", "password": "correct horse battery"}`),
			WantStatus: 200, WantBody: `{"user": {"id": "{user}", "phone": "49151234"}}`, WantAudit: []string{"login"},
		},
		{
			Name: "a password that is weak today", Env: []string{"GOTRUE_PASSWORD_MIN_LENGTH=30", "GOTRUE_PASSWORD_REQUIRED_CHARACTERS=0123456789"}, Given: known,
			Request: grant(`{"email": "known@example.com", "password": "correct horse battery"}`), WantStatus: 200,
			WantBody: `{"access_token": "<text>", "weak_password": {"reasons": ["length", "characters"],
				"message": "Password should be at least 30 characters. Password should contain at least one character of each: 0123456789."}}`,
		},
		{
			Name: "an account with null token columns and metadata", Request: grant(`{"email": "null@example.com", "password": "correct horse battery"}`), WantStatus: 200,
			Given: func(s *server) values {
				s.exec(`insert into auth.users (id, instance_id, aud, role, email, encrypted_password, email_confirmed_at, created_at, updated_at, is_sso_user, is_anonymous)
					values (gen_random_uuid(), '00000000-0000-0000-0000-000000000000', 'authenticated', 'authenticated', 'null@example.com', '` + goodPasswordHash + `', now(), now(), now(), false, false);
					update auth.users set confirmation_token = null, recovery_token = null, email_change_token_new = null, email_change = null,
						phone_change = null, phone_change_token = null, email_change_token_current = null, reauthentication_token = null,
						raw_app_meta_data = null, raw_user_meta_data = null`)
				return nil
			},
			WantBody: `{"user": {"app_metadata": {}, "user_metadata": {}, "identities": [], "new_email": "<none>"}}`,
			Then:     func(s *server, a *answer, _ values) { s.get("/user", a.session().Access).want(200) },
		},
		{
			Name: "a password that was stored with psql", Request: grant(`{"email": "seed@example.com", "password": "correct horse battery"}`), WantStatus: 200,
			SQL: `create extension if not exists pgcrypto with schema public;
				select postern.set_password_hash(postern.create_user(email => 'seed@example.com'), public.crypt('correct horse battery', public.gen_salt('bf', 4)))`,
		},
	})
}

func TestRefusedPasswordGrants(t *testing.T) {
	t.Parallel()
	wrong := `{"code": 400, "error_code": "invalid_credentials", "msg": "Invalid login credentials"}`
	with := func(change string) func(s *server) values {
		return func(s *server) values {
			s.exec(`select postern.create_user(email => 'known@example.com', phone => '49151', password_hash => '` + quickHash + `')`)
			if change != "" {
				s.exec(`update auth.users set ` + change)
			}
			return nil
		}
	}
	known := `{"email": "known@example.com", "password": "correct horse battery"}`
	run(t, []Scenario{
		{Name: "wrong password", Given: with(""), Request: grant(`{"email": "known@example.com", "password": "wrong"}`), WantStatus: 400, WantBody: wrong, Exact: true, WantAudit: []string{}},
		{Name: "no password", Given: with(""), Request: grant(`{"email": "known@example.com"}`), WantStatus: 400, WantBody: wrong, Exact: true},
		{Name: "account without a password", Given: with("encrypted_password = ''"), Request: grant(`{"email": "known@example.com", "password": ""}`), WantStatus: 400, WantBody: wrong, Exact: true},
		{Name: "account with a null password", Given: with("encrypted_password = null"), Request: grant(`{"email": "known@example.com", "password": ""}`), WantStatus: 400, WantBody: wrong, Exact: true},
		{Name: "single sign-on account", Given: with("is_sso_user = true"), Request: grant(known), WantStatus: 400, WantBody: wrong, Exact: true},
		{Name: "soft-deleted account", Given: with("deleted_at = now()"), Request: grant(known), WantStatus: 400, WantBody: wrong, Exact: true},
		{
			Name: "both", Given: with(""), Env: []string{"GOTRUE_EXTERNAL_EMAIL_ENABLED=false"}, WantStatus: 400, Exact: true, WantStatements: 1,
			Request:  grant(`{"email": "known@example.com", "phone": "49151", "password": "x"}`),
			WantBody: `{"code": 400, "error_code": "validation_failed", "msg": "Only an email address or phone number should be provided on login."}`,
		},
		{
			Name: "neither", Request: grant(`{"password": "x"}`), WantStatus: 400, Exact: true,
			WantBody: `{"code": 400, "error_code": "validation_failed", "msg": "missing email or phone"}`,
		},
		{
			Name: "addresses are off", Env: []string{"GOTRUE_EXTERNAL_EMAIL_ENABLED=false"}, Request: grant(known), WantStatus: 422, Exact: true,
			WantBody: `{"code": 422, "error_code": "email_provider_disabled", "msg": "Email logins are disabled"}`,
		},
		{
			Name: "numbers are off", Request: grant(`{"phone": "49151", "password": "x"}`), WantStatus: 422, Exact: true,
			WantBody: `{"code": 422, "error_code": "phone_provider_disabled", "msg": "Phone logins are disabled"}`,
		},
		{
			Name: "banned, whatever the password", Given: with("banned_until = now() + interval '1 hour'"), Request: grant(`{"email": "known@example.com", "password": "wrong"}`),
			WantStatus: 400, Exact: true, WantBody: `{"code": 400, "error_code": "user_banned", "msg": "User is banned"}`, WantStatements: 1,
		},
		{
			Name: "unconfirmed address", Given: with("email_confirmed_at = null"), Request: grant(known), WantStatus: 400, Exact: true,
			WantBody: `{"code": 400, "error_code": "email_not_confirmed", "msg": "Email not confirmed"}`, WantAudit: []string{},
		},
		{
			Name: "unconfirmed address, wrong password", Given: with("email_confirmed_at = null"), Request: grant(`{"email": "known@example.com", "password": "wrong"}`),
			WantStatus: 400, WantBody: wrong, Exact: true,
		},
		{
			Name: "unconfirmed number", Env: []string{phoneOn}, Given: with("phone_confirmed_at = null"), Request: grant(`{"phone": "49151", "password": "correct horse battery"}`),
			WantStatus: 400, Exact: true, WantBody: `{"code": 400, "error_code": "phone_not_confirmed", "msg": "Phone not confirmed"}`,
		},
		{Name: "unreadable argon2 hash", Given: with("encrypted_password = '$argon2id$v=19$nonsense'"), Request: grant(known), WantStatus: 400, WantBody: wrong, Exact: true},
		{Name: "unreadable scrypt hash", Given: with("encrypted_password = '$fbscrypt$v=1,n=99$x$y'"), Request: grant(known), WantStatus: 400, WantBody: wrong, Exact: true},
		{
			Name: "another kind of hash", Given: with("encrypted_password = 'md5:abc'"), Request: grant(known), WantStatus: 500, WantBody: `{"error_code": "unexpected_failure"}`,
			Then: func(s *server, _ *answer, _ values) {
				if strings.Contains(s.Log.String(), "md5:abc") {
					s.t.Error("the stored hash is in the log")
				}
			},
		},
	})
}

func TestGrantsThatAreNotThere(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, query := range []string{"", "?grant_type=", "?grant_type=magic", "?grant_type=PASSWORD", "?grant_type=%00", "?grant_type=client_credentials"} {
		a := s.post("/token"+query, `{"grant_type": "password", "email": "a@example.com", "password": "x"}`, "")
		if a.refused(http.StatusBadRequest, "invalid_credentials"); a.text("msg") != "unsupported_grant_type" {
			t.Errorf("%s: msg %q", query, a.text("msg"))
		}
	}
	s.post("/token?grant_type=web3", "{}", "").refused(http.StatusUnprocessableEntity, "web3_provider_disabled")
}

// Imported accounts sign in with their password, and their hash becomes bcrypt of cost 10 then (ours: the reference keeps it).
func TestImportedHashesSignInAndAreRehashed(t *testing.T) {
	t.Parallel()
	s := start(t)
	admin := s.serviceRole()
	b64, salt := base64.RawStdEncoding, []byte("some salt 123456")
	bc, err := bcrypt.GenerateFromPassword([]byte(goodPassword), 4)
	if err != nil {
		t.Fatal(err)
	}
	for name, hash := range map[string]string{
		"2a": string(bc), "2b": "$2b$" + string(bc[4:]), "2y": "$2y$" + string(bc[4:]),
		"argon2i":  fmt.Sprintf("$argon2i$v=19$m=64,t=1,p=1$%s$%s", b64.EncodeToString(salt), b64.EncodeToString(argon2.Key([]byte(goodPassword), salt, 1, 64, 1, 32))),
		"argon2id": fmt.Sprintf("$argon2id$v=19$m=64,t=2,p=2$%s$%s", b64.EncodeToString(salt), b64.EncodeToString(argon2.IDKey([]byte(goodPassword), salt, 2, 64, 2, 16))),
		"fbscrypt": firebaseHash(t, goodPassword),
	} {
		t.Run(name, func(t *testing.T) {
			email := name + "@example.com"
			made := s.post("/admin/users", map[string]any{"email": email, "password_hash": hash, "email_confirm": true}, admin).want(http.StatusOK)
			made.holds(`{"user_metadata": {"email_verified": true}}`, false)
			id := made.text("id")
			stored := func() string { return s.one(`select encrypted_password from auth.users where id = $1`, id) }
			if stored() != hash {
				t.Fatalf("stored %q", stored())
			}
			s.do(grant(`{"email": "`+email+`", "password": "wrong"}`)).refused(http.StatusBadRequest, "invalid_credentials")
			if stored() != hash {
				t.Fatal("a wrong password changed the hash")
			}
			first := s.signIn(email, goodPassword)
			if !strings.HasPrefix(stored(), "$2a$10$") {
				t.Errorf("after signing in: %q", stored())
			}
			if err := bcrypt.CompareHashAndPassword([]byte(stored()), []byte(goodPassword)); err != nil {
				t.Errorf("the new hash is not of the password: %v", err)
			}
			s.get("/user", first.Access).want(http.StatusOK)
		})
	}
}

// firebaseHash is a password's hash as Firebase exports it.
func firebaseHash(t *testing.T, plain string) string {
	t.Helper()
	salt, separator, signer := []byte("the salt"), []byte("\x0a\xf6"), []byte("a signer key of some length, as Firebase has it")
	key, err := scrypt.Key([]byte(plain), append(append([]byte{}, salt...), separator...), 1<<4, 8, 1, 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	sealed := make([]byte, len(signer))
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(sealed, signer)
	b64 := base64.StdEncoding
	return fmt.Sprintf("$fbscrypt$v=1,n=4,r=8,p=1,ss=%s,sk=%s$%s$%s",
		b64.EncodeToString(separator), b64.EncodeToString(signer), b64.EncodeToString(salt), b64.EncodeToString(sealed))
}

func TestHashesThatCannotBeImported(t *testing.T) {
	t.Parallel()
	s := start(t)
	admin := s.serviceRole()
	for _, hash := range []string{
		"plain text", "$1$md5", "$2a$10$short", "$2z$10$" + quickHash[7:], "$2a$99$" + quickHash[7:], "$argon2d$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaA",
		"$argon2id$v=16$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaA", "$argon2id$v=19$m=64,t=1,p=1$$aGFzaA", "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$",
		"$argon2id$v=19$m=1048577,t=1,p=1$c2FsdHNhbHQ$aGFzaA", "$argon2id$v=19$m=64,t=21,p=1$c2FsdHNhbHQ$aGFzaA", "$argon2id$v=19$m=64,t=1,p=17$c2FsdHNhbHQ$aGFzaA",
		"$argon2id$v=19$m=64,t=1,p=1,data=eA$c2FsdHNhbHQ$aGFzaA", "$fbscrypt$v=2,n=4,r=8,p=1$c2FsdA==$aGFzaA==", "$fbscrypt$v=1,n=0,r=8,p=1$c2FsdA==$aGFzaA==",
		"$fbscrypt$v=1,n=4,r=8$c2FsdA==$aGFzaA==", quickHash + strings.Repeat("x", 255), "{\"key_id\":\"x\"}",
	} {
		a := s.post("/admin/users", map[string]any{"email": "h@example.com", "password_hash": hash}, admin)
		if a.Status != http.StatusBadRequest {
			t.Errorf("%.60s: %d %s", hash, a.Status, a.Raw)
		}
	}
	s.post("/admin/users", map[string]any{"email": "h@example.com", "password_hash": quickHash, "password": "x"}, admin).refused(http.StatusBadRequest, "validation_failed")
	if n := s.one(`select count(*) from auth.users`); n != "0" {
		t.Errorf("%s users", n)
	}
}

// Imports whose verification would take unbounded time or memory must not hold up the hashing lane.
func TestHashesThatCostTooMuchAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	admin := s.serviceRole()
	for _, hash := range []string{"$fbscrypt$v=1,n=31,r=255,p=255$c2FsdA==$aGFzaA==", "$fbscrypt$v=1,n=24,r=8,p=1$c2FsdA==$aGFzaA==", "$2a$31$" + quickHash[7:]} {
		a := s.post("/admin/users", map[string]any{"email": "cost@example.com", "password_hash": hash, "email_confirm": true}, admin)
		if a.Status == http.StatusOK {
			t.Errorf("%s is taken: a sign-in would take minutes or gigabytes", hash)
			s.exec(`delete from auth.users`)
		}
	}
}

func TestPasswordsOf72And73Bytes(t *testing.T) {
	t.Parallel()
	s := start(t)
	long := strings.Repeat("p", 72)
	me := s.signUp("long@example.com", long)
	s.put("/user", map[string]any{"password": long + "x"}, me.Access).refused(http.StatusBadRequest, "validation_failed")
	s.signIn("long@example.com", long)
	// bcrypt sees 72 bytes: signing in with more works, as in the reference.
	a := s.do(grant(`{"email": "long@example.com", "password": "` + long + `tail"}`)).want(http.StatusOK)
	a.holds(`{"weak_password": null}`, false)
	s.do(grant(`{"email": "long@example.com", "password": "`+long[:71]+`"}`)).refused(http.StatusBadRequest, "invalid_credentials")
	s.put("/admin/users/"+me.UserID, map[string]any{"password": long + "x"}, s.serviceRole()).refused(http.StatusBadRequest, "validation_failed")
	s.post("/admin/users", map[string]any{"email": "other@example.com", "password": long + "x"}, s.serviceRole()).refused(http.StatusBadRequest, "validation_failed")
}

func TestSigningInWith73BytesDoesNotRehashAPrefix(t *testing.T) {
	t.Parallel()
	s := start(t)
	long := strings.Repeat("p", 72)
	hash, err := bcrypt.GenerateFromPassword([]byte(long), 4)
	if err != nil {
		t.Fatal(err)
	}
	s.exec(`select postern.create_user(email => 'long@example.com', password_hash => '` + string(hash) + `')`)
	s.signIn("long@example.com", long+"tail")
	if got := s.one(`select encrypted_password from auth.users`); got != string(hash) {
		t.Errorf("stored %s", got)
	}
}
