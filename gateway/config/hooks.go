package config

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const customAccessToken = "CUSTOM_ACCESS_TOKEN"

// hookNames are the points of mfa-hooks.md 3.1 that are not built yet.
func hookNames() []string {
	return []string{
		"SEND_SMS", "SEND_EMAIL", "MFA_VERIFICATION_ATTEMPT", "PASSWORD_VERIFICATION_ATTEMPT", "BEFORE_USER_CREATED",
		"AFTER_USER_CREATED",
	}
}

func hookVariable(hook, part string) Variable {
	name := "GOTRUE_HOOK_" + hook + "_" + part
	switch part {
	case "ENABLED":
		return later(name, Bool, "false", "call the hook")
	case "URI":
		return later(name, Text, "", "what to call").with(parseHookURI)
	default:
		return later(name, Text, "", "keys that sign the call, separated by `|`").secret().alias("SECRETS")
	}
}

// checkHooks judges what takes two variables of a hook. Addresses are checked even of a hook that is off, as in the reference.
func (l *loader) checkHooks() {
	for _, hook := range append([]string{customAccessToken}, hookNames()...) {
		uri, _ := l.values["GOTRUE_HOOK_"+hook+"_URI"].(string)
		if !callsHTTP(uri) {
			continue
		}
		secrets := hookVariable(hook, "SECRETS")
		if text, _ := l.values[secrets.Name].(string); !validHookSecrets(text) {
			l.mistake(l.spelled(secrets), errors.New("invalid secret format"))
		}
	}
	l.checkCustomAccessToken()
}

// checkCustomAccessToken: the claims hook runs inside the statement that signs in, so for now it can only be a function.
func (l *loader) checkCustomAccessToken() {
	const enabled, name = "GOTRUE_HOOK_" + customAccessToken + "_ENABLED", "GOTRUE_HOOK_" + customAccessToken + "_URI"
	uri, set := l.values[name].(string)
	_, _, present := l.lookup(Variable{Name: name})
	switch {
	case l.values[enabled] != true:
	case callsHTTP(uri):
		l.mistake(name, errors.New("HTTP hooks are not built yet, only pg-functions://postgres/<schema>/<function>"))
	case set && uri == "", !present:
		l.notice(enabled, "true, but "+name+" is not set here: without one in auth.settings every sign-in fails")
	}
}

// parseHookURI applies the rules of mfa-hooks.md 3.2, with its texts. Scheme and host are compared as a URL's are.
func parseHookURI(text string) (any, error) {
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	if err != nil {
		// The parser's own text would repeat the address, and with it a password in it.
		return nil, errors.New("not a valid URI")
	}
	switch u.Scheme {
	case "pg-functions":
		return text, checkHookFunction(u)
	case "http":
		if !slices.Contains([]string{"localhost", "127.0.0.1", "::1", "host.docker.internal"}, u.Hostname()) {
			return nil, errors.New("only localhost, 127.0.0.1, and ::1 are supported with http")
		}
		return text, nil
	case "https":
		if u.Host == "" {
			return nil, errors.New("not a valid URI")
		}
		return text, nil
	}
	return nil, errors.New("only postgres hooks and HTTPS functions are supported at the moment")
}

// parseCustomAccessTokenURI keeps the hook out of the schemas where a function would be ours or the system's, and returns the
// one spelling that auth.settings takes: what follows the function's name means nothing and is dropped.
func parseCustomAccessTokenURI(text string) (any, error) {
	if _, err := parseHookURI(text); err != nil || text == "" {
		return "", err
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("not a valid URI")
	}
	if u.Scheme != "pg-functions" {
		return u.Scheme + text[len(u.Scheme):], nil
	}
	parts := strings.Split(u.EscapedPath(), "/")
	if slices.Contains([]string{"pg_catalog", "information_schema", "auth", "postern"}, parts[1]) {
		return nil, errors.New("a hook may not live in schema " + parts[1])
	}
	return "pg-functions://" + u.Host + "/" + parts[1] + "/" + parts[2], nil
}

// callsHTTP says whether an address that parseHookURI let through is one of HTTP.
func callsHTTP(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https")
}

// checkHookFunction looks at the path as it is spelled: a name that needs escaping is not a name anyway, and unescaped it
// could bring a line break into the mistake.
func checkHookFunction(u *url.URL) error {
	parts := strings.Split(u.EscapedPath(), "/")
	if len(parts) < 3 {
		return errors.New("URI path does not contain enough parts")
	}
	name := regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]{0,62}$`)
	if !name.MatchString(parts[1]) {
		return errors.New("invalid schema name: " + parts[1])
	}
	if !name.MatchString(parts[2]) {
		return errors.New("invalid table name: " + parts[2])
	}
	return nil
}

// validHookSecrets accepts the two forms of mfa-hooks.md 3.2; the symmetric one is matched from the start only.
func validHookSecrets(text string) bool {
	if text == "" {
		return true
	}
	form := regexp.MustCompile(`^(v1,whsec_[A-Za-z0-9+/=]{32,88}|v1a,whpk_[A-Za-z0-9+/=]{44,}:whsk_[A-Za-z0-9+/=]{44,}$)`)
	for secret := range strings.SplitSeq(text, "|") {
		if !form.MatchString(secret) {
			return false
		}
	}
	return true
}
