// Package hibp looks passwords up among those known from breaches, at HaveIBeenPwned.org (core.md 10.3, mfa-hooks.md 6.2).
//
// The password does not leave the process: the service is told the first five of the 40 hex digits of its SHA-1, and answers
// with all known hashes that begin so. With Add-Padding even the size of the encrypted answer tells nothing.
package hibp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // G505: the service's key, not a protection
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	serviceURL = "https://api.pwnedpasswords.com"
	timeout    = 5 * time.Second
	// maxAnswer bounds an answer in bytes; today's longest ones, with padding, have about 100,000.
	maxAnswer = 1 << 20
	// defaultItems answers of about 1,000 hashes at 8 bytes are some 8 MB.
	defaultItems = 1024
	defaultAge   = 24 * time.Hour

	prefixDigits, suffixDigits = 5, 35
)

// ErrUnavailable is the message of the wire for a password that could not be looked up where it must be.
var ErrUnavailable = errors.New("Unable to perform password strength check with HaveIBeenPwned.org.") //nolint:staticcheck,revive // ST1005: a wire message

// Options say how to look up. The zero value asks the service itself, and lets passwords pass when it cannot be reached.
type Options struct {
	BaseURL    string // "" is the service
	UserAgent  string
	FailClosed bool          // a password that cannot be looked up is an error
	CacheItems int           // answers kept; 0 is 1024, less is none
	MaxAge     time.Duration // of a kept answer; 0 is a day
	Log        *slog.Logger  // failed lookups; nil is silence
}

// Checker looks passwords up. It is safe for concurrent use.
type Checker struct {
	options Options
	client  *http.Client
	answers *cache
}

// New makes a Checker.
func New(o Options) *Checker {
	if o.BaseURL == "" {
		o.BaseURL = serviceURL
	}
	o.BaseURL = strings.TrimSuffix(o.BaseURL, "/")
	if o.CacheItems == 0 {
		o.CacheItems = defaultItems
	}
	if o.MaxAge == 0 {
		o.MaxAge = defaultAge
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Checker{options: o, client: &http.Client{Timeout: timeout}, answers: newCache(o.CacheItems, o.MaxAge)}
}

// Pwned reports whether the password is known from a breach. When that cannot be told, it logs the reason and answers false,
// with ErrUnavailable when the options say so.
func (c *Checker) Pwned(ctx context.Context, password string) (bool, error) {
	sum := sha1.Sum([]byte(password)) //nolint:gosec // G401: the service's key, not a protection
	digits := strings.ToUpper(hex.EncodeToString(sum[:]))
	prefix, suffix := digits[:prefixDigits], digits[prefixDigits:]
	known, ok := c.answers.get(prefix)
	if !ok {
		var err error
		if known, err = c.lookUp(ctx, prefix); err != nil {
			c.options.Log.WarnContext(ctx, "lookup among breached passwords failed", "error", err, "allowed", !c.options.FailClosed)
			if c.options.FailClosed {
				return false, ErrUnavailable
			}
			return false, nil
		}
		c.answers.put(prefix, known)
	}
	key, err := shorten(suffix)
	if err != nil {
		return false, err
	}
	_, found := slices.BinarySearch(known, key)
	return found, nil
}

// lookUp asks the service. Its errors do not name the prefix: beside a request's other log lines it would say something about
// one user's password.
func (c *Checker) lookUp(ctx context.Context, prefix string) ([]uint64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.options.BaseURL+"/range/"+prefix, nil)
	if err != nil {
		return nil, withoutURL(err)
	}
	request.Header.Set("Add-Padding", "true")
	request.Header.Set("User-Agent", c.options.UserAgent)
	response, err := c.client.Do(request)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the service answered with status %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading the service's answer: %w", err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("the service's answer is longer than %d bytes", maxAnswer)
	}
	return parse(body)
}

func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// parse reads lines of SUFFIX:COUNT. Those with a count of 0 are padding. A line of another form means that somebody else
// answered, such as a portal that wants a login.
func parse(body []byte) ([]uint64, error) {
	var known []uint64
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		suffix, digits, _ := strings.Cut(line, ":")
		count, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 64)
		if err != nil || len(suffix) != suffixDigits {
			return nil, errors.New("the service's answer is not a list of hashes")
		}
		key, err := shorten(suffix)
		if err != nil {
			return nil, errors.New("the service's answer is not a list of hashes")
		}
		if count > 0 {
			known = append(known, key)
		}
	}
	slices.Sort(known)
	return slices.Clip(known), nil
}

// shorten keeps 64 of the 140 bits of a suffix: among a thousand hashes a false match has a chance of one in 10^16.
func shorten(suffix string) (uint64, error) { return strconv.ParseUint(suffix[:16], 16, 64) }
