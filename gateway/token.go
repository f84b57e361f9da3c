package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/postern-auth/postern/gateway/hook"
	"github.com/postern-auth/postern/gateway/password"
	"github.com/postern-auth/postern/gateway/token"
)

// grantType is what a request to /token asks for: by its query, or by a form, whose body then holds no JSON (contract core.md 4.1).
func (q *request) grantType() (string, error) {
	if q.isForm() {
		raw, err := q.read()
		if err != nil {
			return "", err
		}
		// Of a form that is broken, what could be read counts.
		if form, _ := url.ParseQuery(string(raw)); form.Has("grant_type") {
			return form.Get("grant_type"), nil
		}
	}
	return q.r.URL.Query().Get("grant_type"), nil
}

// token is POST /token (contract core.md 4).
func (s *Server) token(q *request) (*response, error) {
	grant, err := q.grantType()
	if err != nil {
		return nil, err
	}
	switch grant {
	case "refresh_token":
		return s.refreshToken(q)
	case "password":
		return s.passwordGrant(q)
	case "pkce":
		return s.exchange(q)
	case "web3":
		return nil, refuse(http.StatusUnprocessableEntity, "web3_provider_disabled", "Web3 provider is disabled")
	}
	return nil, refuse(http.StatusBadRequest, "invalid_credentials", "unsupported_grant_type")
}

// passwordGrant signs in with a password: one statement reads the hash, it is compared outside of any transaction, a second
// one records the outcome (DESIGN 12).
func (s *Server) passwordGrant(q *request) (*response, error) {
	var in struct {
		Email    string `json:"email"`
		Phone    string `json:"phone"`
		Password string `json:"password"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	key := s.limiterKey(q)
	for try := 1; ; try++ {
		a, err := s.passwordAttempt(q, in.Email, in.Phone, in.Password, key)
		// The stored hash changed between the two statements, by a rehash perhaps: once more with the new one.
		if e, ok := errors.AsType[*refusal](err); ok && e.Code == "conflict" && try < 3 {
			key = nil
			continue
		}
		if err != nil {
			return nil, err
		}
		return s.signIn(q, a, nil, s.weakness(q, in.Password))
	}
}

func (s *Server) passwordAttempt(q *request, email, phone, plain string, limiterKey any) (*answer, error) {
	found, err := s.call(q, `select postern.find_password(email => $1, phone => $2,
		caller => postern.caller(audience => $3, limiter_key => $4))`,
		text(email), text(phone), s.audience(q), limiterKey)
	if err != nil {
		return nil, err
	}
	check, err := s.compare(q, found.PasswordHash, plain)
	if err != nil {
		return nil, err
	}
	provider := "email"
	if email == "" {
		provider = "phone"
	}
	policy := s.policy.get()
	var output any
	if policy.PasswordHookEnabled && found.UserID != "" && !isFunction(policy.PasswordHookURI) {
		input := attemptInput{UserID: found.UserID, Valid: check.valid}
		if output, err = s.askAttemptHook(q, hook.PasswordVerificationAttempt, policy.PasswordHookURI, input); err != nil {
			return nil, err
		}
	}
	return s.callLimitedIf(policy.tokenHookInSQL() || policy.passwordHookInSQL(), q, `select postern.sign_in_with_password(
		user_id => $1, provider => $2, is_valid => $3, compared_digest => $4, new_hash => $5,
		caller => postern.caller(ip => $6, user_agent => $7, request_id => $8), hook_output => $9)`,
		uuidArgument(found.UserID), provider, check.valid, digest(found.PasswordHash), text(check.newHash),
		s.address(q), userAgent(q), q.id(), output)
}

// exchange ends a flow that began with a code challenge (contract core.md 4.4).
func (s *Server) exchange(q *request) (*response, error) {
	var in struct {
		AuthCode     string `json:"auth_code"`
		CodeVerifier string `json:"code_verifier"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	a, err := s.callWithHook(q, `select postern.exchange_auth_code(auth_code => $1, code_verifier => $2,
		caller => postern.caller(ip => $3, user_agent => $4, limiter_key => $5, request_id => $6))`,
		text(in.AuthCode), text(in.CodeVerifier), s.address(q), userAgent(q), s.limiterKey(q), q.id())
	return s.signIn(q, a, err, nil)
}

type passwordCheck struct {
	valid   bool
	newHash string // the same password in today's form, when the stored one is of another
}

// compare checks a password in the hashing lane. An account without a password costs as much as one with.
func (s *Server) compare(q *request, hash, plain string) (check passwordCheck, err error) {
	stored := hash
	if stored == "" {
		stored = password.DummyHash()
	}
	laneErr := s.inLane(q, func() {
		var rehash bool
		check.valid, rehash, err = password.Verify(stored, plain)
		if errors.Is(err, password.ErrUnusable) {
			err = nil // a hash that nobody's password can match (contract core.md 10.4)
		}
		if err == nil && check.valid && rehash && !password.TooLong(plain) {
			check.newHash, err = password.Hash(plain)
		}
	})
	if hash == "" {
		check = passwordCheck{}
	}
	if err != nil {
		err = fmt.Errorf("comparing a password: %w", err)
	}
	return check, errors.Join(laneErr, err)
}

// digest names the hash that was compared, so that SQL can tell whether it is still the stored one.
func digest(hash string) any {
	if hash == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(hash))
	return hex.EncodeToString(sum[:])
}

