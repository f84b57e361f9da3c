package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

const (
	cleanupInterval = 30 * time.Second
	cleanupPause    = 200 * time.Millisecond // between two batches while there is more to delete
)

// keepHouse has the database delete what has expired. SQL knows whether that is switched on (contract core.md 12.6), and lets one
// gateway at a time do it.
func (s *Server) keepHouse(ctx context.Context) {
	for {
		wait := cleanupInterval
		isDone, err := s.cleanUp()
		if err != nil && ctx.Err() == nil {
			s.log.Warn("deleting what has expired failed, trying again later", "error", err)
		} else if err == nil && !isDone {
			wait = cleanupPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// cleanUp deletes one batch, and reports whether that was all that this gateway has to do for now.
func (s *Server) cleanUp() (isDone bool, err error) {
	a, err := s.callOnce(`select postern.cleanup(is_scheduled => true)`)
	if err != nil {
		return false, err
	}
	var outcome struct {
		IsBusy   bool              `json:"is_busy"`
		IsDone   bool              `json:"is_done"`
		Problems map[string]string `json:"problems"`
	}
	if err := json.Unmarshal(a.Body, &outcome); err != nil {
		return false, fmt.Errorf("decoding what was deleted: %w", err)
	}
	for part, problem := range outcome.Problems {
		s.log.Warn("what has expired could not be deleted, by a trigger or foreign key of yours perhaps", "part", part, "error", problem)
	}
	return outcome.IsDone || outcome.IsBusy, nil
}
