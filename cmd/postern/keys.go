package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/token"
)

// keysCommand is `postern keys`: secrets and keys, made on this machine.
func keysCommand() *cli.Command {
	return &cli.Command{
		Name:  "keys",
		Usage: "generate signing keys, and the anon and service_role keys",
		Description: `Prints lines for an environment file, or JSON with --json. What is printed is secret, except the anon key.
Existing keys are read from the environment (GOTRUE_JWT_SECRET, GOTRUE_JWT_KEYS, GOTRUE_JWT_KEY_ID), never from
the command line, where other users of the machine could see them.

Examples:
   postern keys secret >> .env             a GOTRUE_JWT_SECRET
   postern keys jwks --alg ES256 >> .env   GOTRUE_JWT_KEYS with a new key pair
   postern keys jwks --keep                the same, and tokens signed so far stay valid
   postern keys api --expires 1y           the anon and service_role keys of this configuration
   postern keys reseal                     authenticator apps, with the newest of POSTERN_TOKEN_KEYS`,
		Subcommands: []*cli.Command{keysSecretCommand(), keysJWKSCommand(), keysAPICommand(), keysResealCommand()},
	}
}

func jsonFlag() *cli.BoolFlag { return &cli.BoolFlag{Name: "json", Usage: "print JSON"} }

func keysSecretCommand() *cli.Command {
	return &cli.Command{
		Name:  "secret",
		Usage: "generate a secret for HS256",
		Description: `Prints GOTRUE_JWT_SECRET with 256 random bits. It suits POSTERN_TOKEN_KEYS as well.

Examples:
   postern keys secret >> .env
   postern keys secret --json`,
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			return printVariables(c, envLine{"GOTRUE_JWT_SECRET", token.GenerateSecret().Reveal()})
		},
	}
}

func keysJWKSCommand() *cli.Command {
	return &cli.Command{
		Name:  "jwks",
		Usage: "generate a signing key pair",
		Description: `Prints GOTRUE_JWT_KEYS, a JSON array of private JWKs with one new signing key. The public part is what the
gateway publishes at /.well-known/jwks.json.

With a new signing key, tokens signed so far (anon and service_role keys among them) become invalid. --keep adds
what GOTRUE_JWT_KEYS, or else GOTRUE_JWT_SECRET, holds now as keys that only verify; run it again without once
the old tokens have expired.

Examples:
   postern keys jwks --alg ES256 >> .env
   postern keys jwks --alg EdDSA --kid 2027-01
   set -a; . ./.env; postern keys jwks --keep`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "alg", Value: "ES256", Usage: "`ALGORITHM`: RS256, RS512, ES256, ES512, EdDSA or HS256"},
			&cli.StringFlag{Name: "kid", Usage: "`ID` of the key (default: made from the key)"},
			&cli.BoolFlag{Name: "keep", Usage: "keep accepting tokens of the present keys"},
			jsonFlag(),
		},
		Action: generateJWKS,
	}
}

func keysAPICommand() *cli.Command {
	return &cli.Command{
		Name:  "api",
		Usage: "print the anon and service_role keys",
		Description: `Signs the two keys that clients are configured with, using GOTRUE_JWT_KEYS or GOTRUE_JWT_SECRET of the
environment: the same that the gateway runs with. The anon key is public. The service_role key passes every row
level security policy: it belongs on servers only.

Examples:
   set -a; . ./.env; postern keys api
   postern keys api --expires 90d --json`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "expires", Value: "10y", Usage: "`LIFETIME`: 12h, 90d, 10y or never"},
			jsonFlag(),
		},
		Action: printAPIKeys,
	}
}

func generateJWKS(c *cli.Context) error {
	made, err := token.GenerateKey(c.String("alg"), c.String("kid"))
	if err != nil {
		return fmt.Errorf("--alg: %w", err)
	}
	keys := []json.RawMessage{made}
	if c.Bool("keep") {
		kept, err := presentKeys(c)
		if err != nil {
			return err
		}
		keys = append(keys, kept...)
	}
	set, err := json.Marshal(keys)
	if err != nil {
		return fmt.Errorf("encode the keys: %w", err)
	}
	// What cannot be used must not get into an environment file: two keys of one id, for example.
	secret, _ := environmentOf(c).lookup("GOTRUE_JWT_SECRET")
	ring, err := token.NewKeyring(config.Secret(secret), config.Secret(set), "", nil)
	if err != nil {
		return err
	}
	if !c.Bool("json") {
		return printVariables(c, envLine{"GOTRUE_JWT_KEYS", string(set)})
	}
	return printJSON(c, map[string]any{"GOTRUE_JWT_KEYS": keys, "jwks": json.RawMessage(ring.JWKS())})
}

