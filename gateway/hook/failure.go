package hook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// How a call ended, for the record of runs. OK is that of a call without a
// Failure.
const (
	OutcomeOK          = "ok"
	OutcomeRefused     = "refused"      // the receiver answered with an error object
	OutcomeTimeout     = "timeout"      // no answer within the limit for everything
	OutcomeUnreachable = "unreachable"  // every attempt ended without an answer
	OutcomeUnavailable = "unavailable"  // 429 or 503
	OutcomeStatus      = "status"       // another status that is no success
	OutcomeContentType = "content_type" // not JSON by its header
	OutcomeTooLarge    = "too_large"    // an answer beyond the limit
	OutcomeOutput      = "output"       // not the JSON that was expected
	OutcomeSignature   = "signature"    // a secret that cannot sign
	OutcomeURI         = "uri"          // an address that cannot be called
	OutcomeCancelled   = "cancelled"    // the request that called ended first
)

// Failure is why a hook's call did not succeed, with what the client is to be
// told.
type Failure struct {
	Status  int    // HTTP status; of a refusal the receiver's own, from 200 to 999
	Code    string // error code; "unknown" goes without the header
	Message string // message for the client
	Outcome string // one of the constants above
	cause   error
}

// Error returns the message with its cause, for logs and for the record of runs.
// There are no addresses or secrets in it that were not in the receiver's own
// words.
func (f *Failure) Error() string {
	if f.cause == nil {
		return f.Message
	}
	return f.Message + ": " + f.cause.Error()
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.cause }

func internal(outcome string, cause error, message string) *Failure {
	return &Failure{Status: http.StatusInternalServerError, Code: "unexpected_failure", Message: message, Outcome: outcome, cause: cause}
}

func contentType(message string) *Failure {
	return &Failure{
		Status: http.StatusBadRequest, Code: "hook_payload_invalid_content_type", Message: message, Outcome: OutcomeContentType,
	}
}

func tooLarge(limit int64) *Failure {
	return &Failure{
		Status: http.StatusUnprocessableEntity, Code: "hook_payload_over_size_limit", Outcome: OutcomeTooLarge,
		Message: fmt.Sprintf("Payload size exceeded size limit of %d bytes", limit),
	}
}

// Refused returns the refusal that an output contains (mfa-hooks.md 3.5), or nil.
// An error that is not of that form, or has no message, is not a refusal.
func Refused(output []byte) *Failure {
	var answer struct {
		Error struct {
			Status  int    `json:"http_code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	formed := json.Unmarshal(output, &answer) == nil
	// PostgreSQL's text, where runs are recorded, holds no NUL.
	message := strings.ReplaceAll(answer.Error.Message, "\x00", "")
	status := answer.Error.Status
	if !formed || message == "" {
		return nil
	}
	if status == 0 {
		status = http.StatusInternalServerError
	}
	// Below 200 a status would not end the answer, and the client would then see a success.
	if status < http.StatusOK || status > 999 {
		return internal(OutcomeRefused, fmt.Errorf("http_code %d is not a status", status), "Internal Server Error")
	}
	code := "unknown"
	if status == http.StatusInternalServerError {
		code = "unexpected_failure"
	}
	return &Failure{Status: status, Code: code, Message: message, Outcome: OutcomeRefused}
}

// Decode reads an output into a value. No output, and null, leave the value as it
// is. An error is a *Failure.
func Decode(output []byte, into any) error {
	if len(output) == 0 {
		return nil
	}
	if err := json.Unmarshal(output, into); err != nil {
		return notUnderstood(err)
	}
	return nil
}

func notUnderstood(cause error) *Failure {
	return internal(OutcomeOutput, cause, "Error unmarshaling JSON output.")
}
