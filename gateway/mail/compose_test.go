package mail

import (
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func composeText(t *testing.T, m Message, name string) (*netmail.Message, string) {
	t.Helper()
	mail, trouble := compose(m, "auth@example.com", name, "example.com", time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC))
	if trouble != nil {
		t.Fatal(trouble.cause)
	}
	parsed, err := netmail.ReadMessage(strings.NewReader(string(mail.raw)))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(mail.raw), "\r\n") {
		if strings.ContainsAny(line, "\r\n") || len(line) > 998 {
			t.Errorf("line %q", line)
		}
	}
	return parsed, string(mail.raw)
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	m := message()
	m.Kind = "reauthentication"
	m.Headers = map[string][]string{
		"X-Message-Type": {"auth-$messageType", "b"}, "Reply-To": {"Jürgen <help@example.com>"}, "Auto-submitted": {"no"},
		"From": {"evil@example.com"}, "bcc": {"evil@example.com"}, "Content-Type": {"text/plain"}, "Bad Name": {"x"}, "X-A\r\nBcc": {"x"},
		"X-Lines": {"a\r\nBcc: evil@example.com"},
	}
	parsed, raw := composeText(t, m, `Ada "the" Example, Ltd`)
	want := map[string]string{
		"From":           `"Ada \"the\" Example, Ltd" <auth@example.com>`,
		"To":             "<ada@example.org>",
		"Subject":        "Confirm your email address",
		"Date":           "Sat, 21 Nov 2026 09:30:00 +0000",
		"Message-Id":     "<b7a1@example.com>",
		"Mime-Version":   "1.0",
		"X-Message-Type": "auth-reauthenticate, b",
		"Reply-To":       "=?utf-8?q?J=C3=BCrgen?= <help@example.com>",
		"Auto-Submitted": "no",
		"X-Lines":        "a Bcc: evil@example.com",
	}
	got := map[string]string{}
	for name, values := range parsed.Header {
		if name != "Content-Type" {
			got[name] = strings.Join(values, " | ")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if strings.Contains(raw, "\r\nBcc") || strings.Contains(raw, "go-mail") {
		t.Errorf("mail:\n%s", raw)
	}
}

func TestMessageType(t *testing.T) {
	t.Parallel()
	m := message()
	m.Headers = map[string][]string{"X-Type": {"$messageType"}}
	parsed, _ := composeText(t, m, "")
	if got := parsed.Header.Get("X-Type"); got != "confirmation" {
		t.Errorf("X-Type: %s", got)
	}
	if got := parsed.Header.Get("From"); got != "<auth@example.com>" {
		t.Errorf("From: %s", got)
	}
	if m.Headers["X-Type"][0] != "$messageType" {
		t.Error("the caller's headers were changed")
	}
}

func TestNamesAndSubjectsBeyondASCII(t *testing.T) {
	t.Parallel()
	m := message()
	m.Subject = "Bestätige\r\nBcc: x@y.z " + strings.Repeat("längere Zeile ", 30)
	parsed, _ := composeText(t, m, "Jürgen\r\nBcc: x@y.z")
	if parsed.Header.Get("Bcc") != "" {
		t.Error("a header came in through a value")
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	if err != nil || subject != strings.TrimSpace(strings.ReplaceAll(m.Subject, "\r\n", " ")) {
		t.Errorf("subject %q, %v", subject, err)
	}
	from, err := parsed.Header.AddressList("From")
	if err != nil || from[0].Name != "Jürgen Bcc: x@y.z" || from[0].Address != "auth@example.com" {
		t.Errorf("from %v, %v", from, err)
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	m := message()
	m.Text = "Grüße\n.\n" + strings.Repeat("lang ", 400)
	m.HTML = "<p>Grüße = €</p>\n.\n" + strings.Repeat("<b>x</b>", 400)
	parsed, _ := composeText(t, m, "")
	kind, params, err := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%s: %v", kind, err)
	}
	parts := multipart.NewReader(parsed.Body, params["boundary"])
	for _, want := range []struct{ kind, body string }{
		{"text/plain; charset=UTF-8", m.Text}, {"text/html; charset=UTF-8", m.HTML},
	} {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		if got := part.Header.Get("Content-Type"); got != want.kind {
			t.Errorf("part is %s", got)
		}
		if got := part.Header.Get("Content-Transfer-Encoding"); got != "quoted-printable" {
			t.Errorf("encoding is %s", got)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil || strings.ReplaceAll(string(body), "\r\n", "\n") != want.body {
			t.Errorf("body: %q, %v", body, err)
		}
	}

	m.Text = ""
	parsed, _ = composeText(t, m, "")
	if got := parsed.Header.Get("Content-Type"); got != "text/html; charset=UTF-8" {
		t.Errorf("without a text: %s", got)
	}
}

// A lone dot and long lines arrive as they left.
func TestBodyOverTheWire(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	m := message()
	m.HTML = "<p>a</p>\n.\n..\n<p>" + strings.Repeat("ü", 3000) + "</p>"
	m.Text = ""
	if _, _, err := newTestSender(t, server.relay()).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	parsed, err := netmail.ReadMessage(strings.NewReader(server.all()[0].raw))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(parsed.Body))
	if err != nil || strings.TrimRight(strings.ReplaceAll(string(body), "\r\n", "\n"), "\n") != m.HTML {
		t.Errorf("body %q, %v", body, err)
	}
}

func TestUnusualAddresses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"a..b@docomo.example": `<"a..b"@docomo.example>`, "o'neil+tag@example.org": "<o'neil+tag@example.org>",
		`"a b"@example.org`: `<"a b"@example.org>`, "jürgen@example.org": "<jürgen@example.org>",
	} {
		m := message()
		m.To = address
		mail, trouble := compose(m, "auth@example.com", "", "example.com", time.Now())
		if trouble != nil {
			t.Errorf("%s: %v", address, trouble.cause)
			continue
		}
		if mail.to != want || mail.utf8 != (address[1] >= 0x80) {
			t.Errorf("%s becomes %s (UTF-8: %v)", address, mail.to, mail.utf8)
		}
	}
}

func TestMessageIDs(t *testing.T) {
	t.Parallel()
	if got := messageID("a-1 <x>\r\n"); got != "a-1x" {
		t.Errorf("kept %q", got)
	}
	if a, b := messageID(""), messageID("<>"); a == b || len(a) < 20 {
		t.Errorf("random ones: %q, %q", a, b)
	}
	for _, test := range [][3]string{
		{"auth@example.com", "h", "example.com"}, {"nobody", "auth.host", "auth.host"}, {"", "[10.0.0.1]", "10.0.0.1"}, {"a@bücher.example", "", "localhost"},
	} {
		if got := idHost(test[0], test[1]); got != test[2] {
			t.Errorf("idHost(%q, %q) = %q", test[0], test[1], got)
		}
	}
}
