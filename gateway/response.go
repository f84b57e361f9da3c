package gateway

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// response is a successful answer.
type response struct {
	status int // 0 is 200
	header http.Header
	body   []byte // JSON unless the header says otherwise; none when nil
}

func (a *response) write(w http.ResponseWriter, q *request) {
	header := w.Header()
	maps.Copy(header, a.header)
	q.status = a.status
	if q.status == 0 {
		q.status = http.StatusOK
	}
	if a.body == nil {
		w.WriteHeader(q.status)
		return
	}
	if header["Content-Type"] == nil {
		header["Content-Type"] = jsonContentType
	}
	header["Content-Length"] = []string{strconv.Itoa(len(a.body))}
	w.WriteHeader(q.status)
	_, _ = w.Write(a.body)
}

// jsonContentType is shared by all answers: header values are only read.
var jsonContentType = []string{"application/json"}

// passOn answers with the body that SQL made.
func passOn(a *answer, err error) (*response, error) {
	if err != nil {
		return nil, err
	}
	return &response{body: a.Body}, nil
}

// signIn answers with tokens when SQL opened or continued a session, else with the body that it made. weak is the
// password's weakness for the password grant, and absent for all others (contract core.md 4.2).
func (s *Server) signIn(q *request, a *answer, err error, weak json.RawMessage) (*response, error) {
	if err != nil {
		return nil, err
	}
	if a.Session == nil {
		return &response{body: a.Body}, nil
	}
	if a.TokenHook != nil {
		if err := s.customizeClaims(q, a); err != nil {
			return nil, err
		}
	}
	access, err := s.keys.Sign(a.Claims)
	if err != nil {
		return nil, fmt.Errorf("signing an access token: %w", err)
	}
	session, err := parseUUID(a.Session.ID)
	if err != nil {
		return nil, err
	}
	refresh := s.refresh.Mint(session, a.Session.Counter)

	body := make([]byte, 0, len(access)+len(a.User)+256)
	body = append(body, `{"access_token":"`...)
	body = append(body, access...)
	body = append(body, `","token_type":"bearer","expires_in":`...)
	body = strconv.AppendInt(body, a.Session.ExpiresIn, 10)
	body = append(body, `,"expires_at":`...)
	body = strconv.AppendInt(body, a.Session.ExpiresAt, 10)
	body = append(body, `,"refresh_token":"`...)
	body = append(body, refresh...)
	body = append(body, `","user":`...)
	body = append(body, a.User...)
	if weak != nil {
		body = append(body, `,"weak_password":`...)
		body = append(body, weak...)
	}
	body = append(body, '}')

	header := http.Header{
		"Sb-Auth-User-Id":               {a.Session.UserID},
		"Sb-Auth-Session-Id":            {a.Session.ID},
		"Sb-Auth-Refresh-Token-Counter": {strconv.FormatUint(a.Session.Counter, 10)},
	}
	return &response{header: header, body: body}, nil
}

func parseUUID(text string) (id [16]byte, err error) {
	if _, err = hex.Decode(id[:], []byte(strings.ReplaceAll(text, "-", ""))); err != nil {
		return id, fmt.Errorf("reading a session id: %w", err)
	}
	return id, nil
}
