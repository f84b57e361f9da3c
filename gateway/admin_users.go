package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/postern-auth/postern/gateway/password"
)

// administrator is the caller of the admin_ functions: the verified claims, the requested audience, and the request.
const administrator = `postern.caller(user_id => $1, session_id => $2, role => $3, audience => $4, request_id => $5)`

func (s *Server) administratorArguments(q *request) []any {
	if q.claims.SessionID == "" {
		// Without a session nobody asks who it is, and sub may be any text (contract admin.md 1).
		return []any{nil, nil, text(storable(q.claims.Role)), s.audience(q), q.id()}
	}
	return []any{uuidArgument(q.claims.Subject), uuidArgument(q.claims.SessionID), text(storable(q.claims.Role)), s.audience(q), q.id()}
}

func (s *Server) callAdmin(q *request, function, parameters string, args ...any) (*answer, error) {
	return s.call(q, `select postern.`+function+`(caller => `+administrator+parameters+`)`, append(s.administratorArguments(q), args...)...)
}

// adminListUsers is GET /admin/users (contract admin.md 3).
func (s *Server) adminListUsers(q *request) (*response, error) {
	query := q.r.URL.Query()
	a, err := s.callAdmin(q, "admin_list_users",
		`, page => $6, per_page => $7, sort => $8, filter => $9, row_limit => $10, row_cursor => $11`,
		text(storable(query.Get("page"))), text(storable(query.Get("per_page"))), storableAll(query["sort"]),
		text(storable(query.Get("filter"))), text(storable(query.Get("limit"))), text(storable(query.Get("cursor"))))
	if err == nil && a.NextCursor != nil {
		return byCursor(q, a), nil
	}
	return paged(q, a, err)
}

// byCursor adds the link to the next page, when there is one (contract admin.md 3.2).
func byCursor(q *request, a *answer) *response {
	answer := &response{body: a.Body, header: http.Header{}}
	if *a.NextCursor != "" {
		query := q.r.URL.Query()
		query.Del("page")
		query.Set("cursor", *a.NextCursor)
		answer.header["Link"] = []string{fmt.Sprintf(`<%s?%s>; rel="next"`, q.r.URL.Path, query.Encode())}
	}
	return answer
}

func storableAll(values []string) []string {
	out := make([]string, len(values))
	for i, value := range values {
		out[i] = storable(value)
	}
	return out
}

// paged adds the headers that clients page with: the total, and links to the next and the last page.
func paged(q *request, a *answer, err error) (*response, error) {
	answer, err := passOn(a, err)
	if err != nil {
		return nil, err
	}
	last := (a.Total + a.PerPage - 1) / a.PerPage
	links := pageLink(q.r.URL, last, "last")
	if last > a.Page {
		links = pageLink(q.r.URL, a.Page+1, "next") + ", " + links
	}
	answer.header = http.Header{"X-Total-Count": {strconv.FormatInt(a.Total, 10)}, "Link": {links}}
	return answer, nil
}

func pageLink(address *url.URL, page int64, relation string) string {
	query := address.Query()
	query.Set("page", strconv.FormatInt(page, 10))
	return fmt.Sprintf(`<%s?%s>; rel="%s"`, address.Path, query.Encode(), relation)
}

// adminGetUser is GET /admin/users/{user_id} (contract admin.md 5).
func (s *Server) adminGetUser(q *request) (*response, error) {
	return passOn(s.callAdmin(q, "admin_get_user", `, user_id => $6`, pathUserID(q)))
}

// unlessUnknown is what is wrong with the body of a request for one user, unless there is no such user: that comes first (contract
// admin.md 1.1).
func (s *Server) unlessUnknown(q *request, failure error) error {
	if _, err := s.adminGetUser(q); err != nil {
		return err
	}
	return failure
}

// pathUserID is the path's user id as text; SQL says whether it is one.
func pathUserID(q *request) string { return storable(q.r.PathValue("user_id")) }

type adminUserBody struct {
	ID           string  `json:"id"`
	Audience     string  `json:"aud"`
	Role         string  `json:"role"`
	Email        string  `json:"email"`
	Phone        string  `json:"phone"`
	Password     *string `json:"password"`
	PasswordHash string  `json:"password_hash"`
	EmailConfirm bool    `json:"email_confirm"`
	PhoneConfirm bool    `json:"phone_confirm"`
	UserMetadata object  `json:"user_metadata"`
	AppMetadata  object  `json:"app_metadata"`
	BanDuration  string  `json:"ban_duration"`
}

