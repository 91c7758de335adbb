// Package aggregate is the native operator that keeps counts, sums, means and
// extremes per key. Its input may be a changelog: what was counted is taken back
// exactly. Accumulators have a fixed width and are changed in place in the slot
// of their key. It must not know where rows come from, nor how state is kept.
package aggregate

import (
	"encoding/json"
	"fmt"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/storage/state"
)

// Operator aggregates one input by key.
type Operator struct {
	ctx     *operator.Context
	config  Config
	keyer   *batch.Keyer
	folders []folder
	size    int // of a key's accumulators
	states  int
	key     *schema.Schema // of the key columns
	out     *schema.Schema

	work     work
	resolved []state.Slot
	table    keyTable
	accs     [][]byte
	rows     []int32
	signs    []int8
	counts   []int64 // see units
	vectors  []vector
	columns  []frame.Column
	gather   []int32
	enc      frame.Encoder
}

// New makes the operator.
func New() *Operator { return &Operator{} }

// Open binds the configuration, as the planner completed it, to the input.
func (o *Operator) Open(ctx *operator.Context) error {
	o.ctx = ctx
	if err := json.Unmarshal(ctx.Config, &o.config); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if err := o.config.complete(); err != nil {
		return err
	}
	if len(ctx.Inputs) != 1 || len(ctx.Key) != 1 || ctx.State == nil {
		return fmt.Errorf("an aggregate has one keyed input, not %d with %d keys", len(ctx.Inputs), len(ctx.Key))
	}
	in := ctx.Inputs[0]
	out, folders, states, err := o.config.build(in, ctx.Key[0])
	if err != nil {
		return err
	}
	if o.keyer, err = batch.NewKeyer(in, ctx.Key[0]); err != nil {
		return err
	}
	if o.key, err = in.Project(ctx.Key[0]...); err != nil {
		return err
	}
	if len(ctx.Outputs) > 0 && !ctx.Outputs[0].Equal(out) {
		return fmt.Errorf("the plan gives %s, the operator %s; apply the pipeline again", ctx.Outputs[0], out)
	}
	o.out, o.folders, o.states, o.size = out, folders, len(states), rowsBytes
	for i, f := range folders {
		o.size += f.width()
		o.vectors = append(o.vectors, vector{typ: &out.Fields[o.key.Len()+i].Type})
	}
	o.columns = make([]frame.Column, out.Len())
	o.work.backend = ctx.State
	return nil
}

// Process takes a batch into the accumulators and emits what became of them.
func (o *Operator) Process(_ int, b *batch.Batch) error {
	defer b.Release()
	if b.Len() == 0 {
		return nil
	}
	if err := o.keyer.Encode(b); err != nil {
		return err
	}
	if err := o.begin(b); err != nil {
		return err
	}
	var err error
	if o.config.Per == PerBatch {
		err = o.perBatch(b)
	} else {
		err = o.perRow(b)
	}
	if err != nil {
		for i := range o.vectors {
			o.vectors[i].drop()
		}
		return err
	}
	if o.config.Retracting {
		o.forgetEmpty()
	}
	return nil
}

// begin finds the accumulators of the batch's keys and what each row does.
func (o *Operator) begin(b *batch.Batch) error {
	keys := state.Keys{Bytes: o.keyer.Keys.Bytes, Offsets: o.keyer.Keys.Offsets}
	o.resolved = o.ctx.State.Resolve(keys, o.keyer.Hashes, o.resolved[:0])
	o.table.fill(o.resolved)
	o.accs = o.accs[:0]
	state.Warm(o.ctx.State, o.table.slots, 0)
	for _, s := range o.table.slots {
		o.accs = append(o.accs, o.ctx.State.Mutable(s, 0, o.size))
	}
	o.rows = o.rows[:0]
	n := b.Len()
	if b.Sel != nil {
		o.rows = append(o.rows, b.Sel...)
	} else {
		for i := range n {
			o.rows = append(o.rows, int32(i))
		}
	}
	w := &o.work
	w.columns, w.rows, w.keys, w.accs, w.slots, w.signs = b.Columns, o.rows, o.table.numbers, o.accs, o.table.slots, nil
	if b.Kinds == nil {
		return nil
	}
	o.signs = o.signs[:0]
	retracts := false
	for _, r := range o.rows {
		sign := int8(1)
		if k := b.Kinds[r]; k == batch.UpdateBefore || k == batch.Delete {
			sign, retracts = -1, true
		}
		o.signs = append(o.signs, sign)
	}
	if !retracts {
		return nil
	}
	if !o.config.Retracting {
		return &native.RowError{Text: "a row takes back an earlier one, but the input was planned as inserts only; apply the pipeline again, so that the planner sees that the input is a changelog"}
	}
	w.signs = o.signs
	return nil
}

// countRow moves a key's number of rows and gives it before and after.
func (o *Operator) countRow(i int) (before, after int64, err error) {
	acc := o.accs[o.work.keys[i]]
	before = load(acc)
	after = before + o.work.sign(i)
	if after < 0 {
		return 0, 0, &native.RowError{Text: "a row takes back one of a key that has no rows; the input is no consistent changelog"}
	}
	store(acc, after)
	return before, after, nil
}

// forgetEmpty drops the state of keys whose rows were all taken back.
func (o *Operator) forgetEmpty() {
	for k, s := range o.table.slots {
		if load(o.accs[k]) != 0 {
			continue
		}
		for id := range o.states {
			o.ctx.State.Clear(s, state.ID(id))
		}
	}
}

// Watermark passes the watermark on; aggregates per key wait for no time.
func (o *Operator) Watermark(_ int, w element.Watermark) error { return o.ctx.Output.Watermark(w) }

// Timers has nothing to do.
func (o *Operator) Timers(int64) error { return nil }

// Barrier freezes the accumulators.
func (o *Operator) Barrier(element.Barrier) (operator.Snapshot, error) {
	return operator.Snapshot{Keyed: o.ctx.State.Freeze()}, nil
}

// EndOfInput has nothing to do: every change has been emitted.
func (o *Operator) EndOfInput(int) error { return nil }

// Close has nothing to give back.
func (o *Operator) Close() error { return nil }
