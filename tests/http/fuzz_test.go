package http_test

import (
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"
)

// fuzzedServer is a gateway that survives any number of inputs: sign-ups are refused before they cost a hash, except
// anonymous ones.
func fuzzedServer(f *testing.F) *server {
	f.Helper()
	s := start(f, anonymousOn, phoneOn, "GOTRUE_PASSWORD_MIN_LENGTH=70", "GOTRUE_EXTERNAL_EMAIL_ENABLED=false", "GOTRUE_LOG_LEVEL=error")
	s.exec(`select postern.create_user(email => 'me@example.com', phone => '4915', password_hash => '` + quickHash + `')`)
	return s
}

func seeds(f *testing.F) {
	for _, body := range []string{
		``, `null`, `{}`, `[]`, `{"email": "me@example.com", "password": "x"}`, `{"phone": "4915", "password": "x", "channel": "sms"}`, `{"data": {"a": [1, 2.5e3, null, true, "\ud800"]}}`,
		`{"refresh_token": "abcdefghijkl"}`, `{"DATA": {"\u0000": 1}}`, `{"data": {"n": 1e400}}`, `{"data": {"n": -0.0e-999}}`, `{"email": "a\u0000@b"}`, `{"data":` + strings.Repeat(`{"a":`, 200) + `1` + strings.Repeat("}", 200) + `}`,
		`{"code_challenge": "x", "code_challenge_method": "s256", "email": "a@b", "password": "` + strings.Repeat("p", 71) + `"}`, "{\"data\":{\"\xff\":\"\xfe\"}}", `{"email":"a","email":7}`,
	} {
		f.Add([]byte(body))
	}
}

// refusedOrFine says that an answer is neither a failure of the server nor unreadable.
func refusedOrFine(t *testing.T, s *server, body []byte, a *answer, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	if a.Status >= http.StatusInternalServerError {
		t.Errorf("%q: %d %.500s\n%s", body, a.Status, a.Raw, tail(s.Log.String()))
	}
	if !utf8.Valid(a.Raw) {
		t.Errorf("%q: the answer is not UTF-8: %q", body, a.Raw)
	}
	if strings.Contains(s.Log.String(), `"msg":"panic"`) {
		t.Fatalf("%q: panic\n%s", body, tail(s.Log.String()))
	}
}

func tail(text string) string { return text[max(0, len(text)-2000):] }

// FuzzSignUp sends bodies to /signup: whatever they hold, the answer is a clear one.
func FuzzSignUp(f *testing.F) {
	s := fuzzedServer(f)
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := s.send(call{Method: http.MethodPost, Path: "/signup", Body: body})
		refusedOrFine(t, s, body, a, err)
		if err == nil && a.Status == http.StatusOK {
			// What was taken in can be shown again.
			_, access, _ := strings.Cut(string(a.Raw), `"access_token":"`)
			access, _, _ = strings.Cut(access, `"`)
			again, err := s.send(call{Method: http.MethodGet, Path: "/user", Bearer: access})
			refusedOrFine(t, s, body, again, err)
			if err == nil && again.Status != http.StatusOK {
				t.Errorf("%q: the account cannot be read: %d %s", body, again.Status, again.Raw)
			}
		}
	})
}

// FuzzToken sends bodies to both grants of /token.
func FuzzToken(f *testing.F) {
	s := fuzzedServer(f)
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, grantType := range []string{"password", "refresh_token"} {
			a, err := s.send(call{Method: http.MethodPost, Path: "/token?grant_type=" + grantType, Body: body})
			refusedOrFine(t, s, body, a, err)
		}
	})
}
