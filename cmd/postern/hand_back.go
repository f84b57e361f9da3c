package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/urfave/cli/v2"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/seal"
	"github.com/postern-auth/postern/gateway/token"
)

func handBackCommand(environ []string) *cli.Command {
	return &cli.Command{
		Name:  "hand-back",
		Usage: "prepare the database for Supabase Auth to take over, with everybody still signed in",
		Description: "Writes the key and the counter of every session into auth.sessions, where Supabase Auth looks for them, and\n" +
			"the secrets of authenticator apps into auth.mfa_factors as it reads them, in plain text, and clears what\n" +
			"Postern stored of mailed and texted codes. Stop all gateways first, then run it with DATABASE_URL of the\n" +
			"owner and the gateways' GOTRUE_JWT_SECRET and POSTERN_TOKEN_KEYS, then `postern migrate --to 0`, then start\n" +
			"Supabase Auth. Refresh tokens that clients hold go on working there. It can be repeated.",
		UsageText: "postern hand-back && postern migrate --to 0",
		Action: func(c *cli.Context) error {
			cfg, err := config.Load(environ)
			if err != nil {
				return err
			}
			back, err := handBack(c.Context, cfg)
			if err != nil {
				return err
			}
			if _, err = fmt.Fprintf(c.App.Writer, "%d sessions can be continued by Supabase Auth\n", back.sessions); err != nil {
				return err
			}
			if back.factors > 0 {
				_, err = fmt.Fprintf(c.App.Writer, "%d authenticator apps can be verified by Supabase Auth\n", back.factors)
			}
			return errors.Join(err, unreadableSecrets(back.unreadable))
		},
	}
}

// handedBack is what Supabase Auth can go on with.
type handedBack struct {
	sessions, factors int
	unreadable        []string // ids of factors
}

func handBack(ctx context.Context, cfg *config.Config) (back handedBack, err error) {
	conn, err := pgx.Connect(ctx, cfg.DatabaseURL.Reveal())
	if err != nil {
		return back, explainConnection(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // every batch is committed
	if back.sessions, err = handBackSessions(ctx, conn, token.NewRefreshKeys(cfg.TokenKeys, cfg.JWTSecret)); err != nil {
		return back, err
	}
	keys, err := seal.New(cfg.TokenKeys, cfg.JWTSecret)
	if err != nil {
		return back, err
	}
	plain := func(_, secret string, _ bool) *string { return &secret }
	if back.factors, back.unreadable, err = rewriteSecrets(ctx, conn, keys, plain); err != nil {
		return back, err
	}
	if _, err := conn.Exec(ctx, `select postern.clear_one_time_tokens()`); err != nil {
		return back, fmt.Errorf("clearing mailed codes: %w", err)
	}
	return back, nil
}

// handBackSessions writes derived keys in batches, in the order of session ids, and returns how many sessions it wrote.
func handBackSessions(ctx context.Context, conn *pgx.Conn, keys *token.RefreshKeys) (int, error) {
	total, after := 0, beforeAll
	for {
		ids, err := sessionsAfter(ctx, conn, after)
		if err != nil {
			return total, err
		}
		if len(ids) == 0 {
			return total, nil
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
}

func sessionsAfter(ctx context.Context, conn *pgx.Conn, after string) ([]string, error) {
	rows, err := conn.Query(ctx, `select id::text from auth.sessions where id > $1::uuid order by id limit $2`, after, batchSize)
	if err != nil {
		return nil, fmt.Errorf("reading sessions: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
