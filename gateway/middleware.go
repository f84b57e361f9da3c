package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/rs/cors"
)

type requestKey struct{}

func requestOf(r *http.Request) *request {
	q := r.Context().Value(requestKey{}).(*request)
	q.r = r
	return q
}

// middleware is what every request passes: CORS, the request's own record, the catcher of panics and the log line.
func (s *Server) middleware(next http.Handler) http.Handler {
	allowed := append([]string{
		"Accept", "Authorization", "Content-Type", "X-Client-IP", "X-Client-Info", "X-JWT-AUD", "x-use-cookie",
		"X-Supabase-Api-Version",
		"apikey", // supabase-js sends it; the reference leaves it to an API gateway in front
	}, s.config.CORSAllowedHeaders...)
	crossOrigin := cors.New(cors.Options{
		AllowedOrigins:   []string{"*"},
		AllowedMethods:   []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowedHeaders:   allowed,
		ExposedHeaders:   []string{"X-Total-Count", "Link", "X-Supabase-Api-Version"},
		AllowCredentials: true,
	})
	limit := s.config.MaxRequestDuration
	if limit <= 0 {
		limit = databaseDeadline
	}
	return crossOrigin.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		q := &request{deadline: started.Add(limit)}
		if s.config.RequestIDHeader != "" {
			q.requestID = storable(r.Header.Get(s.config.RequestIDHeader))
		}
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, q))
		defer s.logRequest(q, r, started)
		defer s.catch(w, q)
		next.ServeHTTP(w, r)
	}))
}

// catch answers a panic as the reference does (contract core.md 1.4); the stack goes to the log.
func (s *Server) catch(w http.ResponseWriter, q *request) {
	cause := recover()
	if cause == nil {
		return
	}
	s.log.Error("panic", "request_id", q.id(), "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
	q.status = http.StatusInternalServerError
	w.Header().Set("Content-Type", "application/json")
	tellRequestID(w.Header(), q)
	w.WriteHeader(q.status)
	_, _ = w.Write([]byte(`{"code":500,"error_code":"unexpected_failure","msg":"Internal Server Error"}`))
}

func (s *Server) logRequest(q *request, r *http.Request, started time.Time) {
	if q.route == "/health" || !s.log.Enabled(r.Context(), slog.LevelInfo) {
		return
	}
	status := q.status
	if status == 0 {
		status = http.StatusNotFound
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "request",
		slog.String("method", r.Method), slog.String("route", q.route), slog.Int("status", status),
		slog.Float64("ms", float64(time.Since(started).Microseconds())/1000), slog.Int("statements", q.statements),
		slog.String("request_id", q.id()))
}
