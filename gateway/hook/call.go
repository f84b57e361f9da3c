package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// Limits bound a call.
type Limits struct {
	Attempts int           // at most so many
	Pause    time.Duration // between attempts that found nobody
	Total    time.Duration // for all attempts and pauses together
	Answer   int64         // bytes of an answer
}

// DefaultLimits are those of the contract (mfa-hooks.md 3.3).
func DefaultLimits() Limits {
	return Limits{Attempts: 3, Pause: 2 * time.Second, Total: 5 * time.Second, Answer: 204_800}
}

// Caller calls HTTP hooks. It is safe for concurrent use.
type Caller struct {
	client *http.Client
	log    *slog.Logger
	limits Limits
}

// New makes a caller. Without a client it has one of its own, without a log it
// writes none.
func New(client *http.Client, log *slog.Logger) *Caller {
	if client == nil {
		client = &http.Client{}
		if transport, ok := http.DefaultTransport.(*http.Transport); ok {
			own := transport.Clone()
			own.MaxIdleConnsPerHost = 64 // every sign-in may call the same host
			client.Transport = own
		}
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	careful := *client
	careful.CheckRedirect = followSafely
	return &Caller{client: &careful, log: log, limits: DefaultLimits()}
}

// WithLimits returns a caller with other limits.
func (c *Caller) WithLimits(limits Limits) *Caller {
	other := *c
	other.limits = limits
	return &other
}

// Call sends an input, which is JSON, and returns the output: a JSON object, null,
// or nothing where the receiver had nothing to say (204). An error is a *Failure.
func (c *Caller) Call(ctx context.Context, uri string, secrets []Secret, input []byte) ([]byte, error) {
	began := time.Now()
	target, err := url.Parse(uri)
	if err != nil {
		target = &url.URL{} // the parser's own text would repeat the address
	}
	result := c.try(ctx, target, secrets, input)
	c.record(ctx, target, time.Since(began), result.failure)
	if result.failure != nil {
		return nil, result.failure
	}
	return result.output, nil
}

// result is what an attempt came to.
type result struct {
	output  []byte
	failure *Failure
	again   bool // worth another attempt
	pause   bool // but not at once
}

func failed(failure *Failure) result { return result{failure: failure} }

func (c *Caller) try(ctx context.Context, target *url.URL, secrets []Secret, input []byte) result {
	if err := callable(target); err != nil {
		return failed(internal(OutcomeURI, nil, err.Error()))
	}
	limited, cancel := context.WithTimeout(ctx, c.limits.Total)
	defer cancel()
	for attempt := 1; ; attempt++ {
		got := c.attempt(limited, target, secrets, input)
		if !got.again {
			return got
		}
		if over(limited) {
			return failed(c.ended(ctx, got.failure))
		}
		if attempt >= c.limits.Attempts {
			return got
		}
		if got.pause && !sleep(limited, c.limits.Pause) {
			return failed(c.ended(ctx, got.failure))
		}
	}
}

// attempt makes one call. Each has an id and a time of its own.
func (c *Caller) attempt(ctx context.Context, target *url.URL, secrets []Secret, input []byte) result {
	id, at := uuid.NewString(), time.Now()
	signature, err := signatures(secrets, id, at, input)
	if err != nil {
		return failed(internal(OutcomeSignature, nil, "Error generating signatures: "+err.Error()))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(input))
	if err != nil {
		return failed(internal(OutcomeURI, nil, "unsupported address"))
	}
	request.Header.Set("Content-Type", "application/json")
	// Compressed, an answer within the limit could unpack to any size.
	request.Header.Set("Accept-Encoding", "identity")
	request.Header.Set("Webhook-Id", id)
	request.Header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	request.Header.Set("Webhook-Signature", signature)
	response, err := c.client.Do(request)
	if err != nil {
		return unreachable(err)
	}
	defer func() { _ = response.Body.Close() }()
	return c.judge(response)
}

func unreachable(err error) result {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the address: its query may hold a key
	}
	return result{again: true, pause: true, failure: &Failure{
		Status: http.StatusUnprocessableEntity, Code: "hook_timeout_after_retry", Outcome: OutcomeUnreachable, cause: err,
		Message: "Failed to reach hook after maximum retries",
	}}
}

// over says whether the time is up. A connection's own deadline may fire a moment
// before the context's.
func over(ctx context.Context) bool {
	deadline, _ := ctx.Deadline()
	return ctx.Err() != nil || !time.Now().Before(deadline)
}

// ended is the failure of a call that ran out of time: its own, or that of the
// request it was made for.
func (c *Caller) ended(ctx context.Context, last *Failure) *Failure {
	if err := ctx.Err(); err != nil {
		return &Failure{
			Status: http.StatusGatewayTimeout, Code: "request_timeout", Outcome: OutcomeCancelled, cause: err,
			Message: "Processing this request timed out, please retry after a moment.",
		}
	}
	return &Failure{
		Status: http.StatusUnprocessableEntity, Code: "hook_timeout", Outcome: OutcomeTimeout, cause: last.cause,
		Message: fmt.Sprintf("Failed to reach hook within maximum time of %f seconds", c.limits.Total.Seconds()),
	}
}

// record writes the log line of mfa-hooks.md 3.9. A receiver's own words stay out
// of it: they may name a person.
func (c *Caller) record(ctx context.Context, target *url.URL, took time.Duration, failure *Failure) {
	log := c.log.With(slog.String("action", "run_hook"), slog.String("hook", shown(target)), slog.Bool("success", failure == nil),
		slog.Int64("duration", took.Microseconds()))
	if failure == nil {
		log.LogAttrs(ctx, slog.LevelInfo, "Hook ran successfully")
		return
	}
	text := failure.Error()
	if failure.Outcome == OutcomeRefused {
		text = "refused with status " + strconv.Itoa(failure.Status)
	}
	log.LogAttrs(ctx, slog.LevelWarn, "Hook errored out", slog.String("outcome", failure.Outcome), slog.String("error", text))
}

// Shown is the part of a hook's address that logs and records may hold: its user and query may be keys.
func Shown(uri string) string {
	target, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return shown(target)
}

func shown(target *url.URL) string {
	part := url.URL{Scheme: target.Scheme, Host: target.Host, Path: target.Path}
	return part.String()
}

// callable applies the rule for addresses (mfa-hooks.md 3.2) once more: settings
// in the database may not have passed through the configuration.
func callable(target *url.URL) error {
	switch {
	case target.Scheme == "https" && target.Host != "":
		return nil
	case target.Scheme != "http":
		return errors.New("unsupported protocol: only postgres hooks and HTTPS functions are supported at the moment")
	case !slices.Contains([]string{"localhost", "127.0.0.1", "::1", "host.docker.internal"}, target.Hostname()):
		return errors.New("only localhost, 127.0.0.1, and ::1 are supported with http")
	}
	return nil
}

// followSafely follows redirects, but never from https to http: inputs hold codes
// and accounts, and a receiver elsewhere must not reach what listens on this host.
func followSafely(next *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	if callable(next.URL) != nil || via[len(via)-1].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return http.ErrUseLastResponse
	}
	next.Header.Del("Referer") // the first address, and its query may hold a key
	return nil
}

func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// drain reads a little of an answer that nobody needs, so that its connection can
// be used again.
func drain(body io.Reader) { _, _ = io.CopyN(io.Discard, body, 4096) }
