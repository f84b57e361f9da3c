package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/postern-auth/postern/gateway/hook"
	"github.com/postern-auth/postern/gateway/sms"
)

// delivered makes the first attempt for what SQL queued for this request and left to this gateway, because the client sees its
// result (DESIGN 9): SMS, and mail that a hook sends. When one is refused, one statement takes back what the request wrote.
func (s *Server) delivered(q *request, a *answer, err error) (*answer, error) {
	if err != nil {
		return a, err
	}
	var mine []*queued
	var ids []string
	for _, row := range []*queued{a.Delivery, a.TextDelivery} {
		if row != nil && !row.IsTest {
			mine, ids = append(mine, row), append(ids, row.ID)
		}
	}
	for _, row := range mine {
		if err := s.firstAttempt(q, row); err != nil {
			return nil, s.undo(q, row.shown(err), `select postern.take_back(outbox_ids => $1)`, ids)
		}
	}
	for _, row := range mine {
		if !row.byFunction() {
			s.recording.Go(func() { s.recordSent(row.ID) })
		}
	}
	return a, nil
}

// withMessageID puts the provider's name for an SMS into the answer of a request that tells it (contract core.md 6.7, 7.6): others do
// not, as in the reference (mfa-hooks.md 4.4).
func withMessageID(a *answer, err error) (*answer, error) {
	if err != nil || a.Delivery == nil || a.Delivery.messageID == "" {
		return a, err
	}
	a.Body, err = json.Marshal(map[string]string{"message_id": a.Delivery.messageID})
	return a, err
}

// recordSent notes that a mail or SMS is out. Should that fail, the row's lease ends and it is sent once more, which hurts nobody.
func (s *Server) recordSent(id string) {
	_, err := s.callOnce(`select postern.record_delivery(outbox_id => $1, worker => $2, outcome => 'sent')`, id, id)
	if err != nil {
		s.log.Warn("what was sent could not be recorded and may be repeated", "id", id, "error", err)
	}
}

func (s *Server) firstAttempt(q *request, row *queued) error {
	secret, err := s.outbox.open(row)
	if err != nil {
		return err
	}
	if row.Hook != nil {
		// Until it is recorded, the row is leased to itself.
		return s.sendByHook(q, row, row.ID, secret)
	}
	if s.sms == nil {
		return refuse(http.StatusInternalServerError, "unexpected_failure", "Unable to get SMS provider")
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(q.r.Context()), q.deadline)
	defer cancel()
	row.messageID, err = s.text(ctx, row, secret.Code)
	if errors.Is(err, sms.ErrUnusable) {
		e := refuse(http.StatusInternalServerError, "unexpected_failure", "Unable to get SMS provider")
		e.Cause = err.Error()
		return e
	} else if err != nil {
		return refuse(http.StatusUnprocessableEntity, "sms_send_failed", "Error sending "+row.Kind+" OTP to provider: "+err.Error())
	}
	return nil
}

// text sends an SMS through the provider; those of factors have a template of their own.
func (s *Server) text(ctx context.Context, row *queued, code string) (id string, err error) {
	sender := s.sms
	if row.Kind == kindFactor {
		sender = s.factorSMS
	}
	return sender.Send(ctx, row.Recipient, row.Payload.Channel, code)
}

// kindFactor is the kind of SMS with a code of a second factor.
const kindFactor = "mfa"

// shown is a failed first attempt as the client sees it: of a factor's challenge it learns only what failed (contract mfa-hooks.md 1.6).
func (r *queued) shown(err error) error {
	e, ok := errors.AsType[*refusal](err)
	if r.Kind != kindFactor || !ok {
		return err
	}
	message := "error sending message"
	switch {
	case r.Hook != nil:
		message = "error invoking hook"
	case e.Status == http.StatusInternalServerError:
		message = "Failed to get SMS provider"
	}
	hidden := refuse(http.StatusInternalServerError, "unexpected_failure", message)
	hidden.Cause = e.Error()
	return hidden
}

