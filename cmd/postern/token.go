package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/token"
)

// longestToken is how much inspect reads, in bytes.
const longestToken = 1 << 20

// tokenCommand is `postern token`: access and refresh tokens, by hand.
func tokenCommand() *cli.Command {
	return &cli.Command{
		Name:  "token",
		Usage: "mint an access token, or say what is in a token and whether it is valid",
		Description: `Uses the keys of the environment: GOTRUE_JWT_SECRET, GOTRUE_JWT_KEYS, GOTRUE_JWT_KEY_ID,
GOTRUE_JWT_VALID_METHODS and POSTERN_TOKEN_KEYS. It asks no database and changes nothing.

Examples:
   postern token mint --role service_role --expires 5m
   postern token mint --sub 0f2b9a3c-5f0e-4b43-9f9a-0a6f2f6b7c11 --claim 'app_metadata={"role":"editor"}'
   postern token inspect < token.txt`,
		Subcommands: []*cli.Command{tokenMintCommand(), tokenInspectCommand()},
	}
}

func tokenMintCommand() *cli.Command {
	return &cli.Command{
		Name:  "mint",
		Usage: "sign an access token",
		Description: `Prints an access token with the given claims and iat, exp, role, and aud and iss as GOTRUE_JWT_AUD and
GOTRUE_JWT_ISSUER say. It belongs to no session: signing out does not end it. For trying policies and for
scripts; a token for an account answers at /user as long as the account exists.

--claim takes JSON where the value is JSON, else text, and replaces a claim made otherwise.

Examples:
   postern token mint --sub 0f2b9a3c-5f0e-4b43-9f9a-0a6f2f6b7c11
   postern token mint --role service_role --expires 5m
   postern token mint --role anon --claim tenant=7 --claim 'name="7"' --claim 'amr=["password"]'`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "sub", Usage: "`UUID` of the account"},
			&cli.StringFlag{Name: "role", Value: "authenticated", Usage: "database `ROLE`"},
			&cli.StringFlag{Name: "expires", Value: "1h", Usage: "`LIFETIME`: 5m, 12h, 90d, 10y or never"},
			// Not a StringSliceFlag, which splits at commas and would cut JSON.
			&cli.GenericFlag{Name: "claim", Value: &claimsFlag{}, Usage: "`NAME=VALUE`, as often as needed"},
			jsonFlag(),
		},
		Action: mintToken,
	}
}

func tokenInspectCommand() *cli.Command {
	return &cli.Command{
		Name:  "inspect",
		Usage: "read a token from standard input and explain it",
		Description: `Reads an access token or a refresh token from standard input, never from the command line, and says what is in
it and whether the keys of the environment accept it, else why not. Whether its account and session still exist
only the database knows. The exit status is 1 for a token that is not valid, 0 for one that is or that could not
be checked for lack of a key.

Examples:
   postern token inspect < token.txt
   echo "$ACCESS_TOKEN" | postern token inspect --json | jq .claims.sub`,
		Flags:  []cli.Flag{jsonFlag()},
		Action: inspectToken,
	}
}

// claimsFlag collects --claim.
type claimsFlag struct{ claims map[string]any }

// Set implements cli.Generic.
func (f *claimsFlag) Set(text string) error {
	name, value, found := strings.Cut(text, "=")
	if !found || name == "" {
		return fmt.Errorf("%q is not NAME=VALUE", text)
	}
	if f.claims == nil {
		f.claims = map[string]any{}
	}
	f.claims[name] = value
	if json.Valid([]byte(value)) {
		f.claims[name] = json.RawMessage(value)
	}
	return nil
}

// String implements cli.Generic.
func (f *claimsFlag) String() string { return "" }

func mintToken(c *cli.Context) error {
	environ := environmentOf(c)
	ring, err := environ.keyring()
	if err != nil {
		return err
	}
	lifetime, err := parseLifetime(c.String("expires"))
	if err != nil {
		return fmt.Errorf("--expires: %w", err)
	}
	claims := map[string]any{}
	audience, _ := environ.lookup("GOTRUE_JWT_AUD")
	issuer, _ := environ.lookup("GOTRUE_JWT_ISSUER")
	for name, value := range map[string]string{"sub": c.String("sub"), "role": c.String("role"), "aud": audience, "iss": issuer} {
		if value != "" {
			claims[name] = value
		}
	}
	if given, ok := c.Generic("claim").(*claimsFlag); ok {
		maps.Copy(claims, given.claims)
	}
	signed, err := signClaims(ring, claims, lifetime)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, map[string]any{"access_token": signed, "claims": claims})
	}
	_, err = fmt.Fprintln(c.App.Writer, signed)
	return err
}

// Whether a token was found valid.
const (
	tokenValid      = "valid"
	tokenInvalid    = "invalid"
	tokenNotChecked = "not checked"
)

// inspection is what inspect says.
type inspection struct {
	Kind     string          `json:"kind"`
	Validity string          `json:"validity"`
	Reason   string          `json:"reason,omitempty"`
	Header   json.RawMessage `json:"header,omitempty"`
	Claims   json.RawMessage `json:"claims,omitempty"`
	Issued   *time.Time      `json:"issued_at,omitempty"`
	Expires  *time.Time      `json:"expires_at,omitempty"`
	Session  string          `json:"session,omitempty"`
	Counter  *uint64         `json:"counter,omitempty"`
}

