package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/mail"
	"github.com/postern-auth/postern/gateway/mailtemplate"
	"github.com/postern-auth/postern/gateway/seal"
	"github.com/postern-auth/postern/gateway/sms"
)

const (
	outboxPoll    = time.Second      // how often an idle worker looks for mail of other gateways and for what is due again
	outboxBatch   = 20               // how many mails one claim takes
	outboxSenders = 4                // how many of them are sent at once
	outboxLease   = 90 * time.Second // a claim's length; what cannot be delivered and recorded within it is not begun
	deliveryTime  = 60 * time.Second
	smtpTimeout   = 10 * time.Second
	recordPause   = time.Second
)

// outbox sends what SQL has queued (DESIGN 9). SQL decides what is due, for how long it is tried and when it is given up.
type outbox struct {
	server    *Server
	worker    string // tells this gateway's claims from others'
	templates *mailtemplate.Set
	sender    *mail.Sender // nil when no relay is configured: mail is then given up at once, as the reference drops it
	wake      chan struct{}
}

// MailTemplates are the mails of a configuration: the operator's own and the built-in ones.
func MailTemplates(cfg *config.Config, log *slog.Logger) (*mailtemplate.Set, error) {
	sources := map[mailtemplate.Kind]mailtemplate.Source{}
	for _, kind := range mailtemplate.Kinds() {
		subject, template := cfg.MailerSubjects[string(kind)], cfg.MailerTemplates[string(kind)]
		if subject != "" || template != "" {
			sources[kind] = mailtemplate.Source{Subject: subject, Template: template}
		}
	}
	languages, err := languageTemplates(cfg.TemplatesDir)
	if err != nil {
		return nil, fmt.Errorf("POSTERN_TEMPLATES_DIR: %w", err)
	}
	siteURL, _ := cfg.Policy["site_url"].(string)
	templates, err := mailtemplate.New(mailtemplate.Options{
		SiteURL: siteURL, Sources: sources, Languages: languages, MaxSize: int64(cfg.MailerTemplateMaxSize),
		MaxAge: cfg.MailerTemplateMaxAge, RetryInterval: cfg.MailerTemplateRetryInterval, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("mail templates: %w", err)
	}
	return templates, nil
}

// languageTemplates are the mails of a folder: <language>/<kind>.html, and <language>/<kind>.subject with the subject.
func languageTemplates(dir string) (map[string]map[mailtemplate.Kind]mailtemplate.Source, error) {
	if dir == "" {
		return nil, nil
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		return nil, err
	} else if len(files) == 0 {
		return nil, fmt.Errorf("no <language>/<kind>.html in %s", dir)
	}
	languages := map[string]map[mailtemplate.Kind]mailtemplate.Source{}
	for _, path := range files {
		language, name := filepath.Base(filepath.Dir(path)), filepath.Base(path)
		kind := mailtemplate.Kind(strings.TrimSuffix(name, filepath.Ext(name)))
		if languages[language] == nil {
			languages[language] = map[mailtemplate.Kind]mailtemplate.Source{}
		}
		source := languages[language][kind]
		switch filepath.Ext(name) {
		case ".html":
			source.Template, source.TemplateName = "file:"+path, path
		case ".subject":
			subject, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			source.Subject, source.SubjectName = strings.TrimSpace(string(subject)), path
		default:
			return nil, fmt.Errorf("%s is neither <kind>.html nor <kind>.subject", path)
		}
		languages[language][kind] = source
	}
	return languages, nil
}

func newOutbox(s *Server) (*outbox, error) {
	templates, err := MailTemplates(s.config, s.log)
	if err != nil {
		return nil, err
	}
	o := &outbox{server: s, worker: uuid.NewString(), templates: templates, wake: make(chan struct{}, 1)}
	var relays []mail.Relay
	for _, relay := range s.config.Relays() {
		relays = append(relays, relayOf(relay))
	}
	if len(relays) > 0 {
		o.sender = mail.NewSender(relays, heloName(s.config.ExternalURL), smtpTimeout)
	}
	return o, nil
}

func relayOf(r config.SMTPRelay) mail.Relay {
	return mail.Relay{Host: r.Host, Port: r.Port, User: r.User, Pass: r.Pass, From: r.AdminEmail, SenderName: r.SenderName}
}

// heloName is how this server calls itself to relays: the host of API_EXTERNAL_URL.
func heloName(externalURL string) string {
	address, err := url.Parse(externalURL)
	if err != nil {
		return "localhost"
	}
	return address.Hostname()
}

// nudge has the worker look at once: this gateway has just queued something.
func (o *outbox) nudge() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// run claims and sends until the context ends; deliveries under way are finished, the rest of a claim is given back.
func (o *outbox) run(ctx context.Context) {
	for {
		pause, err := o.round(ctx)
		if err != nil && ctx.Err() == nil {
			o.server.log.Warn("the outbox could not be read, trying again", "error", err)
		}
		if pause == 0 && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		case <-time.After(pause):
		}
	}
}

