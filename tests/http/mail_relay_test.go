package http_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/seal"
)

// Settings without which tests would be held up.
const (
	confirmByMail = "GOTRUE_MAILER_AUTOCONFIRM=false"
	manyMails     = "GOTRUE_RATE_LIMIT_EMAIL_SENT=100000"
	anySoon       = "GOTRUE_SMTP_MAX_FREQUENCY=1ms"
)

// received is a mail that a relay took.
type received struct {
	To, Subject, ID string
	Raw, Text, HTML string
	Code            string   // the code in a mail of mailTemplates
	Link            *url.URL // the link in a mail
}

// relay is a real SMTP server.
type relay struct {
	t    testing.TB
	addr string

	mu     sync.Mutex
	smtp   *smtp.Server
	socket net.Listener
	mails  []received
	tried  int
	refuse func(to string) error // what is answered to RCPT TO
	hold   func()                // called with a whole mail before it is taken
}

// startRelay starts one on a port that stays its own while it is down.
func startRelay(t testing.TB) *relay {
	t.Helper()
	r := &relay{t: t, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))}
	r.up()
	t.Cleanup(r.down)
	return r
}

// up starts a relay, at the same address as before.
func (r *relay) up() {
	r.t.Helper()
	listener, err := net.Listen("tcp", r.addr) //nolint:noctx // a local socket
	if err != nil {
		r.t.Fatal(err)
	}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &relaySession{relay: r}, nil }))
	server.Domain, server.AllowInsecureAuth = "relay.test", true
	server.ReadTimeout, server.WriteTimeout = patience, patience
	server.ErrorLog = quiet{}
	r.mu.Lock()
	r.smtp, r.socket = server, listener
	r.mu.Unlock()
	go func() { _ = server.Serve(listener) }()
}

// down ends it with all its connections.
func (r *relay) down() {
	r.mu.Lock()
	server, socket := r.smtp, r.socket
	r.mu.Unlock()
	_ = socket.Close() // the server may not have begun to serve
	_ = server.Close()
}

// env is what makes it a gateway's relay. prefix is GOTRUE_SMTP_ or that of a fallback.
func (r *relay) env(prefix string) []string {
	host, port, _ := net.SplitHostPort(r.addr)
	return []string{prefix + "HOST=" + host, prefix + "PORT=" + port, prefix + "ADMIN_EMAIL=auth@example.com", prefix + "SENDER_NAME=Example"}
}

// all is what it took so far, in that order.
func (r *relay) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.mails...)
}

// attempts is how many mails were offered to it.
func (r *relay) attempts() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tried
}

// to is what it took for an address.
func (r *relay) to(address string) []received {
	var out []received
	for _, mail := range r.all() {
		if mail.To == address {
			out = append(out, mail)
		}
	}
	return out
}

// answering changes what it does with mails.
func (r *relay) answering(refuse func(to string) error, hold func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse, r.hold = refuse, hold
}

type relaySession struct {
	relay *relay
	to    string
}

func (s *relaySession) Reset()                               {}
func (s *relaySession) Logout() error                        { return nil }
func (s *relaySession) Mail(string, *smtp.MailOptions) error { return nil }

func (s *relaySession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	s.relay.mu.Lock()
	s.relay.tried++
	refuse := s.relay.refuse
	s.relay.mu.Unlock()
	if refuse != nil {
		return refuse(to)
	}
	return nil
}

func (s *relaySession) Data(body io.Reader) error {
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	s.relay.mu.Lock()
	hold := s.relay.hold
	s.relay.mu.Unlock()
	if hold != nil {
		hold()
	}
	mail, err := readMail(s.to, string(raw))
	if err != nil {
		return err
	}
	s.relay.mu.Lock()
	s.relay.mails = append(s.relay.mails, mail)
	s.relay.mu.Unlock()
	return nil
}

