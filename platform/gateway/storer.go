package gateway

import (
	"context"
	"fmt"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// MaxQueuedBytes bounds the messages to functions of one pipeline that wait to be stored.
const MaxQueuedBytes = 64 << 20

// request is messages that are stored together or not at all.
type request struct {
	messages []*weirv1.FunctionMessage
	call     functions.CallID // whose messages they are; zero: the outside's
	size     int
	stored   chan error // gets one
}

// storer stores the requests to one pipeline. While one frame is on its way the
// requests that come meanwhile gather for the next, so that a request waits for at
// most two, and many cost little more than one. It is gone when nothing waits.
type storer struct {
	pipeline *catalog.Pipeline
	queue    []*request
	size     int
}

// together stores messages in a frame with what others send at the same time. When
// ctx ends first they may be stored or not.
func (g *Gateway) together(ctx context.Context, p *catalog.Pipeline, messages []*weirv1.FunctionMessage, call functions.CallID) error {
	r := &request{messages: messages, call: call, stored: make(chan error, 1)}
	for _, m := range messages {
		r.size += sizeOf(m)
	}
	if err := g.queue(p, r); err != nil {
		return err
	}
	select {
	case err := <-r.stored:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *Gateway) queue(p *catalog.Pipeline, r *request) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	s := g.storers[p.UID]
	if s == nil {
		s = &storer{pipeline: p}
		g.storers[p.UID] = s
		g.tasks.Go(func() { g.run(s) })
	}
	if s.size+r.size > MaxQueuedBytes {
		return hint(fmt.Errorf("%w: %d bytes of messages wait to be stored, the limit", ErrBusy, MaxQueuedBytes), "send again in a moment")
	}
	s.queue, s.size = append(s.queue, r), s.size+r.size
	return nil
}

// run stores until nothing waits.
func (g *Gateway) run(s *storer) {
	for {
		batch := g.take(s)
		if batch == nil {
			return
		}
		_, err := g.store(g.ending, s.pipeline, batch, "")
		if err != nil && g.ending.Err() != nil {
			err = ErrClosed
		}
		for _, r := range batch {
			r.stored <- err
		}
	}
}

// take gives the requests of the next frame; none ends the storer.
func (g *Gateway) take(s *storer) []*request {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, rows, size := 0, 0, 0
	for n < len(s.queue) {
		r := s.queue[n]
		if n > 0 && (rows+len(r.messages) > MaxMessages || size+r.size > MaxBytes) {
			break
		}
		n, rows, size = n+1, rows+len(r.messages), size+r.size
	}
	if n == 0 {
		delete(g.storers, s.pipeline.UID)
		return nil
	}
	batch := s.queue[:n:n]
	s.queue, s.size = s.queue[n:], s.size-size
	return batch
}
