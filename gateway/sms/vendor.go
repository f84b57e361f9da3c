package sms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// longestAnswer bounds what is read of an answer, in bytes.
const longestAnswer = 204_800

// vendor posts forms to one vendor.
type vendor struct {
	name    string // begins the texts of failures
	client  *http.Client
	base    *url.URL // in place of the vendor's own scheme and host, or nil
	timeout time.Duration
}

// answer is a vendor's reply, read to its end.
type answer struct {
	status int
	body   []byte
}

// post sends a form. Its error is a *Failure.
func (v *vendor) post(ctx context.Context, host, path string, form url.Values, authorize func(*http.Request)) (*answer, error) {
	limited, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	address := "https://" + host + path
	if v.base != nil {
		address = v.base.Scheme + "://" + v.base.Host + strings.TrimSuffix(v.base.EscapedPath(), "/") + path
	}
	request, err := http.NewRequestWithContext(limited, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, v.failure(false, "the address is not valid")
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if authorize != nil {
		authorize(request)
	}
	response, err := v.client.Do(request)
	if err != nil {
		return nil, v.silence(ctx, limited, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, longestAnswer+1))
	if err != nil {
		return nil, v.silence(ctx, limited, err)
	}
	if len(body) > longestAnswer {
		return nil, v.failure(later(response.StatusCode), fmt.Sprintf("an answer of more than %d bytes", longestAnswer))
	}
	return &answer{status: response.StatusCode, body: body}, nil
}

// silence is the failure of a call without an answer. The error's own words name
// addresses and stay with the operator.
func (v *vendor) silence(ctx, limited context.Context, err error) *Failure {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	text := "no connection"
	switch {
	case ctx.Err() != nil:
		text, err = "the request ended before an answer came", ctx.Err()
	case limited.Err() != nil:
		text = fmt.Sprintf("no answer within %v", v.timeout)
	}
	failure := v.failure(true, text)
	failure.cause = err
	return failure
}

func (v *vendor) failure(temporary bool, text string) *Failure {
	return &Failure{Temporary: temporary, Text: v.name + " error: " + text}
}

// unknown is the failure of an answer that says nothing more.
func (v *vendor) unknown(a *answer) *Failure {
	return v.failure(later(a.status), fmt.Sprintf("unexpected answer with status %d", a.status))
}

// read decodes an answer, which must be a JSON object.
func (a *answer) read(into any) bool {
	return json.Unmarshal(a.body, into) == nil
}

func (a *answer) ok() bool { return a.status == http.StatusOK || a.status == http.StatusCreated }

// later says whether a status is one that passes.
func later(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

// loose is text that vendors write as a string or as a number. null is empty.
type loose string

// UnmarshalJSON takes any value: an answer must not become unreadable for a field
// that only goes into a text.
func (l *loose) UnmarshalJSON(raw []byte) error {
	switch {
	case string(raw) == "null":
		*l = ""
	case raw[0] == '"':
		return json.Unmarshal(raw, (*string)(l))
	default:
		*l = loose(raw)
	}
	return nil
}
