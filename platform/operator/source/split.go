package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/storage/snapshot"
)

// How far a split's reader runs ahead of the task.
const (
	maxQueued      = 16
	maxQueuedBytes = 2 << 20
)

// progress is what a checkpoint says of a split.
type progress struct {
	Position  connector.Position `json:"-"`
	Watermark int64              `json:"watermark"`
	Idle      bool               `json:"idle,omitempty"`
	Ended     bool               `json:"ended,omitempty"`
}

// storedProgress is progress as JSON; positions are JSON themselves.
type storedProgress struct {
	Position json.RawMessage `json:"position,omitempty"`
	progress
}

// split is one split that the task reads: what was emitted of it, and a
// goroutine that reads ahead.
type split struct {
	id string
	progress
	drainedAt int64 // by the task's clock; 0: something may be waiting
	lag       uint64

	reader connector.Reader
	queue  chan fetched
	done   chan struct{} // closed when the goroutine has ended

	mu    sync.Mutex
	bytes int // in queue
	room  chan struct{}
}

type fetched struct {
	connector.Fetch
	ended bool
	err   error
}

func (s *split) status() element.Status {
	switch {
	case s.Ended:
		return element.Finished
	case s.Idle:
		return element.Idle
	}
	return element.Active
}

// start begins to read; s owns the reader from here on.
func (s *split) start(ctx context.Context, r connector.Reader, wake func()) {
	s.reader = r
	s.queue = make(chan fetched, maxQueued)
	s.room = make(chan struct{}, 1)
	s.done = make(chan struct{})
	go s.read(ctx, wake)
}

func (s *split) read(ctx context.Context, wake func()) {
	defer close(s.done)
	for s.awaitRoom(ctx) {
		fetch, err := s.reader.Next(ctx)
		if ctx.Err() != nil {
			if fetch.Batch != nil {
				fetch.Batch.Release()
			}
			return
		}
		f := fetched{Fetch: fetch, err: err}
		if errors.Is(err, io.EOF) {
			f.ended, f.err = true, nil
		}
		s.mu.Lock()
		s.bytes += f.Bytes
		s.mu.Unlock()
		select {
		case s.queue <- f:
			wake()
		case <-ctx.Done():
			if f.Batch != nil {
				f.Batch.Release()
			}
			return
		}
		if f.ended || f.err != nil {
			return
		}
	}
}

// awaitRoom waits until the queue holds less than its limit; false: the task ends.
func (s *split) awaitRoom(ctx context.Context) bool {
	for {
		s.mu.Lock()
		full := s.bytes >= maxQueuedBytes
		s.mu.Unlock()
		if !full {
			return ctx.Err() == nil
		}
		select {
		case <-s.room:
		case <-ctx.Done():
			return false
		}
	}
}

// take gives what the reader brought, if there is something.
func (s *split) take() (fetched, bool) {
	select {
	case f := <-s.queue:
		s.mu.Lock()
		s.bytes -= f.Bytes
		s.mu.Unlock()
		select {
		case s.room <- struct{}{}:
		default:
		}
		return f, true
	default:
		return fetched{}, false
	}
}

// waiting tells whether the queue holds something.
func (s *split) waiting() bool { return len(s.queue) > 0 }

// close waits for the goroutine and drops what it brought.
func (s *split) close() error {
	if s.reader == nil {
		return nil
	}
	<-s.done
	for {
		f, ok := s.take()
		if !ok {
			break
		}
		if f.Batch != nil {
			f.Batch.Release()
		}
	}
	err := s.reader.Close()
	s.reader = nil
	return err
}

// item is the split's part of a checkpoint; nil as long as nothing is known of it.
func (s *split) item() (*snapshot.Item, error) {
	if s.Position == nil && !s.Ended {
		return nil, nil
	}
	data, err := json.Marshal(storedProgress{json.RawMessage(s.Position), s.progress})
	if err != nil {
		return nil, fmt.Errorf("split %s: %w", s.id, err)
	}
	return &snapshot.Item{Kind: snapshot.KindSplit, Key: s.id, Data: [][]byte{data}}, nil
}

func readProgress(item snapshot.Item) (progress, error) {
	if len(item.Data) != 1 {
		return progress{}, fmt.Errorf("%d parts, want one", len(item.Data))
	}
	var p storedProgress
	if err := json.Unmarshal(item.Data[0], &p); err != nil {
		return progress{}, err
	}
	if len(p.Position) > 0 {
		p.progress.Position = connector.Position(p.Position)
	}
	return p.progress, nil
}
