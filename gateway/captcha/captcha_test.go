package captcha_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-auth/postern/gateway/captcha"
)

const secret = "0x0secret"

// provider is a double that answers with a status and a body, and keeps what it was asked.
func provider(t *testing.T, status int, body string) (baseURL string, asked *[]string) {
	t.Helper()
	asked = new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		form, _ := io.ReadAll(r.Body)
		*asked = append(*asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type")+" "+string(form))
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

func verifier(t *testing.T, name, baseURL string, timeout time.Duration) *captcha.Verifier {
	t.Helper()
	v, err := captcha.New(name, secret, timeout, baseURL)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerifyAsksTheProvider(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"hcaptcha": "/siteverify", "turnstile": "/turnstile/v0/siteverify"} {
		baseURL, asked := provider(t, http.StatusOK, `{"success": true, "hostname": "app.example.com"}`)
		v := verifier(t, name, baseURL, 30*time.Second)
		if err := v.Verify(t.Context(), " to&ken\n", "2001:db8::1"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := v.Verify(t.Context(), "token", ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		const form = "application/x-www-form-urlencoded"
		want := []string{
			"POST " + path + " " + form + " remoteip=2001%3Adb8%3A%3A1&response=to%26ken&secret=" + secret,
			"POST " + path + " " + form + " response=token&secret=" + secret,
		}
		if diff := cmp.Diff(want, *asked); diff != "" {
			t.Errorf("%s\n%s", name, diff)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"success": false, "error-codes": ["missing-input-response", "bad-request"]}`: "missing-input-response, bad-request",
		`{"success": false, "error-codes": []}`:                                        "",
		`{"success": false}`:                                                           "",
		`{}`:                                                                           "",
	} {
		// The status does not matter.
		for _, status := range []int{http.StatusOK, http.StatusBadRequest, http.StatusFound} {
			baseURL, _ := provider(t, status, body)
			err := verifier(t, "hcaptcha", baseURL, 30*time.Second).Verify(t.Context(), "token", "")
			if refused, ok := errors.AsType[*captcha.Refused](err); !ok || strings.Join(refused.Codes, ", ") != want ||
				err.Error() != "captcha protection: request disallowed ("+want+")" {
				t.Errorf("%d %s: %v", status, body, err)
			}
		}
	}
}

func TestVerifyWithoutAToken(t *testing.T) {
	t.Parallel()
	baseURL, asked := provider(t, http.StatusOK, `{"success": true}`)
	for _, token := range []string{"", " \t"} {
		err := verifier(t, "turnstile", baseURL, 30*time.Second).Verify(t.Context(), token, "")
		if err == nil || err.Error() != "captcha protection: request disallowed (no captcha_token found)" {
			t.Errorf("%q: %v", token, err)
		}
	}
	if len(*asked) != 0 {
		t.Errorf("asked %q", *asked)
	}
}

func TestVerifyWhenTheProviderCannotTell(t *testing.T) {
	t.Parallel()
	unavailable := func(name string, err error) {
		t.Helper()
		u, ok := errors.AsType[*captcha.Unavailable](err)
		if !ok || err.Error() != "captcha verification process failed" {
			t.Fatalf("%s: %v", name, err)
		}
		if cause := u.Cause.Error(); strings.Contains(cause, secret) || strings.Contains(cause, "t0ken") {
			t.Errorf("%s: the cause says %s", name, cause)
		}
	}
	for _, body := range []string{"", "<html>", "[]", `"yes"`, `{"success": "true"}`, `{"success": true`} {
		baseURL, _ := provider(t, http.StatusOK, body)
		unavailable(body, verifier(t, "hcaptcha", baseURL, 30*time.Second).Verify(t.Context(), "t0ken", ""))
	}

	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body) // only then does the server notice that the client went away
		<-r.Context().Done()
	}))
	t.Cleanup(slow.Close)
	unavailable("timeout", verifier(t, "hcaptcha", slow.URL, 20*time.Millisecond).Verify(t.Context(), "t0ken", ""))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	unavailable("request ended", verifier(t, "hcaptcha", slow.URL, 0).Verify(ctx, "t0ken", ""))

	closed := httptest.NewServer(nil)
	closed.Close()
	unavailable("nobody listens", verifier(t, "hcaptcha", closed.URL, 30*time.Second).Verify(t.Context(), "t0ken", ""))
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	if _, err := captcha.New("recaptcha", secret, time.Second, ""); err == nil || err.Error() != "unsupported captcha provider: recaptcha" {
		t.Error(err)
	}
	if _, err := captcha.New("hcaptcha", " ", time.Second, ""); err == nil || err.Error() != "captcha provider secret is empty" {
		t.Error(err)
	}
}
