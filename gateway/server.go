package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/hook"
	"github.com/postern-auth/postern/gateway/password"
	"github.com/postern-auth/postern/gateway/redirect"
	"github.com/postern-auth/postern/gateway/seal"
	"github.com/postern-auth/postern/gateway/sms"
	"github.com/postern-auth/postern/gateway/token"
)

// hashingWait is how long a request may queue for a password hash before it is told to come back (DESIGN 12).
const hashingWait = 5 * time.Second

// Options are what a process tells its server beyond the environment.
type Options struct {
	Version       string // shown by /health
	SchemaVersion int    // number of the last migration this binary knows

	// HashingWorkers is how many passwords are hashed at once; 0 is one for each core that Go uses.
	HashingWorkers int

	// Endpoints stand in place of the services that are asked.
	Endpoints Endpoints

	Log *slog.Logger
}

// Server answers requests. It holds no state that matters: any number of them share one database.
type Server struct {
	config    *config.Config
	options   Options
	log       *slog.Logger
	pool      *pgxpool.Pool
	accounts  *accountReads
	keys      *token.Keyring
	refresh   *token.RefreshKeys
	hashing   *password.Lane
	policy    *policyCopy
	seal      *seal.Keys
	outbox    *outbox
	sms       *sms.Sender // nil when no provider is configured
	factorSMS *sms.Sender // the same with the template of second factors
	hooks     *hook.Caller
	judges    judges
	runs      chan hookRun // to be recorded
	handler   http.Handler

	recording sync.WaitGroup // deliveries that are being noted as sent
}

// New connects to the database, brings auth.settings up to date with the environment and reads it. The error is one line per
// mistake, naming the variable or the command that mends it.
func New(ctx context.Context, cfg *config.Config, options Options) (*Server, error) {
	keys, err := token.NewKeyring(cfg.JWTSecret, cfg.JWTKeys, cfg.JWTKeyID, cfg.JWTValidMethods)
	if err != nil {
		return nil, err
	}
	if list, ok := cfg.Policy["uri_allow_list"].([]string); ok {
		if _, err := redirect.Compile(cfg.ExternalURL, list); err != nil {
			return nil, err
		}
	}
	for _, notice := range cfg.Notices {
		options.Log.Warn(notice)
	}

	s := &Server{
		config:  cfg,
		options: options,
		log:     options.Log,
		keys:    keys,
		refresh: token.NewRefreshKeys(cfg.TokenKeys, cfg.JWTSecret),
		hashing: password.NewLane(options.HashingWorkers, hashingWait),
	}
	if s.seal, err = seal.New(cfg.TokenKeys, cfg.JWTSecret); err != nil {
		return nil, err
	}
	if s.outbox, err = newOutbox(s); err != nil {
		return nil, err
	}
	if cfg.SMSProvider != "" {
		settings := sms.Settings{
			Provider: cfg.SMSProvider, Values: cfg.SMSCredentials, Timeout: cfg.HTTPTimeout, BaseURL: options.Endpoints.SMS,
		}
		settings.Template, settings.TemplateName = cfg.SMSTemplate, "GOTRUE_SMS_TEMPLATE"
		if s.sms, err = sms.New(settings); err != nil {
			return nil, err
		}
		// No reason not to start: others sign in without SMS, and a hook may send them.
		if err := s.sms.Unusable(); err != nil {
			options.Log.Warn(err.Error())
		}
		settings.Template, settings.TemplateName = cfg.MFAPhoneTemplate, "GOTRUE_MFA_PHONE_TEMPLATE"
		if s.factorSMS, err = sms.New(settings); err != nil {
			return nil, err
		}
	}
	if s.judges, err = newJudges(cfg, options); err != nil {
		return nil, err
	}
	s.hooks = hook.New(nil, options.Log)
	s.runs = make(chan hookRun, waitingRuns)
	s.accounts = newAccountReads(s)
	if s.pool, err = connect(ctx, cfg); err != nil {
		return nil, err
	}
	if err := s.prepare(); err != nil {
		s.pool.Close()
		return nil, err
	}
	s.handler = s.routes()
	return s, nil
}

