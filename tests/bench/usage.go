package main

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postern-auth/postern/gateway/localpg"
)

// usage is what gateways and the database have used since they were started.
type usage struct {
	server, database time.Duration // processor time
	statements       int64         // of role postern_gateway
}

func (u usage) since(before usage) usage {
	return usage{u.server - before.server, u.database - before.database, u.statements - before.statements}
}

// meter reads the usage of gateways and their database.
type meter struct {
	cluster *localpg.Cluster
	conn    *pgx.Conn
}

func newMeter(ctx context.Context, cluster *localpg.Cluster) (*meter, error) {
	conn, err := pgx.Connect(ctx, cluster.DSN("postgres", database))
	return &meter{cluster, conn}, err
}

func (m *meter) read(ctx context.Context, gateways ...*gatewayProcess) (u usage, err error) {
	for _, g := range gateways {
		own, _ := processorTime(g.pid())
		u.server += own
	}
	u.database = m.databaseTime()
	err = m.conn.QueryRow(ctx, `select coalesce(sum(s.calls), 0)::bigint
		from pg_stat_statements s join pg_roles r on r.oid = s.userid
		where r.rolname = 'postern_gateway' and s.query like 'select postern.%'`).Scan(&u.statements)
	return u, err
}

// databaseTime is that of the postmaster, of its children, and of those that have ended.
func (m *meter) databaseTime() time.Duration {
	pid := strconv.Itoa(m.cluster.PID())
	own, ended := processorTime(m.cluster.PID())
	total := own + ended
	children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		return 0
	}
	for child := range strings.FieldsSeq(string(children)) {
		if number, err := strconv.Atoi(child); err == nil {
			own, _ := processorTime(number)
			total += own
		}
	}
	return total
}

// processorTime is that of a process and of its children that have ended, zero where /proc is missing.
func processorTime(pid int) (own, ended time.Duration) {
	const tick = 10 * time.Millisecond // proc(5): clock ticks of 1/100 s, everywhere
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0
	}
	// The second field is a name in brackets that may hold anything; utime is the 14th.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return 0, 0
	}
	ticks := func(field int) time.Duration {
		n, _ := strconv.Atoi(fields[field-3]) // 0 for what is no number
		return time.Duration(n) * tick
	}
	return ticks(14) + ticks(15), ticks(16) + ticks(17)
}

// samples are durations, of which the report wants percentiles.
type samples []time.Duration

func (s samples) at(share float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	slices.Sort(s)
	return s[min(len(s)-1, int(share*float64(len(s))))]
}
