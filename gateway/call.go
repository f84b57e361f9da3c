package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/postern-auth/postern/gateway/internal/jsonwalk"
)

const (
	// databaseDeadline ends a database call when requests have no deadline of their own.
	databaseDeadline = 10 * time.Second
	// sqlHookTimeout is the time limit of a statement that runs a SQL hook (contract mfa-hooks.md 3.4).
	sqlHookTimeout = "set local statement_timeout = '2s'"
)

// answer is what a function of schema postern returns: a refusal, a body to pass on, or a session to sign.
type answer struct {
	Version int64
	Error   *refusal

	Body                 json.RawMessage
	Total, Page, PerPage int64
	NextCursor           *string // set when paging by cursor; "" on the last page

	Delivery, TextDelivery *queued // what waits for this gateway's first attempt

	Session      *sessionFacts
	Claims, User json.RawMessage
	TokenHook    *tokenHook // whom to ask before the claims are signed
	URI          string     // of the hook behind HTTP that User is for; SQL has asked when it is no address

	UserID       string
	PasswordHash string

	Verified string // which kind of code or link it was, as in one_time_tokens.token_type

	Factor *factorFacts

	Changes []settingChange
}

// settingChange is what the environment changed in auth.settings.
type settingChange struct {
	Setting string `json:"setting"`
	From    any    `json:"from"`
	To      any    `json:"to"`
}

// sessionFacts is what tokens are made of.
type sessionFacts struct {
	ID        string `json:"id"`
	UserID    string `json:"user_id"`
	Counter   uint64 `json:"counter"`
	ExpiresIn int64  `json:"expires_in"`
	ExpiresAt int64  `json:"expires_at"`
	Reuse     string `json:"reuse"`
}

// call runs one statement for a request and returns its answer, or its refusal as the error. The statement goes on when
// the client hangs up: what it did would otherwise be unknown to everybody.
func (s *Server) call(q *request, sql string, args ...any) (*answer, error) {
	return s.callFor(q, sql, func() ([]byte, error) { return s.query(q.deadline, sql, args...) })
}

// callWithHook is call for a statement that runs the custom_access_token hook when that is a database function: its own
// transaction then limits its time.
func (s *Server) callWithHook(q *request, sql string, args ...any) (*answer, error) {
	return s.callLimitedIf(s.policy.get().tokenHookInSQL(), q, sql, args...)
}

func (s *Server) callLimitedIf(runsHook bool, q *request, sql string, args ...any) (*answer, error) {
	if runsHook {
		return s.callFor(q, sql, func() ([]byte, error) { return s.queryLimited(q.deadline, sql, args...) })
	}
	return s.call(q, sql, args...)
}

// undo runs the statement that takes back what a request wrote before it failed, and returns the failure. It has time of its own: what
// failed may have used up the request's.
func (s *Server) undo(q *request, failure error, sql string, args ...any) error {
	q.deadline = time.Now().Add(databaseDeadline)
	if _, err := s.call(q, sql, args...); err != nil {
		s.log.Error("what a failed request wrote could not be taken back", "request_id", q.id(), "error", err)
	}
	return failure
}

// callFor is call with another way to run the statement.
func (s *Server) callFor(q *request, sql string, query func() ([]byte, error)) (*answer, error) {
	q.statements++
	began := time.Now()
	raw, err := query()
	if err != nil {
		s.noteFailure(q, sql, time.Since(began), err)
		return nil, err
	}
	a, err := decodeAnswer(raw)
	if err != nil {
		return nil, err
	}
	s.policy.seen(a.Version)
	if a.Error != nil {
		return nil, a.Error
	}
	return a, nil
}

// callOnce is call outside of any request.
func (s *Server) callOnce(sql string, args ...any) (*answer, error) {
	raw, err := s.query(time.Now().Add(databaseDeadline), sql, args...)
	if err != nil {
		return nil, err
	}
	return decodeAnswer(raw)
}