func connect(ctx context.Context, cfg *config.Config) (*pgxpool.Pool, error) {
	pool, err := pgxpool.ParseConfig(cfg.DatabaseURL.Reveal())
	if err != nil {
		// pgx's own text may repeat the password.
		return nil, errors.New("DATABASE_URL: not a PostgreSQL connection URL")
	}
	pool.MaxConns = int32(cfg.PoolSize) //nolint:gosec // G115: config bounds it
	pool.MaxConnIdleTime = 5 * time.Minute
	pool.ConnConfig.ConnectTimeout = 5 * time.Second
	if pool.ConnConfig.RuntimeParams["application_name"] == "" {
		pool.ConnConfig.RuntimeParams["application_name"] = "postern"
	}
	if pool.ConnConfig.User != gatewayRole {
		pool.AfterConnect = limitSession
	}
	return pgxpool.NewWithConfig(ctx, pool)
}

// gatewayRole has its timeouts set on the role, which poolers respect.
const gatewayRole = "postern_gateway"

// limitSession gives a session of another role the timeouts of the gateway's own, where it has none (DESIGN 6).
func limitSession(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `select
		case current_setting('lock_timeout') when '0' then set_config('lock_timeout', '2s', false) end,
		case current_setting('statement_timeout') when '0' then set_config('statement_timeout', '10s', false) end`)
	if err != nil {
		return fmt.Errorf("limiting the session: %w", err)
	}
	return nil
}

// prepare checks the database before the first request and agrees with it on the policy.
func (s *Server) prepare() error {
	if err := s.checkSchema(time.Now().Add(databaseDeadline)); err != nil {
		return err
	}
	if err := s.warnOfPrivileges(); err != nil {
		return err
	}
	environment, err := json.Marshal(s.config.Policy)
	if err != nil {
		return fmt.Errorf("encoding the policy: %w", err)
	}
	applied, err := s.callOnce(`select postern.apply_environment(environment => $1::jsonb)`, environment)
	if err != nil {
		return fmt.Errorf("writing the environment to auth.settings: %w", err)
	}
	for _, change := range applied.Changes {
		from, to := change.From, change.To
		if isSecretSetting(change.Setting) {
			from, to = "***", "***"
		}
		s.log.Info("setting changed by the environment", "setting", change.Setting, "from", from, "to", to)
	}
	s.policy = &policyCopy{reload: make(chan struct{}, 1)}
	return s.loadPolicy()
}

// isSecretSetting reports whether a column of auth.settings holds what logs must not show.
func isSecretSetting(column string) bool {
	return slices.ContainsFunc(config.Variables(), func(v config.Variable) bool {
		return v.Secret && v.Where == config.Settings && v.Column == column
	})
}

// warnOfPrivileges tells the operator when the gateway's role could do more than call functions (DESIGN 5).
func (s *Server) warnOfPrivileges() error {
	raw, err := s.query(time.Now().Add(databaseDeadline), `select to_json(exists (
		select from pg_catalog.pg_class c
		join pg_catalog.pg_namespace n on n.oid = c.relnamespace
		where n.nspname = 'auth' and c.relname = 'users' and has_table_privilege(c.oid, 'select')))`)
	if err != nil {
		return fmt.Errorf("asking for the role's privileges: %w", err)
	}
	if string(raw) == "true" {
		s.log.Warn("DATABASE_URL: this role can read auth.users; connect as postern_gateway, which can only call functions")
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Run keeps the server's copy of the policy fresh, sends what waits in the outbox, records what became of hooks, and has the database
// keep house, until the context ends.
func (s *Server) Run(ctx context.Context) {
	var workers, recorder sync.WaitGroup
	workers.Go(func() { s.outbox.run(ctx) })
	workers.Go(func() { s.keepHouse(ctx) })
	// What the others note while they end is recorded too.
	untilTheyEnd, end := context.WithCancel(context.WithoutCancel(ctx))
	recorder.Go(func() { s.recordRuns(untilTheyEnd) })
	defer func() {
		workers.Wait()
		end()
		recorder.Wait()
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.policy.reload:
		case <-time.After(policyAge):
		}
		if err := s.loadPolicy(); err != nil && ctx.Err() == nil {
			s.log.Warn("reading auth.settings failed, the last copy stays in use", "error", err)
		}
	}
}

// Close notes what is still to be noted as sent, which would be sent again otherwise, and gives the database connections back. Call
// it when no request is under way any more.
func (s *Server) Close() {
	s.recording.Wait()
	s.pool.Close()
}
