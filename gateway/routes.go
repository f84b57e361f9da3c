package gateway

import (
	"net/http"
	"strings"
)

// guard says who may call a route.
type guard int

const (
	everybody guard = iota // no token is looked at
	user                   // a bearer token with sub; SQL checks user, session and ban
	admin                  // a bearer token; SQL checks its role
)

// route is one line of the table below.
type route struct {
	method  string
	path    string // as in http.ServeMux, without the prefix /auth/v1
	guard   guard
	handle  func(*Server, *request) (*response, error)
	decides string // the SQL function that decides, for readers; "" where the gateway's copy of the policy is enough
}

// routeTable lists every endpoint. Per-client limits are taken by the SQL functions themselves.
func routeTable() []route {
	return []route{
		{http.MethodGet, "/health", everybody, (*Server).health, ""},
		{http.MethodGet, "/ready", everybody, (*Server).ready, "schema_version"},
		{http.MethodGet, "/settings", everybody, (*Server).settings, ""},
		{http.MethodGet, "/.well-known/jwks.json", everybody, (*Server).jwks, ""},
		{http.MethodGet, "/.well-known/openid-configuration", everybody, (*Server).openIDConfiguration, ""},
		{http.MethodPost, "/signup", everybody, withCaptcha((*Server).signUp), "take_limit, prepare_user, sign_up, sign_up_anonymously_text"},
		{http.MethodPost, "/token", everybody, (*Server).tokenWithCaptcha, "find_password, sign_in_with_password, refresh_session_text, refresh_adopted_session, exchange_auth_code"},
		{http.MethodPost, "/recover", everybody, counted("recover", withCaptcha((*Server).recover)), "request_recovery"},
		{http.MethodPost, "/magiclink", everybody, counted("magic_link", withCaptcha((*Server).magicLink)), "request_magic_link"},
		{http.MethodPost, "/otp", everybody, counted("otp", withCaptcha((*Server).otp)), "request_magic_link"},
		{http.MethodPost, "/resend", everybody, counted("resend", withCaptcha((*Server).resend)), "resend"},
		{http.MethodGet, "/verify", everybody, counted("verify", (*Server).verifyLink), "verify_one_time_token"},
		{http.MethodPost, "/verify", everybody, counted("verify", (*Server).postVerify), "verify_one_time_token"},
		{http.MethodGet, "/reauthenticate", user, (*Server).reauthenticate, "reauthenticate"},
		{http.MethodGet, "/user", user, (*Server).getUser, "get_users"},
		{http.MethodPut, "/user", user, (*Server).updateUser, "find_own_password, update_user"},
		{http.MethodPost, "/factors", user, (*Server).enrollFactor, "enroll_factor"},
		{http.MethodDelete, "/factors/{factor_id}", user, (*Server).unenrollFactor, "unenroll_factor"},
		{http.MethodPost, "/factors/{factor_id}/challenge", user, (*Server).challengeFactor, "challenge_factor"},
		{http.MethodPost, "/factors/{factor_id}/verify", user, (*Server).verifyFactor, "check_factor_code, verify_factor"},
		{http.MethodPost, "/logout", user, (*Server).logOut, "log_out"},
		{http.MethodGet, "/admin/users", admin, (*Server).adminListUsers, "admin_list_users"},
		{http.MethodPost, "/admin/users", admin, (*Server).adminCreateUser, "admin_create_user"},
		{http.MethodGet, "/admin/users/{user_id}", admin, (*Server).adminGetUser, "admin_get_user"},
		{http.MethodPut, "/admin/users/{user_id}", admin, (*Server).adminUpdateUser, "admin_update_user"},
		{http.MethodDelete, "/admin/users/{user_id}", admin, (*Server).adminDeleteUser, "admin_delete_user"},
		{http.MethodGet, "/admin/users/{user_id}/factors", admin, (*Server).adminListFactors, "admin_list_factors"},
		{http.MethodPut, "/admin/users/{user_id}/factors/{factor_id}", admin, (*Server).adminUpdateFactor, "admin_update_factor"},
		{http.MethodDelete, "/admin/users/{user_id}/factors/{factor_id}", admin, (*Server).adminDeleteFactor, "admin_delete_factor"},
		{http.MethodPost, "/invite", admin, (*Server).invite, "admin_invite_user"},
		{http.MethodPost, "/admin/generate_link", admin, (*Server).adminGenerateLink, "admin_generate_link"},
		{http.MethodGet, "/admin/audit", admin, (*Server).adminAuditLog, "admin_list_audit_log"},
		{http.MethodGet, "/admin/sso/providers", admin, (*Server).adminListSSOProviders, "admin_list_sso_providers"},
	}
}

