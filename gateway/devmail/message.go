package devmail

import (
	"bytes"
	"encoding/base64"
	"errors"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/textproto"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Message is a mail or an SMS that was caught, as /dev/mail.json shows it.
type Message struct {
	ID         int       `json:"id"` // counts from 1 with each start
	ReceivedAt time.Time `json:"received_at"`
	Channel    string    `json:"channel"` // email or sms
	Kind       string    `json:"kind"`    // name of the template; "" of an SMS
	From       string    `json:"from"`
	To         string    `json:"to"`
	Subject    string    `json:"subject"`
	Code       string    `json:"code"` // "" when there is none in it, and so with the link
	Link       string    `json:"link"`
	Text       string    `json:"text"`
	HTML       string    `json:"html"`
	Headers    string    `json:"headers"` // as they came
}

// readMail takes a mail apart. One that cannot be read is text as it stands: it is somebody's mistake, to be seen.
func readMail(raw []byte) *Message {
	m := &Message{Channel: "email"}
	parsed, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		m.Text = readable(raw)
		return m
	}
	headers, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	m.Headers = readable(headers)
	m.Kind = parsed.Header.Get(KindHeader)
	m.Subject = parsed.Header.Get("Subject")
	if decoded, err := new(mime.WordDecoder).DecodeHeader(m.Subject); err == nil {
		m.Subject = decoded
	}
	if err := m.readPart(textproto.MIMEHeader(parsed.Header), parsed.Body); err != nil {
		m.Text, m.HTML = readable(raw), ""
	}
	m.Link = linkIn(m.HTML)
	if !strings.HasSuffix(m.Kind, "_notification") { // its digits are phone numbers
		m.Code = codeIn(m.Text + "\n" + m.Subject)
	}
	return m
}

// readPart keeps the first text and the first HTML of a part and of those in it.
func (m *Message) readPart(header textproto.MIMEHeader, body io.Reader) error {
	kind, parameters, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		kind = "text/plain" // as RFC 2045, 5.2 reads a mail that does not say
	}
	if strings.HasPrefix(kind, "multipart/") {
		for parts := multipart.NewReader(body, parameters["boundary"]); ; {
			part, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if err := m.readPart(part.Header, part); err != nil {
				return err
			}
		}
	}
	target := map[string]*string{"text/plain": &m.Text, "text/html": &m.HTML}[kind]
	if target == nil || *target != "" {
		return nil
	}
	switch strings.ToLower(header.Get("Content-Transfer-Encoding")) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	content, err := io.ReadAll(body)
	*target = readable(content)
	return err
}

// readable is text with plain line ends.
func readable(raw []byte) string {
	return strings.ReplaceAll(strings.ToValidUTF8(string(raw), "\uFFFD"), "\r\n", "\n")
}

var (
	// The gateway's codes have 6 to 10 digits.
	code     = regexp.MustCompile(`(?:^|[^\w@.+/=-])(\d{6,10})(?:$|[^\w@/-])`)
	address  = regexp.MustCompile(`https?://\S+`)
	linkHref = regexp.MustCompile(`(?i)<a\s[^>]*href\s*=\s*(?:"([^"]*)"|'([^']*)')`)
)

// codeIn is the first code of a text, outside of links.
func codeIn(text string) string {
	found := code.FindStringSubmatch(address.ReplaceAllString(text, " "))
	if found == nil {
		return ""
	}
	return found[1]
}

// linkIn is the first link of a mail that carries a token, else the first of all.
func linkIn(doc string) string {
	first := ""
	for _, found := range linkHref.FindAllStringSubmatch(doc, -1) {
		link := html.UnescapeString(found[1] + found[2])
		parsed, err := url.Parse(link)
		if err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" {
			continue
		}
		if query := parsed.Query(); query.Has("token") || query.Has("token_hash") {
			return link
		}
		if first == "" {
			first = link
		}
	}
	return first
}
