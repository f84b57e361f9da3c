package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// accountReads reads the accounts of callers, several with one statement under load: a read that comes while as many statements as
// may be are under way waits for the next, which takes along all that wait. Most of what the statement for one account costs is its
// start and its round trip. A lone read waits for nobody. It is safe for concurrent use.
type accountReads struct {
	server     *Server
	statements int // at once

	mu      sync.Mutex
	running int
	waiting []*accountRead
}

// accountRead is one caller's turn. Its answer is there when done is closed.
type accountRead struct {
	userID, sessionID string
	deadline          time.Time
	done              chan struct{}

	raw []byte
	err error
}

const (
	// mostAccountReads bounds a statement, so that it holds nobody up for long.
	mostAccountReads = 64

	readAccounts = `select n, answer from postern.get_users(user_ids => $1, session_ids => $2)`
)

// newAccountReads leaves most of the pool to others, whose statements may have to wait for locks.
func newAccountReads(s *Server) *accountReads {
	return &accountReads{server: s, statements: max(1, s.config.PoolSize/4)}
}

// read returns what postern.get_users answers to one caller.
func (b *accountReads) read(deadline time.Time, userID, sessionID string) ([]byte, error) {
	r := &accountRead{userID: userID, sessionID: sessionID, deadline: deadline, done: make(chan struct{})}
	b.mu.Lock()
	if b.running < b.statements {
		b.running++
		b.mu.Unlock()
		defer b.handOver()
		b.run([]*accountRead{r})
		return r.raw, r.err
	}
	b.waiting = append(b.waiting, r)
	b.mu.Unlock()

	timer := time.NewTimer(min(b.server.config.PoolWait, time.Until(deadline)))
	defer timer.Stop()
	select {
	case <-r.done:
	case <-timer.C:
		if b.leave(r) {
			return nil, &unavailableError{cause: context.DeadlineExceeded, isFull: true}
		}
		<-r.done // its statement is under way, and ends by itself
	}
	return r.raw, r.err
}

// leave takes a read out of the queue, and reports whether it was still there.
func (b *accountReads) leave(r *accountRead) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := slices.Index(b.waiting, r)
	if at >= 0 {
		b.waiting = slices.Delete(b.waiting, at, at+1)
	}
	return at >= 0
}

// handOver ends a statement's turn: whoever waits has the next, in a goroutine of their own, as this one's request is answered.
func (b *accountReads) handOver() {
	next := b.next()
	if next == nil {
		return
	}
	go func() {
		for ; next != nil; next = b.next() {
			b.run(next)
			for _, r := range next {
				close(r.done)
			}
		}
	}()
}

// next takes who waits out of the queue; nil ends the turn.
func (b *accountReads) next() []*accountRead {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		b.running--
		return nil
	}
	next := b.waiting
	b.waiting = nil
	if len(next) > mostAccountReads {
		b.waiting = slices.Clone(next[mostAccountReads:])
		next = next[:mostAccountReads]
	}
	return next
}

// run answers reads with one statement; each with its own when data that the server cannot read spoils that for all.
func (b *accountReads) run(reads []*accountRead) {
	err := b.query(reads)
	if err != nil && len(reads) > 1 && spoilt(err) {
		for _, r := range reads {
			r.err = b.query([]*accountRead{r})
		}
		return
	}
	for _, r := range reads {
		r.err = err
	}
}

// spoilt reports whether an error is about the data: not about the connection, the time it took, or others' locks.
func spoilt(err error) bool {
	code := sqlState(err)
	return code != "" && !slices.Contains([]string{"08", "40", "53", "55", "57"}, code[:2])
}

// query fills in the answers.
func (b *accountReads) query(reads []*accountRead) error {
	var userIDs, sessionIDs strings.Builder
	deadline := reads[0].deadline
	for i, r := range reads {
		if r.deadline.After(deadline) {
			deadline = r.deadline
		}
		r.raw = nil
		addUUID(&userIDs, i, r.userID)
		addUUID(&sessionIDs, i, r.sessionID)
	}
	userIDs.WriteByte('}')
	sessionIDs.WriteByte('}')

	_, err := b.server.withConn(deadline, func(ctx context.Context, conn *pgxpool.Conn) ([]byte, error) {
		rows, err := conn.Query(ctx, readAccounts, userIDs.String(), sessionIDs.String())
		if err != nil {
			return nil, err
		}
		var n int
		var raw []byte
		_, err = pgx.ForEachRow(rows, []any{&n, &raw}, func() error {
			if n < 1 || n > len(reads) {
				return fmt.Errorf("postern.get_users answered caller %d of %d", n, len(reads))
			}
			reads[n-1].raw = raw
			return nil
		})
		return nil, err
	})
	return err
}

// addUUID adds an element to an array as PostgreSQL reads it. Claims were checked for being UUIDs; none is NULL.
func addUUID(array *strings.Builder, at int, id string) {
	switch at {
	case 0:
		array.WriteByte('{')
	default:
		array.WriteByte(',')
	}
	if id == "" {
		id = "NULL"
	}
	array.WriteString(id)
}
