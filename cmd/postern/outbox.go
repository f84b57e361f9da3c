package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/urfave/cli/v2"

	"github.com/postern-auth/postern/gateway/config"
)

// outboxCommand is `postern outbox`: what waits to be sent, and what could not be.
func outboxCommand(environ []string) *cli.Command {
	return &cli.Command{
		Name:  "outbox",
		Usage: "look at mail and SMS on their way",
		Description: `Mail and SMS wait in auth.outbox until a gateway has sent them. These commands need DATABASE_URL of the owner of
schema auth; postern_gateway may not. They never show codes or links, which the database does not know.

Examples:
   postern outbox list --state dead    what was given up, with the relay's words
   postern outbox retry --all          after an outage: do not wait for the next attempt
   postern outbox drop 6f1c…           remove one`,
		Subcommands: []*cli.Command{outboxListCommand(environ), outboxRetryCommand(environ), outboxDropCommand(environ)},
	}
}

// outboxStates are those of auth.outbox.state.
func outboxStates() []string { return []string{"queued", "sent", "dead", "expired"} }

func outboxListCommand(environ []string) *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list mail and SMS, the newest first",
		Description: `States: queued (waits, or is being sent), sent, dead (refused, or given up after twelve attempts), expired (its
code would no longer work). The last column is what the relay or provider said.

Examples:
   postern outbox list
   postern outbox list --state dead --limit 20
   postern outbox list --json | jq '.[].last_reply'`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "state", Usage: "only those in this `STATE`: queued, sent, dead or expired (default: all)"},
			&cli.IntFlag{Name: "limit", Value: 100, Usage: "at most this `NUMBER`"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			state := c.String("state")
			if state != "" && !slices.Contains(outboxStates(), state) {
				return fmt.Errorf("--state: %q is none of %s", state, strings.Join(outboxStates(), ", "))
			}
			if limit := c.Int("limit"); limit < 1 || limit > math.MaxInt32 {
				return fmt.Errorf("--limit: %d is not between 1 and %d", limit, math.MaxInt32)
			}
			var raw json.RawMessage
			err := askOwner(c.Context, environ, &raw, `select postern.list_outbox(state => nullif($1, ''), row_limit => $2)`, state, c.Int("limit"))
			if err != nil {
				return err
			}
			return printOutbox(c, raw)
		},
	}
}

// outboxRow is a row of the list.
type outboxRow struct {
	ID          string     `json:"id"`
	Channel     string     `json:"channel"`
	Kind        string     `json:"kind"`
	Recipient   string     `json:"recipient"`
	State       string     `json:"state"`
	Attempts    int        `json:"attempts"`
	CreatedAt   time.Time  `json:"created_at"`
	NextAttempt *time.Time `json:"next_attempt_at"`
	IsClaimed   bool       `json:"is_claimed"`
	LastReply   string     `json:"last_reply"`
}

func printOutbox(c *cli.Context, raw json.RawMessage) error {
	if c.Bool("json") {
		return printJSON(c, raw)
	}
	var rows []outboxRow
	if err := json.Unmarshal(raw, &rows); err != nil {
		return fmt.Errorf("decoding the outbox: %w", err)
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(c.App.Writer, "nothing in the outbox")
		return err
	}
	table := tabwriter.NewWriter(c.App.Writer, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tQUEUED\tSTATE\tATTEMPTS\tNEXT\tKIND\tRECIPIENT\tLAST REPLY") // Flush tells of errors
	for _, row := range rows {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", row.ID, row.CreatedAt.Format("2006-01-02 15:04:05"), row.State,
			row.Attempts, row.next(), row.Kind, inOneLine(row.Recipient), cmp.Or(inOneLine(row.LastReply), "-"))
	}
	return table.Flush()
}

// next is when a mail is tried again.
func (r outboxRow) next() string {
	switch {
	case r.State != "queued" || r.NextAttempt == nil:
		return "-"
	case r.IsClaimed:
		return "being sent"
	case time.Until(*r.NextAttempt) <= 0:
		return "now"
	}
	return "in " + time.Until(*r.NextAttempt).Round(time.Second).String()
}

