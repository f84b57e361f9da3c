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
	return err == nil && slices.Contains(s.policy.get().AdminRoles, claims.Role)
}
