package hibp_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-auth/postern/gateway/hibp"
)

// "password" has the SHA-1 5BAA6 1E4C9B93F3F0682250B6CF8331B7EE68FD8.
const (
	known       = "password"
	knownSuffix = "1E4C9B93F3F0682250B6CF8331B7EE68FD8"
)

// service is a double that answers every prefix with the same body.
func service(t *testing.T, status int, body string) (baseURL string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Method != http.MethodGet || r.Header.Get("Add-Padding") != "true" || r.Header.Get("User-Agent") != "tests" || r.URL.RawQuery != "" {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
		if prefix, ok := strings.CutPrefix(r.URL.Path, "/range/"); !ok || len(prefix) != 5 || strings.ToUpper(prefix) != prefix {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

func line(suffix string, count int) string { return fmt.Sprintf("%s:%d\r\n", suffix, count) }

func TestPwned(t *testing.T) {
	t.Parallel()
	other := strings.Repeat("0", 35)
	for name, test := range map[string]struct {
		body string
		want bool
	}{
		"known":             {line(other, 3) + line(knownSuffix, 10434004) + line(strings.Repeat("F", 35), 1), true},
		"known, last line":  {line(other, 3) + knownSuffix + ":1", true},
		"known, lower case": {line(strings.ToLower(knownSuffix), 2), true},
		"unknown":           {line(other, 3), false},
		"padding":           {line(other, 3) + line(knownSuffix, 0), false},
		"nothing":           {"", false},
	} {
		baseURL, _ := service(t, http.StatusOK, test.body)
		got, err := hibp.New(hibp.Options{BaseURL: baseURL + "/", UserAgent: "tests", FailClosed: true}).Pwned(t.Context(), known)
		if err != nil || got != test.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestOnlyThePrefixLeaves(t *testing.T) {
	t.Parallel()
	var path string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { path = r.RequestURI }))
	t.Cleanup(server.Close)
	if _, err := hibp.New(hibp.Options{BaseURL: server.URL}).Pwned(t.Context(), known); err != nil || path != "/range/5BAA6" {
		t.Errorf("%s, %v", path, err)
	}
}

func TestFailedLookups(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(nil)
	closed.Close()
	addresses := map[string]string{"nobody listens": closed.URL}
	addresses["an error"], _ = service(t, http.StatusServiceUnavailable, line(knownSuffix, 1))
	addresses["a portal"], _ = service(t, http.StatusOK, "<html>sign in</html>")
	addresses["no count"], _ = service(t, http.StatusOK, knownSuffix)
	addresses["no hash"], _ = service(t, http.StatusOK, line(strings.Repeat("G", 35), 1))
	addresses["short hash"], _ = service(t, http.StatusOK, line("1E4C9", 1))
	addresses["too long"], _ = service(t, http.StatusOK, strings.Repeat(line(strings.Repeat("0", 35), 1), 30000))
	for name, baseURL := range addresses {
		var log bytes.Buffer
		options := hibp.Options{BaseURL: baseURL, UserAgent: "tests", Log: slog.New(slog.NewTextHandler(&log, nil))}
		if got, err := hibp.New(options).Pwned(t.Context(), known); got || err != nil {
			t.Errorf("%s, open: %v, %v", name, got, err)
		}
		options.FailClosed = true
		got, err := hibp.New(options).Pwned(t.Context(), known)
		if got || !errors.Is(err, hibp.ErrUnavailable) ||
			err.Error() != "Unable to perform password strength check with HaveIBeenPwned.org." {
			t.Errorf("%s, closed: %v, %v", name, got, err)
		}
		if text := log.String(); strings.Count(text, "lookup among breached passwords failed") != 2 || strings.Contains(text, "5BAA6") {
			t.Errorf("%s: logged %s", name, text)
		}
	}
}

func TestAnswersAreKept(t *testing.T) {
	t.Parallel()
	baseURL, asked := service(t, http.StatusOK, line(knownSuffix, 1))
	pwned := func(c *hibp.Checker, password string, want bool) {
		t.Helper()
		if got, err := c.Pwned(t.Context(), password); err != nil || got != want {
			t.Errorf("%s: %v, %v", password, got, err)
		}
	}
	options := hibp.Options{BaseURL: baseURL, UserAgent: "tests", CacheItems: 2}
	c := hibp.New(options)
	pwned(c, known, true)
	pwned(c, known, true)
	if asked.Load() != 1 {
		t.Errorf("asked %d times for one prefix", asked.Load())
	}
	pwned(c, "one", false)
	pwned(c, known, true) // used now, so "one" is the oldest
	pwned(c, "two", false)
	pwned(c, known, true)
	if asked.Load() != 3 {
		t.Errorf("asked %d times for three prefixes", asked.Load())
	}
	pwned(c, "one", false)
	if asked.Load() != 4 {
		t.Error("more answers kept than asked for")
	}

	asked.Store(0)
	options.MaxAge = time.Nanosecond
	c = hibp.New(options)
	pwned(c, known, true)
	pwned(c, known, true)
	options.MaxAge, options.CacheItems = 0, -1
	c = hibp.New(options)
	pwned(c, known, true)
	pwned(c, known, true)
	if asked.Load() != 4 {
		t.Errorf("asked %d times without a cache, want 4", asked.Load())
	}
}

func TestFailuresAreNotKept(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, line(knownSuffix, 1))
	}))
	t.Cleanup(server.Close)
	c := hibp.New(hibp.Options{BaseURL: server.URL})
	if got, err := c.Pwned(t.Context(), known); got || err != nil {
		t.Error(got, err)
	}
	if got, err := c.Pwned(t.Context(), known); !got || err != nil {
		t.Error(got, err)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Every odd password is known.
		prefix := strings.TrimPrefix(r.URL.Path, "/range/")
		for i := range 50 {
			sum := sha1.Sum(fmt.Appendf(nil, "pw%d", i))
			if digits := strings.ToUpper(hex.EncodeToString(sum[:])); i%2 == 1 && digits[:5] == prefix {
				_, _ = io.WriteString(w, line(digits[5:], 1))
			}
		}
	}))
	t.Cleanup(server.Close)
	c := hibp.New(hibp.Options{BaseURL: server.URL, CacheItems: 7, FailClosed: true})
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			got, err := c.Pwned(t.Context(), fmt.Sprintf("pw%d", i%50))
			if err != nil || got != (i%2 == 1) {
				t.Errorf("pw%d: %v, %v", i%50, got, err)
			}
		})
	}
	all.Wait()
}
