package sms

import (
	"context"
	"net/http"
	"net/url"
)

// messageBird is MessageBird's messaging.
type messageBird struct {
	*vendor
	key, originator string
}

func (b *messageBird) send(ctx context.Context, m message) (string, error) {
	form := url.Values{
		"originator": {b.originator}, "body": {m.text}, "recipients": {m.phone}, "type": {"sms"}, "datacoding": {"unicode"},
	}
	reply, err := b.post(ctx, "rest.messagebird.com", "/messages", form,
		func(r *http.Request) { r.Header.Set("Authorization", "AccessKey "+b.key) })
	if err != nil {
		return "", err
	}
	var got struct {
		ID         loose `json:"id"`
		Recipients struct {
			Sent int `json:"totalSentCount"`
		} `json:"recipients"`
		Errors []struct {
			Description loose `json:"description"`
		} `json:"errors"`
	}
	read, accepted := reply.read(&got), reply.status/100 == 2
	switch {
	case accepted && read && got.Recipients.Sent > 0:
		return string(got.ID), nil
	case accepted && read:
		return "", b.failure(false, "total sent count is 0")
	case read && len(got.Errors) > 0 && got.Errors[0].Description != "":
		return "", &Failure{Temporary: later(reply.status), Text: string(got.Errors[0].Description)}
	}
	return "", b.unknown(reply)
}
