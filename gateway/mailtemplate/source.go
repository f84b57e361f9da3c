package mailtemplate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// fetchTimeout limits one download of a template.
const fetchTimeout = 10 * time.Second

// Source is an operator's own mail of one kind.
type Source struct {
	// Subject is a template; empty: the built-in one.
	Subject string
	// Template is the body: inline text (it begins with "<" or holds "{{" or a
	// newline), "file:" and a path, the path of an existing file, a URL that begins
	// with http, or else what is put behind SiteURL to make one. Empty: built-in.
	Template string
	// SubjectName and TemplateName are what errors call the two; empty: the
	// variables GOTRUE_MAILER_SUBJECTS_… and GOTRUE_MAILER_TEMPLATES_….
	SubjectName, TemplateName string
}

// origin is where a body comes from.
type origin struct {
	where medium
	ref   string // text, path or URL
	name  string // for errors
}

type medium int

const (
	inline medium = iota
	file
	remote
)

// locate finds out what a Source's Template is.
func locate(value, name, siteURL string) (*origin, error) {
	trimmed := strings.TrimSpace(value)
	switch {
	case isURL(trimmed) && !strings.ContainsAny(trimmed, " \t\n{"):
		return remoteOrigin(trimmed, name)
	case strings.HasPrefix(trimmed, "file:"):
		path := strings.TrimPrefix(strings.TrimPrefix(trimmed, "file:"), "//")
		return &origin{file, path, path}, nil
	case strings.HasPrefix(trimmed, "<"), strings.Contains(value, "{{"), strings.Contains(trimmed, "\n"):
		return &origin{inline, value, name}, nil
	}
	if found, err := os.Stat(trimmed); err == nil && found.Mode().IsRegular() {
		return &origin{file, trimmed, trimmed}, nil
	}
	return remoteOrigin(siteURL+trimmed, name)
}

func isURL(s string) bool { return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") }

func remoteOrigin(address, name string) (*origin, error) {
	parsed, err := url.Parse(address)
	if err != nil || !isURL(address) || parsed.Host == "" {
		return nil, fmt.Errorf("%s:1: neither HTML nor a file nor an address", name)
	}
	return &origin{remote, address, parsed.Redacted()}, nil
}

// read returns the text of a template.
func (o *origin) read(ctx context.Context, client *http.Client, maxSize int64) (string, error) {
	switch o.where {
	case inline:
		if int64(len(o.ref)) > maxSize {
			return "", tooLarge(o.name, maxSize)
		}
		return o.ref, nil
	case file:
		opened, err := os.Open(o.ref)
		if err != nil {
			return "", fmt.Errorf("%s: %w", o.name, errors.Unwrap(err))
		}
		defer func() { _ = opened.Close() }()
		return o.limited(opened, maxSize)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, o.ref, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("%s: %w", o.name, errors.Unwrap(err))
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: status %d", o.name, response.StatusCode)
	}
	return o.limited(response.Body, maxSize)
}

// limited refuses what is too large instead of cutting it: half a template is none.
func (o *origin) limited(from io.Reader, maxSize int64) (string, error) {
	content, err := io.ReadAll(io.LimitReader(from, maxSize+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", o.name, err)
	}
	if int64(len(content)) > maxSize {
		return "", tooLarge(o.name, maxSize)
	}
	return strings.TrimPrefix(string(content), "\ufeff"), nil
}

func tooLarge(name string, maxSize int64) error {
	return fmt.Errorf("%s:1: larger than %d bytes", name, maxSize)
}