// switchedOff lists what other features' paths answer while the feature is off, and these are not built: clients of Supabase
// Auth tell by the code what is missing.
func switchedOff() []route {
	off := func(code, message string) func(*Server, *request) (*response, error) {
		return func(*Server, *request) (*response, error) { return nil, refuse(http.StatusNotFound, code, message) }
	}
	linking := off("manual_linking_disabled", "Manual linking is disabled")
	oauth := off("feature_disabled", "OAuth server is disabled")
	passkeys := off("passkey_disabled", "Passkeys are disabled")
	saml := off("saml_provider_disabled", "SAML 2.0 is disabled")
	return []route{
		{http.MethodGet, "/user/identities/authorize", user, linking, ""},
		{http.MethodDelete, "/user/identities/{identity_id}", user, linking, ""},
		{http.MethodGet, "/.well-known/oauth-authorization-server", everybody, oauth, ""},
		{http.MethodGet, "/oauth/authorize", everybody, oauth, ""},
		{http.MethodPost, "/oauth/token", everybody, oauth, ""},
		{http.MethodGet, "/admin/oauth/clients", admin, oauth, ""},
		{http.MethodPost, "/passkeys/authentication/options", everybody, withCaptcha(passkeys), ""},
		{http.MethodPost, "/passkeys/authentication/verify", everybody, passkeys, ""},
		{http.MethodGet, "/passkeys", user, passkeys, ""},
		{http.MethodPost, "/sso", everybody, withCaptcha(saml), ""},
		{http.MethodGet, "/sso/saml/metadata", everybody, saml, ""},
		{http.MethodPost, "/sso/saml/acs", everybody, saml, ""},
	}
}

// prefix is where API gateways mount Supabase Auth; both forms of every path are answered.
const prefix = "/auth/v1"

func (s *Server) routes() http.Handler {
	byPath := map[string][]route{}
	for _, r := range append(routeTable(), switchedOff()...) {
		byPath[r.path] = append(byPath[r.path], r)
	}
	mux := http.NewServeMux()
	for path, routes := range byPath {
		mux.Handle(path, s.methods(routes))
		if takesSlash(path) {
			mux.Handle(path+"/{$}", s.methods(routes))
		}
	}
	mux.HandleFunc(scimRoot, s.scim)
	mux.HandleFunc(scimRoot+"/", s.scim)
	// Below these paths the token is asked for before a path is found unknown.
	mux.Handle("/user/", s.unknownBelow(user))
	mux.Handle("/admin/", s.unknownBelow(admin))
	mux.Handle("/admin", s.unknownBelow(admin)) // else http.ServeMux redirects it, to a path without the prefix
	return s.middleware(unprefixed(mux))
}

// takesSlash reports whether a path is also answered with a slash at its end (contract core.md 1.1).
func takesSlash(path string) bool {
	switch path {
	case "/signup", "/verify", "/user", "/reauthenticate", "/factors", "/factors/{factor_id}", "/admin/audit", "/admin/users",
		"/admin/users/{user_id}", "/admin/users/{user_id}/factors", "/admin/users/{user_id}/factors/{factor_id}":
		return true
	}
	return false
}

// unprefixed removes /auth/v1. Paths that http.ServeMux would redirect to a cleaner form are unknown here, as in the reference.
func unprefixed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if rest, ok := strings.CutPrefix(path, prefix); ok && (rest == "" || rest[0] == '/') {
			path = rest
		}
		if path == "" || strings.Contains(path, "//") || strings.Contains(path, "/./") || strings.Contains(path, "/../") ||
			strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..") {
			http.NotFound(w, r)
			return
		}
		if path != r.URL.Path {
			shorter, address := *r, *r.URL
			address.Path, address.RawPath = path, ""
			shorter.URL = &address
			r = &shorter
		}
		next.ServeHTTP(w, r)
	})
}

// methods answers one path: by method, or 405 with the methods there are. A guarded path asks for the token first, except for
// those that stand alone.
func (s *Server) methods(routes []route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := requestOf(r)
		q.route = routes[0].path
		for _, candidate := range routes {
			if candidate.method == r.Method {
				s.serve(w, q, candidate)
				return
			}
		}
		if routes[0].guard != everybody && routes[0].path != "/logout" && routes[0].path != "/invite" {
			if err := s.authorizeUnanswered(q, routes[0].guard); err != nil {
				s.writeError(w, q, err)
				return
			}
		}
		for _, candidate := range routes {
			w.Header().Add("Allow", candidate.method)
		}
		q.status = http.StatusMethodNotAllowed
		w.WriteHeader(q.status)
	})
}

func (s *Server) serve(w http.ResponseWriter, q *request, found route) {
	err := s.authorize(q, found.guard)
	if len(q.r.Header.Get("X-JWT-AUD")) > longestAudience {
		err = refuse(http.StatusBadRequest, "validation_failed", "X-JWT-AUD cannot be longer than 255 bytes")
	}
	if err == nil && found.guard == admin && !s.listsRole(q.claims.Role) {
		// Before anything is done for whoever is no administrator: passwords are hashed outside of the database.
		err = s.checkCaller(q, admin)
	}
	var answer *response
	if err == nil {
		if answer, err = found.handle(s, q); err != nil && q.statements == 0 {
			if refused := s.checkCaller(q, found.guard); refused != nil {
				err = refused
			}
		}
	}
	if err != nil {
		s.writeError(w, q, err)
		return
	}
	answer.write(w, q)
}

func (s *Server) unknownBelow(who guard) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := requestOf(r)
		if err := s.authorizeUnanswered(q, who); err != nil {
			s.writeError(w, q, err)
			return
		}
		q.status = http.StatusNotFound
		http.NotFound(w, r)
	})
}
