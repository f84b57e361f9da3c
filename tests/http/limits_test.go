package http_test

import (
	"net/http"
	"strconv"
	"sync"
	"testing"
)

// limitOn counts clients by a header.
const limitOn = "GOTRUE_RATE_LIMIT_HEADER=X-Client"

// from is a request of a client.
func (c call) from(client string) call {
	c.Header = map[string]string{"X-Client": client}
	return c
}

// refusedByLimit ends the test unless the answer is the limiter's, and returns its Retry-After.
func (a *answer) refusedByLimit() int {
	a.t.Helper()
	a.refused(http.StatusTooManyRequests, "over_request_rate_limit")
	if a.text("msg") != "Request rate limit reached" {
		a.t.Errorf("msg %q", a.text("msg"))
	}
	seconds, err := strconv.Atoi(a.Header.Get("Retry-After"))
	if err != nil || seconds < 1 {
		a.t.Fatalf("Retry-After %q", a.Header.Get("Retry-After"))
	}
	return seconds
}

func TestLimitsPerClient(t *testing.T) {
	t.Parallel()
	type limited struct {
		name    string
		request func(s *server) call
		status  int // while within the limit
		env     []string
	}
	for _, c := range []limited{
		{"sign-up", func(*server) call { return call{Method: "POST", Path: "/signup", Body: `{"email": "x"}`} }, 400, nil},
		{"anonymous", func(*server) call { return call{Method: "POST", Path: "/signup", Body: `{}`} }, 200, []string{anonymousOn}},
		{"refresh", func(s *server) call { // the token before the current one is answered with the current one again
			return call{Method: "POST", Path: "/token?grant_type=refresh_token", Body: map[string]any{"refresh_token": s.member("me@example.com").Refresh}}
		}, 200, []string{"GOTRUE_RATE_LIMIT_TOKEN_REFRESH=30"}},
		{"password grant", func(*server) call { return grant(`{}`) }, 400, []string{"GOTRUE_RATE_LIMIT_TOKEN_REFRESH=30"}},
		{"change of the user", func(s *server) call {
			return call{Method: "PUT", Path: "/user", Body: `{"email": "x"}`, Bearer: s.member("you@example.com").Access}
		}, 400, nil},
		{"change of the password", func(s *server) call {
			return call{Method: "PUT", Path: "/user", Body: `{"password": "correct horse battery"}`, Bearer: s.quickMember("me@example.com").Access}
		}, 422, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, append([]string{limitOn}, c.env...)...)
			other := startOn(t, s.db, append([]string{limitOn}, c.env...)...)
			request := c.request(s)
			// Thirty pass, in turns on two gateways.
			for i := range 30 {
				[]*server{s, other}[i%2].do(request.from("1.2.3.4")).want(c.status)
			}
			wait := s.do(request.from("1.2.3.4")).refusedByLimit()
			other.do(request.from(" 1.2.3.4 , 5.6.7.8")).refusedByLimit() // the first part counts
			// Others, and clients without the header, are not held up.
			s.do(request.from("5.6.7.8")).want(c.status)
			s.do(request.from(" ,1.2.3.4")).want(c.status)
			s.do(request).want(c.status)
			// After the time named, one more passes, and only one.
			s.exec(`update auth.rate_limits set full_at = full_at - make_interval(secs => $1) where key = '1.2.3.4'`, wait)
			s.do(request.from("1.2.3.4")).want(c.status)
		})
	}
}

func TestRefusedRequestsAreNotCountedTwice(t *testing.T) {
	t.Parallel()
	s := start(t, limitOn)
	for range 30 {
		s.do(call{Method: "POST", Path: "/signup", Body: `{"email": "x"}`}.from("a")).want(400)
	}
	full := s.one(`select full_at::text from auth.rate_limits`)
	for range 5 {
		s.do(call{Method: "POST", Path: "/signup", Body: `{"email": "x"}`}.from("a")).refusedByLimit()
	}
	if got := s.one(`select full_at::text from auth.rate_limits`); got != full {
		t.Error("a refused request pushed the end of the wait away")
	}
}

