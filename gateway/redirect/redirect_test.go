package redirect

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

const site = "https://app.example.com/welcome"

func mustCompile(t testing.TB, siteURL string, list ...string) *Rules {
	t.Helper()
	rules, err := Compile(siteURL, list)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// The examples of core.md 8.3.
func TestAllowListPatterns(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]struct{ yes, no []string }{
		"https://*.foo.com/*": {
			[]string{"https://a.foo.com/x", "https://a.foo.com/"},
			[]string{"https://a.b.foo.com/x", "https://a.foo.com/x/y", "https://a.foo.com/x.html", "https://a.foo.com"},
		},
		"https://**.bar.com/**": {[]string{"https://a.b.bar.com/x/y.z?q=1"}, []string{"https://bar.com/", "http://a.bar.com/"}},
		"myapp://**": {
			[]string{"myapp://cb", "myapp://login/callback?x=1"},
			[]string{"myapp:/cb", "myapp:cb"},
		},
		"https://exact.com/path": {
			[]string{"https://exact.com/path", "https://exact.com/path#f"},
			[]string{"https://exact.com/path/", "https://exact.com/path?x=1", "HTTPS://exact.com/path"},
		},
		"http://localhost:3000": {[]string{"http://localhost:3000"}, []string{"http://localhost:3000/"}},
		"https://[!a]z.com/*":   {[]string{"https://bz.com/q"}, []string{"https://az.com/q"}},
		"https://[a-c]z.com/?":  {[]string{"https://bz.com/q"}, []string{"https://dz.com/q", "https://bz.com/", "https://bz.com/qq", "https://bz.com/."}},
		"https://{a,b}.com/":    {[]string{"https://a.com/", "https://b.com/"}, []string{"https://c.com/"}},
		"https://{a.com/":       {[]string{"https://a.com/"}, []string{"https://b.com/"}},
		`https://a.com/\*`:      {[]string{"https://a.com/*"}, []string{"https://a.com/x"}},
		"https://**":            {[]string{"https://any.where/at/all?x"}, []string{"http://any.where/"}},
		"http://localhost:*/**": {[]string{"http://localhost:3000/a/b"}, []string{"http://localhost/a"}},
		"https://a.com**":       {[]string{"https://a.com", "https://a.com/x/y?z"}, []string{"https://b.com/"}},
		"https://a.com/x**y/z":  {[]string{"https://a.com/x/1.2/y/z"}, []string{"https://a.com/x/z"}},
		"https://a**cb":         {[]string{"https://a.com/cb"}, []string{"https://a.com/"}},
		"com.example.app:/*":    {[]string{"com.example.app:/cb"}, []string{"com.example.app:/cb/x"}},
		"":                      {nil, []string{"", "https://a.com"}},
	} {
		rules := mustCompile(t, site, pattern)
		for _, candidate := range want.yes {
			if !rules.Allowed(candidate) {
				t.Errorf("%s: %s is refused", pattern, candidate)
			}
		}
		for _, candidate := range want.no {
			if rules.Allowed(candidate) {
				t.Errorf("%s: %s is allowed", pattern, candidate)
			}
		}
	}
}

// The rules of core.md 8.2, before the list is asked.
func TestAllowedWithoutTheList(t *testing.T) {
	t.Parallel()
	all := mustCompile(t, site, "**")
	none := mustCompile(t, site)
	for _, c := range []struct {
		name, candidate string
		rules           *Rules
		want            bool
	}{
		{"1: empty", "", all, false},
		{"1: not a URL", "https://a b.com/%zz", all, false},
		{"1: control character", "https://app.example.com/\n", all, false},
		{"2: the site", site, none, true},
		{"2: any path", "https://app.example.com/x/y?z#f", none, true},
		{"2: user info is not looked at", "https://user@app.example.com/", none, true},
		{"2: the scheme is read without case", "HTTPS://app.example.com/", none, true},
		{"2: other scheme", "http://app.example.com/", none, false},
		{"2: other host", "https://example.com/", none, false},
		{"2: longer host", "https://app.example.com.evil.net/", none, false},
		{"2: the usual port written out", "https://app.example.com:443/", none, false},
		{"2: host in the user info", "https://app.example.com@evil.net/", none, false},
		{"2: backslash", `https://app.example.com\@evil.net/`, none, false},
		{"2: any port of localhost", "http://localhost:9/x", mustCompile(t, "http://localhost:3000"), true},
		{"2: any port of ::", "http://[::]:9/x", mustCompile(t, "http://[::]:3000"), true},
		{"2: any port of 0.0.0.0", "http://0.0.0.0/x", mustCompile(t, "http://0.0.0.0:3000"), true},
		{"2: localhost with another scheme", "https://localhost:3000/", mustCompile(t, "http://localhost:3000"), false},
		{"2: an app's site", "myapp://home/x", mustCompile(t, "myapp://home"), true},
		{"2: the address of a LAN as site", "http://192.168.0.9:80/x", mustCompile(t, "http://192.168.0.9:80"), true},
		{"2: no site URL, relative", "/x", mustCompile(t, ""), false},
		{"3: digits", "https://2130706433/", all, false},
		{"4: loopback", "http://127.9.9.9:1/x", none, true},
		{"4: loopback, whatever the scheme", "exp://127.0.0.1:8081/--/x", none, true},
		{"4: ::1", "http://[::1]:3000/", none, true},
		{"4: mapped loopback", "http://[::ffff:127.0.0.1]/", none, true},
		{"4: LAN, whatever the list", "exp://192.168.0.9:8081", mustCompile(t, site, "exp://192.168.*.*:*", "exp://**"), false},
		{"4: public address", "https://8.8.8.8/", all, false},
		{"4: IPv6", "https://[2001:db8::1]/", all, false},
		{"4: zone", "https://[fe80::1%25eth0]/", all, false},
		{"5: underscore", "https://a_b.com/", all, false},
		{"5: leading dash", "https://-x.com/", all, false},
		{"5: trailing dot", "https://x.com./", all, false},
		{"5: no host", "https:///x", all, false},
		{"5: no slashes", "https:evil.com", all, false},
		{"5: backslashes", `https:\\evil.com`, all, false},
		{"5: other letters", "https://еvil.com/", all, false},
		{"6: listed", "https://x-1.com/", all, true},
		{"6: apps may have other hosts", "myapp://a_b", all, true},
		{"7: not listed", "https://x.com/", none, false},
	} {
		if got := c.rules.Allowed(c.candidate); got != c.want {
			t.Errorf("%s: %q: %v", c.name, c.candidate, got)
		}
	}
}

