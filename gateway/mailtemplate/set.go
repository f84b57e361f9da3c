package mailtemplate

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	// defaultMaxSize, defaultMaxAge and defaultRetryInterval are those of core.md 13.7.
	defaultMaxSize       = 1_000_000
	defaultMaxAge        = 10 * time.Minute
	defaultRetryInterval = 10 * time.Second
	// longestBody bounds what a template may make of a person's metadata, in bytes;
	// longestSubject does in characters.
	longestBody    = 4_000_000
	longestSubject = 300
)

// Options says which mails are the operator's own.
type Options struct {
	SiteURL string
	Sources map[Kind]Source
	// Languages holds mails in further languages, by tag (de, pt-BR).
	Languages map[string]map[Kind]Source
	// DefaultLanguage is the one that Sources are written in, and of the built-in
	// mails the one for everybody else. Empty: en.
	DefaultLanguage string
	MaxSize         int64         // of a template, in bytes; 0 is 1,000,000
	MaxAge          time.Duration // after it a file or URL is read again; 0 is 10 minutes
	RetryInterval   time.Duration // the wait after a failure to do so; 0 is 10 seconds
	Log             *slog.Logger  // nil: nothing is logged
	HTTPClient      *http.Client  // nil: http.DefaultClient
}

// Set holds every mail in every language. It is safe for concurrent use.
type Set struct {
	options Options
	builtin map[string]map[Kind]pair
	slots   map[string]map[Kind]*slot // by language
	now     func() time.Time
}

// New prepares the mails. What is inline or in a file is loaded and checked now, and
// an error names every mistake as file:line; URLs are loaded when they are needed,
// since what serves them may start after this.
func New(o Options) (*Set, error) {
	builtin, err := loadBuiltin()
	if err != nil {
		return nil, err
	}
	o.MaxSize = cmp.Or(max(o.MaxSize, 0), defaultMaxSize)
	o.MaxAge = cmp.Or(max(o.MaxAge, 0), defaultMaxAge)
	o.RetryInterval = cmp.Or(max(o.RetryInterval, 0), defaultRetryInterval)
	o.DefaultLanguage = cmp.Or(normalTag(o.DefaultLanguage), "en")
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.HTTPClient == nil {
		o.HTTPClient = http.DefaultClient
	}
	s := &Set{options: o, builtin: builtin, slots: map[string]map[Kind]*slot{}, now: time.Now}
	var mistakes []error
	for _, kind := range Kinds() {
		mistakes = append(mistakes, s.prepare(kind)...)
	}
	mistakes = append(mistakes, o.strangers()...)
	if err := errors.Join(mistakes...); err != nil {
		return nil, err
	}
	return s, nil
}

// strangers complains about mails that are never sent.
func (o Options) strangers() []error {
	var mistakes []error
	check := func(sources map[Kind]Source) {
		for kind := range sources {
			if !slices.Contains(Kinds(), kind) {
				mistakes = append(mistakes, fmt.Errorf("there is no mail %q", string(kind)))
			}
		}
	}
	check(o.Sources)
	for language, sources := range o.Languages {
		if normalTag(language) == "" {
			mistakes = append(mistakes, fmt.Errorf("%q is not a language", language))
		}
		check(sources)
	}
	return mistakes
}

// anyLanguage is where slots has the mails for those whose languages there are not.
const anyLanguage = ""