func TestLimitersAreApart(t *testing.T) {
	t.Parallel()
	s := start(t, limitOn, anonymousOn, "GOTRUE_RATE_LIMIT_ANONYMOUS_USERS=3")
	guest := call{Method: "POST", Path: "/signup", Body: "{}"}.from("a")
	for range 3 {
		s.do(guest).want(200)
	}
	if wait := s.do(guest).refusedByLimit(); wait < 1100 || wait > 1200 {
		t.Errorf("Retry-After %d, of 3 an hour", wait)
	}
	if got := s.one(`select count(*) from auth.users`); got != "3" {
		t.Errorf("%s users", got)
	}
	s.do(call{Method: "POST", Path: "/signup", Body: `{"email": "x"}`}.from("a")).want(400)
	s.do(grant(`{}`).from("a")).want(400)
	// What is not limited: wrong grant types, reading, administration, signing out.
	s.exec(`update auth.rate_limits set full_at = now() + interval '1 day'`)
	s.do(call{Method: "POST", Path: "/token?grant_type=x"}.from("a")).refused(400, "invalid_credentials")
	s.do(grant(`{}`).from("a")).refusedByLimit()
	s.do(call{Method: "GET", Path: "/settings"}.from("a")).want(200)
	me := s.member("me@example.com")
	s.do(call{Method: "GET", Path: "/user", Bearer: me.Access}.from("a")).want(200)
	s.do(call{Method: "GET", Path: "/admin/users", Bearer: s.serviceRole()}.from("a")).want(200)
	s.do(call{Method: "POST", Path: "/logout", Bearer: me.Access}.from("a")).want(204)
}

func TestLimitsOfZeroAndHeaderOff(t *testing.T) {
	t.Parallel()
	s := start(t, anonymousOn)
	guest := call{Method: "POST", Path: "/signup", Body: "{}"}
	for range 32 {
		s.do(guest.from("a")).want(200)
	}
	if got := s.one(`select count(*) from auth.rate_limits`); got != "0" {
		t.Errorf("%s rows of limits without a header configured", got)
	}
	s = startOn(t, s.db, anonymousOn, limitOn, "GOTRUE_RATE_LIMIT_TOKEN_REFRESH=0")
	for range 30 {
		s.do(grant(`{}`).from("a")).want(400)
	}
	s.do(grant(`{}`).from("a")).refusedByLimit()
}

func TestSbForwardedForCountsWhenItIsEnabled(t *testing.T) {
	t.Parallel()
	s := start(t, anonymousOn, limitOn, "GOTRUE_RATE_LIMIT_ANONYMOUS_USERS=2", "GOTRUE_SECURITY_SB_FORWARDED_FOR_ENABLED=true")
	guest := func(forwarded, client string) call {
		return call{Method: "POST", Path: "/signup", Body: "{}", Header: map[string]string{"Sb-Forwarded-For": forwarded, "X-Client": client}}
	}
	s.do(guest("10.0.0.1, 10.0.0.9", "a")).want(200)
	s.do(guest("::ffff:10.0.0.1", "b")).want(200)
	s.do(guest("10.0.0.1", "c")).refusedByLimit()
	s.do(guest("nonsense, 10.0.0.1", "c")).want(200)
	s.do(guest("10.0.0.2", "c")).want(200)
	if got := s.one(`select host(ip) from auth.sessions order by created_at limit 1`); got != "10.0.0.1" {
		t.Errorf("session of %s", got)
	}
}

func TestClientAddresses(t *testing.T) {
	t.Parallel()
	s := start(t, anonymousOn)
	for header, want := range map[string]string{
		"": "127.0.0.1", "203.0.113.7": "203.0.113.7", "203.0.113.7, 10.0.0.1": "203.0.113.7", "unknown, , 10.1.2.3": "10.1.2.3",
		"::ffff:1.2.3.4": "1.2.3.4", "2001:DB8::1": "2001:db8::1", "nonsense": "127.0.0.1", "fe80::1%eth0": "fe80::1", "1.2.3.4:80": "127.0.0.1",
	} {
		me := s.do(call{Method: "POST", Path: "/signup", Body: "{}", Header: map[string]string{"X-Forwarded-For": header, "Sb-Forwarded-For": "9.9.9.9"}}).want(200).session()
		if got := s.one(`select host(ip) from auth.sessions where id = $1`, me.ID); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func TestAQueueForASharedKeyRefusesNobody(t *testing.T) {
	t.Parallel()
	s := start(t, limitOn, "GOTRUE_RATE_LIMIT_TOKEN_REFRESH=999999999")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 25 {
				if a, err := s.send(grant(`{}`).from("shared")); err != nil {
					t.Error(err)
				} else if a.Status == http.StatusTooManyRequests {
					t.Error("a limit of a billion is reached")
				}
			}
		})
	}
	all.Wait()
}
