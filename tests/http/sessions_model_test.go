package http_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// modelSession is what the model knows of a session: it says what DESIGN 7 wants, without looking into the database.
type modelSession struct {
	session
	user    int
	counter uint64
	revoked bool
	aged    bool // its last rotation is longer ago than the reuse interval
	over    bool
}

// refreshModel drives a gateway and a model of it with the same random commands.
type refreshModel struct {
	s         *server
	users     []string
	sessions  []*modelSession
	algorithm int
	rotation  bool
}

// TestRefreshesFollowTheModel signs in and out, refreshes with present, past and future tokens and revokes, in random order.
func TestRefreshesFollowTheModel(t *testing.T) {
	t.Parallel()
	s := start(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		m := &refreshModel{s: s, algorithm: rapid.IntRange(0, 2).Draw(rt, "algorithm"), rotation: rapid.Bool().Draw(rt, "rotation")}
		s.exec(`update auth.settings set security_refresh_token_reuse_interval = 60,
			security_refresh_token_algorithm_version = $1::int, security_refresh_token_rotation_enabled = $2`, m.algorithm, m.rotation)
		for i := range 2 {
			m.users = append(m.users, fmt.Sprintf("user%d-%d@example.com", run, i))
			s.account(m.users[i])
			m.signIn(rt)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"sign in": m.signIn, "refresh": m.refresh, "refresh again": m.refresh, "log out": m.logOut, "revoke": m.revoke, "age": m.age, "look": m.look,
			"": m.check,
		})
	})
}

func (m *refreshModel) signIn(rt *rapid.T) {
	user := rapid.IntRange(0, len(m.users)-1).Draw(rt, "user")
	m.sessions = append(m.sessions, &modelSession{session: m.s.enter(m.users[user]), user: user})
}

func (m *refreshModel) pick(rt *rapid.T) *modelSession {
	return m.sessions[rapid.IntRange(0, len(m.sessions)-1).Draw(rt, "session")]
}

func (m *refreshModel) refresh(rt *rapid.T) {
	x := m.pick(rt)
	// Mostly near the present generation, where the rules differ.
	presented := uint64(max(0, int64(x.counter)-int64(rapid.IntRange(-2, 3).Draw(rt, "generations back")))) //nolint:gosec // small
	a := m.s.renew(mintRefresh(m.s.t, x.ID, presented))
	wantCode, wantCounter := m.expect(x, presented)
	if wantCode != "" {
		if a.Status != http.StatusBadRequest || a.text("error_code") != wantCode {
			rt.Fatalf("generation %d of %+v: %d %s, want %s", presented, *x, a.Status, a.Raw, wantCode)
		}
		return
	}
	if a.Status != http.StatusOK {
		rt.Fatalf("generation %d of %+v: %d %s, want success", presented, *x, a.Status, a.Raw)
	}
	if got := a.text("refresh_token"); got != mintRefresh(m.s.t, x.ID, wantCounter) {
		rt.Fatalf("generation %d of %+v: the answer is not generation %d", presented, *x, wantCounter)
	}
}

// expect moves the model on by one refresh: the error_code, or the generation of the token in the answer.
func (m *refreshModel) expect(x *modelSession, presented uint64) (code string, counter uint64) {
	switch {
	case x.over:
		return "refresh_token_not_found", 0
	case presented > x.counter+1:
		return "validation_failed", 0
	case x.revoked:
		return "refresh_token_already_used", 0
	case presented >= x.counter: // one above: the token of a commit that a crash lost
		x.counter, x.aged = presented+1, false
	case presented == x.counter-1, !x.aged:
	case m.rotation && m.algorithm == 2:
		x.over = true
		return "refresh_token_already_used", 0
	default:
		x.revoked = m.rotation
		return "refresh_token_already_used", 0
	}
	return "", x.counter
}

func (m *refreshModel) logOut(rt *rapid.T) {
	x := m.pick(rt)
	scope := rapid.SampledFrom([]string{"", "global", "local", "others"}).Draw(rt, "scope")
	a := m.s.post("/logout?scope="+scope, nil, x.Access)
	if x.over {
		if a.Status != http.StatusForbidden {
			rt.Fatalf("logging out of an ended session: %d %s", a.Status, a.Raw)
		}
		return
	}
	if a.Status != http.StatusNoContent {
		rt.Fatalf("logging out: %d %s", a.Status, a.Raw)
	}
	for _, other := range m.sessions {
		if other.user == x.user && (scope != "local" || other == x) && (scope != "others" || other != x) {
			other.over = true
		}
	}
}

func (m *refreshModel) revoke(rt *rapid.T) {
	x := m.pick(rt)
	m.s.exec(`update auth.refresh_tokens set revoked = true, updated_at = now() where session_id = $1::uuid`, x.ID)
	x.revoked = true
}

func (m *refreshModel) age(rt *rapid.T) {
	x := m.pick(rt)
	m.s.age(x.ID, "61 seconds")
	x.aged = true
}

// look uses the access token of a session.
func (m *refreshModel) look(rt *rapid.T) {
	x := m.pick(rt)
	if status := m.s.get("/user", x.Access).Status; (status == http.StatusOK) == x.over {
		rt.Fatalf("session %+v: GET /user says %d", *x, status)
	}
}

// check compares the database with the model after each step.
func (m *refreshModel) check(rt *rapid.T) {
	var want []string
	for _, x := range m.sessions {
		if !x.over {
			want = append(want, fmt.Sprintf("%s %d %t", x.ID, x.counter, x.revoked))
		}
	}
	got := m.s.column(`select concat_ws(' ', s.id, t.counter, t.revoked::text) from auth.sessions s
		join auth.users u on u.id = s.user_id join auth.refresh_tokens t on t.session_id = s.id
		where u.email = any ($1)`, m.users)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		rt.Fatalf("the database has %q, the model %q", got, want)
	}
}