// A run over separators must not begin in another site's address.
func TestWildcardsDoNotReachOverTheHost(t *testing.T) {
	t.Parallel()
	rules := mustCompile(t, site, "https://**.bar.com/**", "https://*.foo.com/*", "http://localhost:**", "https://**.end.com", "**://**.two.com/**")
	for _, candidate := range []string{
		"https://evil.net/x.bar.com/y", "https://evil.net?.bar.com/", "https://evil.net:443/.bar.com/", "https://x.bar.com@evil.net/.bar.com/",
		"https://evil?.foo.com/x", "http://localhost:x@evil.net/", "http://localhost:1@evil.net", "https://evil.net/.end.com",
		"https://evil.net/://x.two.com/",
	} {
		if rules.Allowed(candidate) {
			t.Errorf("%s is allowed", candidate)
		}
	}
	for _, candidate := range []string{
		"https://x.bar.com/y?next=/z.bar.com/", "https://x.foo.com/y", "http://localhost:3000/a.b", "https://x.y.end.com", "myapp://x.two.com/a",
		"https://name@x.bar.com/",
	} {
		if !rules.Allowed(candidate) {
			t.Errorf("%s is refused", candidate)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	rules := mustCompile(t, site, "https://ok.com/*")
	for _, c := range []struct {
		want       string
		candidates []string
	}{
		{site, nil},
		{site, []string{"", ""}},
		{site, []string{"https://evil.net/", "https://evil.net/x"}},
		{"https://ok.com/a", []string{"https://ok.com/a", "https://ok.com/b"}},
		{"https://ok.com/b#f", []string{"https://evil.net/", "https://ok.com/b#f"}},
	} {
		if got := rules.Resolve(c.candidates...); got != c.want {
			t.Errorf("%q: %s, want %s", c.candidates, got, c.want)
		}
	}
}

func TestWrongConfigurationIsRefusedAtStart(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]struct {
		site string
		list []string
	}{
		`GOTRUE_URI_ALLOW_LIST: pattern "https://[a.com"`: {site, []string{"https://ok.com", "https://[a.com"}},
		`GOTRUE_URI_ALLOW_LIST: pattern "{[a"`:            {site, []string{"{[a"}},
		`GOTRUE_SITE_URL: `:                               {"https://a b.com", nil},
	} {
		if _, err := Compile(c.site, c.list); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestMatchingALongAddressIsQuick(t *testing.T) {
	t.Parallel()
	rules := mustCompile(t, site, "https://**.x.com/**", "https://x.com/**a**a**[b]", "https://{**x,**b}**a[c]")
	begun := time.Now()
	for _, length := range []int{longestListed - 20, 1 << 20} {
		if rules.Allowed("https://x.com/" + strings.Repeat("a", length)) {
			t.Error("allowed")
		}
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if !rules.Allowed(site + strings.Repeat("a", longestListed)) {
		t.Error("the site itself has no such limit")
	}
}

// FuzzAllowed: what is allowed parses, and goes to the site, to this machine, to
// an app, or to a host that the list names.
func FuzzAllowed(f *testing.F) {
	for _, seed := range []string{
		site, "https://a.foo.com/x", "https://a.b.bar.com/x/y.z?q=1", "http://127.0.0.1:3000", "myapp://cb", "https://evil.net/x.bar.com/y",
		`https://app.example.com\@evil.net`, "https://2130706433/", "//evil.net", "https://x.bar.com@evil.net/", "https://[::1]/", "javascript://x.bar.com/%0aalert(1)",
		"https://evil.net#.bar.com/", "https://evil.net:x.bar.com/", "http://localhost:9@evil.net/", "%", "\x00",
		"//00::1:", "//[0::1]/",
	} {
		f.Add(seed)
	}
	rules := mustCompile(f, site, "https://*.foo.com/*", "https://**.bar.com/**", "myapp://**", "http://localhost:**")
	f.Fuzz(func(t *testing.T, candidate string) {
		allowed := rules.Allowed(candidate)
		if resolved := rules.Resolve(candidate); allowed != (resolved == candidate) && candidate != site {
			t.Errorf("Resolve(%q) = %q, but allowed is %v", candidate, resolved, allowed)
		}
		if !allowed {
			return
		}
		parsed, err := url.Parse(candidate)
		if err != nil {
			t.Fatalf("%q is allowed and is no URL", candidate)
		}
		host := parsed.Hostname()
		address, _ := netip.ParseAddr(host)
		switch {
		case parsed.Scheme == "myapp", host == "localhost", address.Unmap().IsLoopback() && (address.Is4() || parsed.Host[0] == '['):
		case host == "app.example.com", strings.HasSuffix(host, ".foo.com"), strings.HasSuffix(host, ".bar.com"):
		default:
			t.Errorf("%q is allowed and goes to %q", candidate, host)
		}
	})
}
