package mail

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A silent relay holds a mail up for the time limit, not longer.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		script []string
		second bool // safe to go on with the second relay
	}{
		{"no greeting", nil, true},
		{"no answer to EHLO", []string{"220 hello"}, true},
		{"no answer to MAIL", []string{"220 hello", "250 relay"}, true},
		{"hangs up at RCPT", []string{"220 hello", "250 relay", "250 ok", hangUp}, true},
		{"hangs up with the mail in hand", []string{"220 hello", "250 relay", "250 ok", "250 ok", "354 go on", hangUp}, false},
		{"no answer to the mail", []string{"220 hello", "250 relay", "250 ok", "250 ok", "354 go on"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			second := startServer(t)
			const limit = time.Second
			sender := NewSender([]Relay{scripted(t, test.script...), second.relay()}, "", limit)
			defer sender.Close()
			begun := time.Now()
			_, _, err := sender.Send(t.Context(), message())
			if took := time.Since(begun); took > 20*limit {
				t.Errorf("took %v", took)
			}
			if test.second {
				if err != nil || len(second.all()) != 1 {
					t.Errorf("error %v; the second relay has %d mails", err, len(second.all()))
				}
				return
			}
			// The first relay may have sent it: whether to try again is for the caller to say.
			_ = wantFailure(t, err, true, "DATA")
			if len(second.all()) != 0 {
				t.Error("the second relay has the mail too")
			}
		})
	}
}

// The first relay goes away, the second takes over; the first comes back and is used again.
func TestRelayDownAndBack(t *testing.T) {
	t.Parallel()
	first, second := startServer(t), startServer(t)
	sender := newTestSender(t, first.relay(), second.relay())
	sender.relays[0].firstRest = 20 * time.Millisecond
	send := func() string {
		t.Helper()
		relay, _, err := sender.Send(t.Context(), message())
		if err != nil {
			t.Fatal(err)
		}
		return relay
	}
	if relay := send(); relay != first.addr {
		t.Errorf("before: %s", relay)
	}
	first.stop()
	for range 5 {
		if relay := send(); relay != second.addr {
			t.Errorf("while the first is down: %s", relay)
		}
	}
	first.start(t)
	deadline := time.Now().Add(30 * time.Second)
	for send() != first.addr {
		if time.Now().After(deadline) {
			t.Fatal("the first relay is not used again")
		}
		time.Sleep(5 * time.Millisecond)
	}
	ids := map[string]bool{}
	for _, mail := range append(first.all(), second.all()...) {
		_, after, _ := strings.Cut(mail.raw, "Message-ID: ")
		id, _, _ := strings.Cut(after, "\r\n")
		ids[id] = true
	}
	if len(ids) != 1 || !ids["<b7a1@example.com>"] {
		t.Errorf("Message-IDs: %v", ids)
	}
}

// Mails do not queue up before a relay that is down: while it rests they come back
// at once, with the time to wait, and none spends an attempt.
func TestRestingRelay(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := startServer(t, func(s *server) {
		s.wrap = func(l net.Listener) net.Listener { return &refusingListener{Listener: l, asked: &asked} }
	})
	sender := newTestSender(t, server.relay())
	sender.relays[0].firstRest = time.Hour
	_, _, err := sender.Send(t.Context(), message())
	if failure := wantFailure(t, err, true, ""); failure.RetryAfter != 0 {
		t.Errorf("the first attempt was one, but says retry after %v", failure.RetryAfter)
	}
	for range 3 {
		relay, _, err := sender.Send(t.Context(), message())
		failure := wantFailure(t, err, true, "every relay rests")
		if relay != server.addr || failure.RetryAfter < 50*time.Second || failure.RetryAfter > time.Minute {
			t.Errorf("%s: retry after %v", relay, failure.RetryAfter)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the relay was asked %d times", n)
	}
}

func TestRestGrows(t *testing.T) {
	t.Parallel()
	r := &relay{firstRest: time.Second}
	now := time.Now()
	r.rest(now, "")
	r.rest(now.Add(-time.Second), "") // was under way when the first failed
	got := make([]time.Duration, 0, 9)
	for range 9 {
		r.mu.Lock()
		got = append(got, r.pause())
		r.restsTo = time.Time{}
		r.mu.Unlock()
		if !r.ready(time.Now()) {
			t.Fatal("still rests")
		}
		if r.ready(time.Now()) {
			t.Error("two mails go ahead at once")
		}
		r.rest(time.Now().Add(time.Millisecond), "")
		time.Sleep(2 * time.Millisecond)
	}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60}
	for i := range want {
		if got[i] != want[i]*time.Second {
			t.Fatalf("rests: %v", got)
		}
	}
	r.awake()
	for range 2 {
		if !r.ready(time.Now()) {
			t.Error("a relay that answered rests")
		}
	}
}

func TestNoRelay(t *testing.T) {
	t.Parallel()
	_, _, err := NewSender(nil, "", 0).Send(t.Context(), message())
	_ = wantFailure(t, err, true, "no relay")
}

func TestRelayCheck(t *testing.T) {
	t.Parallel()
	if err := (Relay{Host: "mail.example.com", From: "a@example.com"}).Check(); err != nil {
		t.Error(err)
	}
	err := Relay{Port: 70000, From: "nobody", TLS: "sometimes"}.Check()
	for _, part := range []string{"host", "70000", "nobody", "sometimes"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not name %s", err, part)
		}
	}
}

// refusingListener drops every connection before the greeting.
type refusingListener struct {
	net.Listener
	asked *atomic.Int32
}

func (l *refusingListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.asked.Add(1)
		_ = conn.Close()
	}
}
