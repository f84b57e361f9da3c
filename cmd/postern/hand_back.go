package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/urfave/cli/v2"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/token"
)

func handBackCommand(environ []string) *cli.Command {
	return &cli.Command{
		Name:  "hand-back",
		Usage: "prepare the database for Supabase Auth to take over, with everybody still signed in",
		Description: "Writes the key and the counter of every session into auth.sessions, where Supabase Auth looks for them, and\n" +
			"clears what Postern stored of mailed codes. Stop all gateways first, then run it with DATABASE_URL of the\n" +
			"owner and the gateways' GOTRUE_JWT_SECRET and POSTERN_TOKEN_KEYS, then `postern migrate --to 0`, then start\n" +
			"Supabase Auth. Refresh tokens that clients hold go on working there. It can be repeated.",
		UsageText: "postern hand-back && postern migrate --to 0",
		Action: func(c *cli.Context) error {
			cfg, err := config.Load(environ)
			if err != nil {
				return err
			}
			count, err := handBack(c.Context, cfg)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.App.Writer, "%d sessions can be continued by Supabase Auth\n", count)
			return err
		},
	}
}

// handBackBatch is how many sessions one statement writes: enough to be quick, few enough to hold no lock for long.
const handBackBatch = 1000

// handBack writes derived keys in batches, in the order of session ids, and returns how many sessions it wrote.
func handBack(ctx context.Context, cfg *config.Config) (int, error) {
	conn, err := pgx.Connect(ctx, cfg.DatabaseURL.Reveal())
	if err != nil {
		return 0, explainConnection(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // every batch is committed
	keys := token.NewRefreshKeys(cfg.TokenKeys, cfg.JWTSecret)

	total, after := 0, "00000000-0000-0000-0000-000000000000"
	for {
		ids, err := sessionsAfter(ctx, conn, after)
		if err != nil {
			return total, err
		}
		if len(ids) == 0 {
			break
		}
		sessionKeys := make([]string, len(ids))
		for i, id := range ids {
			var session [16]byte
			if _, err := hex.Decode(session[:], []byte(strings.ReplaceAll(id, "-", ""))); err != nil {
				return total, fmt.Errorf("reading a session id: %w", err)
			}
			sessionKeys[i] = base64.RawURLEncoding.EncodeToString(keys.SessionKey(session))
		}
		var written int
		if err := conn.QueryRow(ctx, `select postern.hand_back_sessions($1::uuid[], $2::text[])`, ids, sessionKeys).Scan(&written); err != nil {
			return total, fmt.Errorf("writing keys of sessions: %w", err)
		}
		total += written
		after = ids[len(ids)-1]
	}
	if _, err := conn.Exec(ctx, `select postern.clear_one_time_tokens()`); err != nil {
		return total, fmt.Errorf("clearing mailed codes: %w", err)
	}
	return total, nil
}

func sessionsAfter(ctx context.Context, conn *pgx.Conn, after string) ([]string, error) {
	rows, err := conn.Query(ctx, `select id::text from auth.sessions where id > $1::uuid order by id limit $2`, after, handBackBatch)
	if err != nil {
		return nil, fmt.Errorf("reading sessions: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
