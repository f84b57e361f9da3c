package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/token"
)

// keyLifetime of the anon and service_role keys: they stand in applications' configuration.
const keyLifetime = 10 * 365 * 24 * time.Hour

// devState is what `postern dev` keeps between runs. The fields are plain strings, because a config.Secret does not
// write itself into a file.
type devState struct {
	Created          int64  `json:"created"` // Unix time; dates the keys, which therefore stay the same
	JWTSecret        string `json:"jwt_secret"`
	DatabasePassword string `json:"database_password"`
	GatewayPassword  string `json:"gateway_password"`
}

func (s *devState) databasePassword() config.Secret { return config.Secret(s.DatabasePassword) }

// loadState reads the secrets in dir, or makes them at the first run.
func loadState(dir string) (*devState, error) {
	path := filepath.Join(dir, "secrets.json")
	body, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		state := &devState{
			Created:          time.Now().Unix(),
			JWTSecret:        token.GenerateSecret().Reveal(),
			DatabasePassword: token.GenerateSecret().Reveal(),
			GatewayPassword:  token.GenerateSecret().Reveal(),
		}
		if body, err = json.MarshalIndent(state, "", "  "); err != nil { //nolint:gosec // writing them down is the point
			return nil, err
		}
		// Of two first runs at once the later one takes the earlier one's: those are the passwords of the database.
		if err := createPrivate(path, append(body, '\n')); err == nil || !errors.Is(err, fs.ErrExist) {
			return state, err
		}
		body, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	state := &devState{}
	if err := json.Unmarshal(body, state); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if state.JWTSecret == "" || state.DatabasePassword == "" || state.GatewayPassword == "" {
		return nil, fmt.Errorf("%s is incomplete: remove the folder %s to begin anew", path, dir)
	}
	return state, nil
}

// writePrivate replaces a file as a whole, so that neither a reader nor the next run meets half of it.
func writePrivate(path string, body []byte) error {
	if err := os.WriteFile(path+".new", body, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// createPrivate writes a file as a whole, unless there is one: then the error is fs.ErrExist.
func createPrivate(path string, body []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)) // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // its other name stays
	_, err = f.Write(body)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

// lookup returns a variable's value; of a name that stands there twice the last one counts.
func lookup(environ []string, name string) (value string, set bool) {
	for _, entry := range environ {
		if n, v, ok := strings.Cut(entry, "="); ok && n == name {
			value, set = v, true
		}
	}
	return value, set
}

// databaseURL is the database that the user named, or "".
func databaseURL(environ []string) string {
	for _, name := range []string{"GOTRUE_DB_DATABASE_URL", "DATABASE_URL"} {
		if dsn, _ := lookup(environ, name); dsn != "" {
			return dsn
		}
	}
	return ""
}

// devEnvironment is the gateway's environment: what the user set, and settings for development for the rest.
func devEnvironment(user []string, state *devState, gatewayURL string) ([]string, error) {
	environ := make([]string, 0, len(user)+12)
	for _, entry := range user {
		name, _, _ := strings.Cut(entry, "=")
		if name != "DATABASE_URL" && name != "GOTRUE_DB_DATABASE_URL" {
			environ = append(environ, entry)
		}
	}
	environ = append(environ, "DATABASE_URL="+gatewayURL)
	environ = fill(environ, "127.0.0.1", "GOTRUE_API_HOST")
	port, set := lookup(environ, "GOTRUE_API_PORT")
	if !set {
		port, set = lookup(environ, "PORT")
	}
	if !set {
		host, _ := lookup(environ, "GOTRUE_API_HOST")
		free, err := freePort(host)
		if err != nil {
			return nil, err
		}
		port = strconv.Itoa(free)
		environ = append(environ, "PORT="+port)
	}
	environ = fill(environ, "http://127.0.0.1:"+port, "API_EXTERNAL_URL", "GOTRUE_API_API_EXTERNAL_URL")
	environ = fill(environ, "http://localhost:3000", "GOTRUE_SITE_URL")
	environ = fill(environ, state.JWTSecret, "GOTRUE_JWT_SECRET")
	environ = fill(environ, "authenticated", "GOTRUE_JWT_AUD")
	environ = fill(environ, "authenticated", "GOTRUE_JWT_DEFAULT_GROUP_NAME")
	environ = fill(environ, "true", "GOTRUE_MAILER_AUTOCONFIRM")
	environ = fill(environ, "true", "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED")
	environ = fill(environ, "10", "GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL")
	return environ, nil
}

// fill adds a variable, unless it is there under one of its names.
func fill(environ []string, value string, names ...string) []string {
	for _, name := range names {
		if _, set := lookup(environ, name); set {
			return environ
		}
	}
	return append(environ, names[0]+"="+value)
}

// withUser is the same database for another role.
func withUser(dsn, user, password string) (string, error) {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		// Keyword form; of a keyword that stands there twice the last one counts.
		return fmt.Sprintf("%s user=%s password=%s", dsn, user, password), nil
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "", errors.New("DATABASE_URL is not a URL") // the parser's error would quote the password
	}
	u.User = url.UserPassword(user, password)
	query := u.Query()
	query.Del("user")
	query.Del("password")
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	return u.String(), nil
}

