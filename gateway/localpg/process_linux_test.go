package localpg

import (
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// A program that is started at the same moment does not keep the lock for a while.
func TestTheLockIsFreeOnceItIsReleased(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	var starting sync.WaitGroup
	ended := make(chan struct{})
	starting.Go(func() {
		for {
			select {
			case <-ended:
				return
			default:
				_ = exec.CommandContext(t.Context(), "true").Run() // whether it runs does not matter
			}
		}
	})
	for range 5000 {
		release, err := lock(path)
		if err != nil {
			t.Error(err)
			break
		}
		if _, err := lock(path); err == nil {
			t.Error("taken twice")
			break
		}
		release()
	}
	close(ended)
	starting.Wait()
}
