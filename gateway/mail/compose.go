package mail

import (
	"bytes"
	"crypto/rand"
	"fmt"
	netmail "net/mail"
	"slices"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// reservedHeaders make the mail what it is; extra headers may not touch them. (A
// second From makes a mail that most servers refuse, a Bcc would be shown to all.)
const reservedHeaders = " from to cc bcc subject date message-id mime-version return-path received "

// composed is a mail as it goes over the wire, with its envelope.
type composed struct {
	from, to string // in angle brackets, as SMTP commands want them
	utf8     bool   // an address is not ASCII
	raw      []byte
}

// compose writes the mail. idHost is the part of the Message-ID after the @.
func compose(m Message, from, senderName, idHost string, now time.Time) (*composed, *trouble) {
	sender, err := bareAddress(from)
	if err != nil {
		// A mistake of this relay's settings; another may do better.
		return nil, &trouble{step: stepConnect, cause: fmt.Errorf("the sender is %w", err)}
	}
	recipient, err := bareAddress(m.To)
	if err != nil {
		return nil, &trouble{step: stepCompose, cause: fmt.Errorf("the recipient is %w", err)}
	}
	envelope := &composed{from: sender.String(), to: recipient.String()}
	envelope.utf8 = !ascii(envelope.from + envelope.to)

	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithCharset(gomail.CharsetUTF8), gomail.WithEncoding(gomail.EncodingQP))
	setExtraHeaders(msg, m)
	sender.Name = oneLine(senderName)
	msg.FromMailAddress(sender)
	msg.ToMailAddress(recipient)
	msg.Subject(oneLine(m.Subject))
	msg.SetDateWithValue(now)
	msg.SetMessageIDWithValue(messageID(m.ID) + "@" + idHost)
	if m.Text != "" {
		msg.SetBodyString(gomail.TypeTextPlain, m.Text)
		msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	} else {
		msg.SetBodyString(gomail.TypeTextHTML, m.HTML)
	}

	var raw bytes.Buffer
	if _, err := msg.WriteTo(&raw); err != nil {
		return nil, &trouble{step: stepCompose, cause: err}
	}
	envelope.raw = raw.Bytes()
	return envelope, nil
}

// setExtraHeaders adds the configured headers. One that cannot be a header is left
// out: a mistake there must not keep people from signing in.
func setExtraHeaders(msg *gomail.Msg, m Message) {
	// Machines that answer mails on their own (out of office) leave such mails alone.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	kind := m.Kind
	if kind == "reauthentication" {
		kind = "reauthenticate" // the name that the reference puts here
	}
	for name, values := range m.Headers {
		lower := strings.ToLower(name)
		if !headerName(name) || strings.Contains(reservedHeaders, " "+lower+" ") || strings.HasPrefix(lower, "content-") {
			continue
		}
		filled := make([]string, 0, len(values))
		for _, value := range values {
			filled = append(filled, oneLine(strings.ReplaceAll(value, "$messageType", kind)))
		}
		switch lower {
		case "auto-submitted":
			name = "Auto-Submitted"
		case "reply-to":
			filled = encodeAddresses(filled)
			msg.SetGenHeaderPreformatted("Reply-To", strings.Join(filled, ", "))
			continue
		}
		msg.SetGenHeader(gomail.Header(name), filled...)
	}
}

// encodeAddresses encodes the names only: encoded as a whole an address is none.
func encodeAddresses(values []string) []string {
	var encoded []string
	for _, value := range values {
		list, err := netmail.ParseAddressList(value)
		if err != nil {
			encoded = append(encoded, value)
			continue
		}
		for _, address := range list {
			encoded = append(encoded, address.String())
		}
	}
	return encoded
}

// headerName tells whether a string can be the name of a header.
func headerName(name string) bool {
	outside := func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }
	return name != "" && len(name) <= 64 && !strings.ContainsFunc(name, outside)
}

// messageID keeps of an ID what may stand in a Message-ID.
func messageID(id string) string {
	const others = "-_.+="
	kept := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(others, r) {
			return r
		}
		return -1
	}, id)
	if kept = strings.Trim(kept, "."); kept == "" {
		return rand.Text()
	}
	return kept
}

// idHost is the domain of the sender, or what can stand for it.
func idHost(from, helo string) string {
	if address, err := bareAddress(from); err == nil {
		if host := address.Address[strings.LastIndexByte(address.Address, '@')+1:]; ascii(host) {
			return host
		}
	}
	if helo != "" {
		return strings.Trim(helo, "[]")
	}
	return "localhost"
}

// oneLine replaces every run of white space and control characters by a space.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' }), " ")
}

func ascii(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(b byte) bool { return b >= 0x80 })
}
