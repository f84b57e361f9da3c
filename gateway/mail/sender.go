package mail

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

const (
	// firstRest and longestRest bound how long a relay that failed is left alone.
	firstRest, longestRest = time.Second, time.Minute
	// idleTime is how long an unused connection stays open; relays end them after
	// a minute or more.
	idleTime = 20 * time.Second
	// mostIdle bounds the unused connections to one relay.
	mostIdle = 16
	// mostSent is how many mails go over one connection; many relays stop at 100.
	mostSent = 90
	// longestReply is how much of a relay's words is kept, in characters.
	longestReply = 500
	// defaultTimeout is the reference's time limit for dialing.
	defaultTimeout = 10 * time.Second
)

// Sender sends mails through a list of relays. It keeps connections open and
// reuses them, and is safe for concurrent use.
type Sender struct {
	relays []*relay
	idHost string
}

// NewSender makes a sender. The first relay that works is used, the others are for
// when it does not. helo is the name this host calls itself by. timeout limits
// opening a connection and each command; a relay that has a whole message may take
// six times as long to answer (the context given to Send still ends the wait).
func NewSender(relays []Relay, helo string, timeout time.Duration) *Sender {
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	if address := net.ParseIP(strings.Trim(helo, "[]")); address != nil {
		helo = "[" + address.String() + "]"
		if address.To4() == nil {
			helo = "[IPv6:" + address.String() + "]"
		}
	}
	if helo == "" {
		helo = "localhost"
	}
	s := &Sender{idHost: idHost("", helo)}
	for i, settings := range relays {
		if i == 0 {
			// The Message-ID has to be the same whichever relay takes the mail.
			s.idHost = idHost(settings.From, helo)
		}
		if settings.Port == 0 {
			settings.Port = defaultPort
		}
		s.relays = append(s.relays, &relay{
			Relay: settings, helo: helo, timeout: timeout, firstRest: firstRest,
			implicitTLS: settings.Port == implicitTLSPort && settings.TLS != TLSNone,
		})
	}
	return s
}

// Send makes one attempt to send a mail and returns the name of the relay that took
// it with its reply. The relays are tried in order, those left out that rest after
// a failure. What a relay refuses for good is not offered to the next one; neither
// is a mail that a relay may have taken before it fell silent. Any error is a
// *Failure; relay is then the last one that was asked.
func (s *Sender) Send(ctx context.Context, m Message) (relay, reply string, err error) {
	var said []string
	failure := &Failure{Temporary: true}
	for _, r := range s.relays {
		if !r.ready(time.Now()) {
			continue
		}
		relay = r.Name()
		reply, t := s.attempt(ctx, r, m)
		if t == nil {
			return relay, clean(reply, m, r), nil
		}
		failure.Reply = clean(t.words(), m, r)
		said = append(said, relay+": "+failure.Reply)
		failure.cause = t.cause
		failure.Temporary = !t.permanent()
		if !failure.Temporary || ctx.Err() != nil || t.whole && t.code == 0 {
			break
		}
	}
	if len(said) == 0 {
		return s.resting()
	}
	if len(said) > 1 {
		failure.Reply = strings.Join(said, "; ")
	}
	return relay, "", failure
}

// attempt offers a mail to one relay and notes how the relay fares.
func (s *Sender) attempt(ctx context.Context, r *relay, m Message) (string, *trouble) {
	begun := time.Now()
	mail, t := compose(m, r.From, r.SenderName, s.idHost, begun)
	var reply string
	if t == nil {
		reply, t = r.deliver(ctx, mail)
	}
	switch {
	case t == nil:
		r.awake()
	case errors.Is(ctx.Err(), context.Canceled), t.step == stepCompose:
		r.release()
	case t.relayAtFault():
		r.rest(begun, clean(t.words(), m, r))
	default:
		r.awake()
	}
	return reply, t
}

// resting is the answer when no relay could be asked.
func (s *Sender) resting() (name, reply string, err error) {
	if len(s.relays) == 0 {
		return "", "", &Failure{Temporary: true, Reply: "no relay is configured"}
	}
	now := time.Now()
	first := slices.MinFunc(s.relays, func(a, b *relay) int { return a.restLeft(now).Compare(b.restLeft(now)) })
	left := first.restLeft(now)
	return first.Name(), "", &Failure{
		Temporary: true, RetryAfter: max(left.Sub(now), time.Millisecond),
		Reply: "every relay rests after a failure: " + first.lastWords(),
	}
}

// Close takes leave of the relays. A sender that is closed can still send, but
// keeps no connection.
func (s *Sender) Close() {
	var leaving sync.WaitGroup
	for _, r := range s.relays {
		r.mu.Lock()
		r.closed = true
		idle := r.idle
		r.idle = nil
		r.mu.Unlock()
		for _, c := range idle {
			c.expiry.Stop()
			leaving.Go(c.quit)
		}
	}
	leaving.Wait()
}

// clean makes words of a relay fit to be stored: one line, no password, and nothing
// out of the mail, which some relays quote when they refuse it: the mail holds
// codes and links that are stored nowhere in the clear.
func clean(words string, m Message, r *relay) string {
	if password := r.Pass.Reveal(); password != "" {
		words = strings.ReplaceAll(words, password, "***")
	}
	content := m.Subject + "\n" + m.HTML + "\n" + m.Text
	content = strings.ReplaceAll(content, m.To, "")
	separator := func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) }
	for _, word := range strings.FieldsFunc(words, separator) {
		if len(word) >= 4 && strings.ContainsFunc(word, unicode.IsDigit) && strings.Contains(content, word) {
			words = strings.ReplaceAll(words, word, "***")
		}
	}
	words = oneLine(strings.ToValidUTF8(words, "?"))
	if runes := []rune(words); len(runes) > longestReply {
		words = string(runes[:longestReply]) + "…"
	}
	return words
}
