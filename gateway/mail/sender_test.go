package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"github.com/postern-auth/postern/gateway/config"
)

func message() Message {
	return Message{
		ID: "b7a1", Kind: "confirmation", To: "ada@example.org", Subject: "Confirm your email address",
		HTML: `<p><a href="https://a.test/verify?token=5e1f0aa9">Confirm</a> 493817</p>`, Text: "Confirm (https://a.test/verify?token=5e1f0aa9) 493817",
	}
}

// newTestSender waits long enough for relays that answer.
func newTestSender(t *testing.T, relays ...Relay) *Sender {
	t.Helper()
	s := NewSender(relays, "auth.example.com", 30*time.Second)
	t.Cleanup(s.Close)
	return s
}

func refusal(code int, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: text}
}

// wantFailure checks what Send said about a mail that was not sent.
func wantFailure(t *testing.T, err error, temporary bool, reply string) *Failure {
	t.Helper()
	var failure *Failure
	if !errors.As(err, &failure) {
		t.Fatalf("error is %v, want a Failure", err)
	}
	if failure.Temporary != temporary {
		t.Errorf("temporary = %v, want %v (%s)", failure.Temporary, temporary, failure.Reply)
	}
	if !strings.Contains(failure.Reply, reply) {
		t.Errorf("reply is %q, want %q in it", failure.Reply, reply)
	}
	return failure
}