// ban is the ban as arguments: an interval (zero lifts it, NULL leaves it), or what is wrong with it.
func (b *adminUserBody) ban() (interval, problem any) {
	if b.BanDuration == "" {
		return nil, nil
	}
	if b.BanDuration == "none" {
		return time.Duration(0), nil
	}
	duration, err := time.ParseDuration(b.BanDuration)
	if err != nil {
		return nil, err.Error()
	}
	return duration, nil
}

// adminCreateUser is POST /admin/users (contract admin.md 4).
func (s *Server) adminCreateUser(q *request) (*response, error) {
	var in adminUserBody
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	hash, problem, err := s.importedPassword(q, &in)
	if err != nil {
		return nil, err
	}
	ban, banProblem := in.ban()
	return passOn(s.callAdmin(q, "admin_create_user", `, email => $6, phone => $7, password_hash => $8,
		password_problem => $9::json, email_confirm => $10, phone_confirm => $11, user_metadata => $12::jsonb,
		app_metadata => $13::jsonb, role => $14, audience => $15, ban => $16, ban_problem => $17, id => $18`,
		text(in.Email), text(in.Phone), text(hash), problem.argument(), in.EmailConfirm, in.PhoneConfirm,
		in.UserMetadata.argument(), in.AppMetadata.argument(), text(in.Role), text(in.Audience), ban, banProblem, text(in.ID)))
}

// importedPassword is the hash for a new account: of the given password, which needs not be strong here, or the given hash.
func (s *Server) importedPassword(q *request, in *adminUserBody) (hash string, problem *passwordProblem, err error) {
	switch {
	case in.Password != nil && in.PasswordHash != "":
		return "", &passwordProblem{
			Status: http.StatusBadRequest, Code: "validation_failed", Message: "Only a password or a password hash should be provided",
		}, nil
	case in.PasswordHash != "" && password.CheckFormat(in.PasswordHash) == nil:
		return in.PasswordHash, nil, nil
	case in.PasswordHash != "":
		return "", &passwordProblem{
			Status: http.StatusBadRequest, Code: "validation_failed", Message: "The password hash is not one of bcrypt, argon2 or Firebase scrypt",
		}, nil
	case in.Password == nil || *in.Password == "":
		return "", nil, nil
	case password.TooLong(*in.Password):
		return "", s.judgeChange(q, *in.Password), nil
	case in.Email == "" && in.Phone == "":
		return "", nil, nil // refused by SQL: no need to hash
	}
	hash, err = s.hash(q, *in.Password)
	return hash, nil, err
}

// adminUpdateUser is PUT /admin/users/{user_id} (contract admin.md 6).
func (s *Server) adminUpdateUser(q *request) (*response, error) {
	var in adminUserBody
	if err := q.decode(&in); err != nil {
		return nil, s.unlessUnknown(q, err)
	}
	var hash string
	var problem *passwordProblem
	if in.Password != nil {
		if problem = s.judgeChange(q, *in.Password); problem == nil {
			var err error
			if hash, err = s.hash(q, *in.Password); err != nil {
				return nil, err
			}
		}
	}
	ban, banProblem := in.ban()
	a, err := s.callAdmin(q, "admin_update_user", `, user_id => $6, email => $7, phone => $8, password_hash => $9,
		password_problem => $10::json, email_confirm => $11, phone_confirm => $12, user_metadata => $13::jsonb,
		app_metadata => $14::jsonb, role => $15, ban => $16, ban_problem => $17`,
		pathUserID(q), text(in.Email), text(in.Phone), text(hash), problem.argument(), in.EmailConfirm, in.PhoneConfirm,
		in.UserMetadata.argument(), in.AppMetadata.argument(), text(in.Role), ban, banProblem)
	return passOn(a, problem.explain(err))
}

// adminDeleteUser is DELETE /admin/users/{user_id} (contract admin.md 7). The body is optional.
func (s *Server) adminDeleteUser(q *request) (*response, error) {
	var in struct {
		SoftDelete bool `json:"should_soft_delete"`
	}
	raw, err := q.body()
	if err == nil && len(raw) > 0 {
		if wrong := json.Unmarshal(raw, &in); wrong != nil {
			err = badJSON(malformed(wrong))
		}
	}
	if err != nil {
		return nil, s.unlessUnknown(q, err)
	}
	return passOn(s.callAdmin(q, "admin_delete_user", `, user_id => $6, soft => $7`, pathUserID(q), in.SoftDelete))
}
