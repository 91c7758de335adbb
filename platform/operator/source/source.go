// Package source is the operator at the head of a pipeline: it reads the splits
// that fall to its task, gives rows their event time, keeps a watermark for each
// split and knows when one is idle. It must not know which connector it reads,
// nor how its batches travel.
package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/deadletter"
	"github.com/weirstream/weir/platform/storage/snapshot"
)

// Kind is the operator's name in job graphs.
const Kind = "source"

// DefaultIdle is how long a split is drained before it holds no watermark back.
const DefaultIdle = 2 * time.Second

// The outputs.
const (
	Rows        = 0
	DeadLetters = 1 // only with Config.DeadLetters; see deadletter.Schema
)

// Config is the operator's part of a job graph.
type Config struct {
	// Connector and Options are what Deps.Open makes the source of.
	Connector string          `json:"connector"`
	Options   json.RawMessage `json:"options,omitempty"`
	// EventTime is the timestamp column that holds event times; empty: the
	// record's own time, or when it was stored.
	EventTime string `json:"event_time,omitempty"`
	// LatenessMs is how far out of order the rows of a split may be.
	LatenessMs int64 `json:"lateness_ms,omitempty"`
	// IdleMs overrides DefaultIdle.
	IdleMs int64 `json:"idle_ms,omitempty"`
	// MaxDriftMs: a split is not read further than this ahead, in event time, of
	// the slowest one that is not idle. 0: no limit.
	MaxDriftMs int64 `json:"max_drift_ms,omitempty"`
	// DeadLetters: records that cannot be decoded go to output 1; otherwise they fail the job.
	DeadLetters bool `json:"dead_letters,omitempty"`
}

// Deps is what the operator needs from its server.
type Deps struct {
	// Open makes the connector's source, which gives rows of that schema.
	Open func(ctx context.Context, kind string, options json.RawMessage, rows *schema.Schema) (connector.Source, error)
}

// Operator reads the splits of one task.
type Operator struct {
	deps   Deps
	ctx    *operator.Context
	config Config
	column int // of event times, or -1
	dead   *deadletter.Writer

	source  connector.Source
	stop    context.CancelFunc
	splits  []*split
	next    int // split to ask first
	merger  *element.Merger
	passed  element.Watermark // the one that stands downstream
	drained bool              // a barrier asked to stop
}

// New makes the operator.
func New(d Deps) *Operator { return &Operator{deps: d} }

// Open opens a reader for every split of the task and starts to read.
func (o *Operator) Open(ctx *operator.Context) error {
	o.ctx, o.column = ctx, -1
	if err := json.Unmarshal(ctx.Config, &o.config); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	rows := ctx.Outputs[Rows]
	if name := o.config.EventTime; name != "" {
		if o.column = rows.Index(name); o.column < 0 {
			return fmt.Errorf("event time column %q: the source has %v", name, rows.Names())
		}
		if t := rows.Fields[o.column].Type; t.Kind != schema.Timestamp {
			return fmt.Errorf("event time column %q is %s: declare it timestamp", name, t)
		}
	}
	if o.config.DeadLetters {
		o.dead = deadletter.NewWriter(ctx.Identity, DeadLetters, ctx.Output)
	}
	background, stop := context.WithCancel(context.Background())
	o.stop = stop
	var err error
	if o.source, err = o.deps.Open(background, o.config.Connector, o.config.Options, rows); err != nil {
		return fmt.Errorf("open source: %w", err)
	}
	return o.openSplits(background)
}

// openSplits starts with what the checkpoint says of each split. Split i of n is
// read by task i modulo parallelism.
func (o *Operator) openSplits(ctx context.Context) error {
	all, err := o.source.Splits(ctx)
	if err != nil {
		return fmt.Errorf("list splits: %w", err)
	}
	restored := make(map[string]progress)
	for _, item := range o.ctx.Restored {
		if item.Kind != snapshot.KindSplit {
			continue
		}
		p, err := readProgress(item)
		if err != nil {
			return fmt.Errorf("restore split %s: %w", item.Key, err)
		}
		restored[item.Key] = p
	}
	for i, s := range all {
		if i%o.ctx.Parallelism != o.ctx.Task {
			continue
		}
		own := &split{id: s.ID, progress: progress{Watermark: element.MinTime}}
		if p, ok := restored[s.ID]; ok {
			own.progress = p
		}
		o.splits = append(o.splits, own)
	}
	o.merger = element.NewMerger(max(len(o.splits), 1))
	o.passed = o.merger.Current()
	for i, s := range o.splits {
		if s.Ended {
			o.merger.Update(i, element.Watermark{Time: s.Watermark, Status: element.Finished})
			continue
		}
		if s.Idle {
			s.drainedAt = o.ctx.Clock()
		}
		o.merger.Update(i, element.Watermark{Time: s.Watermark, Status: s.status()})
		r, err := o.source.Open(ctx, connector.Split{ID: s.id}, s.Position)
		if err != nil {
			return err
		}
		if s.Position == nil {
			s.Position = r.Position()
		}
		s.start(ctx, r, o.ctx.Wake)
	}
	o.ctx.Wake()
	return nil
}

// Poll emits one batch of the split whose turn it is.
func (o *Operator) Poll() (bool, error) {
	if o.drained {
		return false, nil
	}
	now := o.ctx.Clock()
	o.markIdle(now)
	limit := o.driftLimit()
	for n := range o.splits {
		i := (o.next + n) % len(o.splits)
		s := o.splits[i]
		if s.Ended || s.Watermark > limit {
			continue
		}
		f, ok := s.take()
		if !ok {
			continue
		}
		o.next = (i + 1) % len(o.splits)
		if err := o.handle(i, f, now); err != nil {
			return false, err
		}
		return true, o.passWatermark()
	}
	return false, o.passWatermark()
}

