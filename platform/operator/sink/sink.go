// Package sink is the operator at the end of a pipeline: it hands rows to a
// writer, puts the writer's prepared output into the checkpoint, and publishes
// it once the checkpoint is committed. It must not know which connector it
// writes to, nor how a commit comes about.
package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/operator"
)

// Kind is the operator's name in job graphs.
const Kind = "sink"

// DefaultLinger is how long an at-least-once sink lets a frame fill up.
const DefaultLinger = 5 * time.Millisecond

// Config is the operator's part of a job graph.
type Config struct {
	// Connector and Options are what Deps.Open makes the sink of.
	Connector string              `json:"connector"`
	Options   json.RawMessage     `json:"options,omitempty"`
	Guarantee connector.Guarantee `json:"guarantee,omitempty"` // exactly_once if empty
	LingerMs  int64               `json:"linger_ms,omitempty"`
}

// Deps is what the operator needs from its server.
type Deps struct {
	// Open makes the connector's sink for rows of that schema.
	Open func(ctx context.Context, kind string, options json.RawMessage, rows *schema.Schema, g connector.Guarantee) (connector.Sink, error)
	// SyncInterval is how long stored messages may be off the disk; Published is
	// reported that much later, so that the prepared output is kept until then.
	SyncInterval time.Duration
}

// Operator writes the rows of one task.
type Operator struct {
	deps   Deps
	ctx    *operator.Context
	config Config
	linger time.Duration

	background context.Context // ends with Close
	stop       context.CancelFunc
	sink       connector.Sink
	committer  *committer

	mu      sync.Mutex // the linger timer's goroutine writes too
	writer  connector.Writer
	pusher  connector.Pusher // nil: nothing lingers
	timer   *time.Timer
	waiting bool
	failed  error
}

// New makes the operator.
func New(d Deps) *Operator { return &Operator{deps: d} }

// Open starts the writer and rolls the restored checkpoint's transactions
// forward: that checkpoint is committed, so they are.
func (o *Operator) Open(ctx *operator.Context) error {
	o.ctx = ctx
	if err := json.Unmarshal(ctx.Config, &o.config); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if o.config.Guarantee == "" {
		o.config.Guarantee = connector.ExactlyOnce
	}
	if err := o.config.Guarantee.Validate(); err != nil {
		return err
	}
	o.linger = DefaultLinger
	if o.config.LingerMs > 0 {
		o.linger = time.Duration(o.config.LingerMs) * time.Millisecond
	}
	o.background, o.stop = context.WithCancel(context.Background())
	var err error
	if o.sink, err = o.deps.Open(o.background, o.config.Connector, o.config.Options, ctx.Inputs[0], o.config.Guarantee); err != nil {
		return fmt.Errorf("open sink: %w", err)
	}
	id := connector.WriterID{Pipeline: ctx.PipelineUID, Sink: ctx.Operator, Task: ctx.Task}
	if o.writer, err = o.sink.Open(o.background, id); err != nil {
		return err
	}
	if o.config.Guarantee == connector.AtLeastOnce {
		o.pusher, _ = o.writer.(connector.Pusher)
	}
	restored, states, err := readItems(ctx.Restored, ctx.Task, ctx.Parallelism)
	if err != nil {
		return err
	}
	for _, s := range states {
		if err := o.writer.Restore(s); err != nil {
			return fmt.Errorf("restore writer: %w", err)
		}
	}
	if ctx.Doubt != connector.Undecided && len(restored) > 0 {
		ctx.Log.Warn("output of which nothing tells whether it is visible is treated as the resume said", "checkpoint", ctx.RestoredFrom, "decision", string(ctx.Doubt))
		for i := range restored {
			restored[i].Doubt = ctx.Doubt
		}
	}
	o.committer = newCommitter(o.sink, ctx, o.deps.SyncInterval, restored)
	o.committer.start(o.background)
	return nil
}

// Process writes a batch.
func (o *Operator) Process(_ int, b *batch.Batch) error {
	defer b.Release()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed != nil {
		return o.failed
	}
	if err := o.writer.Write(b); err != nil {
		return err
	}
	if o.pusher != nil && !o.waiting {
		o.waiting = true
		if o.timer == nil {
			o.timer = time.AfterFunc(o.linger, o.lingered)
		} else {
			o.timer.Reset(o.linger)
		}
	}
	return nil
}

func (o *Operator) lingered() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting = false
	if o.failed != nil || o.background.Err() != nil {
		return
	}
	if err := o.pusher.Push(o.background); err != nil {
		o.failed = err
		o.ctx.Fail(err)
	}
}

// Barrier ends the epoch. With exactly once its output goes into the snapshot;
// with at least once it is made sure to be stored.
func (o *Operator) Barrier(b element.Barrier) (operator.Snapshot, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed != nil {
		return operator.Snapshot{}, o.failed
	}
	if o.config.Guarantee == connector.AtLeastOnce {
		if err := o.writer.Flush(o.background); err != nil {
			return operator.Snapshot{}, err
		}
		o.committer.prepared(connector.Transaction{Checkpoint: b.ID}, nil)
		return operator.Snapshot{}, nil
	}
	if b.Actions&element.Drain != 0 {
		// The job stops: nothing more comes, and what is held open would be seen
		// only when it goes on. What the writer restores then begins anew.
		o.finish()
	}
	o.recycle()
	t, err := o.writer.Prepare(o.background, b.ID)
	if err != nil {
		return operator.Snapshot{}, err
	}
	if err := failpoint.Hit(failpoint.SinkPrepared); err != nil {
		return operator.Snapshot{}, err
	}
	carried, ready, err := o.committer.barrier(t)
	if err != nil {
		return operator.Snapshot{}, err
	}
	items, err := makeItems(t.Writer, carried, o.writer.State())
	return operator.Snapshot{Items: items, Ready: ready}, err
}

// recycle gives the writer the memory of what was published. The lock is held.
func (o *Operator) recycle() {
	for _, t := range o.committer.takePublished() {
		o.writer.Recycle(t)
	}
}

// Committed says that a checkpoint is in the catalog: its output is published.
func (o *Operator) Committed(checkpoint uint64) { o.committer.committed(checkpoint) }

// Watermark is of no use here.
func (o *Operator) Watermark(int, element.Watermark) error { return nil }

// Timers has none.
func (o *Operator) Timers(int64) error { return nil }

// EndOfInput tells the writer that no more rows will come. The last epoch ends by
// a barrier like any other.
func (o *Operator) EndOfInput(int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.finish()
	if o.config.Guarantee == connector.AtLeastOnce {
		return o.writer.Flush(o.background)
	}
	return nil
}

// finish tells the writer that no more rows will come. The lock is held.
func (o *Operator) finish() {
	if f, ok := o.writer.(connector.Finisher); ok {
		f.Finish()
	}
}

// Close stops publishing and waits for it. What is committed and not published
// stays in its checkpoint, and the next attempt goes on with it.
func (o *Operator) Close() error {
	if o.stop == nil {
		return nil
	}
	o.stop()
	if o.committer != nil {
		o.committer.wait()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.timer != nil {
		o.timer.Stop()
	}
	var errs []error
	if o.writer != nil {
		errs = append(errs, o.writer.Close())
	}
	if o.sink != nil {
		errs = append(errs, o.sink.Close())
	}
	return errors.Join(errs...)
}
