package runtime

import (
	"context"
	"fmt"
	"sync"

	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
)

// loopSender is the sending end of a feedback edge. It never waits: tasks of a
// cycle that waited for each other would wait for ever. What finds no credit
// waits here; how much of it there may be is the cycle's limit.
type loopSender struct {
	cycle *cycle
	to    Sender
	wake  chan struct{}

	mu      sync.Mutex
	queue   []queued
	head    int
	sending bool // the goroutine holds an element that it has taken from the queue
}

type queued struct {
	element element.Element
	size    int64
}

// Send queues an element, or passes it on at once if nothing waits before it.
func (s *loopSender) Send(_ context.Context, e element.Element) error {
	if e.Kind == element.KindWatermark || e.Kind == element.KindEndOfInput {
		return nil // nothing of a cycle's event time comes from itself, and it does not end
	}
	s.mu.Lock()
	if !s.sending && s.head == len(s.queue) {
		// A queue in this process is tried first: mostly there is room.
		if c, ok := s.to.(*local.Channel); ok && c.Put(e, 0) {
			s.mu.Unlock()
			return nil
		}
	}
	size := sizeOf(e.Batch)
	s.queue = append(s.queue, queued{e, size})
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	if now := s.cycle.waiting.Add(size); now > FeedbackMaxBytes {
		return s.cycle.task.runaway(now)
	}
	return nil
}

// runaway names the operators that take the most.
func (t *Task) runaway(bytes int64) error {
	return fmt.Errorf("%d MiB of messages wait in the loop of stage %q, the limit is %d; most go through %s: %w",
		bytes>>20, t.spec.Stage.Name, FeedbackMaxBytes>>20, t.busiest(), ErrRunaway)
}

// run sends what waits, in order.
func (s *loopSender) run(ctx context.Context) {
	for {
		q, ok := s.next()
		if !ok {
			select {
			case <-s.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		err := s.to.Send(ctx, q.element)
		s.mu.Lock()
		s.sending = false
		s.mu.Unlock()
		before := s.cycle.waiting.Add(-q.size) + q.size
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.cycle.task.fail(err)
			return
		case before > FeedbackHighBytes && before-q.size <= FeedbackHighBytes:
			s.cycle.task.signal()
		}
	}
}

func (s *loopSender) next() (queued, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head == len(s.queue) {
		s.queue, s.head = s.queue[:0], 0
		return queued{}, false
	}
	q := s.queue[s.head]
	s.queue[s.head] = queued{}
	s.head++
	s.sending = true
	return q, true
}

// drop releases what waits; after run has ended.
func (s *loopSender) drop() {
	for _, q := range s.queue[s.head:] {
		if q.element.Batch != nil {
			q.element.Batch.Release()
		}
	}
	s.queue, s.head = nil, 0
}
