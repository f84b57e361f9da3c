package sms

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// vonage is Vonage's messaging, once Nexmo.
type vonage struct {
	*vendor
	key, secret, from string
}

func (o *vonage) send(ctx context.Context, m message) (string, error) {
	form := url.Values{"from": {o.from}, "to": {m.phone}, "text": {m.text}, "api_key": {o.key}, "api_secret": {o.secret}}
	if strings.ContainsFunc(m.text, func(r rune) bool { return r > unicode.MaxASCII }) {
		form.Set("type", "unicode")
	}
	reply, err := o.post(ctx, "rest.nexmo.com", "/sms/json", form, nil)
	if err != nil {
		return "", err
	}
	var got struct {
		Messages []struct {
			ID     loose `json:"message-id"`
			Status loose `json:"status"`
			Error  loose `json:"error-text"`
		} `json:"messages"`
	}
	// The status of HTTP means nothing here, except where there is nothing else to go by.
	if !reply.read(&got) {
		return "", o.unknown(reply)
	}
	if len(got.Messages) == 0 {
		return "", o.failure(later(reply.status), "Internal Error")
	}
	first := got.Messages[0]
	if first.Status == "0" {
		return string(first.ID), nil
	}
	// Throttled, an error of the platform, too many connections.
	passes := slices.Contains([]loose{"1", "5", "10"}, first.Status)
	return "", o.failure(passes, fmt.Sprintf("%s (status: %s) for message %s", first.Error, first.Status, first.ID))
}
