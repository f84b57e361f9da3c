package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/mail"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/postern-auth/postern/gateway/clientip"
)

// ignored is the error of a parser whose variable is left out instead of stopping the start, as the reference does.
type ignored string

func (i ignored) Error() string { return string(i) + ": ignored" }

// parseRate checks a number, or number/duration, and returns it as the database reads it: its intervals know neither 1.5h nor µs.
func parseRate(text string) (any, error) {
	if text == "" {
		return nil, errors.New("empty, write a number such as 30, or 30/1h")
	}
	wrong := fmt.Errorf("%s is not a number such as 30, or 30/1h", shown(text))
	number, duration, divided := strings.Cut(text, "/")
	limit, err := parseLimit(number)
	if err != nil {
		return nil, wrong
	}
	if limit.(float64) > maxRate {
		return nil, fmt.Errorf("%s is more than %d", shown(text), maxRate)
	}
	rate := strconv.FormatFloat(limit.(float64), 'f', -1, 64)
	if !divided {
		return rate, nil
	}
	period, err := parsePositiveDuration(duration)
	if err != nil {
		return nil, wrong
	}
	return rate + "/" + clock(period.(time.Duration)), nil
}

// maxRate is the largest one that auth.settings takes.
const maxRate = 999_999_999

// clock writes a duration with whole numbers of h, m, s, or us, which Go and PostgreSQL both read.
func clock(d time.Duration) string {
	if d%time.Second != 0 {
		return fmt.Sprintf("%dus", d/time.Microsecond)
	}
	var text strings.Builder
	for _, unit := range []struct {
		length time.Duration
		letter string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if count := d / unit.length; count > 0 {
			fmt.Fprintf(&text, "%d%s", count, unit.letter)
			d -= count * unit.length
		}
	}
	return text.String()
}

// lifeOr reads the life of a code in seconds: 0 is the default, and longer than a column can hold is as long as it can.
func lifeOr(fallback int) func(string) (any, error) {
	return func(text string) (any, error) {
		value, err := intBetween(0, math.MaxInt)(text)
		if err != nil {
			return nil, err
		}
		if value == 0 {
			return fallback, nil
		}
		return min(value.(int), math.MaxInt32), nil
	}
}

// parseCodeLength reads lengths that no code can have as 6, as the reference does.
func parseCodeLength(text string) (any, error) {
	value, err := parseInt(text)
	if err != nil {
		return nil, err
	}
	if n := value.(int); n < 6 || n > 10 {
		return 6, nil
	}
	return value, nil
}

// parseFrequency reads 0 as a minute, as the reference does.
func parseFrequency(text string) (any, error) {
	value, err := parseNonNegativeDuration(text)
	if err == nil && value == time.Duration(0) {
		return time.Minute, nil
	}
	return value, err
}

// atLeast raises what is below the floor to it.
func atLeast(floor time.Duration) func(string) (any, error) {
	return func(text string) (any, error) {
		value, err := parseDuration(text)
		if err != nil {
			return nil, err
		}
		return max(floor, value.(time.Duration)), nil
	}
}

// parseChallengeExpiry is atLeast for a number of seconds, and as long as the column can hold.
func parseChallengeExpiry(text string) (any, error) {
	value, err := parseNumber(text)
	if err != nil {
		return nil, err
	}
	return min(max(300, value.(float64)), maxNumber), nil
}

// durationOr and sizeOr read what cannot be a limit as the default.
func durationOr(fallback time.Duration) func(string) (any, error) {
	return func(text string) (any, error) {
		value, err := parseDuration(text)
		if err == nil && value.(time.Duration) <= 0 {
			return fallback, nil
		}
		return value, err
	}
}

func sizeOr(fallback int) func(string) (any, error) {
	return func(text string) (any, error) {
		value, err := parseInt(text)
		if err == nil && value.(int) <= 0 {
			return fallback, nil
		}
		return value, err
	}
}

// parseTestCodes reads phone numbers and their codes. The numbers are compared as they are stored: without plus and blanks.
func parseTestCodes(text string) (any, error) {
	pairs, err := parseMap(text)
	if err != nil {
		return nil, err
	}
	codes := secretCodes{}
	for phone, code := range pairs.(map[string]string) {
		codes[strings.ReplaceAll(strings.TrimPrefix(phone, "+"), " ", "")] = code
	}
	return codes, nil
}

// parseProxies wants what clientip takes.
func parseProxies(text string) (any, error) {
	list := splitList(text)
	if _, err := clientip.Parse(list); err != nil {
		return nil, err
	}
	return list, nil
}

// parseSender wants an address alone: the name has a variable of its own.
func parseSender(text string) (any, error) {
	if text == "" {
		return "", nil
	}
	if parsed, err := mail.ParseAddress(text); err != nil || parsed.Address != text {
		return nil, fmt.Errorf("%s is not an address such as auth@example.com", shown(text))
	}
	return text, nil
}

// parseURLPath takes a path or a full URL, which replaces the host of links too.
func parseURLPath(text string) (any, error) {
	if text == "" {
		return "/verify", nil
	}
	if _, err := url.Parse(text); err != nil {
		return nil, fmt.Errorf("%s is not a path such as /verify", shown(text))
	}
	return text, nil
}

// parseServiceURL does not repeat the address: there may be a password in it.
func parseServiceURL(text string) (any, error) {
	if text == "" {
		return "", nil
	}
	if u, err := url.Parse(text); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, errors.New("not a URL such as https://check.example.com/address")
	}
	return text, nil
}

// parseHeaders reads a JSON object of lists. A name or value that no header can have would make every message fail.
func parseHeaders(text string) (any, error) {
	var headers map[string][]string
	if text == "" {
		return headers, nil
	}
	if json.Unmarshal([]byte(text), &headers) != nil {
		return nil, ignored("not a JSON object of header names and lists of values")
	}
	for name, values := range headers {
		if _, err := parseHeaderName(name); err != nil || name == "" {
			return nil, ignored("one of the names cannot be a header's")
		}
		for _, value := range values {
			if _, err := parseHeaderValue(value); err != nil {
				return nil, ignored("one of the values cannot be a header's")
			}
		}
	}
	return headers, nil
}

func parseSecretHeaders(text string) (any, error) {
	headers, err := parseHeaders(text)
	if err != nil {
		return nil, err
	}
	return SecretHeaders(headers.(map[string][]string)), nil
}

func parseHeaderValue(text string) (any, error) {
	if regexp.MustCompile(`[\x00-\x08\x0a-\x1f\x7f]`).MatchString(text) {
		return nil, fmt.Errorf("%s cannot be the value of a header", shown(text))
	}
	return text, nil
}

func parseHosts(text string) (any, error) {
	var hosts []string
	if text != "" && json.Unmarshal([]byte(text), &hosts) != nil {
		return nil, ignored("not a JSON list of host names")
	}
	return hosts, nil
}
