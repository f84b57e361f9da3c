package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/postern-auth/postern/tests/pgtest"
)

func TestHealthCommandAsksAGateway(t *testing.T) {
	t.Parallel()
	address := serveInBackground(t, gatewayEnvironment(pgtest.New(t).GatewayDSN))
	postern(t, nil, "health", "--url", address).succeeded(t)
	postern(t, nil, "health", "--url", address+"/").succeeded(t)
	postern(t, nil, "health", "--ready", "--url", address).succeeded(t)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"PORT", "GOTRUE_API_PORT"} {
		o := postern(t, []string{name + "=" + u.Port()}, "health").succeeded(t)
		if !strings.Contains(o.stdout, `"version"`) {
			t.Errorf("postern health prints %q", o.stdout)
		}
	}
	// The prefixed name wins, as it does for the gateway.
	postern(t, []string{"GOTRUE_API_PORT=" + u.Port(), "PORT=1"}, "health").succeeded(t)
	postern(t, []string{"PORT=1", "GOTRUE_API_PORT=" + u.Port()}, "health").succeeded(t)
	// All addresses is no address to ask; one that is configured is the only one that answers.
	for _, host := range []string{"", "0.0.0.0", "::"} {
		postern(t, []string{"GOTRUE_API_HOST=" + host, "PORT=" + u.Port()}, "health").succeeded(t)
	}
	elsewhere, err := url.Parse(serveInBackground(t, gatewayEnvironment(pgtest.New(t).GatewayDSN, "GOTRUE_API_HOST=127.0.0.2")))
	if err != nil {
		t.Fatal(err)
	}
	postern(t, []string{"GOTRUE_API_HOST=127.0.0.2", "PORT=" + elsewhere.Port()}, "health").succeeded(t)
}

func TestHealthCommandFails(t *testing.T) {
	t.Parallel()
	postern(t, []string{"PORT=1"}, "health").failedWith(t, "127.0.0.1:1", "refused")
	asked := ""
	sick := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprint(w, `{"msg":"no database"}`)
	}))
	defer sick.Close()
	postern(t, nil, "health", "--url", sick.URL, "--ready").failedWith(t, "503", "no database")
	if asked != "/ready" {
		t.Errorf("--ready asked %s", asked)
	}
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer slow.Close()
	postern(t, nil, "health", "--url", slow.URL, "--timeout", "50ms").failedWith(t, "does not answer")
}
