// Package join is the native inner join of two inputs by key. It keeps the rows
// of both sides, in the order in which they came, and takes and gives
// changelogs: a row that is taken back takes back what it was joined to. It must
// not know where rows come from, nor how state is kept.
package join

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/storage/state"
)

// Where output is cut: one row may match many.
const (
	MaxRowsPerBatch = 4096
	aimBatchBytes   = 1 << 20 // a batch ends with the row that reaches it
)

// Operator joins two inputs.
type Operator struct {
	ctx      *operator.Context
	config   Config
	expiring bool
	layout   *layout
	keyers   [sides]*batch.Keyer
	merger   *element.Merger

	resolved []state.Slot
	stored   []byte // the row that is being handled
	entry    []byte // the key of the one that it takes back
	cursor   state.Cursor
	out      *batch.Builder
	outBytes int  // of the stored rows that out was made of
	changes  bool // output rows have kinds
}

// New makes the operator.
func New() *Operator { return &Operator{} }

// Open binds the configuration, as the planner completed it, to the inputs.
func (o *Operator) Open(ctx *operator.Context) error {
	o.ctx = ctx
	if err := json.Unmarshal(ctx.Config, &o.config); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if len(ctx.Inputs) != sides || len(ctx.Key) != sides || ctx.State == nil {
		return fmt.Errorf("a join has two keyed inputs, not %d with %d keys", len(ctx.Inputs), len(ctx.Key))
	}
	ttl, err := o.config.ttl()
	if err != nil {
		return err
	}
	o.expiring = ttl > 0
	if o.layout, err = o.config.layout(ctx.Inputs[left], ctx.Inputs[right], ctx.Key); err != nil {
		return err
	}
	for s := range sides {
		if o.keyers[s], err = batch.NewKeyer(ctx.Inputs[s], ctx.Key[s]); err != nil {
			return err
		}
	}
	o.changes = o.config.Retracting[left] || o.config.Retracting[right]
	o.merger = element.NewMerger(sides)
	o.out = batch.NewBuilder(o.layout.out)
	return nil
}

// Process joins a batch with what the other side has, and keeps it.
func (o *Operator) Process(input int, b *batch.Batch) error {
	defer b.Release()
	keyer := o.keyers[input]
	if err := keyer.Encode(b); err != nil {
		return err
	}
	keys := state.Keys{Bytes: keyer.Keys.Bytes, Offsets: keyer.Keys.Offsets}
	o.resolved = o.ctx.State.Resolve(keys, keyer.Hashes, o.resolved[:0])
	for i, slot := range o.resolved {
		r := b.Row(i)
		if o.nullKey(input, b, r) {
			continue // null equals nothing, not even null
		}
		if err := o.row(input, b, r, slot); err != nil {
			o.out.Reset()
			return err
		}
	}
	return o.flush()
}

func (o *Operator) nullKey(input int, b *batch.Batch, r int) bool {
	for _, c := range o.layout.sides[input].keys {
		if b.Columns[c].Null(r) {
			return true
		}
	}
	return false
}

func (o *Operator) row(input int, b *batch.Batch, r int, slot state.Slot) error {
	own := &o.layout.sides[input]
	o.stored = own.appendRow(o.stored[:0], b.Columns, r, b.Time(r))
	kind := b.Kind(r)
	if kind == batch.Insert || kind == batch.UpdateAfter {
		if err := o.ctx.State.AppendEntry(slot, state.ID(input), o.stored); err != nil {
			return fmt.Errorf("keep a row of the %s input: %w", sideNames[input], err)
		}
		return o.match(input, b, r, slot, kind)
	}
	if !o.config.Retracting[input] {
		return &native.RowError{Text: fmt.Sprintf("a row of the %s input takes back an earlier one, but the input was planned as inserts only; apply the pipeline again, so that the planner sees that it is a changelog", sideNames[input])}
	}
	if !o.takeBack(input, slot) {
		if o.expiring {
			return nil // its time to live is over: so are its matches
		}
		return &native.RowError{Text: fmt.Sprintf("a row of the %s input takes back one that was never there; the input is no consistent changelog", sideNames[input])}
	}
	return o.match(input, b, r, slot, kind)
}

// takeBack forgets the oldest row that equals o.stored, save its time.
func (o *Operator) takeBack(input int, slot state.Slot) bool {
	found := false
	o.cursor.Begin(o.ctx.State, slot, state.ID(input), nil)
	for key, stored, ok := o.cursor.Next(); ok; key, stored, ok = o.cursor.Next() {
		if len(stored) >= timeBytes && bytes.Equal(stored[timeBytes:], o.stored[timeBytes:]) {
			o.entry, found = append(o.entry[:0], key...), true
			break
		}
	}
	if found {
		o.ctx.State.DeleteEntry(slot, state.ID(input), o.entry)
	}
	return found
}

// match emits the row joined with every row of the other side, as the change
// that the row is.
func (o *Operator) match(input int, b *batch.Batch, r int, slot state.Slot, kind batch.Kind) error {
	other := sides - 1 - input
	o.cursor.Begin(o.ctx.State, slot, state.ID(other), nil)
	for _, stored, ok := o.cursor.Next(); ok; _, stored, ok = o.cursor.Next() {
		o.layout.sides[input].copyRow(o.out.Rows, b.Columns, r)
		if err := o.layout.sides[other].readRow(o.out.Rows, stored); err != nil {
			return fmt.Errorf("read a row of the %s input: %w", sideNames[other], err)
		}
		time := max(b.Time(r), timeOf(stored))
		if o.changes {
			o.out.EndChange(time, kind)
		} else {
			o.out.EndRow(time)
		}
		o.outBytes += len(o.stored) + len(stored)
		if o.out.Len() >= MaxRowsPerBatch || o.outBytes >= aimBatchBytes {
			if err := o.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *Operator) flush() error {
	if o.out.Len() == 0 {
		return nil
	}
	o.outBytes = 0
	return o.ctx.Output.Emit(0, o.out.Finish("", 0))
}

// Watermark passes on the least of both inputs.
func (o *Operator) Watermark(input int, w element.Watermark) error {
	if merged, changed := o.merger.Update(input, w); changed {
		return o.ctx.Output.Watermark(merged)
	}
	return nil
}

// Timers has nothing to do: the backend drops what has expired.
func (o *Operator) Timers(int64) error { return nil }

// Barrier freezes both sides; matches were emitted at once.
func (o *Operator) Barrier(element.Barrier) (operator.Snapshot, error) {
	return operator.Snapshot{Keyed: o.ctx.State.Freeze()}, nil
}

// EndOfInput keeps the rows of an input that has ended: the other one goes on.
func (o *Operator) EndOfInput(int) error { return nil }

// Close has nothing to give back.
func (o *Operator) Close() error { return nil }
