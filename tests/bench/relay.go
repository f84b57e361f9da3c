package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// codeTemplate is what mails look like, so that relay finds their code.
const codeTemplate = `<p>[{{ .Token }}] <a href="{{ .ConfirmationURL }}">go</a></p>`

var codePattern = regexp.MustCompile(`\[(\d+)\]`)

// relay is an SMTP server that hands each code to who waits for it.
type relay struct {
	server *smtp.Server
	socket net.Listener

	mu    sync.Mutex
	codes map[string]chan string // by recipient
	taken int
	times []time.Time // of the first and the last mail since reset
}

func startRelay(ctx context.Context) (*relay, error) {
	r := &relay{codes: map[string]chan string{}}
	var err error
	if r.socket, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	r.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &delivery{relay: r}, nil }))
	r.server.Domain = "localhost"
	go func() { _ = r.server.Serve(r.socket) }() // until stop
	return r, nil
}

func (r *relay) stop() { _ = r.server.Close() }

// environment makes it a gateway's relay, and mails as frequent as they come.
func (r *relay) environment() []string {
	return []string{
		"GOTRUE_SMTP_HOST=127.0.0.1", "GOTRUE_SMTP_PORT=" + strconv.Itoa(r.socket.Addr().(*net.TCPAddr).Port),
		"GOTRUE_SMTP_ADMIN_EMAIL=auth@example.com", "GOTRUE_SMTP_MAX_FREQUENCY=1ms", "GOTRUE_RATE_LIMIT_EMAIL_SENT=999999999",
		"GOTRUE_MAILER_TEMPLATES_MAGIC_LINK=" + codeTemplate, "GOTRUE_MAILER_TEMPLATES_RECOVERY=" + codeTemplate,
	}
}

// waiting is where codes for an address arrive.
func (r *relay) waiting(address string) <-chan string {
	r.mu.Lock()
	defer r.mu.Unlock()
	codes := make(chan string, 1)
	r.codes[address] = codes
	return codes
}

// reset counts from none again.
func (r *relay) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken, r.times = 0, nil
}

// count is how many mails came since reset, and the time from the first to the last.
func (r *relay) count() (int, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken < 2 {
		return r.taken, 0
	}
	return r.taken, r.times[1].Sub(r.times[0])
}

func (r *relay) take(address string, mail []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken++
	if r.times = append(r.times, time.Now()); len(r.times) > 2 {
		r.times = append(r.times[:1], r.times[2])
	}
	if code := codePattern.FindSubmatch(mail); code != nil && r.codes[address] != nil {
		select {
		case r.codes[address] <- string(code[1]):
		default: // nobody asked for another
		}
	}
}

type delivery struct {
	relay *relay
	to    string
}

func (*delivery) Reset()                                           {}
func (*delivery) Logout() error                                    { return nil }
func (*delivery) Mail(string, *smtp.MailOptions) error             { return nil }
func (d *delivery) Rcpt(address string, _ *smtp.RcptOptions) error { d.to = address; return nil }

func (d *delivery) Data(body io.Reader) error {
	mail, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("reading a mail: %w", err)
	}
	d.relay.take(d.to, mail)
	return nil
}
