package hook

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// call is one request as it came in.
type call struct {
	method, path, host string
	header             http.Header
	body               []byte
}

// double is a receiver on loopback that records what comes in. It answers with
// the answers given, the last of them again and again.
type double struct {
	*httptest.Server
	mu      sync.Mutex
	calls   []call
	answers []http.HandlerFunc
}

func newDouble(t *testing.T, answers ...http.HandlerFunc) *double {
	t.Helper()
	d := &double{answers: answers}
	d.Server = httptest.NewServer(d)
	t.Cleanup(d.Close)
	return d
}

func (d *double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	d.calls = append(d.calls, call{method: r.Method, path: r.URL.RequestURI(), host: r.Host, header: r.Header.Clone(), body: body})
	answer := d.answers[min(len(d.calls), len(d.answers))-1]
	d.mu.Unlock()
	answer(w, r)
}

func (d *double) seen() []call {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]call(nil), d.calls...)
}

// reply answers with a status, headers ("Name: value", or "Name:" for none at all)
// and a body.
func reply(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, header := range headers {
			name, value, _ := strings.Cut(header, ": ")
			name = strings.TrimSuffix(name, ":")
			w.Header()[http.CanonicalHeaderKey(name)] = nil // no guessing by the server
			if value != "" {
				w.Header().Set(name, value)
			}
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const asJSON = "Content-Type: application/json"

// reset breaks the connection off without an answer.
func reset(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// quick are limits that make no test wait.
func quick() Limits {
	limits := DefaultLimits()
	limits.Pause = time.Millisecond
	return limits
}

// failureOf calls and returns the failure that must come of it.
func failureOf(t *testing.T, c *Caller, uri string, secrets []Secret) *Failure {
	t.Helper()
	output, err := c.Call(context.Background(), uri, secrets, []byte(`{}`))
	var failure *Failure
	if !errors.As(err, &failure) || output != nil {
		t.Fatalf("got %s, %v", output, err)
	}
	return failure
}

func wantFailure(t *testing.T, got *Failure, want Failure) {
	t.Helper()
	if got.Status != want.Status || got.Code != want.Code || got.Message != want.Message || got.Outcome != want.Outcome {
		t.Errorf("got  %d %s %q (%s)\nwant %d %s %q (%s)", got.Status, got.Code, got.Message, got.Outcome,
			want.Status, want.Code, want.Message, want.Outcome)
	}
}

// checkCall compares a request with the whole of what the contract says.
func checkCall(t *testing.T, got call, uri string, body []byte, key []byte, public ed25519.PublicKey) {
	t.Helper()
	if got.method != http.MethodPost || "http://"+got.host+got.path != uri || !bytes.Equal(got.body, body) {
		t.Errorf("got %s %s%s with %s", got.method, got.host, got.path, got.body)
	}
	want := map[string]string{
		"Content-Type": "application/json", "Accept-Encoding": "identity", "Content-Length": strconv.Itoa(len(body)),
		"User-Agent": "Go-http-client/1.1", "Webhook-Id": "", "Webhook-Timestamp": "", "Webhook-Signature": "",
	}
	for name, values := range got.header {
		value, known := want[name]
		if !known || len(values) != 1 || value != "" && values[0] != value {
			t.Errorf("header %s: %q, want %q", name, values, value)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("missing headers: %v", want)
	}
	checkID(t, got.header.Get("Webhook-Id"))
	seconds, err := strconv.ParseInt(got.header.Get("Webhook-Timestamp"), 10, 64)
	if age := time.Since(time.Unix(seconds, 0)); err != nil || age < 0 || age > time.Minute {
		t.Errorf("timestamp %d, %v", seconds, err)
	}
	message := []byte(got.header.Get("Webhook-Id") + "." + got.header.Get("Webhook-Timestamp") + "." + string(body))
	checkSignatures(t, got.header.Get("Webhook-Signature"), message, key, public)
}

// checkSignatures computes anew: the first by HMAC, the second by ed25519.
func checkSignatures(t *testing.T, header string, message, key []byte, public ed25519.PublicKey) {
	t.Helper()
	mac := hmac.New(sha256.New, key)
	mac.Write(message)
	first, second, _ := strings.Cut(header, ", ")
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); first != want {
		t.Errorf("signature %q, want %q", first, want)
	}
	encoded, ok := strings.CutPrefix(second, "v1a,")
	signature, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || !ed25519.Verify(public, message, signature) {
		t.Errorf("signature %q does not verify", second)
	}
}

func checkID(t *testing.T, id string) {
	t.Helper()
	if len(id) != 36 || id[14] != '4' || !strings.ContainsRune("89ab", rune(id[19])) || strings.Trim(id, "0123456789abcdef-") != "" {
		t.Errorf("%q is not a random UUID", id)
	}
}

// recorder returns a log that is kept in memory.
func recorder() (*slog.Logger, *bytes.Buffer) {
	var text bytes.Buffer
	return slog.New(slog.NewJSONHandler(&text, nil)), &text
}
