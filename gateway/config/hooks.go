package config

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/postern-auth/postern/gateway/hook"
)

// hookNames are the points of mfa-hooks.md 3.1.
func hookNames() []string {
	return []string{
		"SEND_SMS", "SEND_EMAIL", "CUSTOM_ACCESS_TOKEN", "MFA_VERIFICATION_ATTEMPT", "PASSWORD_VERIFICATION_ATTEMPT",
		"BEFORE_USER_CREATED", "AFTER_USER_CREATED",
	}
}

func hookVariable(hook, part string) Variable {
	name := "GOTRUE_HOOK_" + hook + "_" + part
	switch part {
	case "ENABLED":
		return setting(name, Bool, "false", "call the hook")
	case "URI":
		return setting(name, Text, "", "what to call: `pg-functions://postgres/<schema>/<function>`, or `https://…`").
			with(parseHookURI).from("mfa-hooks.md 3.2")
	default:
		return entry(name, Text, "", "keys that sign calls over HTTP, separated by `|`", strings.ToLower(hook),
			func(c *Config) *map[string]Secret { return &c.HookSecrets }).secret().with(parseSecret).alias("SECRETS").from("mfa-hooks.md 3.2")
	}
}

// checkHooks judges what takes two variables of a hook. Addresses are checked even of a hook that is off, as in the reference.
func (l *loader) checkHooks() {
	for _, point := range hookNames() {
		enabled, name := "GOTRUE_HOOK_"+point+"_ENABLED", "GOTRUE_HOOK_"+point+"_URI"
		uri, set := l.values[name].(string)
		if _, _, present := l.lookup(Variable{Name: name}); l.values[enabled] == true && (set && uri == "" || !present) {
			l.notice(enabled, "true, but "+name+" is not set here: without one in auth.settings every call fails")
		}
		if !callsHTTP(uri) {
			continue
		}
		secrets := hookVariable(point, "SECRETS")
		text, _ := l.values[secrets.Name].(Secret)
		if _, err := hook.ParseSecrets(text.Reveal()); err != nil {
			l.mistake(l.spelled(secrets), err)
		}
	}
}

// parseHookURI applies the rules of mfa-hooks.md 3.2, with its texts. Scheme and host are compared as a URL's are; what is
// returned is the spelling that auth.settings takes.
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
		return parseHookFunction(u)
	case "http":
		if !slices.Contains([]string{"localhost", "127.0.0.1", "::1", "host.docker.internal"}, u.Hostname()) {
			return nil, errors.New("only localhost, 127.0.0.1, and ::1 are supported with http")
		}
	case "https":
		if u.Host == "" {
			return nil, errors.New("not a valid URI")
		}
	default:
		return nil, errors.New("only postgres hooks and HTTPS functions are supported at the moment")
	}
	return u.Scheme + text[len(u.Scheme):], nil
}

// parseHookFunction looks at the path as it is spelled: a name that needs escaping is not a name anyway, and unescaped it could
// bring a line break into the mistake. What follows the function's name means nothing and is dropped.
func parseHookFunction(u *url.URL) (any, error) {
	parts := strings.Split(u.EscapedPath(), "/")
	if len(parts) < 3 {
		return nil, errors.New("URI path does not contain enough parts")
	}
	schema, function := parts[1], parts[2]
	name := regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]{0,62}$`)
	if !name.MatchString(schema) {
		return nil, errors.New("invalid schema name: " + schema)
	}
	if !name.MatchString(function) {
		return nil, errors.New("invalid table name: " + function)
	}
	// A function there would be ours or the system's.
	if slices.Contains([]string{"pg_catalog", "information_schema", "auth", "postern"}, schema) {
		return nil, errors.New("a hook may not live in schema " + schema)
	}
	return "pg-functions://" + u.Host + "/" + schema + "/" + function, nil
}

// callsHTTP says whether an address that parseHookURI let through is one of HTTP.
func callsHTTP(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https")
}
