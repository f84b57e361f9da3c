package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// databaseDeadline ends a database call when requests have no deadline of their own.
	databaseDeadline = 10 * time.Second
	// sqlHookTimeout is the time limit of a statement that runs a SQL hook (contract mfa-hooks.md 3.4).
	sqlHookTimeout = "set local statement_timeout = '2s'"
)

// answer is what a function of schema postern returns: a refusal, a body to pass on, or a session to sign.
type answer struct {
	Version int64    `json:"v"`
	Error   *refusal `json:"error"`

	Body    json.RawMessage `json:"body"`
	Total   int64           `json:"total"`
	Page    int64           `json:"page"`
	PerPage int64           `json:"per_page"`

	Session *sessionFacts   `json:"session"`
	Claims  json.RawMessage `json:"claims"`
	User    json.RawMessage `json:"user"`

	UserID       string `json:"user_id"`
	PasswordHash string `json:"password_hash"`

	Changes []struct {
		Setting  string `json:"setting"`
		From, To any
	} `json:"changes"`
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
	return s.callFor(q, s.query, sql, args...)
}

// callWithHook is call for a statement that runs a SQL hook when one is configured: its own transaction then limits its time.
func (s *Server) callWithHook(q *request, sql string, args ...any) (*answer, error) {
	if s.policy.get().TokenHookIsConfigured {
		return s.callFor(q, s.queryLimited, sql, args...)
	}
	return s.callFor(q, s.query, sql, args...)
}

type queryFunc func(ctx context.Context, sql string, args ...any) ([]byte, error)

func (s *Server) callFor(q *request, query queryFunc, sql string, args ...any) (*answer, error) {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(q.r.Context()), q.deadline)
	defer cancel()
	q.statements++
	raw, err := query(ctx, sql, args...)
	if err != nil {
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
func (s *Server) callOnce(ctx context.Context, sql string, args ...any) (*answer, error) {
	raw, err := s.query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return decodeAnswer(raw)
}

func decodeAnswer(raw []byte) (*answer, error) {
	a := new(answer)
	if err := json.Unmarshal(raw, a); err != nil {
		return nil, fmt.Errorf("decoding the database's answer: %w", err)
	}
	return a, nil
}

// query runs a statement that returns one JSON value. It is tried again where that cannot do anything twice: the connection
// was dead before the statement left, the server ended the session or a deadlock undid it, or the server was read only.
func (s *Server) query(ctx context.Context, sql string, args ...any) ([]byte, error) {
	return s.withConn(ctx, func(conn *pgxpool.Conn) (raw []byte, err error) {
		err = conn.QueryRow(ctx, sql, args...).Scan(&raw)
		return raw, err
	})
}

// queryLimited is query in a transaction with the time limit of SQL hooks, sent in one round trip.
func (s *Server) queryLimited(ctx context.Context, sql string, args ...any) ([]byte, error) {
	return s.withConn(ctx, func(conn *pgxpool.Conn) (raw []byte, err error) {
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

func (s *Server) withConn(ctx context.Context, use func(*pgxpool.Conn) ([]byte, error)) (raw []byte, err error) {
	const tries = 3
	for try := 1; ; try++ {
		conn, err := s.acquire(ctx)
		if err != nil {
			return nil, err
		}
		raw, err = use(conn)
		if readOnly(err) {
			// After a failover: this server no longer takes writes, another connection may lead to the one that does.
			_ = conn.Hijack().Close(ctx)
		} else {
			conn.Release()
		}
		if err == nil {
			return raw, nil
		}
		if try == tries || ctx.Err() != nil || !repeatable(err) {
			return nil, err
		}
	}
}

func (s *Server) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.PoolWait)
	defer cancel()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, &unavailableError{cause: err}
	}
	return conn, nil
}

// unavailableError says that no connection to the database was to be had.
type unavailableError struct{ cause error }

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
	switch code := sqlState(err); code {
	case "40P01", "40001", "25006", "57P01", "57P02":
		return true
	default:
		return code == "" && pgconn.SafeToRetry(err)
	}
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
	return ok || pgconn.SafeToRetry(err)
}