// sendInput is what the hooks send_sms and send_email are told (contract mfa-hooks.md 3.6).
type sendInput struct {
	Metadata hookMetadata      `json:"metadata"`
	User     json.RawMessage   `json:"user"`
	SMS      map[string]string `json:"sms,omitempty"`
	Email    map[string]string `json:"email_data,omitempty"`
}

// sendByHook has a hook deliver a mail or SMS that worker has claimed. A failure is the refusal that a client gets, in the hook's
// own words but for the codes: whoever asks for one need not be who it is for.
func (s *Server) sendByHook(q *request, row *queued, worker string, secret sealedPart) error {
	q.told = secret
	point := hook.SendSMS
	if row.Channel == "email" {
		point = hook.SendEmail
	}
	input := sendInput{Metadata: s.hookMetadata(q, point), User: row.User}
	if point == hook.SendSMS {
		input.SMS = map[string]string{"otp": secret.Code, "phone": row.Recipient}
		if row.Kind == kindFactor {
			input.SMS["sms_type"] = kindFactor
		}
	} else {
		input.Email = s.emailData(row, secret)
	}
	if !row.byFunction() {
		_, err := s.askHook(q, point, *row.Hook, input)
		return secret.hideIn(err)
	}
	encoded, err := json.Marshal(input)
	if err != nil {
		return err
	}
	// The code is a parameter of a statement that stores it nowhere: what SQL keeps of it is what it keeps without a hook.
	_, err = s.callLimitedIf(true, q, `select postern.send_by_hook(outbox_id => $1, worker => $2, input => $3::json,
		caller => postern.caller(request_id => $4))`, row.ID, worker, encoded, q.id())
	return secret.hideIn(err)
}

// emailData is the member email_data of a mail's hook (contract mfa-hooks.md 3.8): every key is always there.
func (s *Server) emailData(row *queued, secret sealedPart) map[string]string {
	p := row.Payload
	data := map[string]string{
		"token": secret.Code, "token_hash": secret.Link, "token_new": "", "token_hash_new": "",
		"redirect_to": p.RedirectTo, "email_action_type": actionType(row.Kind), "site_url": p.LinkHost,
		"old_email": p.OldEmail, "old_phone": p.OldPhone, "provider": p.Provider, "factor_type": p.FactorType,
	}
	if data["redirect_to"] == "" {
		data["redirect_to"] = s.policy.get().SiteURL
	}
	if data["site_url"] == "" {
		data["site_url"] = s.config.ExternalURL
	}
	if p.IsSecure {
		// Crossed, as the reference does: token is the present address's code, token_hash the new address's link.
		data["token"], data["token_new"], data["token_hash_new"] = secret.OtherCode, secret.Code, secret.OtherLink
	}
	return data
}

// actionType is what hooks are told of a kind of mail: as in links, and the name itself of mails without a link.
func actionType(kind string) string {
	switch kind {
	case "confirmation":
		return "signup"
	case "magic_link":
		return "magiclink"
	}
	return kind
}

// byFunction reports whether a database function sends it, in the statement that notes it as sent.
func (r *queued) byFunction() bool { return r.Hook != nil && isFunction(*r.Hook) }

// onBehalf is the request in whose name a worker calls a hook: that which queued the mail or SMS. Its client is gone.
func (r *queued) onBehalf(ctx context.Context) *request {
	deadline, _ := ctx.Deadline()
	return &request{r: (&http.Request{Header: http.Header{}}).WithContext(ctx), deadline: deadline, requestID: r.RequestID}
}

// hide removes the secrets from a text: a hook may repeat in an error what it was told.
func (p sealedPart) hide(text string) string {
	for _, secret := range []string{p.Code, p.Link, p.OtherCode, p.OtherLink} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}

// hideIn is hide for all words of a refusal.
func (p sealedPart) hideIn(err error) error {
	e, ok := errors.AsType[*refusal](err)
	if !ok {
		return err
	}
	hidden := *e
	hidden.Message, hidden.Hint, hidden.Cause = p.hide(e.Message), p.hide(e.Hint), p.hide(e.Cause)
	if d := e.Database; d != nil {
		hidden.Database = &databaseError{Code: d.Code, Message: p.hide(d.Message), Hint: p.hide(d.Hint), Detail: p.hide(d.Detail)}
	}
	return &hidden
}
