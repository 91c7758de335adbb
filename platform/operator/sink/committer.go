package sink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/operator"
)

// Limits of the committer.
const (
	maxCarried  = 16 // epochs that wait for a commit
	firstRetry  = 50 * time.Millisecond
	longestWait = 5 * time.Second
)

// committer publishes committed transactions in the order of their checkpoints.
//
// An epoch that is committed and not published holds the next snapshot back, so
// at most one is pending. An epoch that is not committed when the next barrier
// comes may have been given up; its transaction is carried in the next snapshot
// and published with it, so no output is lost with a checkpoint that failed.
type committer struct {
	sink connector.Sink
	ctx  *operator.Context
	sync time.Duration
	done chan struct{} // closed when the goroutine has ended

	signal chan struct{} // something is to be done

	mu        sync.Mutex
	epochs    []*epoch // in order of checkpoints
	published []connector.Transaction
}

// epoch is one checkpoint's output.
type epoch struct {
	checkpoint   uint64
	transactions []connector.Transaction // of one writer, or of those restored
	report       bool                    // the catalog waits for Published
	committed    bool
	published    chan struct{} // closed when all are visible
}

func newCommitter(s connector.Sink, ctx *operator.Context, sync time.Duration, restored []connector.Transaction) *committer {
	c := &committer{sink: s, ctx: ctx, sync: sync, signal: make(chan struct{}, 1), done: make(chan struct{})}
	if len(restored) > 0 || ctx.RestoredFrom > 0 {
		c.epochs = append(c.epochs, &epoch{checkpoint: ctx.RestoredFrom, transactions: restored, committed: true, report: true, published: make(chan struct{})})
	}
	return c
}

func (c *committer) start(ctx context.Context) {
	c.wake()
	go c.run(ctx)
}

func (c *committer) wait() { <-c.done }

func (c *committer) wake() {
	select {
	case c.signal <- struct{}{}:
	default:
	}
}

// barrier notes a prepared transaction. carried are those that the snapshot must
// hold; ready, if not nil, is closed when the snapshot may be acknowledged.
func (c *committer) barrier(t connector.Transaction) (carried []connector.Transaction, ready <-chan struct{}, err error) {
	c.mu.Lock()
	for _, e := range c.epochs {
		if e.committed {
			ready = e.published // the last one of these is published last
			continue
		}
		carried = append(carried, e.transactions...)
	}
	c.mu.Unlock()
	if len(carried) >= maxCarried {
		return nil, nil, fmt.Errorf("%d checkpoints in a row were prepared and not committed: find out why they do not finish", len(carried))
	}
	c.prepared(t, &carried)
	return carried, ready, nil
}

func (c *committer) prepared(t connector.Transaction, carried *[]connector.Transaction) {
	e := &epoch{checkpoint: t.Checkpoint, report: true, published: make(chan struct{})}
	if len(t.Chunks) > 0 {
		e.transactions = []connector.Transaction{t}
		c.ctx.Meter.PendingTransactionBytes.Add(sizeOf(t))
	}
	if carried != nil {
		*carried = append(*carried, e.transactions...)
	}
	c.mu.Lock()
	c.epochs = append(c.epochs, e)
	c.mu.Unlock()
}

func sizeOf(t connector.Transaction) int64 {
	n := 0
	for _, chunk := range t.Chunks {
		n += len(chunk)
	}
	return int64(n)
}

// committed: every epoch up to the checkpoint is in the catalog, the ones before
// it because it carries them.
func (c *committer) committed(checkpoint uint64) {
	c.mu.Lock()
	for _, e := range c.epochs {
		if e.checkpoint <= checkpoint && !e.committed {
			e.committed = true
			// A checkpoint that was given up is published with its successor, which
			// alone the catalog asks for.
			e.report = e.checkpoint == checkpoint
		}
	}
	c.mu.Unlock()
	c.wake()
}

// takePublished gives the transactions that were published since the last call.
func (c *committer) takePublished() []connector.Transaction {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.published
	c.published = nil
	return out
}

func (c *committer) oldest() *epoch {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.epochs) == 0 || !c.epochs[0].committed {
		return nil
	}
	return c.epochs[0]
}

func (c *committer) run(ctx context.Context) {
	defer close(c.done)
	var reports []report // published, and not yet on the disk for sure
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		for e := c.oldest(); e != nil; e = c.oldest() {
			if err := c.publish(ctx, e); err != nil {
				if ctx.Err() == nil {
					c.ctx.Fail(err)
				}
				return
			}
			c.forget(e)
			if e.report {
				reports = append(reports, report{e.checkpoint, time.Now().Add(c.sync)})
			}
		}
		wait := time.Hour
		for len(reports) > 0 {
			if wait = time.Until(reports[0].due); wait > 0 {
				break
			}
			c.ctx.Published(reports[0].checkpoint)
			reports, wait = reports[1:], time.Hour
		}
		timer.Reset(wait)
		select {
		case <-c.signal:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

type report struct {
	checkpoint uint64
	due        time.Time
}

// forget drops a published epoch and lets go of who waits for it.
func (c *committer) forget(e *epoch) {
	c.mu.Lock()
	c.epochs = c.epochs[1:]
	c.published = append(c.published, e.transactions...)
	c.mu.Unlock()
	for _, t := range e.transactions {
		c.ctx.Meter.CommittedTransactions.Add(1)
		c.ctx.Meter.PendingTransactionBytes.Add(-sizeOf(t))
	}
	close(e.published)
}

// publish tries until it succeeds, or trying again does not help.
func (c *committer) publish(ctx context.Context, e *epoch) error {
	for _, t := range e.transactions {
		if err := failpoint.Hit(failpoint.SinkBeforePublish); err != nil {
			return err
		}
		for wait := firstRetry; ; wait = min(2*wait, longestWait) {
			err := c.sink.Publish(ctx, t)
			if err == nil {
				break
			}
			if errors.Is(err, connector.ErrInDoubt) || errors.Is(err, connector.ErrPermanent) || ctx.Err() != nil {
				return err
			}
			c.ctx.Log.Warn("publishing committed output failed and is tried again", "checkpoint", t.Checkpoint, "writer", t.Writer, "in", wait, "error", err)
			if err := sleep(ctx, wait); err != nil {
				return err
			}
		}
		if err := failpoint.Hit(failpoint.SinkPublished); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