// driftLimit is the watermark beyond which no split is read.
func (o *Operator) driftLimit() int64 {
	drift := o.config.MaxDriftMs * 1000
	if drift <= 0 {
		return element.MaxTime
	}
	least := element.MaxTime
	for _, s := range o.splits {
		if !s.Ended && !s.Idle {
			least = min(least, s.Watermark)
		}
	}
	if least > element.MaxTime-drift {
		return element.MaxTime
	}
	// A split that has given nothing yet holds all others at their first batch.
	return least + drift
}

// handle emits what a reader gave.
func (o *Operator) handle(i int, f fetched, now int64) error {
	s := o.splits[i]
	switch {
	case f.ended:
		s.Ended, s.Idle = true, false
		o.merger.Update(i, element.Watermark{Time: s.Watermark, Status: element.Finished})
		return nil
	case f.err != nil:
		return fmt.Errorf("read split %s: %w", s.id, f.err)
	}
	s.Position, s.lag = f.After, f.Lag
	o.ctx.Meter.BytesIn.Add(uint64(f.Bytes))
	o.meterLag()
	if err := o.reject(f.Rejected); err != nil {
		if f.Batch != nil {
			f.Batch.Release()
		}
		return err
	}
	if f.Drained {
		s.drainedAt = max(now, 1)
	} else if f.Batch != nil || len(f.Rejected) > 0 {
		s.drainedAt, s.Idle = 0, false
	}
	if f.Batch != nil {
		s.Idle = false
		o.ctx.Meter.RecordsIn.Add(uint64(f.Batch.Len()))
		b, latest, err := o.eventTimes(f.Batch)
		if err != nil {
			return err
		}
		if latest != batch.NoTime {
			s.Watermark = max(s.Watermark, latest-o.config.LatenessMs*1000-1)
		}
		if err := o.ctx.Output.Emit(Rows, b); err != nil {
			return err
		}
	}
	o.merger.Update(i, element.Watermark{Time: s.Watermark, Status: s.status()})
	return nil
}

func (o *Operator) meterLag() {
	lag := uint64(0)
	for _, s := range o.splits {
		lag += s.lag
	}
	o.ctx.Meter.LagRecords.Store(lag)
}

// passWatermark emits the merged watermark if it says something new. The end of
// all splits is told by the end of input.
func (o *Operator) passWatermark() error {
	w := o.merger.Current()
	if w == o.passed || w.Status == element.Finished || len(o.splits) == 0 {
		return nil
	}
	o.passed = w
	return o.ctx.Output.Watermark(w)
}

// markIdle finds the splits that have been drained for long. A split with a
// backlog is never idle, however slow it is.
func (o *Operator) markIdle(now int64) {
	after := o.config.IdleMs * 1000
	if after <= 0 {
		after = DefaultIdle.Microseconds()
	}
	for i, s := range o.splits {
		if s.Ended || s.Idle || s.drainedAt == 0 || now-s.drainedAt < after || s.waiting() {
			continue
		}
		s.Idle = true
		o.merger.Update(i, element.Watermark{Time: s.Watermark, Status: element.Idle})
	}
}

// RecordError says which record failed the job. Reading it again does not help:
// a restart would only repeat it.
type RecordError struct{ text string }

func (e *RecordError) Error() string { return e.text }

// UserFault marks the error for whoever decides about restarts.
func (e *RecordError) UserFault() bool { return true }

// reject sends records that cannot be decoded where the configuration says.
func (o *Operator) reject(rejected []connector.Rejected) error {
	for _, r := range rejected {
		if o.dead == nil {
			return &RecordError{fmt.Sprintf("record at %s cannot be decoded (errors: dead_letter would send it to the dead letters): %s", r.Position, r.Reason)}
		}
		o.ctx.Meter.DeadLetters.Add(1)
		raw := r.Record
		err := o.dead.Raw(r.Reason, deadletter.Record{Topic: raw.Topic, Partition: raw.Partition, Sequence: raw.Sequence,
			Row: raw.Row, Key: raw.Key, Value: raw.Value, TimeMicros: raw.TimeMicros})
		if err != nil {
			return err
		}
	}
	return nil
}

// Done is true once every split has ended and been emitted.
func (o *Operator) Done() bool {
	for _, s := range o.splits {
		if !s.Ended {
			return false
		}
	}
	return true
}

// Barrier gives where each split stands in what was emitted.
func (o *Operator) Barrier(b element.Barrier) (operator.Snapshot, error) {
	var out operator.Snapshot
	for _, s := range o.splits {
		item, err := s.item()
		if err != nil {
			return out, err
		}
		if item != nil {
			out.Items = append(out.Items, *item)
		}
	}
	if b.Actions&element.Drain != 0 {
		o.drained = true
	}
	return out, nil
}

// Timers looks for splits that have become idle.
func (o *Operator) Timers(clockMicros int64) error {
	if o.drained {
		return nil
	}
	o.markIdle(clockMicros)
	return o.passWatermark()
}

var errHead = errors.New("a source has no input")

// Process is never called: a source has no input.
func (o *Operator) Process(_ int, b *batch.Batch) error {
	b.Release()
	return errHead
}

// Watermark is never called: a source has no input.
func (o *Operator) Watermark(int, element.Watermark) error { return errHead }

// EndOfInput is never called: a source has no input.
func (o *Operator) EndOfInput(int) error { return errHead }

// Close stops the readers and waits for them.
func (o *Operator) Close() error {
	if o.stop != nil {
		o.stop()
	}
	var errs []error
	for _, s := range o.splits {
		errs = append(errs, s.close())
	}
	if o.source != nil {
		errs = append(errs, o.source.Close())
	}
	return errors.Join(errs...)
}