func inspectToken(c *cli.Context) error {
	if c.Args().Present() {
		return errors.New("a token on the command line can be seen by other users of the machine: give it on standard input")
	}
	if file, ok := c.App.Reader.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			_, _ = fmt.Fprintln(c.App.ErrWriter, "Paste the token, then Enter and Ctrl-D:")
		}
	}
	raw, err := io.ReadAll(io.LimitReader(c.App.Reader, longestToken))
	if err != nil {
		return fmt.Errorf("read the token: %w", err)
	}
	text := strings.TrimSpace(string(raw))
	if len(text) > 7 && strings.EqualFold(text[:7], "bearer ") {
		text = strings.TrimSpace(text[7:])
	}
	if text == "" {
		return errors.New("no token on standard input")
	}
	var report inspection
	if strings.Count(text, ".") == 2 {
		report = inspectAccess(environmentOf(c), text)
	} else {
		report = inspectRefresh(environmentOf(c), text)
	}
	if c.Bool("json") {
		err = printJSON(c, report)
	} else {
		err = report.print(c.App.Writer)
	}
	if err == nil && report.Validity == tokenInvalid {
		err = errors.New("the token is not valid")
	}
	return err
}

func inspectAccess(environ environment, text string) inspection {
	parts := strings.Split(text, ".")
	report := inspection{Kind: "access token", Validity: tokenValid, Header: decodePart(parts[0]), Claims: decodePart(parts[1])}
	var times struct {
		Issued  *float64 `json:"iat"`
		Expires *float64 `json:"exp"`
	}
	// A token whose times are no numbers is refused below, with the reason.
	_ = json.Unmarshal(report.Claims, &times)
	report.Issued, report.Expires = instant(times.Issued), instant(times.Expires)
	secret, _ := environ.lookup("GOTRUE_JWT_SECRET")
	keys, _ := environ.lookup("GOTRUE_JWT_KEYS")
	if secret == "" && strings.TrimSpace(keys) == "" {
		report.Validity, report.Reason = tokenNotChecked, "neither GOTRUE_JWT_SECRET nor GOTRUE_JWT_KEYS is set"
		return report
	}
	ring, err := environ.keyring()
	if err != nil {
		report.Validity, report.Reason = tokenNotChecked, err.Error()
		return report
	}
	if _, err := ring.Verify(text); err != nil {
		report.Validity, report.Reason = tokenInvalid, err.Error()
	}
	return report
}

// decodePart returns a segment's JSON, or nil where there is none.
func decodePart(segment string) json.RawMessage {
	raw, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil || !json.Valid(raw) {
		return nil
	}
	return raw
}

// instant turns the seconds of a claim into a time that JSON can write.
func instant(seconds *float64) *time.Time {
	if seconds == nil || *seconds < 0 || *seconds > 253402300799 { // the year 9999
		return nil
	}
	when := time.Unix(int64(*seconds), 0).UTC()
	return &when
}

func inspectRefresh(environ environment, text string) inspection {
	read, err := token.ParseRefresh(text)
	if err != nil {
		return inspection{Kind: "unknown", Validity: tokenInvalid, Reason: "neither an access token nor a refresh token"}
	}
	if read.Legacy != "" {
		return inspection{
			Kind: "refresh token of Supabase Auth, first version", Validity: tokenNotChecked, Reason: "only the database knows these",
		}
	}
	id := hex.EncodeToString(read.Session[:])
	report := inspection{
		Kind: "refresh token", Validity: tokenValid, Counter: &read.Counter,
		Session: strings.Join([]string{id[:8], id[8:12], id[12:16], id[16:20], id[20:]}, "-"),
	}
	secret, _ := environ.lookup("GOTRUE_JWT_SECRET")
	var keys []config.Secret
	for _, key := range environ.list("POSTERN_TOKEN_KEYS") {
		keys = append(keys, config.Secret(key))
	}
	switch {
	case len(keys) == 0 && secret == "":
		report.Validity, report.Reason = tokenNotChecked, "neither POSTERN_TOKEN_KEYS nor GOTRUE_JWT_SECRET is set"
	case !token.NewRefreshKeys(keys, config.Secret(secret)).Valid(read):
		report.Validity = tokenInvalid
		report.Reason = "no configured key made it; if Supabase Auth did, its key is in auth.sessions"
	}
	return report
}

// print writes the report for people; what came from the token is JSON or
// quoted, so that it cannot move a terminal's cursor.
func (r inspection) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(table, "%s\t%s\n", name, value) // Flush returns the error
		}
	}
	line("kind", r.Kind)
	line("header", compact(r.Header))
	line("claims", indent(r.Claims))
	line("issued", moment(r.Issued))
	line("expires", moment(r.Expires))
	line("session", r.Session)
	if r.Counter != nil {
		line("counter", fmt.Sprint(*r.Counter))
	}
	line("validity", r.Validity)
	line("reason", strings.ToValidUTF8(strings.Map(printable, r.Reason), "?"))
	return table.Flush()
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
		return '?'
	}
	return r
}

// compact and indent show JSON; its strings hold no raw control characters, but
// maybe those of the upper range, which some terminals obey.
func compact(raw json.RawMessage) string {
	var out bytes.Buffer
	if json.Compact(&out, raw) != nil {
		return ""
	}
	return strings.Map(printable, out.String())
}

func indent(raw json.RawMessage) string {
	var out bytes.Buffer
	if json.Indent(&out, []byte(compact(raw)), "", "  ") != nil {
		return ""
	}
	return strings.ReplaceAll(out.String(), "\n", "\n\t")
}

func moment(when *time.Time) string {
	if when == nil {
		return ""
	}
	distance := time.Until(*when).Round(time.Second)
	if distance < 0 {
		return fmt.Sprintf("%s (%v ago)", when.Format(time.RFC3339), -distance)
	}
	return fmt.Sprintf("%s (in %v)", when.Format(time.RFC3339), distance)
}
