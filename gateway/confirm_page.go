package gateway

import (
	"bytes"
	"html/template"
	"net/http"
	"net/url"
	"strings"
)

// confirmPage is what a link opens with POSTERN_VERIFY_CONFIRM_PAGE: a scanner that follows links finds nothing to use up, a
// person presses the button. The empty query of its action keeps whatever path the gateway is mounted at.
var confirmPage = template.Must(template.New("confirm").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Confirm</title>
<style>
body { font: 1.1rem system-ui, sans-serif; display: grid; place-content: center; min-height: 90vh; text-align: center }
button { font: inherit; padding: .6em 2em }
</style>
</head>
<body>
<form method="post" action="?">
{{ range $name, $value := . }}<input type="hidden" name="{{ $name }}" value="{{ $value }}">
{{ end }}<p>One more step, so that we know it is you.</p>
<button type="submit">Continue</button>
</form>
</body>
</html>
`))

// showConfirmPage answers a link with the page. What the link carries is in the form, and no longer in the address that is posted to.
func showConfirmPage(link url.Values) (*response, error) {
	fields := map[string]string{}
	for _, name := range []string{"type", "token", "redirect_to"} {
		if value := link.Get(name); value != "" {
			fields[name] = value
		}
	}
	var page bytes.Buffer
	if err := confirmPage.Execute(&page, fields); err != nil {
		return nil, err
	}
	return &response{header: http.Header{
		"Content-Type":  {"text/html; charset=utf-8"},
		"Cache-Control": {"no-store"},
		// No form-action: browsers would hold the redirect to the application against it.
		"Content-Security-Policy": {"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"},
		"Referrer-Policy":         {"no-referrer"},
	}, body: page.Bytes()}, nil
}

// confirmed is the form of the page, nil when the request is anything else.
func (s *Server) confirmed(q *request) (url.Values, error) {
	if !s.config.VerifyConfirmPage || !strings.HasPrefix(q.r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return nil, nil
	}
	q.r.Body = http.MaxBytesReader(nil, q.r.Body, maxBody)
	if err := q.r.ParseForm(); err != nil {
		return nil, refuse(http.StatusBadRequest, "validation_failed", "The form could not be read")
	}
	return q.r.PostForm, nil
}
