package http_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// fill requests a mail of every kind that holds a secret: six.
func (s *server) fill() {
	s.t.Helper()
	me := s.member("ada@example.com")
	s.account("bob@example.com")
	s.post("/signup", map[string]any{"email": "new@example.com", "password": goodPassword}, "").want(200)
	s.post("/recover", map[string]any{"email": "bob@example.com"}, "").want(200)
	s.post("/otp", with(map[string]any{"email": "ada@example.com"}, challenge()), "").want(200)
	s.put("/user", map[string]any{"email": "ada@example.org"}, me.Access).want(200)
	s.get("/reauthenticate", me.Access).want(200)
}

// secretsOf are the code and the link's token of each mail.
func secretsOf(mails []received) []string {
	var out []string
	for _, mail := range mails {
		out = append(out, mail.Code)
		if mail.Link != nil {
			out = append(out, mail.token(), strings.TrimPrefix(mail.token(), "pkce_"))
		}
	}
	return out
}

// The database holds no code and no link, neither before nor after its mail is sent, and the log holds none either.
func TestCodesAndLinksAreStoredNowhere(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	waiting := make(chan struct{})
	r.answering(nil, func() { <-waiting })
	s.fill()
	queued := s.dump()
	close(waiting)
	s.drained()
	secrets := secretsOf(r.all())
	if len(secrets) != 16 {
		t.Fatalf("%d secrets in %d mails", len(secrets), len(r.all()))
	}
	for when, text := range map[string]string{"while queued": queued, "afterwards": s.dump(), "in the log": s.Log.String()} {
		for _, secret := range secrets {
			// Six digits turn up in ids and times by chance.
			if len(secret) > 10 && strings.Contains(text, secret) || strings.Contains(text, `"`+secret+`"`) {
				t.Errorf("%q is there %s", secret, when)
			}
		}
	}
	if n := s.one(`select count(*) from auth.outbox where state = 'sent' and sealed is null`); n != "6" {
		t.Errorf("%s of 6 sent mails are without their secrets", n)
	}
}

// dump is every row of every table of auth as text.
func (s *server) dump() string {
	s.t.Helper()
	var out strings.Builder
	for _, table := range s.column(`select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'auth'`) {
		for _, row := range s.column(`select to_jsonb(t)::text from ` + table + ` t`) {
			out.WriteString(row)
			out.WriteByte('\n')
		}
	}
	return out.String()
}

// While mails wait, what is sealed shows nothing either.
func TestQueuedMailsAreSealed(t *testing.T) {
	t.Parallel()
	r := startRelay(t)
	r.down()
	s := start(t, mailing(r)...)
	s.post("/otp", map[string]any{"email": "ada@example.com"}, "").want(200)
	if got := s.one(`select state || ' ' || (sealed is not null) from auth.outbox`); got != "queued true" {
		t.Fatalf("outbox: %s", got)
	}
	dump := s.dump()
	s.exec(`create table kept as select * from auth.outbox`)
	r.up()
	s.dueNow(func() bool { return len(r.all()) == 1 })
	for _, secret := range secretsOf(r.all()) {
		if len(secret) > 10 && strings.Contains(dump, secret) || strings.Contains(dump, `"`+secret+`"`) {
			t.Errorf("%q was readable while queued", secret)
		}
	}
	// A sealed part moved to another row cannot be opened: whoever writes to the table cannot have a code sent to himself.
	s.exec(`insert into auth.outbox (id, channel, kind, recipient, payload, sealed, expires_at)
		select gen_random_uuid(), channel, kind, 'mallory@example.com', payload, sealed, expires_at from kept`)
	s.eventually("the copy is refused", func() bool {
		return s.one(`select attempts > 0 and leased_by is null from auth.outbox where recipient = 'mallory@example.com'`) == "true"
	})
	if got := s.one(`select last_reply from auth.outbox where recipient = 'mallory@example.com'`); !strings.Contains(got, "sealed") || len(r.to("mallory@example.com")) > 0 {
		t.Errorf("reply %q, %d mails", got, len(r.to("mallory@example.com")))
	}
}

