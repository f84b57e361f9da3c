package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/devmail"
)

// catching is what becomes of the mails and SMS of one `postern dev`.
type catching struct {
	serving          // of the gateway whose messages are caught
	environ []string // of the same gateway
	catcher *devmail.Catcher
	relay   string // of the user, "" when mails are caught
	texts   bool   // SMS are caught
}

// catchMessages starts a catcher for what the user's environment names no relay or no provider for.
func catchMessages(ctx context.Context, environ []string, logs io.Writer) (*catching, error) {
	cfg, err := config.Load(environ)
	if err != nil {
		return nil, err
	}
	c := &catching{environ: environ, texts: cfg.SMSProvider == ""}
	if relays := cfg.Relays(); len(relays) > 0 {
		c.relay = relays[0].Host
	}
	if c.relay != "" && !c.texts {
		return c, nil
	}
	if c.catcher, err = devmail.Start(ctx, slog.New(slog.NewJSONHandler(logs, nil))); err != nil {
		return nil, fmt.Errorf("catching mails: %w", err)
	}
	if c.relay == "" {
		c.environ = withMailCatcher(c.environ, c.catcher.SMTPPort())
	}
	if c.texts {
		c.environ = withSMSCatcher(c.environ)
		c.endpoints.SMS = c.catcher.SMSEndpoint()
	}
	c.front = func(api http.Handler) http.Handler { return c.catcher.Handler(api, hostname(cfg.ExternalURL)) }
	return c, nil
}

func (c *catching) close() {
	if c.catcher != nil {
		_ = c.catcher.Close() // the process ends
	}
}

// describe says where mails and SMS are to be found.
func (c *catching) describe(apiURL string) string {
	switch page := apiURL + "/dev/mail"; {
	case c.relay == "":
		return page
	case c.texts:
		return "sent by " + c.relay + "; SMS: " + page
	}
	return "sent by " + c.relay
}

// withMailCatcher has a gateway send its mails to the catcher, as often as somebody who tries things out wants them.
func withMailCatcher(environ []string, port int) []string {
	environ = append(environ, "GOTRUE_SMTP_HOST=127.0.0.1", "GOTRUE_SMTP_PORT="+strconv.Itoa(port))
	environ = fill(environ, "auth@localhost", "GOTRUE_SMTP_ADMIN_EMAIL")
	environ = fill(environ, `{"`+devmail.KindHeader+`":["$messageType"]}`, "GOTRUE_SMTP_HEADERS")
	environ = fill(environ, "1s", "GOTRUE_SMTP_MAX_FREQUENCY")
	return fill(environ, "1000", "GOTRUE_RATE_LIMIT_EMAIL_SENT")
}

// withSMSCatcher makes a gateway one that sends SMS by Textlocal, in whose place the catcher answers.
func withSMSCatcher(environ []string) []string {
	environ = append(environ, "GOTRUE_SMS_PROVIDER=textlocal", "GOTRUE_SMS_TEXTLOCAL_API_KEY=none", "GOTRUE_SMS_TEXTLOCAL_SENDER=postern")
	environ = fill(environ, "1s", "GOTRUE_SMS_MAX_FREQUENCY")
	return fill(environ, "1000", "GOTRUE_RATE_LIMIT_SMS_SENT")
}

func hostname(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return parsed.Hostname()
}
