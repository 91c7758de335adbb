package e2e

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Limits of feeding.
const (
	publishLimit = 2 * time.Second
	retryAfter   = 20 * time.Millisecond
)

// Feed publishes a workload exactly once through every death of the server:
// each partition has one message on its way, which says what must stand before
// it, so one whose answer was lost is found by asking.
type Feed struct {
	Fed     atomic.Int64 // records that are stored for sure
	allowed atomic.Uint64
	wait    sync.WaitGroup
	mu      sync.Mutex
	err     error
}

// Allow lets a share of the workload, 0 to 1, be fed.
func (f *Feed) Allow(share float64) { f.allowed.Store(math.Float64bits(share)) }

func (f *Feed) share() float64 { return math.Float64frombits(f.allowed.Load()) }

// StartFeed begins to feed a topic; Wait waits for the end.
func StartFeed(ctx context.Context, nc *nats.Conn, stream, topic string, w *Workload) (*Feed, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	f := &Feed{}
	for p := range w.Partitions {
		f.wait.Go(func() {
			if err := f.partition(ctx, js, stream, topic, w, p); err != nil {
				f.mu.Lock()
				f.err = errors.Join(f.err, err)
				f.mu.Unlock()
			}
		})
	}
	return f, nil
}

// Wait waits until everything is fed.
func (f *Feed) Wait() error {
	f.wait.Wait()
	return f.err
}

func (f *Feed) partition(ctx context.Context, js jetstream.JetStream, stream, topic string, w *Workload, p int) error {
	subject := fmt.Sprintf("weir.t.%s.%s.%d.r", Namespace, topic, p)
	total := len(w.partitions[p])
	last, before := uint64(0), 0
	var failed error
	err := w.frames(p, func(msg []byte, rows int) bool {
		for float64(rows) > f.share()*float64(total)+0.5 {
			if failed = pause(ctx, retryAfter); failed != nil {
				return false
			}
		}
		last, failed = store(ctx, js, stream, &nats.Msg{Subject: subject, Data: msg, Header: nats.Header{"Weir-Frame": {"1"}}}, last)
		f.Fed.Add(int64(rows - before))
		before = rows
		return failed == nil
	})
	return errors.Join(err, failed)
}

// store stores a message behind the subject's message of sequence last, once.
func store(ctx context.Context, js jetstream.JetStream, stream string, m *nats.Msg, last uint64) (uint64, error) {
	for {
		try, cancel := context.WithTimeout(ctx, publishLimit)
		ack, err := js.PublishMsg(try, m, jetstream.WithExpectLastSequencePerSubject(last), jetstream.WithRetryAttempts(0))
		cancel()
		if err == nil {
			return ack.Sequence, nil
		}
		if err := pause(ctx, retryAfter); err != nil {
			return 0, err
		}
		sequence, err := lastOf(ctx, js, stream, m.Subject)
		switch {
		case err != nil: // the server is down; ask and publish again
		case sequence > last:
			return sequence, nil // it was stored and the answer was lost
		case sequence < last:
			return 0, fmt.Errorf("subject %s ends at %d, %d was acknowledged: the log lost it", m.Subject, sequence, last)
		}
	}
}

// lastOf is the sequence of a subject's last message, 0 without one.
func lastOf(ctx context.Context, js jetstream.JetStream, stream, subject string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	m, err := s.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return m.Sequence, nil
}

// pause waits a moment between two tries.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