// dueNow makes waiting mails due at once, again and again, until a condition holds.
func (s *server) dueNow(holds func() bool) {
	s.t.Helper()
	s.eventually("mails that wait are sent", func() bool {
		s.exec(`update auth.outbox set next_attempt_at = now() where state = 'queued' and leased_by is null`)
		time.Sleep(50 * time.Millisecond)
		return holds()
	})
}

// What is stored is not accepted as it stands, in any place where a code or link is.
func TestStoredValuesAreNoSecrets(t *testing.T) {
	t.Parallel()
	s, _ := startMailing(t)
	s.fill()
	s.drained()
	stored := s.column(`select v from auth.users u, unnest(array[u.confirmation_token, u.recovery_token, u.email_change_token_new,
		u.email_change_token_current, u.reauthentication_token]) v where v <> '' union all select token_hash from auth.one_time_tokens`)
	if len(stored) != 12 {
		t.Fatalf("%d stored values, want 12", len(stored))
	}
	addresses := []string{"ada@example.com", "ada@example.org", "bob@example.com", "new@example.com"}
	for i, value := range stored {
		for j, kind := range []string{"signup", "recovery", "magiclink", "email_change", "email"} {
			s.do(verifyHash(kind, value)).refused(403, "otp_expired")
			s.do(verifyHash(kind, "pkce_"+value)).refused(403, "otp_expired")
			// Guesses count per account.
			s.exec(`delete from auth.rate_limits`)
			s.do(verifyCode(kind, addresses[(i+j)%len(addresses)], value)).refused(403, "otp_expired")
			if _, _, fragment := s.get("/verify?type="+kind+"&token="+value, "").landed(); fragment.Get("error_code") != "otp_expired" {
				t.Errorf("%s as a link of type %s: %v", value, kind, fragment)
			}
		}
	}
}

// Codes and links of an older key go on working after the keys were rotated; those of a removed key do not.
func TestRotatedKeysVerifyPendingCodes(t *testing.T) {
	t.Parallel()
	const older, newer = "an-older-token-key-of-32-characters-or-more", "a-newer-token-key-of-32-characters-or-more"
	s, r := startMailing(t, "POSTERN_TOKEN_KEYS="+older)
	s.account("ada@example.com")
	s.account("bob@example.com")
	for _, email := range []string{"ada@example.com", "bob@example.com"} {
		s.post("/otp", map[string]any{"email": email}, "").want(200)
	}
	ada, bob := s.mail(r, "ada@example.com", 1), s.mail(r, "bob@example.com", 1)
	rotated := startOn(t, s.db, mailing(r, "POSTERN_TOKEN_KEYS="+newer+","+older)...)
	removed := startOn(t, s.db, mailing(r, "POSTERN_TOKEN_KEYS="+newer)...)
	removed.do(verifyCode("magiclink", ada.To, ada.Code)).refused(403, "otp_expired")
	rotated.do(verifyCode("magiclink", ada.To, ada.Code)).want(200).session()
	removed.do(verifyHash("magiclink", bob.token())).want(200).session() // a link's token is random enough without a key
}

// A mail that a gateway with the newest key queued, claimed by one that does not know the key yet, is left to one that does.
func TestMailsSealedWithANewerKeyAreNotLost(t *testing.T) {
	t.Parallel()
	const older, newer = "an-older-token-key-of-32-characters-or-more", "a-newer-token-key-of-32-characters-or-more"
	s, _ := startMailing(t, "POSTERN_TOKEN_KEYS="+older)
	s.enqueueWith(newer, "ada", 1)
	s.eventually("the gateway tried", func() bool { return s.one(`select last_reply from auth.outbox`) != "" })
	if got := s.one(`select state || ' ' || (sealed is not null) from auth.outbox`); got != "queued true" {
		t.Fatalf("the mail is %s: %s", got, s.one(`select last_reply from auth.outbox`))
	}
	r := startRelay(t)
	startOn(t, s.db, mailing(r, "POSTERN_TOKEN_KEYS="+newer+","+older)...)
	s.dueNow(func() bool { return len(r.to("ada1@example.com")) == 1 })
}

