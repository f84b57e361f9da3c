package gateway

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/postern-auth/postern/gateway/token"
)

// maxBody is the largest request body, in bytes (contract core.md 1.5).
const maxBody = 1 << 20

// request is one request on its way through a handler.
type request struct {
	r        *http.Request
	deadline time.Time
	claims   token.Claims // of the verified bearer token, on guarded routes

	limitTaken bool // a statement before the one that does the work has counted this request

	told sealedPart // what a hook was told, and what the record of its failure must not repeat

	requestID  string
	isRead     bool
	raw        []byte // the body, once it is read
	route      string
	status     int
	statements int
}

// id is the request's id: of the configured header, else a random UUID made at first use.
func (q *request) id() string {
	if q.requestID == "" {
		q.requestID = uuid.NewString()
	}
	return q.requestID
}

// dated reports whether the client asked for the error format of 2024-01-01 (contract core.md 1.6).
func (q *request) dated() bool {
	version := q.r.Header.Get("X-Supabase-Api-Version")
	if version == "" {
		return false
	}
	date, err := time.Parse(time.DateOnly, version)
	return err == nil && date.Year() >= 2024
}

// decode reads the JSON body into a struct, or refuses.
func (q *request) decode(into any) error {
	raw, err := q.body()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return badJSON(malformed(err))
	}
	return nil
}

// malformed is what a client is told of its body: where it is wrong, without the types that it was to be read into.
func malformed(err error) string {
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("json: cannot unmarshal %s into %s", mismatch.Value, cmp.Or(mismatch.Field, "an object"))
	}
	return err.Error()
}

func (q *request) body() ([]byte, error) {
	// The reference parses forms before anything else, so that nothing is left to be read as JSON.
	if q.isForm() {
		return nil, nil
	}
	return q.read()
}

