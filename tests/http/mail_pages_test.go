package http_test

import (
	"html"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// With the page, following a link uses nothing up; sending its form, as the button does, signs in.
func TestConfirmPage(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t, "POSTERN_VERIFY_CONFIRM_PAGE=true")
	for _, f := range mailFlows() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := s.in(t)
			email := strings.ReplaceAll(f.name, " ", "-") + "-page@example.com"
			if f.given != nil {
				f.given(s, email)
			}
			s.do(f.request(email)).want(200)
			mail := s.mail(r, email, 1)
			for range 2 {
				page := s.follow(mail).want(200)
				if !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") || page.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("headers %v", page.Header)
				}
				if got := fields(string(page.Raw)).Encode(); got != mail.Link.Query().Encode() {
					t.Errorf("form %s, link %s", got, mail.Link.RawQuery)
				}
			}
			form := fields(string(s.follow(mail).Raw))
			s.signedIn(s.landedWith(s.sendForm(form), f.kind), email, "otp")
			if _, _, fragment := s.sendForm(form).landed(); fragment.Get("error_code") != "otp_expired" {
				t.Errorf("the form again: %v", fragment)
			}
		})
	}
	t.Run("what a link says is text", func(t *testing.T) {
		t.Parallel()
		page := s.in(t).get("/verify?type=signup&token="+url.QueryEscape(`"><script>alert(1)</script>`), "").want(200)
		if strings.Contains(string(page.Raw), "<script") {
			t.Errorf("%s", page.Raw)
		}
	})
	t.Run("an incomplete form", func(t *testing.T) {
		t.Parallel()
		s := s.in(t)
		s.sendForm(url.Values{"type": {"signup"}}).refused(400, "validation_failed")
		s.sendForm(url.Values{"token": {"x"}}).refused(400, "validation_failed")
	})
	t.Run("clients go on as before", func(t *testing.T) {
		t.Parallel()
		s := s.in(t)
		s.post("/signup", map[string]any{"email": "api@example.com", "password": goodPassword}, "").want(200)
		s.do(verifyHash("signup", s.mail(r, "api@example.com", 1).token())).want(200).session()
	})
}

// Without the page a form is what it always was: no JSON.
func TestFormsNeedTheConfirmPage(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.sendForm(url.Values{"type": {"signup"}, "token": {"x"}}).refused(400, "bad_json")
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// fields are the hidden fields of a page's form.
func fields(page string) url.Values {
	values := url.Values{}
	for _, found := range hiddenField.FindAllStringSubmatch(page, -1) {
		values.Set(html.UnescapeString(found[1]), html.UnescapeString(found[2]))
	}
	return values
}

// sendForm does what the button of the page does.
func (s *server) sendForm(form url.Values) *answer {
	s.t.Helper()
	return s.do(call{
		Method: http.MethodPost, Path: "/verify?", Body: form.Encode(),
		Header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
	})
}

// The language is the account's, else the request's, else the one for everybody.
func TestTemplatesInLanguages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"de/recovery.html": `<p>Hallo {{ .Email }}: {{ .Token }}</p>`, "de/recovery.subject": "Neues Passwort\n",
		"pt-BR/recovery.html": `<p>Olá {{ .Email }}: {{ .Token }}</p>`, "pt-BR/recovery.subject": "Nova senha",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, r := startMailing(t, "POSTERN_TEMPLATES_DIR="+dir)
	for _, c := range []struct{ name, locale, header, greeting string }{
		{"account", "de_AT", "pt-BR", "Hallo"},
		{"request", "", "fr, pt-BR;q=0.8, de;q=0.5", "Olá"},
		{"neither", "fr", "sv", ""},
		{"none", "", "", ""},
		{"nonsense", strings.Repeat("a,", 2000), "pt-BR", "Olá"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := s.in(t)
			email := c.name + "@example.com"
			s.account(email)
			if c.locale != "" {
				s.exec(`update auth.users set raw_user_meta_data = jsonb_build_object('locale', $2::text) where email = $1`, email, c.locale)
			}
			s.do(call{
				Method: http.MethodPost, Path: "/recover", Body: map[string]any{"email": email},
				Header: map[string]string{"Accept-Language": c.header},
			}).want(200)
			mail := s.mail(r, email, 1)
			if c.greeting == "" && (strings.Contains(mail.HTML, "Hallo") || strings.Contains(mail.HTML, "Olá")) ||
				!strings.Contains(mail.HTML, c.greeting) {
				t.Errorf("%q: %s", mail.Subject, mail.HTML)
			}
			if want := map[string]string{"Hallo": "Neues Passwort", "Olá": "Nova senha"}[c.greeting]; want != "" && mail.Subject != want {
				t.Errorf("subject %q, want %q", mail.Subject, want)
			}
		})
	}
}