// presentKeys returns the keys of the environment, for verification only.
func presentKeys(c *cli.Context) ([]json.RawMessage, error) {
	environ := environmentOf(c)
	if keys, _ := environ.lookup("GOTRUE_JWT_KEYS"); strings.TrimSpace(keys) != "" {
		kept, err := token.RetireKeys(config.Secret(keys))
		if err != nil {
			return nil, fmt.Errorf("GOTRUE_JWT_KEYS: %w", err)
		}
		return kept, nil
	}
	secret, _ := environ.lookup("GOTRUE_JWT_SECRET")
	if secret == "" {
		return nil, errors.New("--keep: neither GOTRUE_JWT_KEYS nor GOTRUE_JWT_SECRET is set")
	}
	kid, set := environ.lookup("GOTRUE_JWT_KEY_ID")
	if !set || kid == "" {
		kid = "secret"
	}
	kept, err := token.VerifyOnlyKey(config.Secret(secret), kid)
	return []json.RawMessage{kept}, err
}

func printAPIKeys(c *cli.Context) error {
	ring, err := environmentOf(c).keyring()
	if err != nil {
		return err
	}
	lifetime, err := parseLifetime(c.String("expires"))
	if err != nil {
		return fmt.Errorf("--expires: %w", err)
	}
	variables := []envLine{{name: "ANON_KEY", value: "anon"}, {name: "SERVICE_ROLE_KEY", value: "service_role"}}
	for i := range variables {
		claims := map[string]any{"iss": "postern", "role": variables[i].value}
		if variables[i].value, err = signClaims(ring, claims, lifetime); err != nil {
			return err
		}
	}
	return printVariables(c, variables...)
}

// signClaims adds iat and exp, where the claims do not have them, and signs. A
// lifetime of 0 is without end.
func signClaims(ring *token.Keyring, claims map[string]any, lifetime time.Duration) (string, error) {
	now := time.Now()
	if _, set := claims["iat"]; !set {
		claims["iat"] = now.Unix()
	}
	if _, set := claims["exp"]; !set && lifetime != 0 {
		claims["exp"] = now.Add(lifetime).Unix()
	}
	raw, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode the claims: %w", err)
	}
	return ring.Sign(raw)
}

// parseLifetime reads a duration of Go, days (90d), years of 365 days (10y), or
// never, which is 0.
func parseLifetime(text string) (time.Duration, error) {
	if text == "never" {
		return 0, nil
	}
	lifetime, err := time.ParseDuration(text)
	for unit, hours := range map[string]int{"d": 24, "y": 365 * 24} {
		if count, found := strings.CutSuffix(text, unit); found {
			var whole int
			// 200 years are about what a duration can hold.
			if whole, err = strconv.Atoi(count); err == nil && whole*hours > 200*365*24 {
				err = errors.New("too long")
			}
			lifetime = time.Duration(whole*hours) * time.Hour
		}
	}
	if err != nil || lifetime <= 0 {
		return 0, fmt.Errorf("%q is no lifetime: write 12h, 90d, 10y or never", text)
	}
	return lifetime, nil
}

// environment is a list of NAME=value, as os.Environ gives it.
type environment []string

// environmentOf returns what the program was started with: the app's, which
// tests set, else the process's.
func environmentOf(c *cli.Context) environment {
	if given, ok := c.App.Metadata["environ"].([]string); ok {
		return given
	}
	return os.Environ()
}

// lookup returns a variable; of two with one name the last counts.
func (e environment) lookup(name string) (value string, set bool) {
	for _, entry := range e {
		if found, ok := strings.CutPrefix(entry, name+"="); ok {
			value, set = found, true
		}
	}
	return value, set
}

// list returns a comma-separated variable, without blanks and empty elements.
func (e environment) list(name string) []string {
	value, _ := e.lookup(name)
	var out []string
	for element := range strings.SplitSeq(value, ",") {
		if element = strings.TrimSpace(element); element != "" {
			out = append(out, element)
		}
	}
	return out
}

// keyring reads the four variables of the signing keys; the rest of the gateway's
// configuration is not needed to make or read a token.
func (e environment) keyring() (*token.Keyring, error) {
	secret, _ := e.lookup("GOTRUE_JWT_SECRET")
	keys, _ := e.lookup("GOTRUE_JWT_KEYS")
	kid, _ := e.lookup("GOTRUE_JWT_KEY_ID")
	return token.NewKeyring(config.Secret(secret), config.Secret(keys), kid, e.list("GOTRUE_JWT_VALID_METHODS"))
}

// envLine is a line of an environment file.
type envLine struct{ name, value string }

// printVariables writes an environment file that a shell can read, or JSON.
func printVariables(c *cli.Context, variables ...envLine) error {
	if c.Bool("json") {
		object := make(map[string]string, len(variables))
		for _, one := range variables {
			object[one.name] = one.value
		}
		return printJSON(c, object)
	}
	for _, one := range variables {
		value := one.value
		if strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
			value = "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
		}
		if _, err := fmt.Fprintf(c.App.Writer, "%s=%s\n", one.name, value); err != nil {
			return err
		}
	}
	return nil
}

func printJSON(c *cli.Context, value any) error {
	encoder := json.NewEncoder(c.App.Writer)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