func TestSend(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	sender := newTestSender(t, server.relay())

	relay, reply, err := sender.Send(t.Context(), message())
	if err != nil {
		t.Fatal(err)
	}
	if relay != server.addr || !strings.HasPrefix(reply, "250 ") {
		t.Errorf("relay %q said %q", relay, reply)
	}
	got := server.all()
	if len(got) != 1 || got[0].from != "auth@example.com" || got[0].to != "ada@example.org" || got[0].utf8 {
		t.Errorf("the relay has %+v", got)
	}
	if server.helo != "auth.example.com" {
		t.Errorf("EHLO %q", server.helo)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	sender := newTestSender(t, server.relay())
	for range 20 {
		if _, _, err := sender.Send(t.Context(), message()); err != nil {
			t.Fatal(err)
		}
	}
	if n := server.dialed(); n != 1 {
		t.Errorf("%d connections for 20 mails", n)
	}
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			for range 10 {
				if _, _, err := sender.Send(t.Context(), message()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	senders.Wait()
	if n := server.dialed(); n > 4 {
		t.Errorf("%d connections for 4 senders at once", n)
	}
	if n := len(server.all()); n != 60 {
		t.Errorf("the relay has %d mails", n)
	}
}

// A relay that ended an idle connection is no failure, and costs no attempt.
func TestStaleConnection(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	sender := newTestSender(t, server.relay())
	for range 3 {
		if _, _, err := sender.Send(t.Context(), message()); err != nil {
			t.Fatal(err)
		}
		server.stop()
		server.start(t)
	}
	if n := len(server.all()); n != 3 {
		t.Errorf("the relay has %d mails", n)
	}
}

// Some relays take so many mails over one connection, and then refuse.
func TestRelayThatTakesTwoMailsPerConnection(t *testing.T) {
	t.Parallel()
	count := map[int]int{}
	server := startServer(t, func(s *server) {
		s.onMail = func(string) error {
			n := s.dialed()
			if count[n]++; count[n] > 2 {
				return refusal(451, "too many messages, come again")
			}
			return nil
		}
	})
	sender := newTestSender(t, server.relay())
	for range 6 {
		if _, _, err := sender.Send(t.Context(), message()); err != nil {
			t.Fatal(err)
		}
	}
	if got := []int{len(server.all()), server.dialed()}; !cmp.Equal(got, []int{6, 3}) {
		t.Errorf("mails and connections: %v", got)
	}
}

func TestEncryption(t *testing.T) {
	t.Parallel()
	roots, settings := testCA(t)
	startTLS := startServer(t, func(s *server) { s.configure = func(r *smtp.Server) { r.TLSConfig = settings } })
	implicit := startServer(t, func(s *server) { s.wrap = func(l net.Listener) net.Listener { return tls.NewListener(l, settings) } })
	plain := startServer(t)

	for _, test := range []struct {
		name     string
		server   *server
		mode     TLSMode
		believed bool
		implicit bool
		wantErr  string
		clear    bool
	}{
		{name: "STARTTLS because it is offered", server: startTLS, believed: true},
		{name: "STARTTLS because it is required", server: startTLS, mode: TLSRequire, believed: true},
		{name: "TLS from the start", server: implicit, believed: true, implicit: true},
		{name: "not wanted", server: startTLS, mode: TLSNone, believed: true, clear: true},
		{name: "not offered", server: plain, mode: TLSAuto, believed: true, clear: true},
		{name: "not offered but required", server: plain, mode: TLSRequire, believed: true, wantErr: "does not support STARTTLS"},
		{name: "STARTTLS with a certificate nobody knows", server: startTLS, wantErr: "certificate"},
		{name: "TLS with a certificate nobody knows", server: implicit, implicit: true, wantErr: "certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			relay := test.server.relay()
			relay.TLS = test.mode
			if test.believed {
				relay.RootCAs = roots
			}
			sender := newTestSender(t, relay)
			sender.relays[0].implicitTLS = test.implicit
			before := len(test.server.all())
			_, _, err := sender.Send(t.Context(), message())
			if test.wantErr != "" {
				_ = wantFailure(t, err, true, test.wantErr)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := test.server.all()[before]; got.encrypted == test.clear {
				t.Errorf("encrypted: %v", got.encrypted)
			}
		})
	}
}

// Port 465 begins with TLS, any other does not.
func TestImplicitTLSByPort(t *testing.T) {
	t.Parallel()
	sender := NewSender([]Relay{{Port: 465}, {Port: 587}, {Port: 465, TLS: TLSNone}, {}}, "", 0)
	got := make([]bool, 0, 4)
	for _, r := range sender.relays {
		got = append(got, r.implicitTLS)
	}
	if !cmp.Equal(got, []bool{true, false, false, false}) || sender.relays[3].Port != 587 {
		t.Errorf("TLS from the start: %v", got)
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		offered    []string
		user, pass string
		want       string
		wantErr    string
	}{
		{"PLAIN before LOGIN", []string{"PLAIN", "LOGIN"}, "postern", "correct-horse", "postern by PLAIN", ""},
		{"LOGIN when PLAIN is not offered", []string{"LOGIN"}, "postern", "correct-horse", "postern by LOGIN", ""},
		{"no user", []string{"PLAIN"}, "", "correct-horse", "", ""},
		{"not offered", nil, "postern", "correct-horse", "", ""},
		{"wrong password", []string{"PLAIN"}, "postern", "battery-staple", "", "535 5.7.8 no such login: ***"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := startServer(t, func(s *server) { s.mechanisms = test.offered })
			relay := server.relay()
			relay.User, relay.Pass = test.user, config.Secret(test.pass)
			_, _, err := newTestSender(t, relay).Send(t.Context(), message())
			if test.wantErr != "" {
				// The next mail may go: what is wrong is our login, not the mail.
				_ = wantFailure(t, err, true, test.wantErr)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := server.all()[0].user; got != test.want {
				t.Errorf("signed in as %q, want %q", got, test.want)
			}
		})
	}
}

// The password itself is not sent where the relay knows a better way. (A script
// does: the challenge would be a mistake in PLAIN and in LOGIN.)
func TestCRAMMD5IsPreferred(t *testing.T) {
	t.Parallel()
	relay := scripted(t, "220 hello", "250-relay\r\n250 AUTH LOGIN PLAIN CRAM-MD5", "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2U+", "235 welcome",
		"250 ok", "250 ok", "354 go on", "250 taken")
	relay.User, relay.Pass = "postern", "correct-horse"
	_, reply, err := newTestSender(t, relay).Send(t.Context(), message())
	if err != nil || reply != "250 taken" {
		t.Errorf("%q, %v", reply, err)
	}
}

// Beyond the machine itself a password is not sent in the clear, unless TLS was
// switched off by name.
func TestPasswordNeedsTLS(t *testing.T) {
	t.Parallel()
	// 127.0.0.1 is known to be this machine, 127.0.0.2 is not.
	other := startServer(t, func(s *server) { s.addr, s.mechanisms = "127.0.0.2:0", []string{"PLAIN"} })
	relay := other.relay()
	relay.Host, relay.User, relay.Pass = "127.0.0.2", "postern", "correct-horse"
	_, _, err := newTestSender(t, relay).Send(t.Context(), message())
	_ = wantFailure(t, err, true, "unencrypted")

	relay.TLS = TLSNone
	if _, _, err := newTestSender(t, relay).Send(t.Context(), message()); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	at := func(step string, err error) func(*server) {
		return func(s *server) {
			switch step {
			case "mail":
				s.onMail = func(string) error { return err }
			case "rcpt":
				s.onRcpt = func(string) error { return err }
			default:
				s.onData = func(string) error { return err }
			}
		}
	}
	for _, test := range []struct {
		name      string
		option    func(*server)
		temporary bool
		reply     string
		second    bool // the second relay gets the mail
	}{
		{"unknown recipient", at("rcpt", refusal(550, "no such user")), false, "550 5.1.1 no such user", false},
		{"refused content", at("data", refusal(554, "we call this spam")), false, "554 5.1.1 we call this spam", false},
		{"refused sender", at("mail", refusal(553, "not you")), false, "553 5.1.1 not you", false},
		{"greylisted", at("rcpt", refusal(451, "later")), true, "", true},
		{"full", at("data", refusal(452, "disk full")), true, "", true},
		{"wants a login", at("mail", refusal(530, "authentication required")), true, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			first, second := startServer(t, test.option), startServer(t)
			sender := newTestSender(t, first.relay(), second.relay())
			relay, _, err := sender.Send(t.Context(), message())
			if len(second.all()) == 1 != test.second {
				t.Errorf("the second relay has %d mails", len(second.all()))
			}
			if test.second {
				if err != nil || relay != second.addr {
					t.Errorf("relay %s, error %v", relay, err)
				}
				return
			}
			_ = wantFailure(t, err, test.temporary, test.reply)
			// The connection survives a refusal.
			first.mu.Lock()
			first.onMail, first.onRcpt, first.onData = nil, nil, nil
			first.mu.Unlock()
			if _, _, err := sender.Send(t.Context(), message()); err != nil || first.dialed() != 1 {
				t.Errorf("next mail: %v, over %d connections", err, first.dialed())
			}
		})
	}
}

func TestBothRelaysSpeak(t *testing.T) {
	t.Parallel()
	first := startServer(t, func(s *server) { s.onRcpt = func(string) error { return refusal(451, "later") } })
	second := scripted(t, "554 go away")
	_, _, err := newTestSender(t, first.relay(), second).Send(t.Context(), message())
	failure := wantFailure(t, err, true, first.addr+": 451 4.1.1 later; "+second.Name()+": 554 go away")
	if failure.RetryAfter != 0 {
		t.Errorf("retry after %v", failure.RetryAfter)
	}
}

func TestRelayQuotesTheMail(t *testing.T) {
	t.Parallel()
	server := startServer(t, func(s *server) {
		s.onData = func(string) error {
			return refusal(554, `<ada@example.org>: "493817 is your code" https://a.test/verify?token=5e1f0aa9 looks bad, id 77aa12`)
		}
	})
	_, _, err := newTestSender(t, server.relay()).Send(t.Context(), message())
	failure := wantFailure(t, err, false, "<ada@example.org>")
	if strings.Contains(failure.Reply, "493817") || strings.Contains(failure.Reply, "5e1f0aa9") || !strings.Contains(failure.Reply, "77aa12") {
		t.Errorf("stored: %s", failure.Reply)
	}
}

func TestBadRecipientAndSender(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	m := message()
	for _, to := range []string{"", "ada", "ada@", "Ada <ada@example.org>", "a@b.c\r\nRCPT TO:<x@y.z>", "a@b.c, d@e.f"} {
		m.To = to
		_, _, err := newTestSender(t, server.relay()).Send(t.Context(), m)
		_ = wantFailure(t, err, false, "recipient")
	}
	relay := server.relay()
	relay.From = "nobody"
	_, _, err := newTestSender(t, relay).Send(t.Context(), message())
	_ = wantFailure(t, err, true, "sender")
	if n := len(server.all()); n != 0 {
		t.Errorf("the relay has %d mails", n)
	}
}

func TestContextEndsASend(t *testing.T) {
	t.Parallel()
	for _, script := range [][]string{
		{},
		{"220 hello"},
		{"220 hello", "250 relay", "250 ok", "250 ok", "354 go on"},
	} {
		t.Run(fmt.Sprint(len(script)), func(t *testing.T) {
			t.Parallel()
			relay := scripted(t, script...)
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, cancel)
			sender := NewSender([]Relay{relay}, "", time.Minute)
			begun := time.Now()
			_, _, err := sender.Send(ctx, message())
			_ = wantFailure(t, err, true, "")
			if !errors.Is(err, context.Canceled) || time.Since(begun) > 5*time.Second {
				t.Errorf("after %v: %v", time.Since(begun), err)
			}
			if !sender.relays[0].ready(time.Now()) {
				t.Error("the relay rests although the caller gave up")
			}
		})
	}
}
