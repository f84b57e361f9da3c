package gateway

import (
	"net/http"
	"slices"
	"strings"
)

const nilUUID = "00000000-0000-0000-0000-000000000000"

// authorize verifies the bearer token of a guarded route (contract core.md 1.8, 1.10). Whether its user, session and role
// still count is for SQL to say.
func (s *Server) authorize(q *request, who guard) error {
	if who == everybody {
		return nil
	}
	text, ok := bearer(q.r.Header.Get("Authorization"))
	if !ok {
		return refuse(http.StatusUnauthorized, "no_authorization", "This endpoint requires a valid Bearer token")
	}
	claims, err := s.keys.Verify(text)
	if err != nil {
		return refuse(http.StatusForbidden, "bad_jwt", err.Error())
	}
	if claims.SessionID == nilUUID {
		claims.SessionID = ""
	}
	if who == user || claims.SessionID != "" {
		switch {
		case claims.Subject == "":
			return refuse(http.StatusForbidden, "bad_jwt", "invalid claim: missing sub claim")
		case !isUUID(claims.Subject):
			return refuse(http.StatusBadRequest, "bad_jwt", "invalid claim: sub claim must be a UUID")
		case claims.SessionID != "" && !isUUID(claims.SessionID):
			return refuse(http.StatusForbidden, "bad_jwt", "invalid claim: session_id claim must be a UUID")
		}
	}
	q.claims = claims
	return nil
}

// authorizeUnanswered is authorize and checkCaller, for guarded paths that nobody answers.
func (s *Server) authorizeUnanswered(q *request, who guard) error {
	if err := s.authorize(q, who); err != nil {
		return err
	}
	return s.checkCaller(q, who)
}

// checkCaller asks SQL whether the caller may have an answer at all, where nothing else of the request asks: what is wrong with a
// request is told after what is wrong with its caller (contract core.md 1.1, admin.md 0.1).
func (s *Server) checkCaller(q *request, who guard) (err error) {
	switch who {
	case user:
		_, err = s.call(q, `select postern.check_caller(caller => postern.caller(user_id => $1, session_id => $2))`,
			uuidArgument(q.claims.Subject), uuidArgument(q.claims.SessionID))
	case admin:
		_, err = s.callAdmin(q, "check_caller", ", is_administration => true")
	}
	return err
}

// listsRole reports whether a role is an administrator's by the gateway's copy of the settings.
func (s *Server) listsRole(role string) bool { return slices.Contains(s.policy.get().AdminRoles, role) }

// bearer cuts the token out of an Authorization header: the scheme in any case, one blank, one word.
func bearer(header string) (string, bool) {
	const scheme = "bearer "
	if len(header) <= len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return "", false
	}
	text := header[len(scheme):]
	return text, !strings.ContainsAny(text, " \t\r\n")
}

// isUUID reports whether PostgreSQL reads a text as a UUID: 32 hex digits, with or without the four dashes.
func isUUID(text string) bool {
	if len(text) == 36 {
		if text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
			return false
		}
		text = text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
	}
	if len(text) != 32 {
		return false
	}
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}

// uuidArgument is a claim as a uuid argument, NULL when it is absent.
func uuidArgument(claim string) any { return text(claim) }

// isAdministrator reports whether a request to an open route carries an administrator's token. Whether its session goes on is not
// asked: nothing is open to it that is not open to everybody.
func (s *Server) isAdministrator(q *request) bool {
	text, ok := bearer(q.r.Header.Get("Authorization"))
	if !ok {
		return false
	}
	claims, err := s.keys.Verify(text)
	return err == nil && s.listsRole(claims.Role)
}
