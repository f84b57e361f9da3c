package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// minKeyLength is what a secret of HS256 or a token key should have at least, in bytes.
const minKeyLength = 32

// defaultPoolSize is small on purpose: one request is one statement, and a pooler in front multiplies it anyway.
const defaultPoolSize = 8

// parserOf returns the parser of a type. Parsers whose type can hold a secret never put the text into their error.
func parserOf(t Type) func(string) (any, error) {
	switch t {
	case Bool:
		return parseBool
	case Int:
		return parseInt
	case Number:
		return parseNumber
	case Duration:
		return parseDuration
	case Rate:
		return parseRate
	case List:
		return func(text string) (any, error) { return splitList(text), nil }
	case Map:
		return parseMap
	case Time:
		return parseTime
	default:
		return parseText
	}
}

// shown quotes a value for a mistake, on one line and not longer than a line bears.
func shown(text string) string {
	const most = 40
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return strconv.Quote(text)
}

func parseText(text string) (any, error) { return text, nil }

func parseBool(text string) (any, error) {
	if text == "" {
		return nil, errors.New("empty, write true or false")
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not true or false", shown(text))
	}
	return value, nil
}

func parseInt(text string) (any, error) { return intBetween(math.MinInt32, math.MaxInt32)(text) }

// intBetween parses a whole number within bounds; the widest ones are those of a database integer.
func intBetween(least, most int) func(string) (any, error) {
	return func(text string) (any, error) {
		if text == "" {
			return nil, errors.New("empty, write a whole number")
		}
		value, err := strconv.Atoi(text)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return nil, fmt.Errorf("%s is not a whole number", shown(text))
		}
		if err != nil || value < least || value > most {
			return nil, fmt.Errorf("%s is not between %d and %d", shown(text), least, most)
		}
		return value, nil
	}
}

func parseNumber(text string) (any, error) {
	if text == "" {
		return nil, errors.New("empty, write a number")
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
		return nil, fmt.Errorf("%s is not a number", shown(text))
	}
	return value, nil
}

// maxNumber is the largest number with a fraction that auth.settings takes.
const maxNumber = 1e9

// parseLimit parses the number of a per-client limiter. More than the column can hold is as much as it can: it limits nobody.
func parseLimit(text string) (any, error) {
	value, err := parseNumber(text)
	if err != nil {
		return nil, err
	}
	if value.(float64) < 0 {
		return nil, fmt.Errorf("%s is below 0", shown(text))
	}
	return min(value.(float64), maxNumber), nil
}

func parseDuration(text string) (any, error) {
	if text == "" {
		return nil, errors.New("empty, write a duration such as 90s or 1h30m")
	}
	value, err := time.ParseDuration(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not a duration such as 90s or 1h30m", shown(text))
	}
	return value, nil
}

func parseNonNegativeDuration(text string) (any, error) {
	value, err := parseDuration(text)
	if err == nil && value.(time.Duration) < 0 {
		return nil, fmt.Errorf("%s is below 0", shown(text))
	}
	return value, err
}

// parsePositiveDuration asks for a microsecond at least: the database's intervals have nothing smaller.
func parsePositiveDuration(text string) (any, error) {
	value, err := parseDuration(text)
	if err == nil && value.(time.Duration) < time.Microsecond {
		return nil, fmt.Errorf("%s is not a positive duration", shown(text))
	}
	return value, err
}

// parseRetention reads zero as no end.
func parseRetention(text string) (any, error) {
	if value, err := parseDuration(text); err == nil && value.(time.Duration) == 0 {
		return nil, nil
	}
	return parsePositiveDuration(text)
}

// splitList splits at commas. Blanks belong to the entries; a blank text is no entry.
func splitList(text string) []string {
	if strings.TrimSpace(text) == "" {
		return []string{}
	}
	return strings.Split(text, ",")
}

func parseMap(text string) (any, error) {
	pairs := map[string]string{}
	for i, entry := range splitList(text) {
		key, value, ok := strings.Cut(entry, ":")
		if !ok || strings.Contains(value, ":") {
			return nil, fmt.Errorf("entry %d is not key:value", i+1)
		}
		pairs[key] = value
	}
	return pairs, nil
}

func parseTime(text string) (any, error) {
	if text == "" {
		return time.Time{}, nil
	}
	value, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, fmt.Errorf("%s is not a time such as 2030-01-31T12:00:00Z", shown(text))
	}
	return value, nil
}

func parseSecret(text string) (any, error) { return Secret(text), nil }

// parseExternalURL wants what links and the EHLO name can be built from.
func parseExternalURL(text string) (any, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, errors.New("not a URL such as https://auth.example.com")
	}
	return text, nil
}

