package http_test

import (
	"net/http"
	"testing"
)

func TestHealthSaysTheProcessIsAlive(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, path := range []string{"/health", "/auth/v1/health"} {
		a := s.get(path, "").want(http.StatusOK)
		for _, name := range []string{"version", "name", "description"} {
			if a.text(name) == "" {
				t.Errorf("%s: no %s: %s", path, name, a.Raw)
			}
		}
	}
}