// decodeAnswer takes an answer apart. Most of it is passed on as it is, so that it is walked over and not decoded.
func decodeAnswer(raw []byte) (*answer, error) {
	a := new(answer)
	if len(raw) == 0 || raw[0] != '{' {
		return nil, fmt.Errorf("the database answered %.20q, which is not an object", raw)
	}
	err := jsonwalk.EachMember(raw, func(name, value []byte) (err error) {
		if string(value) == "null" {
			return nil
		}
		switch string(name) {
		case "v":
			a.Version, err = strconv.ParseInt(string(value), 10, 64)
		case "body":
			a.Body = value
		case "claims":
			a.Claims = value
		case "user":
			a.User = value
		case "session":
			err = json.Unmarshal(value, &a.Session)
		case "delivery":
			err = json.Unmarshal(value, &a.Delivery)
		case "text_delivery":
			err = json.Unmarshal(value, &a.TextDelivery)
		case "error":
			err = json.Unmarshal(value, &a.Error)
		case "token_hook":
			err = json.Unmarshal(value, &a.TokenHook)
		case "uri":
			err = json.Unmarshal(value, &a.URI)
		case "factor":
			err = json.Unmarshal(value, &a.Factor)
		case "verified":
			err = json.Unmarshal(value, &a.Verified)
		case "user_id":
			err = json.Unmarshal(value, &a.UserID)
		case "password_hash":
			err = json.Unmarshal(value, &a.PasswordHash)
		case "total":
			a.Total, err = strconv.ParseInt(string(value), 10, 64)
		case "page":
			a.Page, err = strconv.ParseInt(string(value), 10, 64)
		case "per_page":
			a.PerPage, err = strconv.ParseInt(string(value), 10, 64)
		case "next_cursor":
			err = json.Unmarshal(value, &a.NextCursor)
		case "changes":
			err = json.Unmarshal(value, &a.Changes)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("decoding the database's answer: %w", err)
	}
	return a, nil
}

// query runs a statement that returns one JSON value. It is tried again where that cannot do anything twice: the connection
// was dead before the statement left, the server ended the session or a deadlock undid it, or the server was read only.
func (s *Server) query(deadline time.Time, sql string, args ...any) ([]byte, error) {
	return s.withConn(deadline, func(ctx context.Context, conn *pgxpool.Conn) (raw []byte, err error) {
		err = conn.QueryRow(ctx, sql, args...).Scan(&raw)
		return raw, err
	})
}

// queryLimited is query in a transaction with the time limit of SQL hooks, sent in one round trip.
func (s *Server) queryLimited(deadline time.Time, sql string, args ...any) ([]byte, error) {
	return s.withConn(deadline, func(ctx context.Context, conn *pgxpool.Conn) (raw []byte, err error) {
		batch := &pgx.Batch{}
		batch.Queue("begin")
		batch.Queue(sqlHookTimeout)
		batch.Queue(sql, args...).QueryRow(func(row pgx.Row) error { return row.Scan(&raw) })
		batch.Queue("commit")
		if err = conn.SendBatch(ctx, batch).Close(); err != nil && conn.Conn().PgConn().TxStatus() != 'I' {
			if _, end := conn.Exec(ctx, "rollback"); end != nil {
				return nil, errors.Join(err, end)
			}
		}
		return raw, err
	})
}

func (s *Server) withConn(deadline time.Time, use func(context.Context, *pgxpool.Conn) ([]byte, error)) (raw []byte, err error) {
	// Every connection of the pool may have died with the server, and each is noticed only when it is used.
	const tries = 3
	for failed, dead := 0, 0; ; {
		conn, err := s.acquire(deadline)
		if err != nil {
			return nil, err
		}
		raw, err = s.useUntil(deadline, conn, use)
		switch {
		case err == nil:
			return raw, nil
		case !time.Now().Before(deadline) || !repeatable(err):
			return nil, err
		case serverGone(err):
			dead++
		default:
			failed++
		}
		if failed == tries || dead > s.config.PoolSize+tries {
			return nil, err
		}
	}
}

// useUntil lends a connection until the deadline, and gives it back. The deadline is the socket's: a context's would cost a
// goroutine per statement.
func (s *Server) useUntil(
	deadline time.Time, conn *pgxpool.Conn, use func(context.Context, *pgxpool.Conn) ([]byte, error),
) ([]byte, error) {
	socket := conn.Conn().PgConn().Conn()
	if err := socket.SetDeadline(deadline); err != nil {
		conn.Release()
		return nil, &unavailableError{cause: err}
	}
	raw, err := use(context.Background(), conn)
	if readOnly(err) {
		// After a failover: this server no longer takes writes, another connection may lead to the one that does.
		_ = conn.Hijack().Close(context.Background())
		return nil, err
	}
	_ = socket.SetDeadline(time.Time{}) // fails only on a closed socket, which the pool discards
	conn.Release()
	return raw, err
}

func (s *Server) acquire(deadline time.Time) (*pgxpool.Conn, error) {
	now := time.Now()
	if !now.Before(deadline) {
		return nil, os.ErrDeadlineExceeded
	}
	ctx, cancel := context.WithDeadline(context.Background(), earlier(deadline, now.Add(s.config.PoolWait)))
	defer cancel()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		stat := s.pool.Stat()
		return nil, &unavailableError{cause: err, isFull: stat.AcquiredConns() >= stat.MaxConns()}
	}
	return conn, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// unavailableError says that no connection to the database was to be had.
type unavailableError struct {
	cause  error
	isFull bool // all connections were in use
}

func (e *unavailableError) Error() string { return "no database connection: " + e.cause.Error() }
func (e *unavailableError) Unwrap() error { return e.cause }

func sqlState(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}

func readOnly(err error) bool { return sqlState(err) == "25006" }

func repeatable(err error) bool {
	switch sqlState(err) {
	case "40P01", "40001", "25006":
		return true
	}
	return serverGone(err)
}

// serverGone reports whether a connection turned out to be dead before the statement could do anything.
func serverGone(err error) bool {
	code := sqlState(err)
	return code == "57P01" || code == "57P02" || code == "" && pgconn.SafeToRetry(err)
}

// connectionLost reports whether the connection broke while the statement was under way: nobody knows what became of it.
func connectionLost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// databaseAway tells an unreachable or overloaded database from a failing statement.
func databaseAway(err error) bool {
	if _, ok := errors.AsType[*unavailableError](err); ok {
		return true
	}
	switch code := sqlState(err); {
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "57P"), strings.HasPrefix(code, "53"), code == "25006":
		return true
	case code != "":
		return false
	}
	_, ok := errors.AsType[*pgconn.ConnectError](err)
	return ok || pgconn.SafeToRetry(err) || connectionLost(err)
}
