package mail

import (
	"context"
	"slices"
	"sync"
	"time"
)

// relay is a Relay with its open connections and what it did lately.
type relay struct {
	Relay
	helo        string
	timeout     time.Duration
	firstRest   time.Duration
	implicitTLS bool // TLS from the start

	mu       sync.Mutex
	idle     []*connection
	closed   bool
	failures int       // in a row
	failed   time.Time // when the last of them was seen
	restsTo  time.Time
	words    string // of the last failure
}

// deliver sends a mail over an idle connection or a new one.
func (r *relay) deliver(ctx context.Context, mail *composed) (string, *trouble) {
	for {
		c := r.take()
		reused := c != nil
		if !reused {
			var t *trouble
			if c, t = r.connect(ctx); t != nil {
				return "", t
			}
		}
		reply, t := c.transmit(ctx, mail)
		if t != nil && reused && t.stale() && ctx.Err() == nil {
			c.abort()
			continue
		}
		if t == nil || t.alive {
			r.keep(c)
		} else {
			c.abort()
		}
		return reply, t
	}
}

// take returns the connection that was used last, or nil.
func (r *relay) take() *connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.idle) == 0 {
		return nil
	}
	c := r.idle[len(r.idle)-1]
	r.idle = r.idle[:len(r.idle)-1]
	c.expiry.Stop()
	return c
}

// keep makes a connection ready for the next mail, unless it has served its time.
func (r *relay) keep(c *connection) {
	r.mu.Lock()
	if !r.closed && len(r.idle) < mostIdle && c.sent < mostSent {
		c.expiry = time.AfterFunc(idleTime, func() { r.expire(c) })
		r.idle = append(r.idle, c)
		c = nil
	}
	r.mu.Unlock()
	if c != nil {
		// The relay's goodbye is nothing that a mail should wait for.
		go c.quit()
	}
}

// expire closes a connection that nobody took in the meantime.
func (r *relay) expire(c *connection) {
	r.mu.Lock()
	at := slices.Index(r.idle, c)
	if at >= 0 {
		r.idle = slices.Delete(r.idle, at, at+1)
	}
	r.mu.Unlock()
	if at >= 0 {
		c.quit()
	}
}

// ready tells whether the relay may be asked. After a rest one mail goes ahead,
// while the others wait for how it fares.
func (r *relay) ready(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Before(r.restsTo) {
		return false
	}
	if r.failures > 0 {
		r.restsTo = now.Add(r.pause())
	}
	return true
}

// awake ends the rest of a relay that answered.
func (r *relay) awake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures, r.restsTo = 0, time.Time{}
}

// release lets the next mail ask: this one was called back before it knew.
func (r *relay) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restsTo = time.Time{}
}

// rest leaves the relay alone for a while, longer each time. Mails that were
// under way together count as one failure.
func (r *relay) rest(begun time.Time, words string) {
	r.mu.Lock()
	idle := r.idle
	r.idle = nil
	if begun.After(r.failed) || r.failures == 0 {
		r.failures++
		r.failed = time.Now()
		r.restsTo = r.failed.Add(r.pause())
	}
	r.words = words
	r.mu.Unlock()
	for _, c := range idle {
		c.expiry.Stop()
		c.abort()
	}
}

// pause is the length of the rest after so many failures; callers hold the lock.
func (r *relay) pause() time.Duration {
	return min(longestRest, r.firstRest<<min(r.failures-1, 10))
}

// restLeft is when the rest ends.
func (r *relay) restLeft(now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.restsTo.Before(now) {
		return now
	}
	return r.restsTo
}

func (r *relay) lastWords() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.words
}
