package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/urfave/cli/v2"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/seal"
)

func keysResealCommand() *cli.Command {
	return &cli.Command{
		Name:  "reseal",
		Usage: "seal the secrets of authenticator apps with the newest key",
		Description: `The secret of an authenticator app is sealed with the newest of POSTERN_TOKEN_KEYS (by default GOTRUE_JWT_SECRET),
anew whenever the app is used after that has changed. This command seals those of all others, so that an older key
can be dropped: what only a dropped key opens cannot be verified any more. It needs DATABASE_URL of the owner and
the gateways' keys, the old one among them. Gateways may run meanwhile, and it can be repeated.

Examples:
   postern keys reseal`,
		Action: func(c *cli.Context) error {
			environ, _ := c.App.Metadata["environ"].([]string)
			cfg, err := config.Load(environ)
			if err != nil {
				return err
			}
			count, unreadable, err := reseal(c.Context, cfg)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.App.Writer, "%d authenticator apps sealed with the newest key\n", count)
			return errors.Join(err, unreadableSecrets(unreadable))
		},
	}
}

func reseal(ctx context.Context, cfg *config.Config) (count int, unreadable []string, err error) {
	keys, err := seal.New(cfg.TokenKeys, cfg.JWTSecret)
	if err != nil {
		return 0, nil, err
	}
	conn, err := pgx.Connect(ctx, cfg.DatabaseURL.Reveal())
	if err != nil {
		return 0, nil, explainConnection(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // every batch is committed
	return rewriteSecrets(ctx, conn, keys, func(id, secret string, isCurrent bool) *string {
		if isCurrent {
			return nil
		}
		sealed := keys.SealFactor(id, secret)
		return &sealed
	})
}

// unreadableSecrets is the error that names factors whose secret no key opens.
func unreadableSecrets(factors []string) error {
	if len(factors) == 0 {
		return nil
	}
	return fmt.Errorf("%d authenticator apps stay sealed with a key that is not configured; their factors: %s",
		len(factors), strings.Join(factors, ", "))
}

// batchSize is how many rows one statement writes: enough to be quick, few enough to hold no lock for long.
const batchSize = 1000

// beforeAll is an id that comes before all others.
const beforeAll = "00000000-0000-0000-0000-000000000000"

// rewriteSecrets opens every sealed secret, in batches in the order of factor ids, and stores what rewritten makes of it unless that is
// nil. It returns how many it stored, and the factors whose secret no key opens.
func rewriteSecrets(
	ctx context.Context, conn *pgx.Conn, keys *seal.Keys, rewritten func(id, secret string, isCurrent bool) *string,
) (total int, unreadable []string, err error) {
	for after := beforeAll; ; {
		ids, stored, err := secretsAfter(ctx, conn, after)
		if err != nil || len(ids) == 0 {
			return total, unreadable, err
		}
		after = ids[len(ids)-1]
		secrets := make([]*string, len(ids))
		for i, id := range ids {
			secret, isCurrent, err := keys.OpenFactor(id, stored[i])
			if err != nil {
				unreadable = append(unreadable, id)
				continue
			}
			secrets[i] = rewritten(id, secret, isCurrent)
		}
		var written int
		err = conn.QueryRow(ctx, `select postern.replace_factor_secrets($1::uuid[], $2::text[], $3::text[])`, ids, stored, secrets).Scan(&written)
		if err != nil {
			return total, unreadable, fmt.Errorf("writing secrets of factors: %w", err)
		}
		total += written
	}
}

func secretsAfter(ctx context.Context, conn *pgx.Conn, after string) (ids, stored []string, err error) {
	rows, err := conn.Query(ctx, `select id::text, secret from auth.mfa_factors
		where id > $1::uuid and starts_with(secret, $3) order by id limit $2`, after, batchSize, seal.FactorPrefix)
	if err != nil {
		return nil, nil, fmt.Errorf("reading factors: %w", err)
	}
	for rows.Next() {
		var id, secret string
		if err := rows.Scan(&id, &secret); err != nil {
			return nil, nil, fmt.Errorf("reading factors: %w", err)
		}
		ids, stored = append(ids, id), append(stored, secret)
	}
	return ids, stored, rows.Err()
}
