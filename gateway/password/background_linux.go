package password

import (
	"runtime"
	"syscall"
)

// hashingNice is the scheduling priority of threads that hash: requests that only need a moment of a core go first. At 5 a
// hash still gets a third of what another busy thread does; lower, whoever keeps the machine busy would keep people out.
const hashingNice = 5

// inBackground runs a job on a thread of its own with a low priority, and returns when it is done. The thread ends with the
// job: an ordinary user cannot raise a priority again.
func inBackground(job func()) {
	done := make(chan any)
	go func() {
		runtime.LockOSThread()
		// A refusal is harmless: the job then competes as before.
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), hashingNice)
		defer func() { done <- recover() }()
		job()
	}()
	if cause := <-done; cause != nil {
		panic(cause)
	}
}
