// Package mailaddress judges whether mail may and can be sent to an address (mfa-hooks.md 6.3, core.md 9.6).
package mailaddress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/mail"
	"slices"
	"strings"
	"time"
)

// budget is the time for all that is asked of others about one address. What has not answered by then passes.
const budget = 3 * time.Second

// ErrInvalid says that the address cannot receive mail: 400 email_address_invalid. ErrBlocked says that its mail host is one of
// those that the operator refuses, which the reference reports as a failure to send.
var (
	ErrInvalid = errors.New("the address cannot receive mail")
	ErrBlocked = errors.New("the address's mail host is refused")
)

// Resolver is what is asked of DNS; *net.Resolver is one.
type Resolver interface {
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupHost(ctx context.Context, host string) ([]string, error)
}

// Options say what is checked. The zero value checks nothing.
type Options struct {
	Extended       bool                // the form of the address, well-known mistakes, and whether its host takes mail
	ServiceURL     string              // a service that judges addresses; "" is none
	ServiceHeaders map[string][]string // for it
	BlockedMX      []string            // mail hosts, or addresses of hosts without one; needs Extended
	Resolver       Resolver            // nil is the system's
}

// Checker checks addresses. It is safe for concurrent use.
type Checker struct {
	options Options
	blocked map[string]bool
	client  *http.Client
}

// New makes a Checker.
func New(o Options) *Checker {
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	c := &Checker{options: o, blocked: map[string]bool{}, client: &http.Client{
		// Its headers usually hold a key, which no other host is to see.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for _, host := range o.BlockedMX {
		c.blocked[plain(host)] = true
	}
	return c
}

// Check returns nil when nothing speaks against the address, else ErrInvalid or ErrBlocked. What cannot be found out in time
// does not speak against it.
func (c *Checker) Check(ctx context.Context, address string) error {
	if !c.options.Extended && c.options.ServiceURL == "" {
		return nil
	}
	host := ""
	if c.options.Extended {
		var err error
		if host, err = checkForm(address); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	// Both at once: a slow name server must not keep the service from being asked.
	asked := make(chan error, 1)
	go func() { asked <- c.askService(ctx, address) }()
	if c.options.Extended {
		if err := c.checkHost(ctx, host); err != nil {
			return err
		}
	}
	return <-asked
}

// checkForm judges what needs no network, and returns the host.
func checkForm(address string) (host string, err error) {
	parsed, err := mail.ParseAddress(address)
	// An address with a name or a comment parses too, but is not a bare one.
	if err != nil || (&mail.Address{Address: parsed.Address}).String() != "<"+address+">" {
		return "", ErrInvalid
	}
	lower := strings.ToLower(address)
	at := strings.LastIndexByte(lower, '@')
	local, host := lower[:at], lower[at+1:]
	switch {
	case slices.Contains([]string{"test@gmail.com", "example@gmail.com", "someone@gmail.com", "test@email.com"}, lower),
		slices.Contains([]string{
			"test", "example", "invalid", "local", "localhost", "test.com", "example.com", "example.net", "example.org", "gamil.com",
			"gamai.com", "anonymous.com", "email.com",
		}, host),
		slices.ContainsFunc([]string{".test", ".example", ".invalid", ".local", ".localhost"},
			func(suffix string) bool { return strings.HasSuffix(host, suffix) }),
		host == "gmail.com" && len(local) < 6,
		!strings.Contains(host, "."):
		return "", ErrInvalid
	}
	return host, nil
}

// isLargeProvider names hosts that are known to take mail; asking for them again and again would be a waste.
func isLargeProvider(host string) bool {
	return slices.Contains([]string{
		"gmail.com", "yahoo.com", "hotmail.com", "aol.com", "outlook.com", "comcast.net", "icloud.com", "msn.com", "hotmail.co.uk",
		"sbcglobal.net", "live.com", "yahoo.co.in", "me.com", "att.net", "mail.ru", "bellsouth.net", "cox.net", "yahoo.co.uk", "verizon.net",
	}, host)
}

// checkHost asks DNS where mail for the host goes. Only a definite "there is none" counts.
func (c *Checker) checkHost(ctx context.Context, host string) error {
	if isLargeProvider(host) {
		return nil
	}
	records, err := c.options.Resolver.LookupMX(ctx, host)
	if !isNotFound(err) {
		for _, record := range records {
			if c.blocked[plain(record.Host)] {
				return ErrBlocked
			}
		}
		return nil
	}
	addresses, err := c.options.Resolver.LookupHost(ctx, host)
	if isNotFound(err) {
		return ErrInvalid
	}
	for _, address := range addresses {
		if c.blocked[plain(address)] {
			return ErrBlocked
		}
	}
	return nil
}

func isNotFound(err error) bool {
	e, ok := errors.AsType[*net.DNSError](err)
	return ok && e.IsNotFound
}

// plain is a host as it is compared: name servers write a dot at the end.
func plain(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }
