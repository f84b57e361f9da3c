package devmail

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/mail"
	"github.com/postern-auth/postern/gateway/sms"
)

// start runs a catcher and the pages in front of an API that answers with a teapot.
func start(t *testing.T) (*Catcher, *httptest.Server) {
	t.Helper()
	c, err := Start(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	api := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	pages := httptest.NewServer(c.Handler(api, "dev.example.com"))
	t.Cleanup(func() {
		pages.Close()
		if err := c.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return c, pages
}

// send hands a mail to the catcher as the outbox does.
func send(t *testing.T, c *Catcher, messages ...mail.Message) {
	t.Helper()
	sender := mail.NewSender([]mail.Relay{{Host: "127.0.0.1", Port: c.SMTPPort(), From: "auth@localhost"}}, "localhost", 10*time.Second)
	for _, m := range messages {
		m.Headers = map[string][]string{KindHeader: {"$messageType"}}
		if _, _, err := sender.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
}

// get asks for a page and returns its body.
func get(t *testing.T, address string, wantStatus int, headers ...string) (string, http.Header) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if request.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			request.Host = headers[i+1]
		}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != wantStatus {
		t.Errorf("%s answers %s, want %d:\n%s", address, response.Status, wantStatus, body)
	}
	return string(body), response.Header
}

// caught is what /dev/mail.json answers.
func caught(t *testing.T, address string, headers ...string) []Message {
	t.Helper()
	body, _ := get(t, address, http.StatusOK, headers...)
	var messages []Message
	if err := json.Unmarshal([]byte(body), &messages); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return messages
}

func TestAMailIsCaughtWhole(t *testing.T) {
	t.Parallel()
	c, pages := start(t)
	send(t, c, mail.Message{
		ID: "one", Kind: "magic_link", To: "zoë@example.com", Subject: "Anmelden – hier",
		Text: "Code: 314159\n\nhttps://auth.example.com/verify?token=999999",
		HTML: `<p>Code: 314159, <a href="https://app.example.com/">or</a> <a href="https://auth.example.com/verify?token=ab&amp;type=magiclink">sign in</a></p>`,
	})
	got := caught(t, pages.URL+"/dev/mail.json")
	if len(got) != 1 {
		t.Fatalf("%d mails", len(got))
	}
	m := got[0]
	if time.Since(m.ReceivedAt) > time.Minute || !strings.Contains(m.Headers, "Message-ID: <one@localhost>") {
		t.Errorf("received at %v with %s", m.ReceivedAt, m.Headers)
	}
	m.ReceivedAt, m.Headers, m.HTML, m.Text = time.Time{}, "", strings.TrimSpace(m.HTML), strings.TrimSpace(m.Text)
	want := Message{
		ID: 1, Channel: "email", Kind: "magic_link", From: "auth@localhost", To: "zoë@example.com", Subject: "Anmelden – hier",
		Code: "314159", Link: "https://auth.example.com/verify?token=ab&type=magiclink",
		Text: "Code: 314159\n\nhttps://auth.example.com/verify?token=999999",
		HTML: `<p>Code: 314159, <a href="https://app.example.com/">or</a> <a href="https://auth.example.com/verify?token=ab&amp;type=magiclink">sign in</a></p>`,
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
}

func TestAnSMSIsCaught(t *testing.T) {
	t.Parallel()
	c, pages := start(t)
	sender, err := sms.New(sms.Settings{
		Provider: "textlocal", Values: map[string]config.Secret{"textlocal_api_key": "none", "textlocal_sender": "postern"},
		Timeout: 10 * time.Second, Template: "Your code is {{ .Code }}", BaseURL: c.SMSEndpoint(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sender.Send(t.Context(), "4915112345678", "sms", "271828"); err != nil {
		t.Fatal(err)
	}
	got := caught(t, pages.URL+"/dev/mail.json")
	if len(got) != 1 || got[0].Channel != "sms" || got[0].To != "4915112345678" || got[0].Code != "271828" ||
		got[0].Text != "Your code is 271828" || got[0].From != "postern" {
		t.Errorf("%+v", got)
	}
	if list, _ := get(t, pages.URL+"/dev/mail", http.StatusOK); !strings.Contains(list, "Your code is 271828") {
		t.Errorf("the list: %s", list)
	}
}

func TestOnlyTheNewestAreKept(t *testing.T) {
	t.Parallel()
	c, pages := start(t)
	for i := range kept + 5 {
		c.add(&Message{To: fmt.Sprint(i + 1)})
	}
	got := caught(t, pages.URL+"/dev/mail.json")
	if len(got) != kept || got[0].ID != kept+5 || got[kept-1].ID != 6 {
		t.Errorf("%d messages, from %d to %d", len(got), got[0].ID, got[len(got)-1].ID)
	}
	get(t, pages.URL+"/dev/mail/5", http.StatusNotFound)
	if page, _ := get(t, pages.URL+"/dev/mail/6", http.StatusOK); !strings.Contains(page, "<dd>6</dd>") {
		t.Errorf("message 6: %s", page)
	}
}

func TestScriptsAskForTheMailTheyWaitFor(t *testing.T) {
	t.Parallel()
	c, pages := start(t)
	address := pages.URL + "/dev/mail.json"
	c.add(&Message{To: "ada@example.com"})
	c.add(&Message{To: "bob@example.com"})
	if got := caught(t, address+"?to=ADA@example.com"); len(got) != 1 || got[0].ID != 1 {
		t.Errorf("to Ada: %+v", got)
	}
	if got := caught(t, address+"?after=1"); len(got) != 1 || got[0].ID != 2 {
		t.Errorf("after 1: %+v", got)
	}
	if got := caught(t, pages.URL+"/dev/mail", "Accept", "application/json"); len(got) != 2 {
		t.Errorf("by Accept: %+v", got)
	}
	if got := caught(t, address+"?to=eve@example.com&wait=1ms"); got == nil || len(got) != 0 {
		t.Errorf("after waiting in vain: %+v", got)
	}
	answered := make(chan []Message)
	go func() { answered <- caught(t, address+"?to=ada@example.com&after=1&wait=10s") }()
	for range 20 { // mails to others do not end the wait
		c.add(&Message{To: "bob@example.com"})
	}
	c.add(&Message{To: "ada@example.com"})
	if got := <-answered; len(got) != 1 || got[0].ID != 23 {
		t.Errorf("waited for %+v", got)
	}
	for _, query := range []string{"?after=x", "?wait=soon"} {
		get(t, address+query, http.StatusBadRequest)
	}
}

// Ctrl-C is not held up by a script that waits.
func TestWaitsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	c, err := Start(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // nothing is under way
	stop()
	began := time.Now()
	answer := httptest.NewRecorder()
	c.Handler(nil).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "http://localhost/dev/mail.json?wait=10s", nil))
	if took := time.Since(began); took > longestWait/2 || strings.TrimSpace(answer.Body.String()) != "[]" {
		t.Errorf("after %s: %s", took, answer.Body)
	}
}

// A mail can hold what a stranger wrote, in the name that they signed up with.
func TestMailsAreHostile(t *testing.T) {
	t.Parallel()
	c, pages := start(t)
	const script = `<script>alert(1)</script>`
	send(t, c, mail.Message{
		To: `"<b>"@example.com`, Kind: script, Subject: script, Text: script,
		HTML: script + `<form action="https://evil.example.com"></form><a href="javascript:alert(1)">x</a>`,
	})
	for _, path := range []string{"/dev/mail", "/dev/mail/1"} {
		page, header := get(t, pages.URL+path, http.StatusOK)
		if strings.Contains(page, script) || strings.Contains(page, "javascript:") || strings.Contains(page, "<b>") {
			t.Errorf("%s: %s", path, page)
		}
		policy := header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "script-src 'self'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %s", path, policy)
		}
		if path == "/dev/mail/1" && !strings.Contains(page, `sandbox="allow-popups allow-popups-to-escape-sandbox"`) {
			t.Errorf("the frame is no sandbox: %s", page)
		}
	}
	body, header := get(t, pages.URL+"/dev/mail/1/html", http.StatusOK)
	policy := header.Get("Content-Security-Policy")
	if !strings.Contains(body, script) || !strings.HasPrefix(policy, "sandbox ") || !strings.Contains(policy, "default-src 'none'") ||
		strings.Contains(policy, "script") || strings.Contains(policy, "allow-same-origin") || strings.Contains(policy, "allow-forms") {
		t.Errorf("the mail by itself: %s\n%s", policy, body)
	}
}

func TestThePagesAreSeenFromHereOnly(t *testing.T) {
	t.Parallel()
	_, pages := start(t)
	for host, want := range map[string]int{
		"localhost:9999": 200, "app.localhost": 200, "127.0.0.1": 200, "[::1]:9999": 200, "192.168.1.7:9999": 200, "dev.example.com": 200,
		"evil.example.com": 421, "evil.example.com:9999": 421, "127.0.0.1.evil.example.com": 421, "notlocalhost": 421,
	} {
		for _, path := range []string{"/dev/mail", "/dev/mail.json", "/dev/mail/mail.js"} {
			_, header := get(t, pages.URL+path, want, "Host", host, "Origin", "https://evil.example.com")
			if header.Get("Access-Control-Allow-Origin") != "" || header.Get("Cross-Origin-Resource-Policy") != "same-origin" ||
				header.Get("Cache-Control") != "no-store" || header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %v", path, header)
			}
		}
	}
}

func TestEverythingElseIsTheAPIs(t *testing.T) {
	t.Parallel()
	_, pages := start(t)
	for _, path := range []string{"/", "/health", "/dev", "/dev/mails", "//dev/mail", "/auth/v1/dev/mail"} {
		get(t, pages.URL+path, http.StatusTeapot)
	}
	for _, path := range []string{"/dev/mail/", "/dev/mail/mail.css"} {
		get(t, pages.URL+path, http.StatusOK)
	}
	for _, path := range []string{"/dev/mail/1", "/dev/mail/x/html", "/dev/mail/list.html"} {
		get(t, pages.URL+path, http.StatusNotFound)
	}
}

func TestCodesAndLinks(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Your code is 123456.":      "123456",
		"(1234567890)":              "1234567890",
		"12345, 12345678901":        "",
		"2026-11-21, room 123-4567": "",
		"123456@example.com":        "",
		"see https://x.example.com/verify?token=123456 or enter 654321": "654321",
		"hash 23348b1fa9a3a46b57ebd1eb0e81245b9c25b603f459adc095985aca": "",
	} {
		if got := codeIn(text); got != want {
			t.Errorf("code in %q: %q, want %q", text, got, want)
		}
	}
	for doc, want := range map[string]string{
		`<a class=x href='https://a.example.com/?token_hash=1'>`:                         "https://a.example.com/?token_hash=1",
		`<A HREF="https://a.example.com/terms"><a href="http://b.example.com/?token=1">`: "http://b.example.com/?token=1",
		`<a href="https://a.example.com/terms">`:                                         "https://a.example.com/terms",
		`<a href="javascript:alert(1)?token=1"><a href="mailto:x@example.com">`:          "",
		`<p>https://a.example.com/?token=1</p>`:                                          "",
	} {
		if got := linkIn(doc); got != want {
			t.Errorf("link in %s: %q, want %q", doc, got, want)
		}
	}
}

func TestUnreadableMailsAreShownAsTheyAre(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"no mail":      "this is no mail",
		"cut short":    "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhalf",
		"base64":       "Content-Transfer-Encoding: base64\r\n\r\n%%%",
		"no UTF-8":     "Subject: x\r\n\r\n\xff",
		"without type": "Subject: x\r\n\r\nplain",
	} {
		if m := readMail([]byte(raw)); m.Text == "" || !json.Valid(mustMarshal(t, m)) {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func mustMarshal(t *testing.T, m *Message) []byte {
	t.Helper()
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
