package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/postern-auth/postern/gateway/password"
)

// refusal is an answer other than success, as SQL returns it and as the gateway makes it for what it judges itself.
type refusal struct {
	Status     int            `json:"status"`
	Code       string         `json:"code"`
	Message    string         `json:"message"`
	Hint       string         `json:"hint"`
	RetryAfter int            `json:"retry_after"`
	Fact       string         `json:"fact"`
	Reasons    []string       `json:"reasons"`
	Database   *databaseError `json:"database"`
	Cause      string         `json:"cause"`

	isUnclassified bool // an error that nobody expected: no code in a header, no id in the body (contract core.md 1.6)
}

// databaseError is an error of a user's trigger, constraint or hook, which clients see as it is (contract core.md 1.6).
type databaseError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

func (e *refusal) Error() string {
	text := fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message)
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	if e.Cause != "" {
		text += ": " + e.Cause
	}
	return text
}

func refuse(status int, code, message string) *refusal {
	return &refusal{Status: status, Code: code, Message: message}
}

// codeUnknown is that of refusals whose status and message a hook chose. There is no header X-Sb-Error-Code with it, and with 500
// the body names another (mfa-hooks.md 3.5).
const codeUnknown = "unknown"

const datedVersion = "2024-01-01"

// tellRequestID names the request with an error, whatever the format of its body: postern.explain_error takes the id. Scripts of other
// origins may read it where the server is at fault; for other errors they see the headers of the contract (core.md 1.3).
func tellRequestID(header http.Header, q *request) {
	const name = "X-Request-Id"
	header.Set(name, q.id())
	if q.status >= http.StatusInternalServerError && header.Get("Access-Control-Allow-Origin") != "" {
		header.Add("Access-Control-Expose-Headers", name)
	}
}

// writeError answers with an error. It is the only place that writes one.
func (s *Server) writeError(w http.ResponseWriter, q *request, err error) {
	e := classify(err)
	dated := q.dated()
	q.status = e.Status
	if dated {
		q.status = e.generalStatus()
	}
	s.logFailure(q, q.status, err)

	shown := *e
	if e.Code == codeUnknown && e.Status == http.StatusInternalServerError {
		shown.Code = "unexpected_failure"
	}
	body := shown.body(dated, q)
	header := w.Header()
	header.Set("Content-Type", "application/json")
	tellRequestID(header, q)
	if dated {
		header.Set("X-Supabase-Api-Version", datedVersion)
	}
	if !e.isUnclassified && e.Code != codeUnknown && e.Code != "invalid_client" && (!dated || e.Code != "weak_password") {
		header.Set("X-Sb-Error-Code", e.Code)
	}
	if e.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(e.RetryAfter))
	}
	if e.Fact == "session_ended" {
		header.Set("Sb-Auth-Refresh-Token-Rotated", "true")
	}
	raw, marshalErr := json.Marshal(body)
	if marshalErr != nil {
		raw = []byte(`{"code":500,"error_code":"unexpected_failure","msg":"Unexpected failure, please check server logs for more information"}`)
	}
	w.WriteHeader(q.status)
	_, _ = w.Write(raw)
}

// generalStatus is the status where a user's own error is not told from others: a status that it raised is for the first format only
// (contract core.md 1.6).
func (e *refusal) generalStatus() int {
	if e.Database != nil {
		return http.StatusInternalServerError
	}
	return e.Status
}

// logFailure writes why the server failed to answer a request.
func (s *Server) logFailure(q *request, status int, err error) {
	if status >= http.StatusInternalServerError {
		s.log.LogAttrs(context.Background(), slog.LevelError, "request failed", slog.String("request_id", q.id()),
			slog.Int("status", status), slog.String("error", err.Error()))
	}
}

type weakPassword struct {
	Reasons []string `json:"reasons"`
}

type undatedBody struct {
	Code         int           `json:"code"`
	ErrorCode    string        `json:"error_code,omitempty"`
	Message      string        `json:"msg"`
	ErrorID      string        `json:"error_id,omitempty"`
	WeakPassword *weakPassword `json:"weak_password,omitempty"`
}

type datedBody struct {
	Code         string        `json:"code"`
	Message      string        `json:"message"`
	WeakPassword *weakPassword `json:"weak_password,omitempty"`
}

type oauthBody struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func (e *refusal) body(dated bool, q *request) any {
	var weak *weakPassword
	if e.Code == "weak_password" {
		weak = &weakPassword{Reasons: e.Reasons}
	}
	switch {
	case e.Code == "invalid_client":
		return oauthBody{Error: e.Code, Description: e.Message}
	case dated:
		return datedBody{Code: e.Code, Message: e.Message, WeakPassword: weak}
	case e.Database != nil:
		return e.Database
	}
	body := undatedBody{Code: e.Status, ErrorCode: e.Code, Message: e.Message, WeakPassword: weak}
	if e.Status >= http.StatusInternalServerError && !e.isUnclassified {
		body.ErrorID = q.id()
	}
	return body
}

// classify finds the answer to an error: refusals as they are, everything else by what it means for the client.
func classify(err error) *refusal {
	if e, ok := errors.AsType[*refusal](err); ok {
		return e
	}
	if busy, ok := errors.AsType[*password.BusyError](err); ok {
		e := refuse(http.StatusServiceUnavailable, "over_capacity", "Too many sign-ins at the moment, please retry shortly")
		e.RetryAfter = max(1, int(busy.RetryAfter.Round(time.Second)/time.Second))
		return e
	}
	pg, _ := errors.AsType[*pgconn.PgError](err)
	switch {
	case pg != nil && (pg.Code == "55P03" || pg.Code == "40P01" || pg.Code == "40001"):
		return refuse(http.StatusConflict, "conflict",
			"Too many concurrent token refresh requests on the same session or refresh token")
	case databaseAway(err):
		message := "The database cannot be reached, please retry after a moment"
		if away, ok := errors.AsType[*unavailableError](err); ok && away.isFull {
			message = "All connections to the database are in use, please retry after a moment"
		}
		e := refuse(http.StatusServiceUnavailable, "service_unavailable", message)
		e.RetryAfter = 1
		return e
	case pg != nil && pg.Code == "57014", errors.Is(err, os.ErrDeadlineExceeded),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return refuse(http.StatusGatewayTimeout, "request_timeout",
			"Processing this request timed out, please retry after a moment.")
	case pg != nil && argumentError(pg):
		return refuse(http.StatusBadRequest, "validation_failed", "The request holds a value that cannot be stored: "+pg.Message)
	}
	e := refuse(http.StatusInternalServerError, "unexpected_failure",
		"Unexpected failure, please check server logs for more information")
	e.isUnclassified = true
	return e
}

// argumentError tells a value that PostgreSQL could not read as an argument (a number out of range in JSON, nesting without
// end) from an error inside a function.
func argumentError(pg *pgconn.PgError) bool {
	return (strings.HasPrefix(pg.Code, "22") || pg.Code == "54001") && !strings.Contains(pg.Where, "function")
}
