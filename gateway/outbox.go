package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/mail"
	"github.com/postern-auth/postern/gateway/mailtemplate"
)

const (
	outboxPoll    = time.Second      // how often an idle worker looks for mail of other gateways and for what is due again
	outboxBatch   = 20               // how many mails one claim takes
	outboxSenders = 4                // how many of them are sent at once
	outboxLease   = 90 * time.Second // a claim's length; longer than a delivery may take
	deliveryTime  = 60 * time.Second
	smtpTimeout   = 10 * time.Second
)

// outbox sends what SQL has queued (DESIGN 9). SQL decides what is due, for how long it is tried and when it is given up.
type outbox struct {
	server    *Server
	worker    string // tells this gateway's claims from others'
	templates *mailtemplate.Set
	sender    *mail.Sender // nil when no relay is configured: mail is then given up at once, as the reference drops it
	wake      chan struct{}
}

func newOutbox(s *Server) (*outbox, error) {
	sources := map[mailtemplate.Kind]mailtemplate.Source{}
	for _, kind := range mailtemplate.Kinds() {
		subject, template := s.config.MailerSubjects[string(kind)], s.config.MailerTemplates[string(kind)]
		if subject != "" || template != "" {
			sources[kind] = mailtemplate.Source{Subject: subject, Template: template}
		}
	}
	siteURL, _ := s.config.Policy["site_url"].(string)
	templates, err := mailtemplate.New(mailtemplate.Options{
		SiteURL: siteURL, Sources: sources, MaxSize: int64(s.config.MailerTemplateMaxSize),
		MaxAge: s.config.MailerTemplateMaxAge, RetryInterval: s.config.MailerTemplateRetryInterval, Log: s.log,
	})
	if err != nil {
		return nil, fmt.Errorf("mail templates: %w", err)
	}
	o := &outbox{server: s, worker: randomUUID(), templates: templates, wake: make(chan struct{}, 1)}
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

// run claims and sends until the context ends; deliveries under way are finished.
func (o *outbox) run(ctx context.Context) {
	for {
		claimed, err := o.round(context.WithoutCancel(ctx))
		if err != nil && ctx.Err() == nil {
			o.server.log.Warn("the outbox could not be read, trying again", "error", err)
		}
		if claimed == outboxBatch && err == nil && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		case <-time.After(outboxPoll):
		}
	}
}

// queued is a claimed row of auth.outbox.
type queued struct {
	ID        string        `json:"id"`
	Channel   string        `json:"channel"`
	Kind      string        `json:"kind"`
	Recipient string        `json:"recipient"`
	Payload   queuedPayload `json:"payload"`
	Sealed    []byte        `json:"sealed"`
}

type queuedPayload struct {
	LinkType   string         `json:"link_type"`
	Email      string         `json:"email"`
	NewEmail   string         `json:"new_email"`
	SendingTo  string         `json:"sending_to"`
	OldEmail   string         `json:"old_email"`
	OldPhone   string         `json:"old_phone"`
	Phone      string         `json:"phone"`
	RedirectTo string         `json:"redirect_to"`
	Languages  string         `json:"languages"`
	LinkHost   string         `json:"link_host"`
	Data       map[string]any `json:"data"`
}

// round claims a batch, sends it and records each outcome.
func (o *outbox) round(ctx context.Context) (int, error) {
	a, err := o.server.callOnce(`select postern.claim_outbox(worker => $1, row_limit => $2, lease_seconds => $3)`,
		o.worker, outboxBatch, int(outboxLease/time.Second))
	if err != nil {
		return 0, err
	}
	var rows []queued
	if err := json.Unmarshal(a.Body, &rows); err != nil {
		return 0, fmt.Errorf("decoding claimed mails: %w", err)
	}
	var sending sync.WaitGroup
	places := make(chan struct{}, outboxSenders)
	for _, row := range rows {
		places <- struct{}{}
		sending.Go(func() {
			defer func() { <-places }()
			o.deliver(ctx, row)
		})
	}
	sending.Wait()
	return len(rows), nil
}

// deliver sends one mail and records what became of it.
func (o *outbox) deliver(ctx context.Context, row queued) {
	ctx, cancel := context.WithTimeout(ctx, deliveryTime)
	defer cancel()
	outcome, reply := "sent", ""
	if relay, said, err := o.send(ctx, row); err != nil {
		outcome, reply = "refused", err.Error()
		if failure, ok := errors.AsType[*mail.Failure](err); ok {
			reply = failure.Reply
			switch {
			case failure.RetryAfter > 0:
				outcome = "resting" // no relay was asked: no attempt is spent
			case failure.Temporary:
				outcome = "retry"
			}
		}
		o.server.log.Warn("mail not sent", "id", row.ID, "kind", row.Kind, "outcome", outcome, "reply", reply)
	} else {
		reply = relay + ": " + said
	}
	_, err := o.server.callOnce(`select postern.record_delivery(outbox_id => $1, worker => $2, outcome => $3, reply => $4)`,
		row.ID, o.worker, outcome, storable(reply))
	if err != nil {
		o.server.log.Error("the outcome of a delivery could not be recorded: it may be repeated, with the same Message-ID",
			"id", row.ID, "outcome", outcome, "error", err)
	}
}

func (o *outbox) send(ctx context.Context, row queued) (relay, reply string, err error) {
	if o.sender == nil {
		return "", "", errors.New("GOTRUE_SMTP_HOST is not set: no mail is sent")
	}
	var secret sealedPart
	if len(row.Sealed) > 0 {
		opened, err := o.server.seal.Open(row.ID, row.Sealed)
		if err != nil {
			return "", "", err
		}
		if err := json.Unmarshal(opened, &secret); err != nil {
			return "", "", fmt.Errorf("decoding a sealed code: %w", err)
		}
	}
	p := row.Payload
	link, err := o.server.actionLink(p.LinkHost, o.server.linkPath(p.LinkType), secret.Link, p.LinkType, p.RedirectTo)
	if err != nil {
		return "", "", err
	}
	subject, html, text, err := o.templates.Render(ctx, mailtemplate.Kind(row.Kind), mailtemplate.Preferred("", p.Languages), mailtemplate.Data{
		SiteURL: o.server.policy.get().SiteURL, ConfirmationURL: link, Email: p.Email, NewEmail: p.NewEmail, SendingTo: p.SendingTo,
		Token: secret.Code, TokenHash: secret.Link, RedirectTo: p.RedirectTo, OldEmail: p.OldEmail, OldPhone: p.OldPhone,
		Phone: p.Phone, Data: p.Data,
	})
	if err != nil {
		return "", "", fmt.Errorf("rendering a mail: %w", err)
	}
	return o.sender.Send(ctx, mail.Message{
		ID: row.ID, Kind: row.Kind, To: row.Recipient, Subject: subject, HTML: html, Text: text, Headers: o.server.config.SMTPHeaders,
	})
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
