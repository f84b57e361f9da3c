package gateway

import "net/http"

// logOut is POST /logout (contract core.md 6.8).
func (s *Server) logOut(q *request) (*response, error) {
	_, err := s.call(q, `select postern.log_out(caller => postern.caller(user_id => $1, session_id => $2, request_id => $3), scope => $4)`,
		uuidArgument(q.claims.Subject), uuidArgument(q.claims.SessionID), q.id(), storable(q.r.URL.Query().Get("scope")))
	if err != nil {
		return nil, err
	}
	return &response{status: http.StatusNoContent}, nil
}