// inOneLine keeps what others wrote from breaking the table or driving the terminal.
func inOneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f && r < 0xa0 }), " ")
}

func outboxRetryCommand(environ []string) *cli.Command {
	return &cli.Command{
		Name:      "retry",
		Usage:     "have mail and SMS sent now",
		ArgsUsage: "[ID]",
		Description: `What waits for its next attempt is due at once, and notifications that were given up are queued again. A mail with a
code or link that was given up cannot come back: its secret was removed with it, and whoever waits for it has to
ask for a new one. What a gateway is sending at this moment is left alone.

Examples:
   postern outbox retry --all
   postern outbox retry 6f1c3a52-6a0e-4f0e-9a39-0d3c1b1a7c11`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "all that wait or were given up"}, jsonFlag()},
		Action: func(c *cli.Context) error {
			id, err := oneArgument(c)
			if err != nil {
				return err
			}
			if (id == "") != c.Bool("all") {
				return errors.New("outbox retry: give the ID of one, or --all")
			}
			var done struct {
				Retried int    `json:"retried"`
				Lost    int    `json:"lost"`
				Reason  string `json:"reason,omitempty"`
			}
			if err := askOwner(c.Context, environ, &done, `select postern.retry_outbox(outbox_id => nullif($1, '')::uuid)`, id); err != nil {
				return err
			}
			if done.Reason != "" {
				return fmt.Errorf("outbox retry: %s is not sent: %s", id, inOneLine(done.Reason))
			}
			if c.Bool("json") {
				return printJSON(c, done)
			}
			text := fmt.Sprintf("%d to be sent now", done.Retried)
			if done.Lost > 0 {
				text += fmt.Sprintf("; %d given up for good: their codes are gone, new ones have to be asked for", done.Lost)
			}
			_, err = fmt.Fprintln(c.App.Writer, text)
			return err
		},
	}
}

func outboxDropCommand(environ []string) *cli.Command {
	return &cli.Command{
		Name:      "drop",
		Usage:     "remove a mail or SMS",
		ArgsUsage: "ID",
		Description: `Removes one from the outbox, whatever its state. One that a gateway is sending at this moment may arrive all the same.

Examples:
   postern outbox drop 6f1c3a52-6a0e-4f0e-9a39-0d3c1b1a7c11`,
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			id, err := oneArgument(c)
			if err != nil {
				return err
			}
			if id == "" {
				return errors.New("outbox drop: give the ID of one")
			}
			var dropped bool
			if err := askOwner(c.Context, environ, &dropped, `select to_json(postern.drop_outbox(outbox_id => $1::text::uuid))`, id); err != nil {
				return err
			}
			if !dropped {
				return fmt.Errorf("outbox drop: there is no %s in the outbox", id)
			}
			if c.Bool("json") {
				return printJSON(c, map[string]bool{"dropped": dropped})
			}
			_, err = fmt.Fprintln(c.App.Writer, "dropped "+id)
			return err
		},
	}
}

// askOwner runs a statement that answers one JSON value, as the role of DATABASE_URL.
func askOwner(ctx context.Context, environ []string, into any, sql string, args ...any) error {
	dsn, err := config.DatabaseURL(environ)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, dsn.Reveal())
	if err != nil {
		return explainConnection(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing is pending
	var raw []byte
	if err := conn.QueryRow(ctx, sql, args...).Scan(&raw); err != nil {
		return explainRefusal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("decoding the database's answer: %w", err)
	}
	return nil
}

// explainRefusal says in a line what to do about a statement that failed.
func explainRefusal(err error) error {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	switch pg.Code {
	case "42501":
		return errors.New("DATABASE_URL: " + pg.Message + ": connect as the owner of schema auth")
	case "3F000", "42883":
		return errors.New("DATABASE_URL: Postern, or this release of it, is not installed there: run `postern migrate`")
	case "22P02":
		return errors.New("the ID is not a UUID")
	}
	return errors.New(pg.Message)
}
