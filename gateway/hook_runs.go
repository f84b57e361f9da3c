package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/postern-auth/postern/gateway/hook"
)

// hookRun is a row of auth.hook_runs that SQL could not write itself: of a hook behind HTTP, or of a statement that ended with an
// error. Everything else is recorded by the statement that it happened in.
type hookRun struct {
	Point    string  `json:"point"`
	Target   string  `json:"target,omitempty"`
	Outcome  string  `json:"outcome"`
	MS       float64 `json:"ms,omitempty"`
	SQLState string  `json:"sqlstate,omitempty"`
	Message  string  `json:"message,omitempty"`
	Detail   string  `json:"detail,omitempty"`
	Hint     string  `json:"hint,omitempty"`
	Context  string  `json:"context,omitempty"`

	requestID string
	userID    any
}

// waitingRuns is how many runs wait to be recorded, at most. When the database does not keep up, more are left out.
const waitingRuns = 256

// pointDatabase is that of errors in triggers and constraints, and of statements over time.
const pointDatabase = "database"

// noteHook has a call of a hook behind HTTP recorded when it failed or took long. Nobody waits for that.
func (s *Server) noteHook(q *request, point hook.Point, uri string, took time.Duration, failure *hook.Failure) {
	run := hookRun{Point: string(point), Target: hook.Shown(uri), Outcome: hook.OutcomeOK, MS: milliseconds(took)}
	if failure != nil {
		run.Outcome, run.Message = failure.Outcome, failure.Error()
	} else if took.Milliseconds() < s.policy.get().HookRunsSlowMS {
		return
	}
	s.note(q, run)
}

// noteUnusable has a hook behind HTTP recorded whose answer SQL could not use.
func (s *Server) noteUnusable(q *request, point hook.Point, uri string, err error) {
	if e, ok := errors.AsType[*refusal](err); ok {
		s.note(q, hookRun{Point: string(point), Target: hook.Shown(uri), Outcome: hook.OutcomeOutput, Message: e.Message})
	}
}

// noteFailure has a statement recorded that ended with an error: SQL keeps nothing of it. A database that is away, and values that
// it cannot store, are no riddles, and the former would not record anything.
func (s *Server) noteFailure(q *request, sql string, took time.Duration, err error) {
	run := hookRun{Point: pointDatabase, Target: functionIn(sql), Outcome: "failed", MS: milliseconds(took), Message: err.Error()}
	pg, isServers := errors.AsType[*pgconn.PgError](err)
	switch {
	case databaseAway(err) || isServers && argumentError(pg):
		return
	case isServers:
		run.SQLState, run.Message, run.Detail, run.Hint, run.Context = pg.Code, pg.Message, pg.Detail, pg.Hint, pg.Where
	}
	if run.SQLState == "57014" || errors.Is(err, os.ErrDeadlineExceeded) {
		run.Outcome = hook.OutcomeTimeout
	}
	s.note(q, run)
}

// functionIn is the function that a statement calls.
func functionIn(sql string) string {
	name, _, _ := strings.Cut(sql, "(")
	return name[strings.LastIndexByte(name, ' ')+1:]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (s *Server) note(q *request, run hookRun) {
	run.requestID = q.id()
	run.Message, run.Detail = q.told.hide(run.Message), q.told.hide(run.Detail)
	run.Hint, run.Context = q.told.hide(run.Hint), q.told.hide(run.Context)
	if q.claims.SessionID != "" {
		run.userID = uuidArgument(q.claims.Subject)
	}
	select {
	case s.runs <- run:
	default:
		s.log.Warn("too many failures at once: one is not recorded in auth.hook_runs", "request_id", run.requestID, "point", run.Point)
	}
}

// recordRuns records what was noted, one after the other, until the context ends; then what is left.
func (s *Server) recordRuns(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case run := <-s.runs:
			s.recordRun(run)
		case <-ctx.Done():
		}
	}
	for len(s.runs) > 0 {
		s.recordRun(<-s.runs)
	}
}

func (s *Server) recordRun(run hookRun) {
	raw, err := json.Marshal(run)
	if err == nil {
		_, err = s.callOnce(`select postern.record_hook_run(run => $1::json,
			caller => postern.caller(request_id => $2, user_id => $3))`, raw, run.requestID, run.userID)
	}
	if err != nil {
		s.log.Warn("what failed could not be recorded in auth.hook_runs", "request_id", run.requestID, "point", run.Point, "error", err)
	}
}