// queued is a row of auth.outbox that this gateway has: a worker claimed it, or a request queued it.
type queued struct {
	ID        string          `json:"id"`
	Channel   string          `json:"channel"`
	Kind      string          `json:"kind"`
	Recipient string          `json:"recipient"`
	Payload   queuedPayload   `json:"payload"`
	Sealed    []byte          `json:"sealed"`
	RequestID string          `json:"request_id"`
	Hook      *string         `json:"hook"`    // what sends it instead of relay or provider; nil when no hook does
	User      json.RawMessage `json:"user"`    // for the hook
	IsTest    bool            `json:"is_test"` // a number with a fixed code: there is no row, and nothing to send

	messageID string // the provider's, once it has taken an SMS; "" where it names none
}

type queuedPayload struct {
	LinkType   string         `json:"link_type"`
	Email      string         `json:"email"`
	NewEmail   string         `json:"new_email"`
	SendingTo  string         `json:"sending_to"`
	OldEmail   string         `json:"old_email"`
	OldPhone   string         `json:"old_phone"`
	Phone      string         `json:"phone"`
	Provider   string         `json:"provider"`
	RedirectTo string         `json:"redirect_to"`
	Languages  string         `json:"languages"`
	LinkHost   string         `json:"link_host"`
	Channel    string         `json:"channel"` // sms or whatsapp
	FactorType string         `json:"factor_type"`
	IsSecure   bool           `json:"is_secure"` // both addresses confirm a change, and a hook is told of both
	Data       map[string]any `json:"data"`
}

// round claims a batch, sends it and records each outcome. It returns how long to wait before the next one.
func (o *outbox) round(ctx context.Context) (time.Duration, error) {
	leaseEnds := time.Now().Add(outboxLease)
	a, err := o.server.callOnce(`select postern.claim_outbox(worker => $1, row_limit => $2, lease_seconds => $3)`,
		o.worker, outboxBatch, int(outboxLease/time.Second))
	if err != nil {
		return outboxPoll, err
	}
	var rows []queued
	if err := json.Unmarshal(a.Body, &rows); err != nil {
		return outboxPoll, fmt.Errorf("decoding claimed mails: %w", err)
	}
	// Another gateway takes what a slow relay leaves no time for: begun after this moment, a mail could go out twice.
	lastStart := leaseEnds.Add(-deliveryTime - databaseDeadline)
	var resting atomic.Int64
	var sending sync.WaitGroup
	places := make(chan struct{}, outboxSenders)
	for _, row := range rows {
		places <- struct{}{}
		sending.Go(func() {
			defer func() { <-places }()
			if ctx.Err() != nil || time.Now().After(lastStart) {
				o.record(row, outcomeReleased, "", leaseEnds)
				return
			}
			if rest := o.deliver(context.WithoutCancel(ctx), row, leaseEnds); rest > 0 {
				resting.Store(int64(rest))
			}
		})
	}
	sending.Wait()
	switch rest := time.Duration(resting.Load()); {
	case rest > 0:
		return rest, nil
	case len(rows) == outboxBatch:
		return 0, nil
	}
	return outboxPoll, nil
}

// What SQL is told of a claimed mail.
const (
	outcomeSent     = "sent"
	outcomeRetry    = "retry"    // another attempt makes sense
	outcomeRefused  = "refused"  // none does
	outcomeResting  = "resting"  // no relay could be asked: no attempt is spent
	outcomeReleased = "released" // not begun
)

// deliver sends one mail and records what became of it. It returns how long every relay rests, if they do.
func (o *outbox) deliver(ctx context.Context, row queued, leaseEnds time.Time) (rest time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, deliveryTime)
	defer cancel()
	relay, said, err := o.send(ctx, row)
	if err == nil {
		if o.server.config.SMTPLogging {
			o.server.log.Info("mail sent", "id", row.ID, "kind", row.Kind, "relay", relay)
		}
		if !row.byFunction() {
			o.record(row, outcomeSent, strings.TrimPrefix(relay+": "+said, ": "), leaseEnds)
		}
		return 0
	}
	outcome, reply := outcomeRefused, err.Error()
	if failure, ok := errors.AsType[*mail.Failure](err); ok {
		reply, rest = failure.Reply, failure.RetryAfter
		switch {
		case rest > 0:
			outcome = outcomeResting
		case failure.Temporary:
			outcome = outcomeRetry
		}
	} else if passes(err) {
		outcome = outcomeRetry
	}
	logged := strings.ReplaceAll(reply, row.Recipient, "<recipient>")
	if e, ok := errors.AsType[*refusal](err); ok {
		logged = fmt.Sprintf("the hook failed: %d %s", e.Status, e.Code) // its own words may name a person
	}
	o.server.log.Warn("mail not sent", "id", row.ID, "kind", row.Kind, "outcome", outcome, "reply", logged)
	o.record(row, outcome, reply, leaseEnds)
	return rest
}

