package gateway

import (
	"testing"
	"time"
)

// Who waits behind a slow statement begins the next, unless as many as may be are under way or somebody took it along.
func TestWaitingReadsOvertakeASlowStatement(t *testing.T) {
	t.Parallel()
	b := &accountReads{statements: 2, running: 1, began: time.Now().Add(time.Hour)}
	one, two, late := new(accountRead), new(accountRead), new(accountRead)
	if b.enter(one) != nil || b.enter(two) != nil {
		t.Fatal("a read did not wait for the statement that has just begun")
	}
	if got := b.overtake(one); len(got) != 2 || got[0] != one || got[1] != two {
		t.Fatalf("the next statement is for %d reads, want both that wait", len(got))
	}
	if b.overtake(two) != nil || b.leave(two) {
		t.Error("a read that a statement took along is still in the queue")
	}
	if b.enter(late) != nil || b.overtake(late) != nil {
		t.Error("a third statement began where two may run")
	}
	if !b.leave(late) || b.leave(late) {
		t.Error("a read leaves the queue once")
	}
}

func TestAStatementHoldsSoManyReads(t *testing.T) {
	t.Parallel()
	b := &accountReads{statements: 1, running: 1}
	for range mostAccountReads + 1 {
		b.enter(new(accountRead))
	}
	if got := len(b.take()); got != mostAccountReads {
		t.Errorf("one statement is for %d reads", got)
	}
	if got := len(b.take()); got != 1 || b.waiting != nil {
		t.Errorf("the next is for %d, and %d wait on", got, len(b.waiting))
	}
}