// prepare makes the slots of a kind. Built-in translations are used only where the
// operator has no mail of the kind: a company's own mail in one language comes
// before a stranger's in the right one.
func (s *Set) prepare(kind Kind) []error {
	source, custom := s.options.Sources[kind]
	custom = custom && (source.Subject != "" || source.Template != "")
	fallback := s.builtin["en"][kind]
	if translated, ok := s.builtin[parentOrSelf(s.options.DefaultLanguage)]; ok {
		fallback = translated[kind]
	}
	standard, mistakes := s.newSlot(kind, "", source, &slot{kind: kind, subject: fallback.subject, builtin: fallback})
	s.put(anyLanguage, standard)
	s.put(s.options.DefaultLanguage, standard)
	if !custom {
		for language, mails := range s.builtin {
			if language != parentOrSelf(s.options.DefaultLanguage) {
				s.put(language, &slot{kind: kind, subject: mails[kind].subject, builtin: mails[kind]})
			}
		}
	}
	for language, sources := range s.options.Languages {
		source, ok := sources[kind]
		if !ok || source.Subject == "" && source.Template == "" {
			continue
		}
		below := standard
		if mails, ok := s.builtin[parentOrSelf(normalTag(language))]; ok {
			below = &slot{kind: kind, subject: mails[kind].subject, builtin: mails[kind]}
		}
		translated, more := s.newSlot(kind, language, source, below)
		mistakes = append(mistakes, more...)
		s.put(normalTag(language), translated)
	}
	return mistakes
}

func (s *Set) put(language string, mail *slot) {
	if s.slots[language] == nil {
		s.slots[language] = map[Kind]*slot{}
	}
	s.slots[language][mail.kind] = mail
}

func parentOrSelf(tag string) string {
	primary, _, _ := strings.Cut(tag, "-")
	return primary
}

// find chooses the mail for somebody who reads these languages: for each the exact
// tag, then its primary language; at last the one for everybody.
func (s *Set) find(kind Kind, languages []string) *slot {
	for _, language := range languages[:min(len(languages), mostLanguages)] {
		for tag := normalTag(language); tag != ""; tag = parentTag(tag) {
			if found := s.slots[tag][kind]; found != nil {
				return found
			}
		}
	}
	return s.slots[anyLanguage][kind]
}

// Render makes a mail in the first of the languages that there is. When the
// operator's template fails for the data of this person, the built-in one is used:
// what somebody wrote into the account must not lock anybody out.
func (s *Set) Render(ctx context.Context, kind Kind, languages []string, d Data) (subject, html, text string, err error) {
	mail := s.find(kind, languages)
	if mail == nil {
		return "", "", "", fmt.Errorf("there is no mail %q", string(kind))
	}
	body, err := mail.current(ctx, s)
	if err != nil {
		return "", "", "", fmt.Errorf("load template of mail %q: %w", string(kind), err)
	}
	if subject, err = s.execute(ctx, kind, d, mail.subject, mail.builtin.subject); err != nil {
		return "", "", "", err
	}
	if html, err = s.execute(ctx, kind, d, body, mail.builtin.body); err != nil {
		return "", "", "", err
	}
	subject = strings.Join(strings.Fields(subject), " ")
	if runes := []rune(subject); len(runes) > longestSubject {
		subject = string(runes[:longestSubject]) + "…"
	}
	return subject, html, plain(html), nil
}

// execute runs a template, and if that fails the built-in one.
func (s *Set) execute(ctx context.Context, kind Kind, d Data, own, builtin *template.Template) (string, error) {
	var out limitedBuffer
	err := own.Execute(&out, d.values())
	if err == nil {
		return out.String(), nil
	}
	if own != builtin {
		s.options.Log.ErrorContext(ctx, "mail template failed for the data of a person, the built-in one is used", "kind", string(kind), "error", err)
		out.Reset()
		err = builtin.Execute(&out, d.values())
	}
	if err != nil {
		return "", fmt.Errorf("render mail %q: %w", string(kind), err)
	}
	return out.String(), nil
}

// Refresh loads the templates whose time has come, so that no mail has to wait for
// it (GOTRUE_MAILER_TEMPLATE_RELOADING_ENABLED).
func (s *Set) Refresh(ctx context.Context) {
	for _, mails := range s.slots {
		for _, mail := range mails {
			if _, err := mail.current(ctx, s); err != nil {
				return
			}
		}
	}
}

// limitedBuffer is a buffer that does not grow beyond longestBody.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > longestBody {
		return 0, fmt.Errorf("more than %d bytes", longestBody)
	}
	return b.Buffer.Write(p)
}