// readMail takes a mail apart.
func readMail(to, raw string) (received, error) {
	message, err := netmail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		return received{}, err
	}
	out := received{To: to, ID: message.Header.Get("Message-Id"), Raw: raw}
	if out.Subject, err = new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject")); err != nil {
		return out, err
	}
	_, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		return out, err
	}
	parts := multipart.NewReader(message.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return out, err
		}
		body, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			return out, err
		}
		if strings.HasPrefix(part.Header.Get("Content-Type"), "text/html") {
			out.HTML = string(body)
		} else {
			out.Text = string(body)
		}
	}
	if found := regexp.MustCompile(`code=\[(\d+)\]`).FindStringSubmatch(out.HTML); found != nil {
		out.Code = found[1]
	}
	if found := regexp.MustCompile(`href="([^"]+)"`).FindStringSubmatch(out.HTML); found != nil {
		if out.Link, err = url.Parse(strings.ReplaceAll(found[1], "&amp;", "&")); err != nil {
			return out, err
		}
	}
	return out, nil
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// mailTemplates has every mail hold its code and link; the built-in ones hold one of them.
func mailTemplates() []string {
	var env []string
	for _, kind := range []string{"CONFIRMATION", "INVITE", "RECOVERY", "MAGIC_LINK", "EMAIL_CHANGE"} {
		env = append(env, "GOTRUE_MAILER_TEMPLATES_"+kind+`=<p>code=[{{ .Token }}] hash=[{{ .TokenHash }}] <a href="{{ .ConfirmationURL }}">go</a></p>`)
	}
	return append(env, "GOTRUE_MAILER_TEMPLATES_REAUTHENTICATION=<p>code=[{{ .Token }}]</p>")
}

// startMailing brings up a gateway that confirms addresses by mail, without limits of frequency, and its relay.
func startMailing(t testing.TB, env ...string) (*server, *relay) {
	t.Helper()
	r := startRelay(t)
	return start(t, mailing(r, env...)...), r
}

// mailing is the environment of such a gateway.
func mailing(r *relay, env ...string) []string {
	out := append([]string{confirmByMail, manyMails, anySoon}, r.env("GOTRUE_SMTP_")...)
	return append(append(out, mailTemplates()...), env...)
}

// mail waits for the n-th mail to an address.
func (s *server) mail(r *relay, address string, n int) received {
	s.t.Helper()
	var got []received
	s.eventually(fmt.Sprintf("mail %d to %s", n, address), func() bool {
		got = r.to(address)
		return len(got) >= n
	})
	return got[n-1]
}

// drained waits until nothing is queued any more.
func (s *server) drained() {
	s.t.Helper()
	s.eventually("the outbox is empty", func() bool { return s.one(`select count(*) from auth.outbox where state = 'queued'`) == "0" })
}

// follow opens the link of a mail as a browser does.
func (s *server) follow(mail received) *answer {
	s.t.Helper()
	if mail.Link == nil {
		s.t.Fatalf("the mail has no link: %s", mail.HTML)
	}
	return s.get(mail.Link.RequestURI(), "")
}

// landed is where an answer leads: the address without query and fragment, and the two.
func (a *answer) landed() (address string, query, fragment url.Values) {
	a.t.Helper()
	a.want(303)
	target, err := url.Parse(a.Header.Get("Location"))
	if err != nil {
		a.t.Fatal(err)
	}
	if fragment, err = url.ParseQuery(target.EscapedFragment()); err != nil {
		a.t.Fatal(err)
	}
	query = target.Query()
	target.RawQuery, target.Fragment, target.RawFragment = "", "", ""
	return target.String(), query, fragment
}

// enqueue puts mails with a code into the outbox, as a gateway does that has no keys of its own.
func (s *server) enqueue(prefix string, count int) {
	s.t.Helper()
	s.enqueueWith(jwtSecret, prefix, count)
}

// enqueueWith is enqueue with a key of one's own.
func (s *server) enqueueWith(key, prefix string, count int) {
	s.t.Helper()
	keys, err := seal.New(nil, config.Secret(key))
	if err != nil {
		s.t.Fatal(err)
	}
	ids, sealed := make([]string, count), make([][]byte, count)
	secret, _ := json.Marshal(map[string]string{"code": "314159", "link": strings.Repeat("ab", 28)})
	for i := range count {
		ids[i] = s.newUUID(i)
		sealed[i] = keys.Seal(ids[i], secret)
	}
	s.exec(`insert into auth.outbox (id, channel, kind, recipient, payload, sealed, expires_at)
		select i.id, 'email', 'recovery', $3 || i.n || '@example.com', '{"link_type": "recovery", "email": "x@example.com", "redirect_to": "https://app.example.com"}',
			i.sealed, now() + interval '1 hour'
		from unnest($1::uuid[], $2::bytea[]) with ordinality i (id, sealed, n)`, ids, sealed, prefix)
}

// newUUID makes an id that differs for each mail of a test and each moment.
func (s *server) newUUID(n int) string {
	now := time.Now().UnixNano()
	return fmt.Sprintf("%08x-%04x-4000-8000-%012x", n, now&0xffff, now>>16&0xffffffffffff)
}
