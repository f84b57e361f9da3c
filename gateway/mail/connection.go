package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// acceptFactor makes the wait for the answer to a whole message longer than that
// for other commands: whoever gives up there sends the message twice, if the
// relay was merely slow.
const acceptFactor = 6

// Reply codes with a meaning beyond their first digit.
const (
	codeClosing = 421 // the relay ends the connection
	codeAuth    = 530 // 530 to 538: what is wrong is who we are to the relay, not the message
	codeAuthEnd = 538
)

// connection is an SMTP session that is past greeting, TLS and authentication.
type connection struct {
	smtp    *smtp.Client
	net     net.Conn // beneath TLS; closing it ends any command that waits
	timeout time.Duration
	sent    int         // messages that were tried on it
	expiry  *time.Timer // closes it while it is idle
}

// trouble is why a relay did not take a message.
type trouble struct {
	step  string
	cause error
	code  int  // of the reply, 0 when the relay did not answer
	whole bool // the message was handed over: without an answer it may have been taken
	alive bool // the connection can be used on
}

// permanent tells whether the message itself was refused for good.
func (t *trouble) permanent() bool {
	return t.step == stepCompose || t.code >= 500 && t.code <= 599 && !t.relayAtFault()
}

// relayAtFault tells whether other messages would meet the same trouble now.
func (t *trouble) relayAtFault() bool {
	return t.code == 0 && t.step != stepCompose || t.code == codeClosing || t.step == stepConnect || t.code >= codeAuth && t.code <= codeAuthEnd
}

// stale tells whether a connection that had been idle simply no longer works; the
// relay may end one at any time (RFC 5321, 3.8), or count the mails it takes on it.
func (t *trouble) stale() bool {
	return t.step == stepMail && !t.permanent()
}

const (
	stepCompose = "composing"
	stepConnect = "connecting"
	stepMail    = "MAIL FROM"
)

// newTrouble tells a refusal from a broken connection.
func newTrouble(step string, err error) *trouble {
	t := &trouble{step: step, cause: err}
	if refusal, ok := errors.AsType[*textproto.Error](err); ok {
		t.code = refusal.Code
	}
	return t
}

// words are what the relay answered, or what happened instead.
func (t *trouble) words() string {
	refusal, refused := errors.AsType[*textproto.Error](t.cause)
	switch {
	case refused:
		return fmt.Sprintf("%d %s", refusal.Code, refusal.Msg)
	case errors.Is(t.cause, context.DeadlineExceeded) || isTimeout(t.cause):
		return "no answer in time (" + t.step + ")"
	default:
		return fmt.Sprintf("%v (%s)", t.cause, t.step)
	}
}

func isTimeout(err error) bool {
	failure, ok := errors.AsType[net.Error](err)
	return ok && failure.Timeout()
}

// connect opens a connection to the relay within the time limit.
func (r *relay) connect(ctx context.Context) (*connection, *trouble) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	c := &connection{timeout: r.timeout}
	stop := func() bool { return true }
	dial := func(dialing context.Context, _, _ string) (net.Conn, error) {
		conn, err := r.dial(dialing)
		if err != nil {
			return nil, err
		}
		c.net = conn
		if encrypted, ok := conn.(*tls.Conn); ok {
			c.net = encrypted.NetConn()
		}
		// The library looks at a context only while dialing, and ends its own
		// (dialing) when the session begins.
		stop = context.AfterFunc(ctx, c.abort)
		return conn, nil
	}
	err := r.handshake(ctx, c, dial)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil {
		return c, nil
	}
	if c.net != nil {
		c.abort()
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return nil, newTrouble(stepConnect, err)
}

func (r *relay) dial(ctx context.Context) (net.Conn, error) {
	dialer := &net.Dialer{}
	if r.implicitTLS {
		encrypted := tls.Dialer{NetDialer: dialer, Config: r.tlsConfig()}
		return encrypted.DialContext(ctx, "tcp", r.Name())
	}
	return dialer.DialContext(ctx, "tcp", r.Name())
}

func (r *relay) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: r.Host, RootCAs: r.RootCAs, MinVersion: tls.VersionTLS12}
}

