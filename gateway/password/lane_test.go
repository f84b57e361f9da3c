package password

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// occupy starts a job that holds a worker until the returned function is called.
func occupy(t *testing.T, lane *Lane, client string) (release func()) {
	t.Helper()
	held := make(chan struct{})
	go func() {
		if err := lane.Do(context.Background(), client, func() { <-held }); err != nil {
			t.Errorf("occupy: %v", err)
		}
	}()
	synctest.Wait()
	return func() { close(held); synctest.Wait() }
}

func TestLaneRunsAsManyAsItHasWorkers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lane := NewLane(3, 5*time.Second)
		var now, most atomic.Int64
		var all sync.WaitGroup
		for i := range 30 {
			all.Go(func() {
				err := lane.Do(t.Context(), fmt.Sprint(i), func() {
					running := now.Add(1)
					for seen := most.Load(); running > seen && !most.CompareAndSwap(seen, running); seen = most.Load() {
					}
					time.Sleep(80 * time.Millisecond)
					now.Add(-1)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if most.Load() != 3 {
			t.Errorf("%d jobs at once, want 3", most.Load())
		}
		if lane.running != 0 || lane.queue.Len() != 0 || len(lane.waiting) != 0 {
			t.Errorf("left over: %d running, %d queued, %v", lane.running, lane.queue.Len(), lane.waiting)
		}
	})
}

func TestLaneKeepsTheOrderOfArrival(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lane := NewLane(1, 5*time.Second)
		release := occupy(t, lane, "first")
		var order []int
		for i := range 10 {
			go func() {
				if err := lane.Do(context.Background(), fmt.Sprint(i), func() { order = append(order, i) }); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		release()
		if fmt.Sprint(order) != "[0 1 2 3 4 5 6 7 8 9]" {
			t.Errorf("order %v", order)
		}
	})
}

func TestLaneRefusesWhoWouldWaitTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lane := NewLane(2, 2*firstGuess)
		releases := []func(){occupy(t, lane, "a"), occupy(t, lane, "b")}
		// Two workers end four jobs in the time, beyond the half jobs that run.
		for i := range 4 {
			go func() { _ = lane.Do(context.Background(), fmt.Sprint(i), func() {}) }()
			synctest.Wait()
		}
		err := lane.Do(context.Background(), "late", func() { t.Error("the refused job ran") })
		var busy *BusyError
		if !errors.Is(err, ErrBusy) || !errors.As(err, &busy) || busy.RetryAfter != time.Second {
			t.Errorf("err = %v", err)
		}
		for _, release := range releases {
			release()
		}
		if err := lane.Do(context.Background(), "late", func() {}); err != nil {
			t.Errorf("after the queue has gone: %v", err)
		}
	})
}

func TestLaneGivesOneClientAQuarterOfTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lane := NewLane(1, 16*firstGuess)
		release := occupy(t, lane, "greedy")
		refused := 0
		for range 12 {
			go func() {
				if errors.Is(lane.Do(context.Background(), "greedy", func() {}), ErrBusy) {
					refused++
				}
			}()
			synctest.Wait()
		}
		if waiting := lane.queue.Len(); waiting != 4 || refused != 8 {
			t.Errorf("%d of its jobs wait, %d were refused; want 4 and 8", waiting, refused)
		}
		for _, client := range []string{"other", "", "", "", "", ""} {
			go func() {
				if err := lane.Do(context.Background(), client, func() {}); err != nil {
					t.Errorf("client %q: %v", client, err)
				}
			}()
			synctest.Wait()
		}
		release()
	})
}

func TestLaneIsLeftWhenTheContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lane := NewLane(1, 5*time.Second)
		release := occupy(t, lane, "a")
		ctx, cancel := context.WithCancel(context.Background())
		var left error
		go func() { left = lane.Do(ctx, "b", func() { t.Error("a cancelled job ran") }) }()
		synctest.Wait()
		ran := false
		go func() { _ = lane.Do(context.Background(), "c", func() { ran = true }) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if !errors.Is(left, context.Canceled) || lane.queue.Len() != 1 {
			t.Errorf("err = %v, %d in the queue", left, lane.queue.Len())
		}
		if err := lane.Do(ctx, "b", func() { t.Error("a cancelled job ran") }); !errors.Is(err, context.Canceled) {
			t.Errorf("already cancelled: %v", err)
		}
		release()
		if !ran {
			t.Error("the job behind the cancelled one did not run")
		}
	})
}

func TestLaneWaitsNoLongerThanSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lane := NewLane(1, time.Second)
		release := occupy(t, lane, "slow")
		begun := time.Now()
		err := lane.Do(context.Background(), "b", func() { t.Error("it ran") })
		if !errors.Is(err, ErrBusy) || time.Since(begun) != time.Second {
			t.Errorf("err = %v after %v", err, time.Since(begun))
		}
		release()
	})
}

func TestLaneLearnsHowLongJobsTake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lane := NewLane(1, 5*time.Second)
		for range 60 {
			if err := lane.Do(context.Background(), "a", func() { time.Sleep(time.Second) }); err != nil {
				t.Fatal(err)
			}
		}
		if lane.average < 990*time.Millisecond || lane.average > time.Second {
			t.Errorf("average %v", lane.average)
		}
		release := occupy(t, lane, "a")
		for i := range 5 {
			go func() { _ = lane.Do(context.Background(), fmt.Sprint(i), func() {}) }()
			synctest.Wait()
		}
		var busy *BusyError
		if err := lane.Do(context.Background(), "x", func() {}); !errors.As(err, &busy) || busy.RetryAfter != time.Second {
			t.Errorf("a sixth job of a second each, where five seconds are the limit: %v", err)
		}
		release()
	})
}

func TestLaneSurvivesAPanic(t *testing.T) {
	t.Parallel()
	lane := NewLane(1, time.Second)
	func() {
		defer func() { _ = recover() }()
		_ = lane.Do(context.Background(), "a", func() { panic("job") })
	}()
	if err := lane.Do(context.Background(), "a", func() {}); err != nil || lane.running != 0 {
		t.Errorf("%v, %d running", err, lane.running)
	}
}

// Under the race detector: jobs that come, give up and end at the same moment.
func TestLaneLosesNoWorker(t *testing.T) {
	t.Parallel()
	lane := NewLane(0, 5*time.Second)
	var all sync.WaitGroup
	var ran atomic.Int64
	for i := range 400 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%20)*100*time.Microsecond)
			defer cancel()
			if lane.Do(ctx, fmt.Sprint(i%50), func() { time.Sleep(50 * time.Microsecond) }) == nil {
				ran.Add(1)
			}
		})
	}
	all.Wait()
	if lane.running != 0 || lane.queue.Len() != 0 || len(lane.waiting) != 0 || ran.Load() == 0 {
		t.Errorf("%d running, %d queued, %v waiting, %d ran", lane.running, lane.queue.Len(), lane.waiting, ran.Load())
	}
}
