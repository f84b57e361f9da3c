package password

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// firstGuess is how long a job is taken to last until some have been seen: a
// bcrypt comparison of cost 10.
const firstGuess = 80 * time.Millisecond

// ErrBusy is what errors.Is finds in a refusal of the lane; it is a *BusyError.
var ErrBusy = errors.New("too many passwords are waiting to be hashed")

// BusyError refuses a job that would have to wait for too long.
type BusyError struct {
	RetryAfter time.Duration // whole seconds, at least one
}

// Error says what happened and when to come back.
func (e *BusyError) Error() string { return fmt.Sprintf("%v, retry after %v", ErrBusy, e.RetryAfter) }

// Is makes errors.Is(err, ErrBusy) true.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// Lane runs jobs that take a core for long: a few at a time, in the order of
// their arrival. The queue is bounded by the time that its last job will wait,
// reckoned from the jobs seen so far, and one client may hold a quarter of it. A
// lane is safe for concurrent use.
type Lane struct {
	workers int
	maxWait time.Duration

	mu      sync.Mutex
	running int
	queue   list.List // of *place
	waiting map[string]int
	average time.Duration // of the latest jobs, the newest weighing an eighth
}

// place is a job's place in the queue. Its turn is told by closing the channel,
// under the lane's lock, so that a job never both leaves and is given its turn.
type place struct {
	client string
	turn   chan struct{}
}

// NewLane makes a lane. Without workers (0) it has one for each core that Go
// uses. A job waits maxWait at most.
func NewLane(workers int, maxWait time.Duration) *Lane {
	if workers < 1 {
		workers = runtime.GOMAXPROCS(0)
	}
	return &Lane{workers: workers, maxWait: maxWait, waiting: map[string]int{}, average: firstGuess}
}

// Do waits for a turn, runs job with a low priority, and returns nil. It
// returns a *BusyError at once when the queue is too long or the client holds
// its share of it, the same when the turn has not come after all in the longest
// waiting time, and the context's error when that ends first; then job has not
// run. A job that has begun is never interrupted. client is the caller's
// address; "" is one that is not known and has no share of its own.
func (l *Lane) Do(ctx context.Context, client string, job func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	spot, err := l.enter(client)
	if err != nil {
		return err
	}
	if spot != nil {
		if err := l.wait(ctx, spot); err != nil {
			return err
		}
	}
	begun := time.Now()
	defer func() { l.leave(time.Since(begun)) }() // also when the job panics
	inBackground(job)
	return nil
}

// enter takes a free worker and returns nil, or a place in the queue.
func (l *Lane) enter(client string) (*list.Element, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running < l.workers {
		l.running++
		return nil, nil //nolint:nilnil // no place is needed: it is this job's turn
	}
	if expected := l.expectedWait(); expected > l.maxWait {
		return nil, refusal(expected - l.maxWait)
	}
	if client != "" && l.waiting[client] >= l.share() {
		// One of the client's own jobs must come through first.
		return nil, refusal(l.expectedWait() / time.Duration(l.share()))
	}
	l.waiting[client]++
	return l.queue.PushBack(&place{client: client, turn: make(chan struct{})}), nil
}

// wait returns nil when it is the place's turn.
func (l *Lane) wait(ctx context.Context, spot *list.Element) error {
	timer := time.NewTimer(l.maxWait)
	defer timer.Stop()
	turn := spot.Value.(*place).turn
	var err error
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-turn: // it came at the same moment
		if err == nil {
			return nil
		}
		l.next()
	default:
		l.remove(spot)
		if err == nil {
			err = refusal(l.expectedWait())
		}
	}
	return err
}

// leave notes how long a job took and gives its worker away.
func (l *Lane) leave(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.average += (took - l.average) / 8
	l.next()
}

// next passes a free worker to the longest waiting job.
func (l *Lane) next() {
	first := l.queue.Front()
	if first == nil {
		l.running--
		return
	}
	l.remove(first)
	close(first.Value.(*place).turn)
}

func (l *Lane) remove(spot *list.Element) {
	client := l.queue.Remove(spot).(*place).client
	if l.waiting[client]--; l.waiting[client] == 0 {
		delete(l.waiting, client) // or addresses would pile up
	}
}

// expectedWait is how long a job that came now would wait: until one of the
// running ones ends, for which half a job is taken, and the queue before it.
func (l *Lane) expectedWait() time.Duration {
	return (l.average/2 + l.average*time.Duration(l.queue.Len())) / time.Duration(l.workers)
}

// share is how many places one client may hold: a quarter of those that the
// longest waiting time has room for, at least one.
func (l *Lane) share() int {
	room := l.maxWait * time.Duration(l.workers) / max(l.average, time.Microsecond)
	return max(1, int(room/4))
}

func refusal(after time.Duration) *BusyError {
	seconds := (after + time.Second - 1) / time.Second
	return &BusyError{RetryAfter: max(1, seconds) * time.Second}
}
