package mailtemplate

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func newSet(t *testing.T, o Options) *Set {
	t.Helper()
	set, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// one is the options with a single mail of the operator's.
func one(source Source) Options {
	return Options{SiteURL: "https://app.example.com", Sources: map[Kind]Source{Confirmation: source}}
}

// rendered returns "subject|html" of the confirmation mail.
func rendered(t *testing.T, set *Set, d Data) string {
	t.Helper()
	subject, html, _, err := set.Render(t.Context(), Confirmation, nil, d)
	if err != nil {
		t.Fatal(err)
	}
	return subject + "|" + html
}

const builtinStart = "|<h2>Confirm your email address</h2>"

func TestValues(t *testing.T) {
	t.Parallel()
	d := Sample(Confirmation)
	d.Data = map[string]any{"name": `<i>O'Neil</i>`, "nothing": nil, "n": 3.0, "list": []any{"a", "b"}, "lines": "a\r\nBcc: x"}
	for _, test := range []struct{ subject, body, want string }{
		// Core.md 9.2: escaped, in subjects too; what is missing is empty.
		{"Hi {{ .Data.name }}", "<p>{{ .Data.name }}</p>", "Hi &lt;i&gt;O&#39;Neil&lt;/i&gt;|<p>&lt;i&gt;O&#39;Neil&lt;/i&gt;</p>"},
		{"[{{ .Data.missing }}{{ .Data.nothing }}]", "<p>{{ .Data.missing }}{{ .Data.a.b.c }}{{ .Data.nothing }}</p>", "[]|<p></p>"},
		{"x", `<a href="{{ .Data.missing }}" title="{{ .Data.missing }}">a</a>`, `x|<a href="" title="">a</a>`},
		{"x", "{{ range .Data.list }}<b>{{ . }}</b>{{ end }}{{ .Data.n }}", "x|<b>a</b><b>b</b>3"},
		{"a  {{ .Data.lines }}\n", "<p>x</p>", "a a Bcc: x|<p>x</p>"},
		{"{{ .Token }}", `<a href="{{ .ConfirmationURL }}">a</a>`, `493817|<a href="https://auth.example.com/verify?token=` + d.TokenHash +
			`&amp;type=signup&amp;redirect_to=https://app.example.com/welcome">a</a>`},
		{"x", `{{ if eq .Email "ada@example.com" }}<b>ada</b>{{ end }}{{ index . "Email" }}`, "x|<b>ada</b>ada@example.com"},
	} {
		set := newSet(t, one(Source{Subject: test.subject, Template: test.body}))
		if got := rendered(t, set, d); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

// A template that fails for what somebody has in the account does not lock them out.
func TestFailureWithSomebodysData(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	o := one(Source{Subject: "Hi {{ .Data.name.first }}", Template: `<p>{{ index .Data.roles 0 }}{{ .Data.name.first }}</p>`})
	o.Log = slog.New(slog.NewTextHandler(&logged, nil))
	set := newSet(t, o)
	d := Sample(Confirmation)
	d.Data = map[string]any{"name": "Ada"}
	if got := rendered(t, set, d); !strings.HasPrefix(got, "Confirm your email address"+builtinStart) {
		t.Errorf("got %s", got)
	}
	if !strings.Contains(logged.String(), "kind=confirmation") {
		t.Errorf("log: %s", logged.String())
	}
	d.Data = map[string]any{"name": map[string]any{"first": "Ada"}, "roles": []any{"x"}}
	if got := rendered(t, set, d); got != "Hi Ada|<p>xAda</p>" {
		t.Errorf("got %s", got)
	}
}

func TestSizeLimits(t *testing.T) {
	t.Parallel()
	o := one(Source{Template: "<p>" + strings.Repeat("x", 100) + "</p>"})
	o.MaxSize = 100
	if _, err := New(o); err == nil || err.Error() != "GOTRUE_MAILER_TEMPLATES_CONFIRMATION:1: larger than 100 bytes" {
		t.Error(err)
	}
	set := newSet(t, one(Source{Subject: "{{ .Data.name }}", Template: "<p>{{ range .Data.list }}{{ $.Data.name }}{{ end }}</p>"}))
	d := Sample(Confirmation)
	d.Data = map[string]any{"name": strings.Repeat("ü", 100_000), "list": make([]any, 100)}
	got := rendered(t, set, d)
	if subject, html, _ := strings.Cut(got, "|"); len([]rune(subject)) > 301 || !strings.HasPrefix("|"+html, builtinStart) {
		t.Errorf("subject of %d characters, HTML of %d bytes", len([]rune(subject)), len(html))
	}
}

func TestMistakesAtTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.html")
	write(t, broken, "<p>\n{{ .Nope }}\n</p>")
	_, err := New(Options{
		Sources: map[Kind]Source{
			Confirmation: {Subject: "{{ .Foo }}", Template: "<p>\n<b></p>"}, Invite: {Template: broken}, Recovery: {Template: "file:" + dir + "/none.html"},
			MagicLink: {Template: "no such thing"}, "newsletter": {Subject: "x"}, Reauthentication: {Template: "<b>", TemplateName: "POSTERN_X"},
		},
		Languages: map[string]map[Kind]Source{"fr": {Confirmation: {Subject: "{{"}}, "!": {}},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"GOTRUE_MAILER_SUBJECTS_CONFIRMATION:1: unknown variable .Foo", "GOTRUE_MAILER_TEMPLATES_CONFIRMATION:2: </p> comes before <b> is closed",
		broken + ":2: unknown variable .Nope", dir + "/none.html: no such file", "GOTRUE_MAILER_TEMPLATES_MAGIC_LINK:1: neither", `no mail "newsletter"`,
		"POSTERN_X:1: <b> is never closed", "GOTRUE_MAILER_SUBJECTS_CONFIRMATION (fr):1: unclosed action", `"!" is not a language`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}

func TestWhereTemplatesComeFrom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.html")
	write(t, path, "\ufeff<p>file</p>")
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("<p>" + r.URL.Path + "</p>")) }))
	t.Cleanup(site.Close)
	for template, want := range map[string]string{
		"<p>in</p>": "<p>in</p>", " <p>in</p>": " <p>in</p>", "Code {{ .Token }}": "Code 493817", "a\nb": "a\nb", path: "<p>file</p>",
		"file:" + path: "<p>file</p>", "file://" + path: "<p>file</p>", site.URL + "/x.html": "<p>/x.html</p>", "/y.html": "<p>/y.html</p>",
	} {
		o := one(Source{Subject: "s", Template: template})
		o.SiteURL = site.URL
		if got := rendered(t, newSet(t, o), Sample(Confirmation)); got != "s|"+want {
			t.Errorf("%q gives %q", template, got)
		}
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	site := newSite(t)
	o := one(Source{Subject: "Custom", Template: site.URL + "/c.html"})
	var logged bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&logged, nil))
	o.MaxSize, o.MaxAge, o.RetryInterval = 1000, 10*time.Minute, 10*time.Second
	set := newSet(t, o)
	clock := time.Now()
	set.now = func() time.Time { return clock }
	step := func(what string, after time.Duration, status int, content, want string, requests int32) {
		t.Helper()
		clock = clock.Add(after)
		site.answer(status, content)
		before := site.requests.Load()
		if got := rendered(t, set, Sample(Confirmation)); !strings.HasPrefix(got, "Custom|"+want) {
			t.Errorf("%s: got %s", what, got)
		}
		if n := site.requests.Load() - before; n != requests {
			t.Errorf("%s: %d requests", what, n)
		}
	}
	builtin := builtinStart[1:]
	step("not there yet: built-in, with the custom subject", 0, 404, "", builtin, 1)
	step("not asked again at once", 9*time.Second, 200, "<p>one</p>", builtin, 0)
	step("there now", 2*time.Second, 200, "<p>one</p>", "<p>one</p>", 1)
	step("young enough", 9*time.Minute, 200, "<p>two</p>", "<p>one</p>", 0)
	step("broken: the last good one stays", 2*time.Minute, 200, "<p>\n{{ .Nope }}</p>", "<p>one</p>", 1)
	step("waits after a failure", 9*time.Second, 200, "<p>two</p>", "<p>one</p>", 0)
	step("too large", 2*time.Second, 200, strings.Repeat("x", 1001), "<p>one</p>", 1)
	step("server error", 11*time.Second, 500, "<p>no</p>", "<p>one</p>", 1)
	step("good again", 11*time.Second, 200, "<p>two</p>", "<p>two</p>", 1)
	if !strings.Contains(logged.String(), site.URL+"/c.html:2: unknown variable .Nope") || !strings.Contains(logged.String(), "status 404") {
		t.Errorf("log:\n%s", logged.String())
	}
	clock = clock.Add(time.Hour)
	site.answer(200, "<p>three</p>")
	set.Refresh(t.Context())
	before := site.requests.Load()
	if got := rendered(t, set, Sample(Confirmation)); got != "Custom|<p>three</p>" || site.requests.Load() != before {
		t.Errorf("after a refresh: %s", got)
	}
}

func TestReloadOfAFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.html")
	write(t, path, "<p>one</p>")
	set := newSet(t, one(Source{Subject: "s", Template: path}))
	clock := time.Now()
	set.now = func() time.Time { return clock }
	for _, test := range []struct {
		content, want string
		after         time.Duration
	}{
		{"<p>two</p>", "s|<p>one</p>", time.Minute},
		{"<p>two</p>", "s|<p>two</p>", 10 * time.Minute},
		{"<p>three", "s|<p>three", 11 * time.Minute},
		{"<b>four", "s|<p>three", 11 * time.Minute},
	} {
		clock = clock.Add(test.after)
		write(t, path, test.content)
		if got := rendered(t, set, Sample(Confirmation)); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

// Mails at the same time: the first load serves all who wait for it, and while a
// slow server is asked again the others go on with the last template.
func TestOneLoadForAll(t *testing.T) {
	t.Parallel()
	site := newSite(t)
	site.answer(200, "<p>one</p>")
	set := newSet(t, one(Source{Subject: "s", Template: site.URL}))
	var offset atomic.Int64
	start := time.Now()
	set.now = func() time.Time { return start.Add(time.Duration(offset.Load())) }

	var mails sync.WaitGroup
	for range 20 {
		mails.Go(func() {
			if got := rendered(t, set, Sample(Confirmation)); got != "s|<p>one</p>" {
				t.Errorf("got %s", got)
			}
		})
	}
	mails.Wait()
	if n := site.requests.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}

	offset.Store(int64(time.Hour))
	site.answer(200, "<p>two</p>")
	site.block()
	mails.Go(func() {
		if got := rendered(t, set, Sample(Confirmation)); got != "s|<p>two</p>" {
			t.Errorf("the one that loads got %s", got)
		}
	})
	<-site.asked
	if got := rendered(t, set, Sample(Confirmation)); got != "s|<p>one</p>" {
		t.Errorf("meanwhile: %s", got)
	}
	site.unblock()
	mails.Wait()
}