// isForm reports whether the body is a form as browsers send it.
func (q *request) isForm() bool {
	return strings.HasPrefix(q.r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
}

// read is the body as it came.
func (q *request) read() ([]byte, error) {
	if q.isRead {
		return q.raw, nil
	}
	raw, err := io.ReadAll(http.MaxBytesReader(nil, q.r.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, refuse(http.StatusRequestEntityTooLarge, "request_entity_too_large", "Request body too large (max 1048576 bytes)")
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, err // the rest did not come in time, which says nothing of what came
	} else if err != nil {
		return nil, badJSON("unexpected end of the body")
	}
	if strings.Contains(string(raw), `\u0000`) && holdsNUL(raw) {
		return nil, badJSON(`PostgreSQL cannot store the character \u0000`)
	}
	q.raw, q.isRead = raw, true
	return raw, nil
}

func badJSON(detail string) error {
	return refuse(http.StatusBadRequest, "bad_json", "Could not parse request body as JSON: "+detail)
}

// holdsNUL looks for the one character that PostgreSQL takes neither in text nor in jsonb.
func holdsNUL(raw []byte) bool {
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	for {
		item, err := decoder.Token()
		if err != nil {
			return false
		}
		if text, ok := item.(string); ok && strings.ContainsRune(text, 0) {
			return true
		}
	}
}

// object is a JSON object of a request that goes to a jsonb argument. It is decoded and encoded once, so that what Go lets
// pass and PostgreSQL does not (lone surrogates) is mended on the way.
type object map[string]any

// UnmarshalJSON implements json.Unmarshaler; null leaves the object absent, numbers keep their text.
func (o *object) UnmarshalJSON(raw []byte) error {
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	if err := decoder.Decode((*map[string]any)(o)); err != nil {
		return err
	}
	var numbers speller
	_, err := numbers.spellOut(map[string]any(*o))
	return err
}

// speller replaces numbers with an exponent by floating-point ones, as the reference reads them, and counts what they become:
// PostgreSQL writes all of their digits, so that a body of a megabyte could ask for a hundred.
type speller struct{ digits int }

func (n *speller) spellOut(value any) (any, error) {
	var err error
	switch typed := value.(type) {
	case map[string]any:
		for name, member := range typed {
			if typed[name], err = n.spellOut(member); err != nil {
				return nil, err
			}
		}
	case []any:
		for i, element := range typed {
			if typed[i], err = n.spellOut(element); err != nil {
				return nil, err
			}
		}
	case json.Number:
		if !strings.ContainsAny(string(typed), "eE") {
			return value, nil
		}
		number, err := typed.Float64()
		if err != nil {
			return nil, err
		}
		if n.digits += len(strconv.FormatFloat(number, 'f', -1, 64)); n.digits > maxBody {
			return nil, errors.New("its numbers have more than 1048576 digits")
		}
		return number, nil
	}
	return value, nil
}

// argument is the object as a jsonb argument, NULL when it was absent.
func (o object) argument() any {
	if o == nil {
		return nil
	}
	raw, err := json.Marshal(map[string]any(o))
	if err != nil {
		return nil
	}
	return raw
}

// text is a value for a text argument; "" counts as absent, which every function treats alike.
func text(value string) any {
	if value == "" {
		return nil
	}
	return value
}

// clientAddress is the address for sessions and logs (contract core.md 1.11); invalid when none is known. Where trusted proxies
// are configured, headers count only as far as those wrote them.
func (s *Server) clientAddress(r *http.Request) netip.Addr {
	if s.config.SbForwardedFor && s.judges.proxies.Believes(r) {
		if address, ok := firstAddress(r.Header.Get("Sb-Forwarded-For")); ok {
			return address
		}
	}
	return s.judges.proxies.Address(r, "X-Forwarded-For")
}

func firstAddress(list string) (netip.Addr, bool) {
	first, _, _ := strings.Cut(list, ",")
	address, err := netip.ParseAddr(strings.TrimSpace(first))
	return address.Unmap().WithZone(""), err == nil
}

// address is the client's address as an inet argument.
func (s *Server) address(q *request) any {
	if address := s.clientAddress(q.r); address.IsValid() {
		return address
	}
	return nil
}

// limiterKey is what the per-client limits count by (contract core.md 11.1); NULL means that the client is not limited.
func (s *Server) limiterKey(q *request) any {
	if q.limitTaken {
		return nil
	}
	if s.config.SbForwardedFor && s.judges.proxies.Believes(q.r) {
		if address, ok := firstAddress(q.r.Header.Get("Sb-Forwarded-For")); ok {
			return address.String()
		}
	}
	if s.config.RateLimitHeader == "" {
		return nil
	}
	key := storable(s.judges.proxies.Client(q.r, s.config.RateLimitHeader))
	if len(key) > longestKey {
		// An index takes no more; its hash tells clients apart as well.
		sum := sha256.Sum256([]byte(key))
		key = hex.EncodeToString(sum[:])
	}
	return text(key)
}

// longestKey is the longest text that limits count by as it is, in bytes.
const longestKey = 200

// userAgent is the client's name for itself, as text that PostgreSQL takes.
func userAgent(q *request) any { return text(storable(q.r.UserAgent())) }

// storable makes header text fit for PostgreSQL, which takes only UTF-8 without NUL.
func storable(value string) string {
	if utf8.ValidString(value) && strings.IndexByte(value, 0) < 0 {
		return value
	}
	return strings.ReplaceAll(strings.ToValidUTF8(value, "?"), "\x00", "?")
}

// longestAudience is the longest aud that an account can have, in bytes.
const longestAudience = 255

// audience is the requested audience (contract core.md 1.9): the header, else the bearer token's unless its role is an
// administrator's, else NULL, for which SQL takes the configured one.
func (s *Server) audience(q *request) any {
	if header := q.r.Header.Get("X-JWT-AUD"); header != "" {
		return storable(header)
	}
	if q.claims.Audience != "" && !slices.Contains(s.policy.get().AdminRoles, q.claims.Role) {
		return q.claims.Audience
	}
	return nil
}
