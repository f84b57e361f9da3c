package http_test

import "testing"

const proxiesAre = "POSTERN_TRUSTED_PROXIES="

// guestFrom signs in anonymously with headers of proxies.
func guestFrom(forwarded, client, sb string) call {
	return call{Method: "POST", Path: "/signup", Body: "{}", Header: map[string]string{
		"X-Forwarded-For": forwarded, "X-Client": client, "Sb-Forwarded-For": sb,
	}}
}

func TestForgedHeadersAreNotBelieved(t *testing.T) {
	t.Parallel()
	// Tests come from 127.0.0.1, which is no trusted proxy here.
	s := start(t, anonymousOn, limitOn, proxiesAre+"10.0.0.0/8,192.0.2.1", "GOTRUE_RATE_LIMIT_ANONYMOUS_USERS=2",
		"GOTRUE_SECURITY_SB_FORWARDED_FOR_ENABLED=true")
	me := s.do(guestFrom("203.0.113.1", "203.0.113.1", "203.0.113.1")).want(200).session()
	if got := s.one(`select host(ip) from auth.sessions where id = $1`, me.ID); got != "127.0.0.1" {
		t.Errorf("session of %s", got)
	}
	s.do(guestFrom("203.0.113.2", "203.0.113.2", "203.0.113.2")).want(200)
	s.do(guestFrom("203.0.113.3", "203.0.113.3", "203.0.113.3")).refusedByLimit()
	s.do(call{Method: "POST", Path: "/signup", Body: "{}"}).refusedByLimit() // leaving the header out does not help
	if got := s.one(`select string_agg(key, ' ') from auth.rate_limits`); got != "127.0.0.1" {
		t.Errorf("limits count %s", got)
	}
}

func TestHeadersOfTrustedProxies(t *testing.T) {
	t.Parallel()
	s := start(t, anonymousOn, limitOn, proxiesAre+"127.0.0.0/8,10.0.0.0/8", "GOTRUE_RATE_LIMIT_ANONYMOUS_USERS=2")
	// What stands left of the last address that is no proxy's was written by the client.
	me := s.do(guestFrom("1.1.1.1, 203.0.113.7, 10.1.2.3", "1.1.1.1, 203.0.113.7, 10.1.2.3", "")).want(200).session()
	if got := s.one(`select host(ip) from auth.sessions where id = $1`, me.ID); got != "203.0.113.7" {
		t.Errorf("session of %s", got)
	}
	s.do(guestFrom("", "2.2.2.2, 203.0.113.7", "")).want(200)
	s.do(guestFrom("", "3.3.3.3,203.0.113.7", "")).refusedByLimit()
	s.do(guestFrom("", "203.0.113.8", "")).want(200)
	if got := s.one(`select string_agg(key, ' ' order by key) from auth.rate_limits`); got != "203.0.113.7 203.0.113.8" {
		t.Errorf("limits count %s", got)
	}
}
