package http_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/postern-auth/postern/gateway/password"
)

// The second statement of a password sign-in and of a change of password waits for the user's row. The tests below hold that
// row, wait until the gateway waits too, and change what it read before.

// holdUser locks the row of a user.
func (s *server) holdUser(email string) *transaction {
	s.t.Helper()
	return s.begin(`select from auth.users where email = $1 for update`, email)
}

// cheapHash is goodPassword as an older server might have stored it: a cost of 4, so that signing in makes a new hash.
const cheapHash = "$2a$04$e5NisiW0UNV8J1avYJGH4emZo9/rV/U5huxgXt8qYk3ccTTruXubi"

func TestSignUpTwiceAtOnceWithOneAddress(t *testing.T) {
	t.Parallel()
	for name, confirm := range map[string]string{"confirmed at once": "true", "confirmed later": "false"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, "GOTRUE_MAILER_AUTOCONFIRM="+confirm)
			c := call{Method: http.MethodPost, Path: "/signup", Body: map[string]any{"email": "ada@example.com", "password": goodPassword}}
			// Nobody else's insert is visible until all have looked for the account: a third row holds them up.
			hold := s.begin(`insert into auth.users (id, email, instance_id, aud) values (gen_random_uuid(), 'ada@example.com',
				'00000000-0000-0000-0000-000000000000', 'authenticated')`)
			one, two := s.later(c), s.later(c)
			s.awaitLocked("2")
			if err := hold.tx.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			statuses := []int{one().Status, two().Status}
			slices.Sort(statuses)
			want := []int{200, 422}
			if confirm == "false" {
				want = []int{200, 429} // the second one finds the first one's mail: the next may go out in a minute
			}
			if !slices.Equal(statuses, want) {
				t.Errorf("statuses %v, want %v", statuses, want)
			}
			if got := s.one(`select count(*) || ' ' || (select count(*) from auth.identities) || ' ' || (select count(*) from auth.sessions)
				from auth.users`); got != map[string]string{"true": "1 1 1", "false": "1 1 0"}[confirm] {
				t.Errorf("users, identities, sessions: %s", got)
			}
		})
	}
}

func TestSignInWhileTheAccountChanges(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, c := range map[string]struct {
		change, code string
		status       int
	}{
		"new password": {
			`update auth.users set encrypted_password = '` + otherHash + `' where email = $1`, "invalid_credentials", 400,
		},
		"password removed": {`update auth.users set encrypted_password = null where email = $1`, "invalid_credentials", 400},
		"banned":           {`update auth.users set banned_until = now() + interval '1 hour' where email = $1`, "user_banned", 400},
		"deleted":          {`delete from auth.users where email = $1`, "invalid_credentials", 400},
		"soft-deleted":     {`update auth.users set deleted_at = now() where email = $1`, "invalid_credentials", 400},
		"unconfirmed":      {`update auth.users set email_confirmed_at = null where email = $1`, "email_not_confirmed", 400},
		"other metadata":   {`update auth.users set raw_user_meta_data = '{"a": 1}' where email = $1`, "", 200},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			email := strings.ReplaceAll(name, " ", "-") + "@example.com"
			id := s.account(email)
			hold := s.holdUser(email)
			signIn := s.later(login(email, goodPassword))
			s.awaitLocked("1")
			hold.exec(c.change, email)
			hold.commit()
			a := signIn().want(c.status)
			if c.code != "" {
				a.refused(c.status, c.code)
			}
			want := "0"
			if c.status == 200 {
				want = "1"
			}
			if got := s.one(`select count(*) from auth.sessions where user_id = $1::uuid`, id); got != want {
				t.Errorf("%s sessions, want %s", got, want)
			}
		})
	}
}

func TestConcurrentSignInsRehashOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.one(`select postern.create_user(email => $1, password_hash => $2)`, "ada@example.com", cheapHash)
	hold := s.holdUser("ada@example.com")
	one, two := s.later(login("ada@example.com", goodPassword)), s.later(login("ada@example.com", goodPassword))
	s.awaitLocked("2")
	hold.commit()
	one().want(http.StatusOK)
	two().want(http.StatusOK)
	stored := s.one(`select encrypted_password from auth.users`)
	if ok, rehash, err := password.Verify(stored, goodPassword); !ok || rehash || err != nil {
		t.Errorf("stored afterwards: %s (matches %t, to be made again %t, %v)", stored, ok, rehash, err)
	}
	if got := s.one(`select count(*) from auth.sessions`); got != "2" {
		t.Errorf("%s sessions, want 2", got)
	}
}

func TestSignInWithTheOldPasswordDuringItsChange(t *testing.T) {
	t.Parallel()
	s := start(t)
	ada := s.cheap("ada@example.com")
	hold := s.holdUser("ada@example.com")
	change := s.later(call{
		Method: http.MethodPut, Path: "/user", Body: map[string]any{"password": "another " + goodPassword}, Bearer: ada.Access,
	})
	s.awaitLocked("1")
	signIn := s.later(login("ada@example.com", goodPassword))
	s.awaitLocked("2")
	hold.commit()
	change().want(http.StatusOK)
	a := signIn()
	// Locks are given in the order of asking, so the change came first; a session that came before it would have been ended by it.
	if a.Status == http.StatusOK {
		s.get("/user", a.text("access_token")).refused(403, "session_not_found")
	} else {
		a.refused(400, "invalid_credentials")
	}
	if got := s.column(`select id from auth.sessions`); len(got) != 1 || got[0] != ada.ID {
		t.Errorf("sessions: %q, want only the one that changed the password", got)
	}
}

func TestTwoChangesOfPasswordAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	change := func(access, plain string) call {
		return call{Method: http.MethodPut, Path: "/user", Body: map[string]any{"password": plain}, Bearer: access}
	}
	t.Run("the same one twice", func(t *testing.T) {
		s := s.in(t)
		ada := s.cheap("ada@example.com")
		hold := s.holdUser("ada@example.com")
		one, two := s.later(change(ada.Access, "another password")), s.later(change(ada.Access, "another password"))
		s.awaitLocked("2")
		hold.commit()
		first, second := one(), two()
		if first.Status != http.StatusOK {
			first, second = second, first
		}
		first.want(http.StatusOK)
		second.refused(422, "same_password")
		s.renew(ada.Refresh).want(http.StatusOK)
	})
	t.Run("from two sessions", func(t *testing.T) {
		s := s.in(t)
		here := s.cheap("bob@example.com")
		there := s.enter("bob@example.com")
		hold := s.holdUser("bob@example.com")
		one, two := s.later(change(here.Access, "password from here")), s.later(change(there.Access, "password from there"))
		s.awaitLocked("2")
		hold.commit()
		first, second, plain, winner := one(), two(), "password from here", here
		if first.Status != http.StatusOK {
			first, second, plain, winner = second, first, "password from there", there
		}
		first.want(http.StatusOK)
		second.refused(403, "session_not_found")
		stored := s.one(`select encrypted_password from auth.users where email = 'bob@example.com'`)
		if ok, _, err := password.Verify(stored, plain); !ok || err != nil {
			t.Errorf("the stored password is not the winner's: %v", err)
		}
		if got := s.column(`select id from auth.sessions where user_id = $1::uuid`, winner.UserID); len(got) != 1 || got[0] != winner.ID {
			t.Errorf("sessions: %q, want %s", got, winner.ID)
		}
	})
}

func TestChangeOfPasswordWhileTheAccountEnds(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, c := range map[string]struct{ change, code string }{
		"deleted":     {`delete from auth.users where email = $1`, "user_not_found"},
		"banned":      {`update auth.users set banned_until = now() + interval '1 hour' where email = $1`, "user_banned"},
		"session end": {`delete from auth.sessions s using auth.users u where u.id = s.user_id and u.email = $1`, "session_not_found"},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			email := strings.ReplaceAll(name, " ", "-") + "@example.com"
			x := s.cheap(email)
			hold := s.holdUser(email)
			change := s.later(call{Method: http.MethodPut, Path: "/user", Body: map[string]any{"password": "another password"}, Bearer: x.Access})
			s.awaitLocked("1")
			hold.exec(c.change, email)
			hold.commit()
			change().refused(403, c.code)
			if got := s.one(`select encrypted_password from auth.users where email = $1`, email); got != "" && got != cheapHash {
				t.Errorf("the password was changed to %s", got)
			}
		})
	}
}

func TestRefreshWhileTheSessionEnds(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, c := range map[string]struct{ change, code string }{
		"signed out": {`delete from auth.sessions where id = $1::uuid`, "refresh_token_not_found"},
		"revoked":    {`update auth.refresh_tokens set revoked = true where session_id = $1::uuid`, "refresh_token_already_used"},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			x := s.newcomer(strings.ReplaceAll(name, " ", "-") + "@example.com")
			hold := s.begin(`select from auth.sessions where id = $1::uuid for update`, x.ID)
			refresh := s.later(renewal(x.Refresh))
			s.awaitLocked("1")
			hold.exec(c.change, x.ID)
			hold.commit()
			refresh().refused(400, c.code)
		})
	}
}

func TestManyRefreshesOfOneUsersSessionsAndSignOut(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.account("ada@example.com")
	calls := make([]call, 0, 21)
	for range 20 {
		calls = append(calls, renewal(s.enter("ada@example.com").Refresh))
	}
	calls = append(calls, call{Method: http.MethodPost, Path: "/logout", Bearer: s.enter("ada@example.com").Access})
	for _, a := range s.atOnce(calls...) {
		if a.Status != http.StatusOK && a.Status != http.StatusNoContent && a.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", a.call.Path, a.Status, a.Raw)
		}
	}
	if got := s.one(`select count(*) from auth.sessions`); got != "0" {
		t.Errorf("%s sessions outlived the sign-out", got)
	}
}

// cheap is newcomer with cheapHash, for tests that hash enough without it.
func (s *server) cheap(email string) session {
	s.t.Helper()
	s.one(`select postern.create_user(email => $1, password_hash => $2)`, email, cheapHash)
	return s.enter(email)
}

// otherHash is of another password.
const otherHash = "$2a$04$V9EPUdRkJ8U29p6uVml1JOSRh3A3YmZqVEypcnl32qq7x1.DaSi76"
