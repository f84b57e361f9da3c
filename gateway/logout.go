package gateway

import "net/http"

// logOut is POST /logout (contract core.md 6.8).
func (s *Server) logOut(q *request) (*response, error) {
	_, err := s.call(q, `select postern.log_out(caller => postern.caller(user_id => $1, session_id => $2), scope => $3)`,
		uuidArgument(q.claims.Subject), uuidArgument(q.claims.SessionID), storable(q.r.URL.Query().Get("scope")))
	if err != nil {
		return nil, err
	}
	return &response{status: http.StatusNoContent}, nil
}