// One code, many at once: one wins. The same for a link followed and for its token.
func TestOneUseUnderConcurrency(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	for i, way := range []string{"code", "token_hash", "link"} {
		email := way + "@example.com"
		s.account(email)
		s.post("/otp", map[string]any{"email": email}, "").want(200)
		mail := s.mail(r, email, 1)
		calls := make([]call, 12)
		for j := range calls {
			calls[j] = []call{
				verifyCode("magiclink", email, mail.Code), verifyHash("magiclink", mail.token()),
				{Method: http.MethodGet, Path: mail.Link.RequestURI()},
			}[i]
		}
		wins := 0
		for _, a := range s.atOnce(calls...) {
			if a.Status == 200 || strings.Contains(a.Header.Get("Location"), "access_token=") {
				wins++
			} else if a.Status != 303 {
				a.refused(403, "otp_expired")
			}
		}
		if sessions := s.one(`select count(*) from auth.sessions s join auth.users u on u.id = s.user_id where u.email = $1`, email); wins != 1 || sessions != "1" {
			t.Errorf("%s: %d winners, %s sessions", way, wins, sessions)
		}
	}
}

// A code of the one mail and the link of the same are one secret: both at once open one session.
func TestCodeAndLinkOfOneMailAtOnce(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	s.account("ada@example.com")
	for n := range 5 {
		s.post("/otp", map[string]any{"email": "ada@example.com"}, "").want(200)
		mail := s.mail(r, "ada@example.com", n+1)
		s.atOnce(verifyCode("magiclink", mail.To, mail.Code), verifyHash("magiclink", mail.token()))
		if got := s.one(`select count(*) from auth.sessions`); got != fmt.Sprint(n+1) {
			t.Fatalf("%s sessions after %d mails", got, n+1)
		}
	}
}

// Codes and links end GOTRUE_MAILER_OTP_EXP after they were sent.
func TestCodesAndLinksExpire(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t, "GOTRUE_MAILER_OTP_EXP=600")
	s.account("ada@example.com")
	s.post("/otp", map[string]any{"email": "ada@example.com"}, "").want(200)
	mail := s.mail(r, "ada@example.com", 1)
	s.exec(`update auth.users set recovery_sent_at = recovery_sent_at - interval '601 seconds'`)
	s.do(verifyCode("magiclink", mail.To, mail.Code)).refusedWith(403, "otp_expired", "Token has expired or is invalid")
	s.do(verifyHash("magiclink", mail.token())).refusedWith(403, "otp_expired", "Email link is invalid or has expired")
	if _, _, fragment := s.follow(mail).landed(); fragment.Get("error_code") != "otp_expired" {
		t.Errorf("%v", fragment)
	}
	s.exec(`update auth.users set recovery_sent_at = recovery_sent_at + interval '5 seconds'`)
	s.do(verifyCode("magiclink", mail.To, mail.Code)).want(200).session()
}

// What only looks ahead does not use a link up: HEAD, and the ways in which browsers and mail scanners say so.
func TestLookingAheadDoesNotUseALinkUp(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	s.account("ada@example.com")
	s.post("/otp", map[string]any{"email": "ada@example.com"}, "").want(200)
	mail := s.mail(r, "ada@example.com", 1)
	before := s.written()
	for _, path := range []string{mail.Link.RequestURI(), "/auth/v1" + mail.Link.RequestURI()} {
		s.do(call{Method: http.MethodHead, Path: path})
		s.do(call{Method: http.MethodOptions, Path: path})
		for name, value := range map[string]string{
			"Sec-Purpose": "prefetch;prerender", "Purpose": "prefetch", "X-Moz": "prefetch", "X-Purpose": "preview",
		} {
			a := s.do(call{Method: http.MethodGet, Path: path, Header: map[string]string{name: value}})
			if a.Header.Get("Location") != "" || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %s: %d %v", name, value, a.Status, a.Header)
			}
		}
	}
	if s.written() != before {
		t.Error("looking ahead wrote to the database")
	}
	s.landedWith(s.follow(mail), "magiclink")
}

