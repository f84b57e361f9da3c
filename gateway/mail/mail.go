// Package mail composes mails and hands them to SMTP relays (core.md 9.5).
//
// It knows nothing of queues: Send makes one attempt, fails over between relays
// where that cannot deliver a mail twice, and says whether another attempt makes
// sense.
package mail

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"strconv"
	"strings"
	"time"

	"github.com/postern-auth/postern/gateway/config"
)

// Message is one mail to one person.
type Message struct {
	// ID is the part of the Message-ID before the @. It has to be the same in
	// every attempt, so that whoever gets a mail twice can tell. Empty: random.
	ID string
	// Kind is the name of the template; it replaces $messageType in Headers.
	Kind string
	// To is the bare address.
	To string
	// Subject is one line, not encoded.
	Subject string
	// HTML and Text are the two forms of the body; an empty Text is left out.
	HTML, Text string
	// Headers are added, but never replace what makes the mail
	// (GOTRUE_SMTP_HEADERS).
	Headers map[string][]string
}

// TLSMode says when the connection to a relay is encrypted.
type TLSMode string

const (
	// TLSAuto is TLS from the start on port 465, elsewhere STARTTLS when the relay offers it.
	TLSAuto TLSMode = "auto"
	// TLSRequire is the same, but a relay without STARTTLS is not used.
	TLSRequire TLSMode = "require"
	// TLSNone never encrypts, not even the password.
	TLSNone TLSMode = "none"
)

// implicitTLSPort is the port on which a connection begins with TLS.
const implicitTLSPort = 465

// defaultPort is that of GOTRUE_SMTP_PORT.
const defaultPort = 587

// Relay is an SMTP server that takes mails for everybody.
type Relay struct {
	Host string
	Port int // 0 is 587
	// User signs in with Pass when the relay offers AUTH; empty: never.
	User string
	Pass config.Secret
	// From is the sender's bare address, SenderName the name shown with it.
	From, SenderName string
	TLS              TLSMode // empty is TLSAuto
	// RootCAs are believed instead of the system's.
	RootCAs *x509.CertPool
}

// Name is what the relay is called in logs: host:port.
func (r Relay) Name() string {
	port := r.Port
	if port == 0 {
		port = defaultPort
	}
	return net.JoinHostPort(r.Host, strconv.Itoa(port))
}

// Check tells what is wrong with the settings of a relay, so that a mistake shows
// at the start and not with the first mail.
func (r Relay) Check() error {
	var mistakes []error
	if r.Host == "" {
		mistakes = append(mistakes, errors.New("host is empty"))
	}
	if r.Port < 0 || r.Port > 65535 {
		mistakes = append(mistakes, fmt.Errorf("port %d is not between 1 and 65535", r.Port))
	}
	if _, err := bareAddress(r.From); err != nil {
		mistakes = append(mistakes, fmt.Errorf("sender %q is not an address", r.From))
	}
	switch r.TLS {
	case "", TLSAuto, TLSRequire, TLSNone:
	default:
		mistakes = append(mistakes, fmt.Errorf("TLS mode %q is none of auto, require, none", r.TLS))
	}
	return errors.Join(mistakes...)
}

// Failure says why a mail was not sent. Every error of Send is a *Failure.
type Failure struct {
	// Temporary is false when another attempt would be refused as well.
	Temporary bool
	// Reply is what the relay answered, code and text, or, where it did not
	// answer, what happened; of several relays what each said. Never the mail.
	Reply string
	// RetryAfter is set when no relay was asked at all, because every one rests:
	// no attempt was spent, and the first relay may be asked again after this time.
	RetryAfter time.Duration

	cause error
}

// Error returns the reply.
func (f *Failure) Error() string { return "mail not sent: " + f.Reply }

// Unwrap returns the error beneath, such as context.Canceled.
func (f *Failure) Unwrap() error { return f.cause }

// bareAddress reads an address without a name. Some real addresses are none by the
// RFC (two dots in a row); they pass too, quoted when they are written.
func bareAddress(address string) (*netmail.Address, error) {
	parsed, err := netmail.ParseAddress(address)
	if err == nil && parsed.Name == "" && !strings.HasSuffix(address, ">") {
		return parsed, nil
	}
	at := strings.LastIndexByte(address, '@')
	odd := strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || strings.ContainsRune("<>\"\\,;:\x7f", r) })
	if at < 1 || at == len(address)-1 || odd {
		return nil, errors.New("not an address")
	}
	return &netmail.Address{Address: address}, nil
}
