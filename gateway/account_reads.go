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

// accountReads reads the accounts of callers, several with one statement under load: a read that comes while a statement is under way
// waits for the next, which takes along all that wait. Most of what the statement for one account costs is its start and its round
// trip. A lone read waits for nobody, and a slow statement for nobody but its own. It is safe for concurrent use.
type accountReads struct {
	server     *Server
	statements int // at once

	mu      sync.Mutex
	running int
	began   time.Time // the latest statement
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

	// accountReadsPace is how long reads wait for the statement before theirs. From a database next door it is back by then.
	accountReadsPace = 2 * time.Millisecond

	readAccounts = `select n, answer from postern.get_users(user_ids => $1, session_ids => $2)`
)

// newAccountReads leaves half of the pool to others, whatever holds up the reads.
func newAccountReads(s *Server) *accountReads {
	return &accountReads{server: s, statements: max(1, s.config.PoolSize/2)}
}

// read returns what postern.get_users answers to one caller.
func (b *accountReads) read(deadline time.Time, userID, sessionID string) ([]byte, error) {
	r := &accountRead{userID: userID, sessionID: sessionID, deadline: deadline, done: make(chan struct{})}
	if reads := b.enter(r); reads != nil {
		b.answer(reads)
	}
	select {
	case <-r.done:
		return r.raw, r.err
	default:
	}

	patience := time.NewTimer(min(b.server.config.PoolWait, time.Until(deadline)))
	defer patience.Stop()
	pace := time.NewTimer(accountReadsPace)
	defer pace.Stop()
	for {
		select {
		case <-r.done:
			return r.raw, r.err
		case <-pace.C:
			if reads := b.overtake(r); reads != nil {
				b.answer(reads)
			}
		case <-patience.C:
			if b.leave(r) {
				return nil, &unavailableError{cause: context.DeadlineExceeded, isFull: true}
			}
			<-r.done // its statement is under way, and ends by itself
			return r.raw, r.err
		}
	}
}

// enter queues a read, and returns all that wait when it is time for the next statement.
func (b *accountReads) enter(r *accountRead) []*accountRead {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, r)
	if b.running > 0 && (b.running >= b.statements || time.Since(b.began) < accountReadsPace) {
		return nil
	}
	return b.begin()
}

// overtake returns all that wait when the statement that they wait for is slow and one more may run.
func (b *accountReads) overtake(r *accountRead) []*accountRead {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running >= b.statements || !slices.Contains(b.waiting, r) {
		return nil
	}
	return b.begin()
}

// begin counts one statement more, and returns what it is for.
func (b *accountReads) begin() []*accountRead {
	b.running++
	return b.take()
}

// take empties the queue for a statement, up to what one may hold.
func (b *accountReads) take() []*accountRead {
	n := min(len(b.waiting), mostAccountReads)
	reads := b.waiting[:n:n]
	if b.waiting = b.waiting[n:]; len(b.waiting) == 0 {
		b.waiting = nil
	}
	b.began = time.Now()
	return reads
}

// answer runs a statement and ends its turn: whoever waits has the next, in a goroutine of their own, as the request that this is
// part of is answered.
func (b *accountReads) answer(reads []*accountRead) {
	defer func() {
		for _, r := range reads {
			close(r.done)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.waiting) == 0 {
			b.running--
			return
		}
		go b.answer(b.take())
	}()
	b.run(reads)
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