// 200 wrong codes at once against a limit of 30: 30 are compared, from one client or against one account.
func TestParallelGuessesAtMailedCodes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ client, email func(i int) string }{
		"one client": {
			func(int) string { return "198.51.100.1" }, func(i int) string { return fmt.Sprintf("user%d@example.com", i) },
		},
		"one account": {
			func(i int) string { return fmt.Sprintf("198.51.100.%d", i) }, func(int) string { return "ada@example.com" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, r := startMailing(t, limitOn, "GOTRUE_DB_MAX_POOL_SIZE=10", "GOTRUE_RATE_LIMIT_VERIFY=1")
			s.account("ada@example.com")
			s.post("/otp", map[string]any{"email": "ada@example.com"}, "").want(200)
			code := s.mail(r, "ada@example.com", 1).Code
			calls := make([]call, 200)
			for i := range calls {
				calls[i] = verifyCode("magiclink", c.email(i), wrong(code)).from(c.client(i))
			}
			compared := 0
			for _, a := range s.atOnce(calls...) {
				if a.Status == http.StatusForbidden {
					compared++
				} else {
					a.refusedByLimit()
				}
			}
			if compared < 30 || compared > 31 { // one more place comes free in 10 s, where guesses count per account
				t.Errorf("%d guesses were compared, want 30", compared)
			}
		})
	}
}

// Codes and links that Supabase Auth mailed before the database was adopted go on working, once.
func TestAdoptedCodesAndLinksWork(t *testing.T) {
	t.Parallel()
	pending := readPending(t)
	for name, present := range map[string]func(s *server) *answer{
		"code":       func(s *server) *answer { return s.do(verifyCode("recovery", pending.Email, pending.Code)) },
		"token_hash": func(s *server) *answer { return s.do(verifyHash("recovery", pending.Hash)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startAdopted(t)
			s.exec(`update auth.users set recovery_sent_at = now() where recovery_token <> ''`)
			sum := sha256.Sum256([]byte(pending.Hash))
			if n := s.one(`select count(*) from auth.one_time_tokens where token_hash = $1`, hex.EncodeToString(sum[:])); n != "1" {
				t.Errorf("%s rows hold the link's digest", n)
			}
			for _, stored := range s.column(`select recovery_token from auth.users where recovery_token <> '' union all select token_hash from auth.one_time_tokens`) {
				s.do(verifyHash("recovery", stored)).refused(403, "otp_expired")
				s.do(verifyCode("recovery", pending.Email, stored)).refused(403, "otp_expired")
			}
			me := present(s).want(200).session()
			s.renew(me.Refresh).want(200)
			present(s).refused(403, "otp_expired")
		})
	}
}

// readPending is the recovery that waits in the adopted database.
func readPending(t testing.TB) (out struct{ Email, Code, Hash string }) {
	t.Helper()
	readFixture(t) // or skip
	raw, err := os.ReadFile(fixtureClients)
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Accounts []struct {
			Email string `json:"email"`
			Code  string `json:"email_otp"`
			Hash  string `json:"hashed_token"`
		} `json:"accounts"`
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatal(err)
	}
	for _, account := range f.Accounts {
		if account.Hash != "" {
			out.Email, out.Code, out.Hash = account.Email, account.Code, account.Hash
		}
	}
	if out.Hash == "" {
		t.Fatal("the fixture has no pending recovery")
	}
	return out
}
