package sms

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// twilio is Twilio's messaging.
type twilio struct {
	*vendor
	account, token string
	from           string // a service or a number
	content        string // a template of WhatsApp's, or ""
}

// twilioAnswer is a message, a verification, or an error.
type twilioAnswer struct {
	ID           loose `json:"sid"`
	Status       loose `json:"status"`
	ErrorCode    loose `json:"error_code"`
	ErrorMessage loose `json:"error_message"`
	Message      loose `json:"message"`
	MoreInfo     loose `json:"more_info"`
	Valid        bool  `json:"valid"`
}

func (t *twilio) send(ctx context.Context, m message) (string, error) {
	form := url.Values{"To": {"+" + m.phone}, "Channel": {m.channel}, "From": {t.from}}
	if m.channel == channelWhatsApp {
		form.Set("To", channelWhatsApp+":+"+m.phone)
		if phoneNumber(t.from) {
			form.Set("From", channelWhatsApp+":"+t.from)
		}
	}
	if m.channel == channelWhatsApp && t.content != "" {
		code, err := json.Marshal(m.code)
		if err != nil {
			return "", err
		}
		form.Set("ContentSid", t.content)
		form.Set("ContentVariables", `{"1": `+string(code)+`}`)
	} else {
		form.Set("Body", m.text)
	}
	reply, err := t.post(ctx, "api.twilio.com", "/2010-04-01/Accounts/"+url.PathEscape(t.account)+"/Messages.json", form,
		func(r *http.Request) { r.SetBasicAuth(t.account, t.token) })
	if err != nil {
		return "", err
	}
	got, err := t.understand(reply)
	return string(got.ID), err
}

// phoneNumber tells a number from the id of a service.
func phoneNumber(sender string) bool {
	digits := strings.ReplaceAll(strings.TrimPrefix(sender, "+"), " ", "")
	return regexp.MustCompile(`^[1-9][0-9]{1,14}$`).MatchString(digits)
}

// understand reads an answer of Twilio's.
func (v *vendor) understand(reply *answer) (twilioAnswer, error) {
	var got twilioAnswer
	if !reply.read(&got) {
		return twilioAnswer{}, v.unknown(reply)
	}
	if !reply.ok() {
		if got.Message == "" {
			return twilioAnswer{}, v.unknown(reply)
		}
		text := fmt.Sprintf("%s More information: %s", got.Message, got.MoreInfo)
		return twilioAnswer{}, &Failure{Temporary: later(reply.status), Text: text}
	}
	if got.Status == "failed" || got.Status == "undelivered" {
		return twilioAnswer{}, v.failure(false, fmt.Sprintf("%s %s for message %s", got.ErrorMessage, got.ErrorCode, got.ID))
	}
	return got, nil
}

// twilioVerify is Twilio's service that makes and checks codes.
type twilioVerify struct {
	*vendor
	account, token, service string
}

func (t *twilioVerify) call(ctx context.Context, what string, form url.Values) (*answer, error) {
	return t.post(ctx, "verify.twilio.com", "/v2/Services/"+url.PathEscape(t.service)+"/"+what, form,
		func(r *http.Request) { r.SetBasicAuth(t.account, t.token) })
}

func (t *twilioVerify) send(ctx context.Context, m message) (string, error) {
	reply, err := t.call(ctx, "Verifications", url.Values{"To": {"+" + m.phone}, "Channel": {m.channel}})
	if err != nil {
		return "", err
	}
	got, err := t.understand(reply)
	return string(got.ID), err
}

func (t *twilioVerify) check(ctx context.Context, phone, code string) (bool, error) {
	reply, err := t.call(ctx, "VerificationCheck", url.Values{"To": {"+" + phone}, "Code": {code}})
	if err != nil {
		return false, err
	}
	// Nothing is pending for this phone: it was never asked for, is used up or has expired.
	if reply.status == http.StatusNotFound {
		return false, nil
	}
	got, err := t.understand(reply)
	return err == nil && got.Status == "approved" && got.Valid, err
}