// weakness is the member weak_password of the password grant: null, or why the password would not be accepted today.
func (s *Server) weakness(q *request, plain string) json.RawMessage {
	weakness, err := s.weaknessOf(q, plain)
	if weakness == nil || err != nil {
		return json.RawMessage("null")
	}
	raw, err := json.Marshal(struct {
		Message string   `json:"message"`
		Reasons []string `json:"reasons"`
	}{weakness.Message, weakness.Reasons})
	if err != nil {
		return json.RawMessage("null")
	}
	return raw
}

// refreshToken continues a session (DESIGN 7).
func (s *Server) refreshToken(q *request) (*response, error) {
	var in struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	presented, err := token.ParseRefresh(in.RefreshToken)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "validation_failed", "Refresh token is not valid")
	}

	var a *answer
	switch {
	case presented.Legacy == "" && s.refresh.Valid(presented):
		a, err = s.callWithHook(q, `select postern.refresh_session_text(session_id => $1, counter => $2,
			caller => postern.caller(ip => $3, user_agent => $4, limiter_key => $5, request_id => $6))`,
			presented.Session, int64(presented.Counter), s.address(q), userAgent(q), s.limiterKey(q), q.id()) //nolint:gosec // G115: out of range is refused as never issued
	case s.policy.get().Adopted:
		a, err = s.refreshAdopted(q, in.RefreshToken, presented)
	default:
		// Signed by nobody we know, or of the kind that only Supabase Auth issued: the database need not be asked.
		err = refuse(http.StatusBadRequest, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
	}
	answer, err := s.signIn(q, a, err, nil)
	if err == nil {
		if a.Session.Reuse == "" {
			answer.header["Sb-Auth-Refresh-Token-Reuse"] = []string{"false"}
		} else {
			answer.header["Sb-Auth-Refresh-Token-Reuse-Cause"] = []string{a.Session.Reuse}
		}
	}
	return answer, err
}

// refreshAdopted presents a token that Supabase Auth issued.
func (s *Server) refreshAdopted(q *request, presented string, t token.Refresh) (*answer, error) {
	var session, counter, signed, mac any
	if t.Legacy == "" {
		session, counter, signed, mac = t.Session, int64(t.Counter), t.Signed, t.MAC //nolint:gosec // G115: out of range is refused as never issued
	}
	sum := sha256.Sum256([]byte(presented))
	return s.callWithHook(q, `select postern.refresh_adopted_session(token => $1, session_id => $2, counter => $3, signed => $4,
		mac => $5, token_digest => $6, caller => postern.caller(ip => $7, user_agent => $8, limiter_key => $9, request_id => $10))`,
		text(t.Legacy), session, counter, signed, mac, hex.EncodeToString(sum[:]),
		s.address(q), userAgent(q), s.limiterKey(q), q.id())
}
