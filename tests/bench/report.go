package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// row is a line of the load generator's table.
type row struct {
	name                                 string
	p99                                  float64 // milliseconds
	server, database, statements, memory float64 // microseconds per request, statements per request, MB
}

// cost is the processor time of a request.
func (r row) cost() float64 { return r.server + r.database }

// extremes are the cheapest and the dearest round of a scenario.
func extremes(rounds [][]row, name string) (best, worst row) {
	for _, rows := range rounds {
		for _, r := range rows {
			if r.name != name {
				continue
			}
			if best.name == "" || r.cost() < best.cost() {
				best = r
			}
			if r.cost() > worst.cost() {
				worst = r
			}
		}
	}
	return best, worst
}

// parseTable reads the table that the generator prints: scenario n err rps p50ms p95ms p99ms srvµs pgµs stmts rssMB.
func parseTable(table string) []row {
	var rows []row
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 11 || fields[0] == "scenario" {
			continue
		}
		number := func(column int) float64 {
			value, err := strconv.ParseFloat(fields[column], 64)
			if err != nil {
				return 0
			}
			return value
		}
		rows = append(rows, row{
			name: fields[0], p99: number(6), server: number(7), database: number(8), statements: number(9), memory: number(10),
		})
	}
	return rows
}

// reference is what Supabase Auth 2.196 needs on this kind of machine, its pool tuned; goal is the part of its total that
// Postern wants to stay within.
type reference struct{ statements, server, database, goal float64 }

func references() map[string]reference {
	return map[string]reference{
		"refresh":   {24, 2660, 1920, 12},
		"user":      {5, 670, 280, 7},
		"anonymous": {11, 1640, 1610, 6},
	}
}

// report sums the rounds up. The cheapest of them tells most of Postern: what other work on the machine adds, to caches and clocks
// too, is never less than nothing.
func report(o options, rounds [][]row, quiet, storm latencies, starts []time.Duration, idle, peak float64) {
	fmt.Println("Processor time per request in the cheapest round, server and database together, against Supabase Auth 2.196:")
	fmt.Printf("  %-12s %12s %12s %12s %26s %14s\n", "", "postern µs", "theirs µs", "one in", "one in, dearest round", "statements")
	known := references()
	for _, r := range rounds[0] {
		theirs, ok := known[r.name]
		if !ok {
			continue
		}
		best, worst := extremes(rounds, r.name)
		total := theirs.server + theirs.database
		fmt.Printf("  %-12s %12.0f %12.0f %12.1f %26.1f %7.2f / %-4.0f goal: one in %.0f\n", r.name, best.cost(), total,
			total/best.cost(), total/worst.cost(), best.statements, theirs.statements, theirs.goal)
	}
	fmt.Printf("\nA refresh while 16 clients sign in without a pause (theirs: p99 2300 ms; goal: 3 times the quiet one):\n")
	for _, rows := range rounds {
		p99 := map[string]float64{}
		for _, r := range rows {
			p99[r.name] = r.p99
		}
		fmt.Printf("  %d clients, each as fast as it can: p99 %.1f ms quiet, %.1f in the storm, %.1f times\n", o.clients,
			p99["refresh"], p99["refresh_in_login_storm"], p99["refresh_in_login_storm"]/p99["refresh"])
	}
	print := func(name string, l latencies) {
		fmt.Printf("  %-24s p99 %8.1f ms, p95 %.1f, p50 %.1f; %.0f a second due, %.0f done, %d errors\n", name,
			milliseconds(l.p99), milliseconds(l.p95), milliseconds(l.p50), l.rate, l.done, l.errors)
	}
	print("at a fixed rate, quiet", quiet)
	print("at a fixed rate, storm", storm)
	fmt.Printf("  in the storm %.1f times the quiet one; %.0f logins a second beside it\n",
		milliseconds(storm.p99)/milliseconds(quiet.p99), storm.loginsPerSecond)

	fmt.Printf("\nResident memory: %.0f MB idle (goal: 40), %.0f MB at most under load (goal: 100)\n", idle, peak)
	fmt.Printf("Start to first answer: median %.0f ms, %.0f to %.0f in %d starts (goal: 100)\n", milliseconds(starts[len(starts)/2]),
		milliseconds(starts[0]), milliseconds(starts[len(starts)-1]), len(starts))
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
