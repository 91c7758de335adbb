package controller

import (
	"context"
	"sync"
)

// outbox delivers words to workers in order, beside the core's goroutine: a
// worker may answer at once, and its answer must never wait for a queue that
// only the core empties. It holds at most a few words a job.
type outbox struct {
	mu    sync.Mutex // guards queue
	queue []func()
	wake  chan struct{}
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

func (o *outbox) put(say func()) {
	o.mu.Lock()
	o.queue = append(o.queue, say)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) run(ctx context.Context) {
	for {
		select {
		case <-o.wake:
		case <-ctx.Done():
			return
		}
		o.mu.Lock()
		queue := o.queue
		o.queue = nil
		o.mu.Unlock()
		for _, say := range queue {
			say()
		}
	}
}