// parseSiteURL takes any scheme: the site of a mobile app is myapp://home. It refuses localhost:3000, which as a URL has the
// scheme localhost, and which no redirect would ever match.
func parseSiteURL(text string) (any, error) {
	if u, err := url.Parse(text); err != nil || u.Scheme == "" || !strings.Contains(text, "://") {
		return nil, errors.New("not an absolute URL such as https://app.example.com")
	}
	return text, nil
}

// parseDatabaseURL catches what is plainly no address. The rest is the driver's to say.
func parseDatabaseURL(text string) (any, error) {
	if strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://") {
		if _, err := url.Parse(text); err != nil {
			return nil, errors.New("not a valid URL (special characters in the password must be percent-encoded)")
		}
		return Secret(text), nil
	}
	if strings.Contains(text, "://") || !strings.Contains(text, "=") {
		return nil, errors.New("not an address such as postgres://user:password@host:5432/database or host=… dbname=…")
	}
	return Secret(text), nil
}

// parseTokenKeys refuses short keys: with one that can be guessed, refresh tokens can be made up.
func parseTokenKeys(text string) (any, error) {
	var keys []Secret
	for i, key := range splitList(text) {
		if len(key) < minKeyLength {
			return nil, fmt.Errorf("key %d is shorter than %d bytes", i+1, minKeyLength)
		}
		keys = append(keys, Secret(key))
	}
	return keys, nil
}

// parseJWTKeys looks at the form only; the keys themselves are judged where they are loaded.
func parseJWTKeys(text string) (any, error) {
	if strings.TrimSpace(text) == "" {
		return Secret(""), nil
	}
	var keys []map[string]any
	if err := json.Unmarshal([]byte(text), &keys); err != nil {
		return nil, errors.New("not a JSON array of keys")
	}
	return Secret(text), nil
}

func parsePoolSize(text string) (any, error) {
	value, err := intBetween(0, 10_000)(text)
	if err == nil && value == 0 {
		return defaultPoolSize, nil
	}
	return value, err
}

// expiryOr reads 0 as the default, as the reference does.
func expiryOr(fallback int) func(string) (any, error) {
	return func(text string) (any, error) {
		value, err := intBetween(0, math.MaxInt32)(text)
		if err == nil && value == 0 {
			return fallback, nil
		}
		return value, err
	}
}

// parseMinLength raises what is below the floor to it.
func parseMinLength(text string) (any, error) {
	value, err := parseInt(text)
	if err != nil {
		return nil, err
	}
	return max(6, value.(int)), nil
}

// parseCharacterGroups splits at colons; \: is a colon that belongs to a group. Empty groups are dropped.
func parseCharacterGroups(text string) (any, error) {
	groups := []string{}
	const placeholder = "\x00" // cannot occur in an environment
	for group := range strings.SplitSeq(strings.ReplaceAll(text, `\:`, placeholder), ":") {
		if group != "" {
			groups = append(groups, strings.ReplaceAll(group, placeholder, ":"))
		}
	}
	return groups, nil
}

// textOr and listOr read an empty text as the default: without an admin role nobody could reach the admin endpoints.
func textOr(fallback string) func(string) (any, error) {
	return func(text string) (any, error) {
		if text == "" {
			return fallback, nil
		}
		return text, nil
	}
}

func listOr(fallback ...string) func(string) (any, error) {
	return func(text string) (any, error) {
		if list := splitList(text); len(list) > 0 {
			return list, nil
		}
		return fallback, nil
	}
}

func parseLogLevel(text string) (any, error) {
	switch strings.ToLower(text) {
	case "debug", "trace":
		return slog.LevelDebug, nil
	case "", "info":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error", "fatal", "panic":
		return slog.LevelError, nil
	}
	return nil, fmt.Errorf("%s is not one of trace, debug, info, warn, error, fatal, panic", shown(text))
}

func parseHeaderName(text string) (any, error) {
	if text != "" && !regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$").MatchString(text) {
		return nil, fmt.Errorf("%s is not the name of a header", shown(text))
	}
	return text, nil
}

// oneOf refuses every other text.
func oneOf(reason string, values ...string) func(string) (any, error) {
	return func(text string) (any, error) {
		if slices.Contains(values, text) {
			return text, nil
		}
		return nil, fmt.Errorf("%s is not supported: %s", shown(text), reason)
	}
}

// policyValue turns a parsed value into what a column of auth.settings takes from JSON.
func policyValue(value any) any {
	switch value := value.(type) {
	case time.Duration:
		return interval(value)
	case time.Time:
		if value.IsZero() {
			return nil
		}
		return value.Format(time.RFC3339Nano)
	}
	return value
}

// interval writes a duration as a PostgreSQL interval, which goes down to microseconds.
func interval(d time.Duration) string {
	seconds, rest := d/time.Second, (d%time.Second)/time.Microsecond
	if rest == 0 {
		return fmt.Sprintf("%d seconds", seconds)
	}
	return strings.TrimRight(fmt.Sprintf("%d.%06d", seconds, rest), "0") + " seconds"
}
