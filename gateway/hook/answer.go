package hook

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strconv"
)

// judge applies the table of mfa-hooks.md 3.3 to an answer.
func (c *Caller) judge(response *http.Response) result {
	switch response.StatusCode {
	case http.StatusOK, http.StatusAccepted:
		return c.read(response)
	case http.StatusNoContent:
		return result{}
	}
	drain(response.Body)
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return result{
			failure: internal(OutcomeUnavailable, nil, "Service currently unavailable due to hook"),
			again:   response.Header.Get("Retry-After") != "",
		}
	case http.StatusBadRequest:
		return failed(internal(OutcomeStatus, nil, "Invalid payload sent to hook"))
	case http.StatusUnauthorized:
		return failed(internal(OutcomeStatus, nil, "Hook requires authorization token"))
	}
	return failed(internal(OutcomeStatus, nil, "Unexpected status code returned from hook: "+strconv.Itoa(response.StatusCode)))
}

// read takes the output from a successful answer.
func (c *Caller) read(response *http.Response) result {
	if failure := checkContentType(response.Header.Get("Content-Type")); failure != nil {
		return failed(failure)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, c.limits.Answer+1))
	if int64(len(body)) > c.limits.Answer {
		return failed(tooLarge(c.limits.Answer))
	}
	if err != nil {
		return unreachable(err)
	}
	if refusal := Refused(body); refusal != nil {
		return failed(refusal)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil {
		return failed(notUnderstood(err))
	}
	// PostgreSQL takes no other bytes, and a decoder would have replaced them too.
	return result{output: bytes.ToValidUTF8(body, []byte("\uFFFD"))}
}

func checkContentType(value string) *Failure {
	if value == "" {
		return contentType("Invalid Content-Type: Missing Content-Type header")
	}
	media, _, err := mime.ParseMediaType(value)
	if err != nil {
		return contentType("Invalid Content-Type header: " + err.Error())
	}
	if media != "application/json" {
		return contentType("Invalid JSON response. Received content-type: " + value)
	}
	return nil
}