// handshake goes through greeting, EHLO, STARTTLS and AUTH.
func (r *relay) handshake(ctx context.Context, c *connection, dial gomail.DialContextFunc) error {
	policy := gomail.TLSOpportunistic
	switch {
	case r.implicitTLS, r.TLS == TLSNone:
		policy = gomail.NoTLS // done by dial, or not wanted
	case r.TLS == TLSRequire:
		policy = gomail.TLSMandatory
	}
	client, err := gomail.NewClient(r.Host, gomail.WithPort(r.Port), gomail.WithHELO(r.helo), gomail.WithTimeout(r.timeout),
		gomail.WithTLSPolicy(policy), gomail.WithTLSConfig(r.tlsConfig()), gomail.WithDialContextFunc(dial))
	if err != nil {
		return err
	}
	if c.smtp, err = client.DialToSMTPClientWithContext(ctx); err != nil {
		return err
	}
	return r.authenticate(c.smtp)
}

// authenticate signs in when there is a user and the relay offers it, with the
// mechanism that the reference would take. Without TLS the password is sent in
// the clear only where encryption was switched off by name.
func (r *relay) authenticate(session *smtp.Client) error {
	offered, mechanisms := session.Extension("AUTH")
	if r.User == "" || !offered {
		return nil
	}
	unencrypted := r.TLS == TLSNone
	names := " " + strings.ToUpper(mechanisms) + " "
	var mechanism smtp.Auth
	switch {
	case strings.Contains(names, " CRAM-MD5 "):
		mechanism = smtp.CRAMMD5Auth(r.User, r.Pass.Reveal())
	case strings.Contains(names, " LOGIN ") && !strings.Contains(names, " PLAIN "):
		mechanism = smtp.LoginAuth(r.User, r.Pass.Reveal(), r.Host, unencrypted)
	default:
		mechanism = smtp.PlainAuth("", r.User, r.Pass.Reveal(), r.Host, unencrypted)
	}
	return session.Auth(mechanism)
}

// transmit sends one message and returns what the relay answered to it.
func (c *connection) transmit(ctx context.Context, mail *composed) (string, *trouble) {
	c.sent++
	stop := context.AfterFunc(ctx, c.abort)
	reply, t := c.transaction(mail)
	if !stop() && t != nil && t.code == 0 {
		t.cause = ctx.Err()
		return "", t
	}
	if t != nil && t.code != 0 && t.code != codeClosing {
		t.alive = c.smtp.UpdateDeadline(c.timeout) == nil && c.smtp.Reset() == nil
	}
	return reply, t
}

func (c *connection) transaction(mail *composed) (string, *trouble) {
	// Asked for without need, SMTPUTF8 makes the mail undeliverable to older servers.
	c.smtp.SkipSMTPUTF8(!mail.utf8)
	if err := c.within(c.timeout, func() error { return c.smtp.Mail(mail.from) }); err != nil {
		return "", newTrouble(stepMail, err)
	}
	if err := c.within(c.timeout, func() error { return c.smtp.Rcpt(mail.to) }); err != nil {
		return "", newTrouble("RCPT TO", err)
	}
	var reply string
	begun := false
	err := c.within(c.timeout, func() error {
		body, err := c.smtp.Data()
		if err != nil {
			return err
		}
		begun = true
		if _, err := body.Write(mail.raw); err != nil {
			return err
		}
		return c.within(acceptFactor*c.timeout, func() error {
			defer func() { reply = serverResponse(body) }()
			return body.Close()
		})
	})
	if err != nil {
		t := newTrouble("DATA", err)
		t.whole = begun
		return "", t
	}
	return "250 " + reply, nil
}

func serverResponse(body any) string {
	if closer, ok := body.(*smtp.DataCloser); ok {
		return closer.ServerResponse()
	}
	return ""
}

// within runs a step that has to end in time.
func (c *connection) within(limit time.Duration, step func() error) error {
	if err := c.smtp.UpdateDeadline(limit); err != nil {
		return err
	}
	return step()
}

// abort ends the connection at once, whatever it waits for.
func (c *connection) abort() { _ = c.net.Close() }

// quit takes leave, briefly.
func (c *connection) quit() {
	if c.smtp.UpdateDeadline(time.Second) == nil {
		_ = c.smtp.Quit()
	}
	c.abort()
}
