package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/postern-auth/postern/gateway/hook"
	"github.com/postern-auth/postern/gateway/sms"
)

// textDelivery is what SQL says of an SMS that it queued for this request; this gateway makes the first attempt, because the
// client sees its result (DESIGN 9).
type textDelivery struct {
	Kind     string          `json:"kind"`
	IsTest   bool            `json:"is_test"`
	OutboxID string          `json:"outbox_id"`
	Phone    string          `json:"phone"`
	Channel  string          `json:"channel"`
	User     json.RawMessage `json:"user"`
}

// recordLater is how long noting a sent SMS may take; the client does not wait for it.
const recordLater = 10 * time.Second

// texted makes the first attempt for the SMS of an answer. When it is refused, one statement takes back what the request wrote.
func (s *Server) texted(q *request, a *answer, m minted, err error) (*answer, error) {
	if err != nil || a.Delivery == nil || a.Delivery.IsTest {
		return a, err
	}
	if err := s.sendText(q, a.Delivery, m.code); err != nil {
		if _, undo := s.call(q, `select postern.take_back_sms(outbox_id => $1)`, a.Delivery.OutboxID); undo != nil {
			return nil, errors.Join(err, undo)
		}
		return nil, err
	}
	go s.recordText(a.Delivery.OutboxID)
	return a, nil
}

// recordText notes that the SMS is out. Should that fail, the row's lease ends and the code is sent once more, which hurts nobody.
func (s *Server) recordText(id string) {
	_, err := s.queryOnce(recordLater, `select postern.record_delivery(outbox_id => $1, worker => $2, outcome => 'sent')`, id, id)
	if err != nil {
		s.log.Warn("a sent SMS could not be recorded and may be repeated", "id", id, "error", err)
	}
}

func (s *Server) sendText(q *request, d *textDelivery, code string) error {
	policy := s.policy.get()
	if policy.SMSHookEnabled {
		return s.sendTextByHook(q, policy.SMSHookURI, d, code)
	}
	if s.sms == nil {
		return refuse(http.StatusInternalServerError, "unexpected_failure", "Unable to get SMS provider")
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(q.r.Context()), q.deadline)
	defer cancel()
	_, err := s.sms.Send(ctx, d.Phone, d.Channel, code)
	if errors.Is(err, sms.ErrUnusable) {
		e := refuse(http.StatusInternalServerError, "unexpected_failure", "Unable to get SMS provider")
		e.Cause = err.Error()
		return e
	} else if err != nil {
		return refuse(http.StatusUnprocessableEntity, "sms_send_failed", "Error sending "+d.Kind+" OTP to provider: "+err.Error())
	}
	return nil
}

// sendTextByHook hands the code to the send_sms hook (contract mfa-hooks.md 3.6).
func (s *Server) sendTextByHook(q *request, uri string, d *textDelivery, code string) error {
	if isFunction(uri) {
		e := refuse(http.StatusInternalServerError, "unexpected_failure", "Error running hook URI: "+uri)
		e.Cause = "send_sms as a database function is not built: SQL does not see codes"
		return e
	}
	_, err := s.askHook(q, hook.SendSMS, uri, struct {
		Metadata hookMetadata      `json:"metadata"`
		User     json.RawMessage   `json:"user"`
		SMS      map[string]string `json:"sms"`
	}{s.hookMetadata(q, hook.SendSMS), d.User, map[string]string{"otp": code, "phone": d.Phone}})
	return err
}
