package config

import (
	"log/slog"
	"time"
)

func serverVariables() []Variable {
	return area("Server", "core.md 13.2",
		process("GOTRUE_API_HOST", Text, "", "address to listen on; empty is all", func(c *Config) *string { return &c.Host }),
		process("PORT", Int, "8081", "port to listen on; 0 lets the system choose",
			func(c *Config) *int { return &c.Port }).alias("GOTRUE_API_PORT").with(intBetween(0, 65535)),
		process("API_EXTERNAL_URL", URL, "", "where clients reach this server; base of the links in mails",
			func(c *Config) *string { return &c.ExternalURL }).
			alias("GOTRUE_API_API_EXTERNAL_URL").required().with(parseExternalURL),
		process("REQUEST_ID_HEADER", Text, "", "request header that carries the request id; empty makes ids here",
			func(c *Config) *string { return &c.RequestIDHeader }).
			alias("GOTRUE_API_REQUEST_ID_HEADER").with(parseHeaderName).from("core.md 1.4"),
		process("GOTRUE_API_MAX_REQUEST_DURATION", Duration, "10s", "longest time for one request, then 504; 0 is off",
			func(c *Config) *time.Duration { return &c.MaxRequestDuration }).with(parseNonNegativeDuration),
		process("GOTRUE_CORS_ALLOWED_HEADERS", List, "", "request headers that browsers may send beyond the built-in ones",
			func(c *Config) *[]string { return &c.CORSAllowedHeaders }).from("core.md 1.3"),
		process("GOTRUE_LOG_LEVEL", Text, "info", "`trace`, `debug`, `info`, `warn`, `error`, `fatal` or `panic`",
			func(c *Config) *slog.Level { return &c.LogLevel }).with(parseLogLevel),
		process("GOTRUE_INTERNAL_HTTP_TIMEOUT", Duration, "10s", "limit for calls to SMS providers",
			func(c *Config) *time.Duration { return &c.HTTPTimeout }).with(durationOr(10*time.Second)).from("mfa-hooks.md 9.3"),
		idle("GOTRUE_OPERATOR_TOKEN", "unused, in the reference too").secret(),
	)
}

func databaseURL() Variable {
	return process("DATABASE_URL", Text, "", "the database, best with the role `postern_gateway`; several hosts for failover",
		func(c *Config) *Secret { return &c.DatabaseURL }).
		alias("GOTRUE_DB_DATABASE_URL").required().secret().with(parseDatabaseURL)
}

func databaseVariables() []Variable {
	return area("Database", "core.md 13.2",
		databaseURL(),
		checked("GOTRUE_DB_DRIVER", Text, "postgres", "nothing else is supported",
			oneOf("the database is postgres", "postgres", "postgresql")),
		checked("DB_NAMESPACE", Text, "auth", "schema of the tables; nothing else is supported",
			oneOf("the tables live in schema auth", "auth")).alias("GOTRUE_DB_DB_NAMESPACE"),
		process("GOTRUE_DB_MAX_POOL_SIZE", Int, "8", "most connections of this process; 0 is the default",
			func(c *Config) *int { return &c.PoolSize }).with(parsePoolSize),
		process("POSTERN_DB_POOL_WAIT", Duration, "2s", "longest wait for a free connection, then 503",
			func(c *Config) *time.Duration { return &c.PoolWait }).with(parsePositiveDuration).from("Postern"),
		idle("GOTRUE_DB_MIGRATIONS_PATH", "the migrations are part of the program"),
		later("GOTRUE_DB_MAX_IDLE_POOL_SIZE", Int, "0", "connections kept while idle"),
		later("GOTRUE_DB_CONN_PERCENTAGE", Int, "0", "pool size as a percentage of max_connections"),
		later("GOTRUE_DB_CONN_MAX_LIFETIME", Duration, "0s", "longest life of a connection"),
		later("GOTRUE_DB_CONN_MAX_IDLE_TIME", Duration, "0s", "longest idle time of a connection"),
		later("GOTRUE_DB_HEALTH_CHECK_PERIOD", Duration, "0s", "time between checks of idle connections"),
		setting("GOTRUE_DB_CLEANUP_ENABLED", Bool, "false", "delete what has expired; settled mails and SMS, records of hooks and limits go anyway").
			from("core.md 12.6"),
		setting("POSTERN_ANONYMOUS_USERS_RETENTION", Duration, "720h",
			"anonymous users are deleted this long after their last sign-in or refresh, when cleaning up is on; 0 keeps them").
			with(parseRetention).from("Postern"),
		later("GOTRUE_DB_ADVISOR_ENABLED", Bool, "true", "warn when requests wait for connections").from("mfa-hooks.md 9.5"),
		later("GOTRUE_DB_ADVISOR_SAMPLING_INTERVAL", Duration, "200ms", "time between two looks at the pool").from("mfa-hooks.md 9.5"),
		later("GOTRUE_DB_ADVISOR_OBSERVATION_INTERVAL", Duration, "20s", "window that is judged").from("mfa-hooks.md 9.5"),
		later("GOTRUE_INDEX_WORKER_ENSURE_USER_SEARCH_INDEXES_EXIST", Bool, "false", "make the indexes for searching users").
			from("mfa-hooks.md 8.2"),
		later("GOTRUE_INDEX_WORKER_MAX_USERS_THRESHOLD", Int, "0", "make them below this number of users").from("mfa-hooks.md 8.2"),
	)
}

