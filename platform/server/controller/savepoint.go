package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/scheduler"
)

// savepointTries is how often a savepoint's manifest is tried to be stored: while it is, no checkpoint is taken.
const savepointTries = 4

// savepoints are the requests that wait for an answer of the core.
type savepoints struct {
	mu      sync.Mutex // guards what follows
	last    uint64
	waiting map[uint64]chan scheduler.SavepointDone
}

// errResigned ends the wait for a savepoint of a leader that is none any more.
var errResigned = errors.New("make savepoint: the leader changed meanwhile; look at the list of savepoints, and ask again")

// Savepoint makes a savepoint of a pipeline and waits for it. Only the leader can.
func (c *Controller) Savepoint(ctx context.Context, uid, label string) (id string, err error) {
	if !c.options.Node.Leads() {
		_, address := c.options.Node.Leader()
		return "", fmt.Errorf("make savepoint: %w (it is at %s)", raftmeta.ErrNotLeader, address)
	}
	answer := make(chan scheduler.SavepointDone, 1)
	w := &c.savepoints
	w.mu.Lock()
	w.last++
	token := w.last
	if w.waiting == nil {
		w.waiting = map[uint64]chan scheduler.SavepointDone{}
	}
	w.waiting[token] = answer
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting, token)
	}()
	c.Tell(scheduler.SavepointRequested{UID: uid, Label: label, Token: token})
	select {
	case done := <-answer:
		return done.ID, done.Err
	case <-c.done:
		return "", errResigned
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (s *savepoints) answer(d scheduler.SavepointDone) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer := s.waiting[d.Token]; answer != nil {
		answer <- d
		delete(s.waiting, d.Token)
	}
}

// resign answers all that wait: what this leader was at is forgotten.
func (s *savepoints) resign() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for token, answer := range s.waiting {
		answer <- scheduler.SavepointDone{Token: token, Err: errResigned}
		delete(s.waiting, token)
	}
}

// writeSavepoint stores the manifest of a savepoint and answers the core.
func (c *Controller) writeSavepoint(ctx context.Context, a scheduler.WriteSavepoint) scheduler.Event {
	out := scheduler.SavepointWritten{UID: a.UID, Token: a.Token}
	wait := firstRetry
	for try := 1; ; try++ {
		m, err := snapshot.ReadManifest(ctx, c.options.Blobs, ManifestName(a.UID, a.Checkpoint), snapshot.Digest(a.Checkpoint.Manifest))
		if err == nil {
			var digest snapshot.Digest
			if digest, err = snapshot.WriteSavepoint(ctx, c.options.Blobs, m.ForSavepoint()); err == nil {
				copy(out.Digest[:], digest[:])
				return out
			}
		}
		if try == savepointTries {
			out.Reason = err.Error()
			return out
		}
		select {
		case <-time.After(wait):
			wait = min(2*wait, mostRetry)
		case <-ctx.Done():
			out.Reason = ctx.Err().Error()
			return out
		}
	}
}
