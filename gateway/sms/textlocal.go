package sms

import (
	"context"
	"fmt"
	"net/url"
)

// wrongTemplate is the code with which Textlocal refuses a text that its
// registered templates do not cover.
const wrongTemplate = "80"

// textLocal is Textlocal's messaging.
type textLocal struct {
	*vendor
	key, sender string
}

func (l *textLocal) send(ctx context.Context, m message) (string, error) {
	form := url.Values{"sender": {l.sender}, "apikey": {l.key}, "message": {m.text}, "numbers": {m.phone}}
	reply, err := l.post(ctx, "api.textlocal.in", "/send", form, nil)
	if err != nil {
		return "", err
	}
	var got struct {
		Status   loose `json:"status"`
		Messages []struct {
			ID loose `json:"id"`
		} `json:"messages"`
		Errors []struct {
			Code    loose `json:"code"`
			Message loose `json:"message"`
		} `json:"errors"`
	}
	if !reply.read(&got) {
		return "", l.unknown(reply)
	}
	id := ""
	if len(got.Messages) > 0 {
		id = string(got.Messages[0].ID)
	}
	if got.Status == "success" {
		return id, nil
	}
	if len(got.Errors) == 0 {
		return "", l.unknown(reply)
	}
	first := got.Errors[0]
	if first.Code == wrongTemplate {
		return "", l.failure(false, fmt.Sprintf("%s (code: %s) template message: %s", first.Message, first.Code, m.text))
	}
	return "", l.failure(later(reply.status), fmt.Sprintf("%s (code: %s) message %s", first.Message, first.Code, id))
}
