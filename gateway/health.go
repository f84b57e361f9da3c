package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// health is GET /health: the process is alive (contract core.md 2.1). It says nothing of the database.
func (s *Server) health(*request) (*response, error) {
	body, err := json.Marshal(struct {
		Version     string `json:"version"`
		Name        string `json:"name"`
		Description string `json:"description"`
	}{s.options.Version, "Postern", "Postern is an authentication engine that lives in PostgreSQL"})
	return &response{body: body}, err
}

// ready is GET /ready: whether requests can be answered now, and why not.
func (s *Server) ready(q *request) (*response, error) {
	q.statements++
	if err := s.checkSchema(q.deadline); err != nil {
		e := refuse(http.StatusServiceUnavailable, "not_ready", err.Error())
		e.RetryAfter = 1
		return nil, e
	}
	return &response{body: []byte(`{"ready":true}`)}, nil
}

// checkSchema compares the database's schema version with the binary's.
func (s *Server) checkSchema(deadline time.Time) error {
	raw, err := s.query(deadline, `select to_json(postern.schema_version())`)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && (pg.Code == "42883" || pg.Code == "3F000") {
		return fmt.Errorf("the database has no Postern schema: run `postern migrate` or `tern migrate -m sql`")
	} else if databaseAway(err) {
		return errors.New("DATABASE_URL: the database cannot be reached: " + connectProblem(err))
	} else if sqlState(err) == "42501" {
		return errors.New("DATABASE_URL: permission denied for Postern's functions: connect as postern_gateway")
	} else if err != nil {
		return fmt.Errorf("asking for the schema version: %w", err)
	}
	var version int
	if err := json.Unmarshal(raw, &version); err != nil {
		return fmt.Errorf("reading the schema version: %w", err)
	}
	// A newer schema serves the previous release's gateway too (DESIGN, Migrations).
	if version < s.options.SchemaVersion {
		return fmt.Errorf("the database is at schema version %d, this gateway needs %d: run `postern migrate` or `tern migrate -m sql -d %d`",
			version, s.options.SchemaVersion, s.options.SchemaVersion)
	}
	return nil
}

// connectProblem is why a connection failed, in words that hold no password.
func connectProblem(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Message
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no connection became free in time"
	}
	if connect, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		err = connect.Unwrap()
	}
	// pgx tries every address and joins what went wrong, a line each.
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