func TestGivingUpAWait(t *testing.T) {
	t.Parallel()
	site := newSite(t)
	site.answer(200, "<p>one</p>")
	site.block()
	set := newSet(t, one(Source{Subject: "s", Template: site.URL}))
	var first sync.WaitGroup
	first.Go(func() { _ = rendered(t, set, Sample(Confirmation)) })
	<-site.asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, _, err := set.Render(ctx, Confirmation, nil, Sample(Confirmation)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	site.unblock()
	first.Wait()
}

func TestUnknownKind(t *testing.T) {
	t.Parallel()
	if _, _, _, err := newSet(t, Options{}).Render(t.Context(), "newsletter", nil, Data{}); err == nil {
		t.Error("rendered")
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// site serves one template.
type site struct {
	*httptest.Server
	requests atomic.Int32
	asked    chan struct{}
	gate     atomic.Pointer[chan struct{}]
	mu       sync.Mutex
	status   int
	content  string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{asked: make(chan struct{}, 100)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.requests.Add(1)
		if gate := s.gate.Load(); gate != nil {
			s.asked <- struct{}{}
			<-*gate
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		w.WriteHeader(s.status)
		_, _ = w.Write([]byte(s.content))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) answer(status int, content string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.content = status, content
}

func (s *site) block() {
	gate := make(chan struct{})
	s.gate.Store(&gate)
}

func (s *site) unblock() { close(*s.gate.Swap(nil)) }
