//go:build !linux

package password

// inBackground runs a job; other systems than Linux have no priority for a single thread.
func inBackground(job func()) { job() }
