package sms

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-auth/postern/gateway/config"
)

// call is one request as it came in.
type call struct {
	method, path string
	header       http.Header
	body         string
}

// double is a vendor on loopback that records what comes in and gives one answer.
type double struct {
	*httptest.Server
	mu    sync.Mutex
	calls []call
}

func newDouble(t *testing.T, status int, body string) *double {
	t.Helper()
	return doubleOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func doubleOf(t *testing.T, answer http.HandlerFunc) *double {
	t.Helper()
	d := &double{}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		d.mu.Lock()
		d.calls = append(d.calls, call{r.Method, r.URL.RequestURI(), r.Header.Clone(), string(body)})
		d.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(d.Close)
	return d
}

// only returns the one call that came in.
func (d *double) only(t *testing.T) call {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.calls) != 1 {
		t.Fatalf("%d calls", len(d.calls))
	}
	return d.calls[0]
}

// check compares a request with the whole of what was expected: no other header
// and no other field may be there.
func (got call) check(t *testing.T, path, authorization string, form url.Values) {
	t.Helper()
	if got.method != http.MethodPost || got.path != path {
		t.Errorf("got %s %s, want POST %s", got.method, got.path, path)
	}
	want := http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"}, "Content-Length": {strconv.Itoa(len(got.body))},
		"User-Agent": {"Go-http-client/1.1"}, "Accept-Encoding": {"gzip"},
	}
	if authorization != "" {
		want.Set("Authorization", authorization)
	}
	if !maps.EqualFunc(got.header, want, slices.Equal) {
		t.Errorf("got headers %v\nwant %v", got.header, want)
	}
	fields, err := url.ParseQuery(got.body)
	if err != nil || !maps.EqualFunc(fields, form, slices.Equal) {
		t.Errorf("got fields %v, %v\nwant %v", fields, err, form)
	}
}

// credentials are settings for every provider.
func credentials() map[string]config.Secret {
	return map[string]config.Secret{
		"twilio_account_sid": "AC1", "twilio_auth_token": "twilio-token", "twilio_message_service_sid": "MG1",
		"twilio_verify_account_sid": "AC2", "twilio_verify_auth_token": "verify-token", "twilio_verify_message_service_sid": "VA2",
		"messagebird_access_key": "bird-key", "messagebird_originator": "Postern",
		"vonage_api_key": "vonage-key", "vonage_api_secret": "vonage-secret", "vonage_from": "Postern",
		"textlocal_api_key": "local-key", "textlocal_sender": "PSTERN",
	}
}

func newSender(t *testing.T, provider, base string, changes map[string]config.Secret) *Sender {
	t.Helper()
	values := credentials()
	maps.Copy(values, changes)
	sender, err := New(Settings{Provider: provider, Values: values, BaseURL: base, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return sender
}

const (
	phone = "15551234567"
	code  = "987654"
)

// failureOf sends and returns the failure that must come of it.
func failureOf(t *testing.T, sender *Sender, channel string) *Failure {
	t.Helper()
	id, err := sender.Send(context.Background(), phone, channel, code)
	var failure *Failure
	if !errors.As(err, &failure) || id != "" {
		t.Fatalf("got %q, %v", id, err)
	}
	for _, value := range credentials() {
		if secret := value.Reveal(); strings.Contains(secret, "-") && strings.Contains(err.Error(), secret) {
			t.Errorf("the text shows a key: %v", err)
		}
	}
	if strings.Contains(err.Error(), code) {
		t.Errorf("the text shows the code: %v", err)
	}
	return failure
}
