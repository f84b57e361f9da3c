// Package devmail catches the mails and SMS of `postern dev` and shows them at /dev/mail. What is caught stays in
// memory, and anybody who reaches the page reads it: it is no part of `postern serve`.
package devmail

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

const (
	kept        = 200     // messages; older ones are forgotten
	largestMail = 4 << 20 // bytes
	largestText = 1 << 16 // bytes of an SMS with its form
	timeout     = 10 * time.Second
)

// KindHeader is the header in which a mail names its template: GOTRUE_SMTP_HEADERS sets it to $messageType.
const KindHeader = "X-Postern-Kind"

// Catcher is an SMTP server, and the double of an SMS provider, on loopback ports of their own. It keeps the newest
// messages.
type Catcher struct {
	smtp, sms net.Listener
	mails     *smtp.Server
	texts     *http.Server
	stopping  <-chan struct{} // closed when nobody is to wait for messages any more

	mu       sync.Mutex
	caught   []*Message    // oldest first
	last     int           // the id of the newest
	arrivals chan struct{} // closed and replaced with each message
}

// Start listens until Close; when the context ends, requests that wait for a message are answered.
func Start(ctx context.Context, log *slog.Logger) (*Catcher, error) {
	c := &Catcher{stopping: ctx.Done(), arrivals: make(chan struct{})}
	var err error
	if c.smtp, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	if c.sms, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, errors.Join(err, c.smtp.Close())
	}
	errorLog := slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	c.mails = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{catcher: c}, nil }))
	c.mails.Domain, c.mails.EnableSMTPUTF8, c.mails.MaxMessageBytes = "localhost", true, largestMail
	// The gateway keeps a connection for the next mail; a broken one is its own to open again.
	c.mails.ReadTimeout, c.mails.WriteTimeout, c.mails.ErrorLog = time.Minute, timeout, errorLog
	c.texts = &http.Server{
		Handler: http.HandlerFunc(c.takeSMS), ReadHeaderTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, ErrorLog: errorLog,
	}
	go func() { _ = c.mails.Serve(c.smtp) }()
	go func() { _ = c.texts.Serve(c.sms) }()
	return c, nil
}

// SMTPPort is where it takes mails, on 127.0.0.1.
func (c *Catcher) SMTPPort() int { return c.smtp.Addr().(*net.TCPAddr).Port }

// SMSEndpoint is what stands in place of Textlocal's scheme and host.
func (c *Catcher) SMSEndpoint() string { return "http://" + c.sms.Addr().String() }

// Close ends both servers and their connections.
func (c *Catcher) Close() error {
	// The listeners once more: a server that has not begun to serve does not know its own.
	_ = c.smtp.Close()
	_ = c.sms.Close()
	return errors.Join(ignoreClosed(c.mails.Close()), ignoreClosed(c.texts.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// add keeps a message and forgets the oldest.
func (c *Catcher) add(m *Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	m.ID, m.ReceivedAt = c.last, time.Now()
	c.caught = append(c.caught, m)
	if len(c.caught) > kept {
		c.caught[0] = nil
		c.caught = c.caught[1:]
	}
	close(c.arrivals)
	c.arrivals = make(chan struct{})
}

// messages are those to a recipient ("" is everybody) that came after the one with an id, newest first; the channel is
// closed when another message comes.
func (c *Catcher) messages(to string, after int) ([]*Message, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := []*Message{}
	for i := len(c.caught) - 1; i >= 0 && c.caught[i].ID > after; i-- {
		if to == "" || strings.EqualFold(c.caught[i].To, to) {
			found = append(found, c.caught[i])
		}
	}
	return found, c.arrivals
}

// message is the one with that id, or nil.
func (c *Catcher) message(id int) *Message {
	found, _ := c.messages("", id-1)
	if len(found) == 0 || found[len(found)-1].ID != id {
		return nil
	}
	return found[len(found)-1]
}

// session is one SMTP session.
type session struct {
	catcher    *Catcher
	from       string
	recipients []string
}

func (s *session) Reset()        { s.from, s.recipients = "", nil }
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.recipients = append(s.recipients, to)
	return nil
}

func (s *session) Data(body io.Reader) error {
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	m := readMail(raw)
	m.From, m.To = s.from, strings.Join(s.recipients, ", ")
	s.catcher.add(m)
	return nil
}

// takeSMS answers as Textlocal does (mfa-hooks.md 9.3).
func (c *Catcher) takeSMS(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, largestText)
	if r.Method != http.MethodPost || r.ParseForm() != nil {
		http.Error(w, "not an SMS", http.StatusBadRequest)
		return
	}
	text := r.PostForm.Get("message")
	c.add(&Message{
		Channel: "sms", From: r.PostForm.Get("sender"), To: r.PostForm.Get("numbers"), Text: text, Code: codeIn(text),
	})
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"status":"success","messages":[{"id":"caught"}]}`)
}