// devSheet is what the user gets to know.
type devSheet struct {
	apiURL, databaseURL string
	mails               string // where they are
	anonKey, serviceKey string
}

// newDevSheet mints the keys with what the gateway will verify them with.
func newDevSheet(environ []string, state *devState, databaseURL string) (*devSheet, error) {
	cfg, err := config.Load(environ)
	if err != nil {
		return nil, err
	}
	keys, err := token.NewKeyring(cfg.JWTSecret, cfg.JWTKeys, cfg.JWTKeyID, cfg.JWTValidMethods)
	if err != nil {
		return nil, err
	}
	mint := func(role string) (string, error) {
		claims, err := json.Marshal(map[string]any{
			"iss": "postern", "role": role, "iat": state.Created, "exp": state.Created + int64(keyLifetime.Seconds()),
		})
		if err != nil {
			return "", err
		}
		return keys.Sign(claims)
	}
	sheet := &devSheet{databaseURL: databaseURL}
	if sheet.anonKey, err = mint("anon"); err != nil {
		return nil, err
	}
	sheet.serviceKey, err = mint("service_role")
	return sheet, err
}

// write leaves the values for scripts to source.
func (s *devSheet) write(dir string) error {
	var b strings.Builder
	for _, line := range [][2]string{
		{"API_URL", s.apiURL},
		{"DATABASE_URL", s.databaseURL},
		{"ANON_KEY", s.anonKey},
		{"SERVICE_ROLE_KEY", s.serviceKey},
	} {
		fmt.Fprintf(&b, "%s=%s\n", line[0], shellQuote(line[1]))
	}
	return writePrivate(filepath.Join(dir, "dev.env"), []byte(b.String()))
}

// print shows the values and what to try first.
func (s *devSheet) print(w io.Writer, dir string) {
	file := filepath.Join(dir, "dev.env")
	source := file
	if !filepath.IsAbs(source) && !strings.HasPrefix(source, ".") {
		source = "./" + source // without a slash in front, the shell would look on its PATH
	}
	fmt.Fprintf(w, `
Postern is running; Ctrl-C stops it.

  API URL           %s
  Database URL      %s
  anon key          %s
  service_role key  %s
  Mails             %s
  Gateway's log     %s

The same values are in %s. Try next, in another terminal:

  . %s
  curl "$API_URL/signup" -H 'Content-Type: application/json' -d '{"email":"ada@example.com","password":"correct horse"}'
  psql "$DATABASE_URL" -c 'select id, email, created_at from auth.users'

`, s.apiURL, s.databaseURL, s.anonKey, s.serviceKey, s.mails, filepath.Join(dir, "gateway.log"), file, source)
}

func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