// passes reports whether a failure, of a hook or provider, may pass.
func passes(err error) bool {
	if failure, ok := errors.AsType[*sms.Failure](err); ok {
		return failure.Temporary
	}
	if e, ok := errors.AsType[*refusal](err); ok {
		// A hook that refuses in its own words means it, unless it says otherwise; all else is trouble on the way to it.
		return e.Code != codeUnknown || e.Status >= http.StatusInternalServerError || e.Status == http.StatusTooManyRequests
	}
	// While keys are rotated, the gateway beside this one has the key.
	return errors.Is(err, seal.ErrUnreadable) || databaseAway(err)
}

// record notes an outcome. While the database is away it tries again: what is not noted is sent once more when its lease ends.
func (o *outbox) record(row queued, outcome, reply string, leaseEnds time.Time) {
	for {
		_, err := o.server.callOnce(`select postern.record_delivery(outbox_id => $1, worker => $2, outcome => $3, reply => $4)`,
			row.ID, o.worker, outcome, storable(reply))
		if err == nil {
			return
		}
		if !time.Now().Add(recordPause).Before(leaseEnds) || !databaseAway(err) {
			o.server.log.Error("the outcome of a delivery could not be recorded: it may be repeated, with the same Message-ID",
				"id", row.ID, "outcome", outcome, "error", err)
			return
		}
		time.Sleep(recordPause)
	}
}

func (o *outbox) send(ctx context.Context, row queued) (relay, reply string, err error) {
	secret, err := o.open(&row)
	switch {
	case err != nil:
		return "", "", err
	case row.Hook != nil:
		return "hook", "accepted", o.sendByHook(ctx, &row, secret)
	case row.Channel == "sms" && o.server.sms == nil:
		return "", "", errors.New("GOTRUE_SMS_PROVIDER is not set: no SMS is sent")
	case row.Channel == "sms":
		_, err = o.server.text(ctx, &row, secret.Code)
		return "", "", err
	case o.sender == nil:
		return "", "", errors.New("GOTRUE_SMTP_HOST is not set: no mail is sent")
	}
	p := row.Payload
	link, err := o.server.actionLink(p.LinkHost, o.server.linkPath(p.LinkType), secret.Link, p.LinkType, p.RedirectTo)
	if err != nil {
		return "", "", err
	}
	languages := mailtemplate.Preferred("", p.Languages)
	subject, html, text, err := o.templates.Render(ctx, mailtemplate.Kind(row.Kind), languages, mailtemplate.Data{
		SiteURL: o.server.policy.get().SiteURL, ConfirmationURL: link, Email: p.Email, NewEmail: p.NewEmail, SendingTo: p.SendingTo,
		Token: secret.Code, TokenHash: secret.Link, RedirectTo: p.RedirectTo, OldEmail: p.OldEmail, OldPhone: p.OldPhone,
		Phone: p.Phone, Provider: p.Provider, FactorType: p.FactorType, Data: p.Data,
	})
	if err != nil {
		return "", "", fmt.Errorf("rendering a mail: %w", err)
	}
	return o.sender.Send(ctx, mail.Message{
		ID: row.ID, Kind: row.Kind, To: row.Recipient, Subject: subject, HTML: html, Text: text, Headers: o.server.config.SMTPHeaders,
	})
}

// open reads what the database keeps sealed.
func (o *outbox) open(row *queued) (secret sealedPart, err error) {
	if len(row.Sealed) == 0 {
		return secret, nil
	}
	opened, err := o.server.seal.Open(row.ID, row.Sealed)
	if err != nil {
		return secret, err
	}
	if err := json.Unmarshal(opened, &secret); err != nil {
		return secret, fmt.Errorf("decoding a sealed code: %w", err)
	}
	return secret, nil
}

// sendByHook has a hook send what no request waits for: notifications, and what a gateway left behind that died.
func (o *outbox) sendByHook(ctx context.Context, row *queued, secret sealedPart) error {
	if len(row.User) == 0 || string(row.User) == "null" {
		return errors.New("the account is gone")
	}
	return o.server.sendByHook(row.onBehalf(ctx), row, o.worker, secret)
}

// linkPath is the path of links of a type (contract core.md 9.4).
func (s *Server) linkPath(linkType string) string {
	switch linkType {
	case "signup":
		return s.config.MailerURLPaths["confirmation"]
	case "magiclink":
		return s.config.MailerURLPaths["recovery"]
	}
	return s.config.MailerURLPaths[strings.TrimSpace(linkType)]
}
