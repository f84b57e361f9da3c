// Package redirect decides which addresses a user may be sent to with tokens in
// the URL (core.md 8.2, 8.3).
package redirect

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/gobwas/glob"
)

// plainHost is what the hostname of a web address may look like.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)

// longestListed bounds what is matched against the list, in bytes: for a pattern
// with several alternatives the time grows with the square of the length, and
// anybody may send such an address.
const longestListed = 4096

// Rules is a site URL with its allow list. It does not change and is safe for
// concurrent use.
type Rules struct {
	siteURL string
	site    *url.URL
	list    []entry
}

// entry is one pattern of the allow list.
type entry struct {
	whole *glob.Pattern
	host  *glob.Pattern // of the pattern's host alone; nil where it has none to tell
}

// Compile reads the site URL and the patterns of the allow list. An error names
// the variable to correct.
func Compile(siteURL string, allowList []string) (*Rules, error) {
	site, err := url.Parse(siteURL)
	if err != nil {
		return nil, fmt.Errorf("GOTRUE_SITE_URL: %w", err)
	}
	rules := &Rules{siteURL: siteURL, site: site, list: make([]entry, 0, len(allowList))}
	for _, pattern := range allowList {
		whole, err := compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("GOTRUE_URI_ALLOW_LIST: pattern %q: %w", pattern, err)
		}
		one := entry{whole: whole}
		if host, ok := hostPattern(pattern); ok {
			if one.host, err = compile(host); err != nil {
				return nil, fmt.Errorf("GOTRUE_URI_ALLOW_LIST: host of pattern %q: %w", pattern, err)
			}
		}
		rules.list = append(rules.list, one)
	}
	return rules, nil
}

// compile takes an unclosed brace as closed at the end: lists that Supabase Auth
// starts with must not keep this server from starting.
func compile(pattern string) (*glob.Pattern, error) {
	compiled, err := glob.Compile(pattern, '.', '/')
	for open := strings.Count(pattern, "{"); err != nil && open > 0; open-- {
		pattern += "}"
		if closed, again := glob.Compile(pattern, '.', '/'); again == nil {
			return closed, nil
		}
	}
	return compiled, err
}

// hostPattern returns the part of a pattern that stands for host and port, if it
// can be told: "**" runs over everything, so that in "https://**.example.com/**"
// it would also take in another site's address and a path that ends like ours.
// The host is therefore matched once more by itself. Where a pattern leaves open
// where its host ends, only the whole is matched.
func hostPattern(pattern string) (string, bool) {
	_, rest, ok := strings.Cut(pattern, "://")
	if !ok {
		return "", false
	}
	host, _, _ := strings.Cut(rest, "/")
	inner := strings.TrimRight(strings.TrimLeft(host, "*"), "*")
	return host, !strings.ContainsAny(host, `?[{\@#`) && !strings.Contains(inner, "**")
}

// Resolve returns the first candidate that is allowed, else the site URL as it
// was configured.
func (r *Rules) Resolve(candidates ...string) string {
	for _, candidate := range candidates {
		if r.Allowed(candidate) {
			return candidate
		}
	}
	return r.siteURL
}

// Allowed says whether a user may be sent to the address.
func (r *Rules) Allowed(candidate string) bool {
	if candidate == "" {
		return false
	}
	parsed, err := url.Parse(candidate)
	if err != nil {
		return false
	}
	host := parsed.Hostname()
	if r.isSite(parsed) {
		return true
	}
	if host != "" && strings.Trim(host, "0123456789") == "" {
		return false // browsers read a number as an IPv4 address
	}
	if address, err := netip.ParseAddr(host); err == nil {
		// Without brackets an IPv6 address is no host, to browsers (RFC 3986 section 3.2.2).
		return address.Unmap().IsLoopback() && (address.Is4() || strings.HasPrefix(parsed.Host, "["))
	}
	if (parsed.Scheme == "http" || parsed.Scheme == "https") && !plainHost.MatchString(host) {
		return false
	}
	return r.isListed(candidate, parsed)
}

// isSite compares with the site URL: scheme, host and port as they are written;
// on this machine's names any port.
func (r *Rules) isSite(candidate *url.URL) bool {
	if candidate.Scheme == "" || candidate.Scheme != r.site.Scheme || candidate.Hostname() != r.site.Hostname() {
		return false
	}
	here := []string{"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"}
	return candidate.Port() == r.site.Port() || slices.Contains(here, candidate.Hostname())
}

// isListed matches the address as it was written, without its fragment.
func (r *Rules) isListed(candidate string, parsed *url.URL) bool {
	whole, _, _ := strings.Cut(candidate, "#")
	if len(whole) > longestListed {
		return false
	}
	return slices.ContainsFunc(r.list, func(one entry) bool {
		return one.whole.Match(whole) && (one.host == nil || one.host.Match(parsed.Host))
	})
}
