package http_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// double stands in for a service that the gateway asks. It keeps what it was asked.
type double struct {
	URL string

	mu     sync.Mutex
	asked  []asked
	status int
	body   string
}

// asked is one request to a double.
type asked struct {
	Method, Path string
	Header       http.Header
	Form         map[string][]string
}

// newDouble starts a service that gives the same answer to everybody, until answer changes it.
func newDouble(t testing.TB, body string) *double {
	t.Helper()
	d := &double{status: http.StatusOK, body: body}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		d.mu.Lock()
		defer d.mu.Unlock()
		d.asked = append(d.asked, asked{Method: r.Method, Path: r.URL.Path, Header: r.Header, Form: r.PostForm})
		w.WriteHeader(d.status)
		_, _ = w.Write([]byte(d.body))
	}))
	t.Cleanup(s.Close)
	d.URL = s.URL
	return d
}

func (d *double) answer(status int, body string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status, d.body = status, body
}

// took returns what was asked since the last call.
func (d *double) took() []asked {
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := d.asked
	d.asked = nil
	return taken
}