func tokenVariables() []Variable {
	return area("Access tokens", "core.md 13.4",
		process("GOTRUE_JWT_SECRET", Text, "", "key of HS256, at least 32 bytes",
			func(c *Config) *Secret { return &c.JWTSecret }).required().secret().with(parseSecret),
		process("GOTRUE_JWT_KEYS", JSON, "", "private JWKs, exactly one of them with `sign` in its `key_ops`",
			func(c *Config) *Secret { return &c.JWTKeys }).secret().with(parseJWTKeys).from("core.md 5.2"),
		process("GOTRUE_JWT_KEY_ID", Text, "", "`kid` of tokens signed with the secret", func(c *Config) *string { return &c.JWTKeyID }),
		process("GOTRUE_JWT_VALID_METHODS", List, "", "accepted algorithms; empty is those of the keys",
			func(c *Config) *[]string { return &c.JWTValidMethods }),
		setting("GOTRUE_JWT_EXP", Int, "3600", "life of an access token in seconds; 0 is the default").with(expiryOr(3600)),
		setting("GOTRUE_JWT_AUD", Text, "", "audience of requests that name none (usually `authenticated`)"),
		setting("GOTRUE_JWT_ISSUER", Text, "", "`iss` of tokens and base of the discovery document"),
		setting("GOTRUE_JWT_DEFAULT_GROUP_NAME", Text, "", "role of new users (usually `authenticated`)"),
		setting("GOTRUE_JWT_ADMIN_GROUP_NAME", Text, "admin", "group of users who may change their `app_metadata`").with(textOr("admin")),
		setting("GOTRUE_JWT_ADMIN_ROLES", List, "service_role,supabase_admin", "roles that may use the admin endpoints").
			with(listOr("service_role", "supabase_admin")),
	)
}

func observabilityVariables() []Variable {
	return area("Observability", "mfa-hooks.md 9.5",
		later("GOTRUE_LOG_FILE", Text, "", "file for the log; empty is stderr"),
		later("GOTRUE_LOG_SQL", Text, "none", "`none`, `statement` or `all`"),
		idle("GOTRUE_LOG_DISABLE_COLORS", "unused, in the reference too"),
		idle("GOTRUE_LOG_QUOTE_EMPTY_FIELDS", "unused, in the reference too"),
		idle("GOTRUE_LOG_TSFORMAT", "unused, in the reference too"),
		idle("GOTRUE_LOG_FIELDS", "unused, in the reference too"),
		later("GOTRUE_METRICS_ENABLED", Bool, "false", "publish metrics"),
		later("GOTRUE_METRICS_EXPORTER", Text, "opentelemetry", "`opentelemetry` or `prometheus`"),
		later("GOTRUE_TRACING_ENABLED", Bool, "false", "publish traces"),
		later("GOTRUE_TRACING_EXPORTER", Text, "opentelemetry", "nothing else exists"),
		idle("GOTRUE_TRACING_HOST", "unused, in the reference too").from("mfa-hooks.md 7.4"),
		idle("GOTRUE_TRACING_PORT", "unused, in the reference too").from("mfa-hooks.md 7.4"),
		idle("GOTRUE_TRACING_SERVICE_NAME", "unused, in the reference too").from("mfa-hooks.md 7.4"),
		idle("GOTRUE_TRACING_TAGS", "unused, in the reference too").from("mfa-hooks.md 7.4"),
		later("OTEL_EXPORTER_OTLP_PROTOCOL", Text, "http/protobuf", "`http/protobuf` or `grpc`"),
		later("OTEL_EXPORTER_PROMETHEUS_HOST", Text, "0.0.0.0", "address of the metrics listener"),
		later("OTEL_EXPORTER_PROMETHEUS_PORT", Text, "9100", "its port"),
		later("GOTRUE_PROFILER_ENABLED", Bool, "false", "serve /debug/pprof"),
		later("GOTRUE_PROFILER_HOST", Text, "localhost", "address of the profiler"),
		later("GOTRUE_PROFILER_PORT", Text, "9998", "its port"),
	)
}

func reloadVariables() []Variable {
	return area("Reloading the configuration", "mfa-hooks.md 9.5",
		later("GOTRUE_RELOADING_NOTIFY_ENABLED", Bool, "true", "reload when a file of the configuration directory changes"),
		later("GOTRUE_RELOADING_POLLERENABLED", Bool, "false", "look for changes from time to time"),
		later("GOTRUE_RELOADING_POLLER_INTERVAL", Duration, "10s", "time between two looks"),
		later("GOTRUE_RELOADING_SIGNAL_ENABLED", Bool, "false", "reload at a signal"),
		later("GOTRUE_RELOADING_SIGNAL_NUMBER", Int, "10", "number of the signal"),
		later("GOTRUE_RELOADING_GRACE_PERIOD_INTERVAL", Duration, "5s", "wait after the last change"),
	)
}

func commandVariables() []Variable {
	return area("Commands", "Postern",
		command("POSTERN_VERSION_TABLE", "public.postern_version", "table that tern keeps the schema's version in"),
		command("POSTERN_PG_BIN", "", "folder of the PostgreSQL binaries for `postern dev`; empty is the newest found"),
		command("POSTERN_TEST_PG_BIN", "", "the same for the tests; empty is the oldest supported version found"),
		command("POSTERN_TEST_DATABASE_URL", "", "a server that the tests use instead of one of their own").secret(),
	)
}
