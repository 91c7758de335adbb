package udf

import (
	"fmt"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/manifest"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/storage/state"
)

// bind finds the columns that the function declares among those that come.
func (o *Operator) bind(f *manifest.Function) error {
	if len(o.ctx.Inputs) != len(o.sig.Inputs) {
		return fmt.Errorf("function %s has %d inputs, %d are wired", f.Name, len(o.sig.Inputs), len(o.ctx.Inputs))
	}
	for i, want := range o.sig.Inputs {
		have := o.ctx.Inputs[i]
		in := input{view: make([]frame.Column, len(want.Fields))}
		for j := range want.Fields {
			at := have.Index(want.Fields[j].Name)
			if at < 0 || !fits(have.Fields[at].Type, want.Fields[j].Type) {
				return fmt.Errorf("input %d of function %s wants %s, which %s does not have", i, f.Name, want.Fields[j].Name, have)
			}
			in.columns = append(in.columns, at)
		}
		if o.sig.Key != nil {
			var err error
			if in.keyer, err = batch.NewKeyer(have, f.Inputs[i].Key); err != nil {
				return err
			}
			in.keys = make([]frame.Column, len(f.Inputs[i].Key))
			for _, name := range f.Inputs[i].Key {
				in.keyCols = append(in.keyCols, want.Index(name))
			}
		}
		o.inputs = append(o.inputs, in)
	}
	o.outputs = make([]output, len(o.sig.Outputs))
	return nil
}

// fits says whether a column can be handed on without a conversion: the same
// type, or the same without nulls where nulls are allowed.
func fits(have, want schema.Type) bool {
	if want.Nullable {
		have.Nullable = true
	}
	return have.Equal(&want)
}

// Process calls the function for the batch's rows, in as many calls as it takes.
func (o *Operator) Process(in int, b *batch.Batch) error {
	defer b.Release()
	src := &o.inputs[in]
	o.clock = o.ctx.Clock()
	for i, c := range src.columns {
		src.view[i] = b.Columns[c]
		// The function's own type decides nullability in the frame.
		src.view[i].Type = &o.sig.Inputs[in].Fields[i].Type
	}
	if o.sig.Key != nil {
		if err := src.keyer.Encode(b); err != nil {
			return err
		}
		keys := state.Keys{Bytes: src.keyer.Keys.Bytes, Offsets: src.keyer.Keys.Offsets}
		o.resolved = o.ctx.State.Resolve(keys, src.keyer.Hashes, o.resolved[:0])
		for i, c := range src.keyCols {
			src.keys[i] = src.view[c]
			src.keys[i].Type = &o.sig.Key.Fields[i].Type
		}
	}
	o.rows = rowCauses{o: o, in: in, b: b}
	if o.sig.Positions {
		o.rows.meta = o.meta.columns(b)
	}
	err := o.work(&o.rows, b.Len())
	o.meter()
	return err
}

// rowCauses are the rows of one batch as causes of calls.
type rowCauses struct {
	o  *Operator
	in int
	b  *batch.Batch

	meta []frame.Column // where the rows were read, if the function asks
}

// prepare describes n rows, from the given one on, in o.call.
func (r *rowCauses) prepare(from, n int) {
	o, c := r.o, &r.o.call
	src := &o.inputs[r.in]
	o.pick = o.pick[:0]
	for i := from; i < from+n; i++ {
		o.pick = append(o.pick, int32(r.b.Row(i)))
	}
	c.Clock, c.Seed = o.clock, o.rng.Uint64()
	c.Input, c.Rows, c.Columns, c.Selection = r.in, r.b.Physical(), src.view, o.pick
	if r.b.Sel == nil && n == c.Rows {
		c.Selection = nil // the whole batch: columns are copied as they lie
	}
	c.Times, c.Kinds, c.Causes, c.Meta = r.b.Times, r.b.Kinds, nil, r.meta
	c.Slots, c.RowSlots = 0, nil
	if o.sig.Key == nil {
		return
	}
	o.table.begin(n)
	for i := range n {
		o.table.add(o.resolved[from+i], o.pick[i])
	}
	c.Slots, c.RowSlots = len(o.table.slots), o.table.rowSlots
	c.Keys, c.KeySelection = src.keys, o.table.firstRow
	o.fetchStates(o.table.slots, n)
}

// times are the event times of causes of the call.
func (r *rowCauses) times(out []int64, causes []uint32) {
	if r.b.Times == nil {
		for i := range out {
			out[i] = batch.NoTime
		}
		return
	}
	pick, times := r.o.pick, r.b.Times
	for i, cause := range causes {
		out[i] = times[pick[cause]]
	}
}

// most is how many rows the next call takes: by measured time, by bytes of rows
// and state, and by writes of hosted state.
func (r *rowCauses) most() int {
	size := 0
	view := r.o.inputs[r.in].view
	for i := range view {
		size += view[i].Size()
	}
	perRow := size/max(r.b.Physical(), 1) + r.o.statePerRow + 1
	return max(1, min(r.o.rowsPerCall, aimBytesPerCall/perRow, r.o.hosted.most()))
}

// refuse takes a row out: to the dead letters, or the job fails.
func (r *rowCauses) refuse(i int, why *refusal) error {
	return r.o.refuse(r.b, r.b.Row(i), why)
}

// fetchStates lends the call the framed state of its keys, by reference.
func (o *Operator) fetchStates(slots []state.Slot, causes int) {
	size := 0
	for id := range o.sig.States {
		if !o.sig.States[id].Framed {
			continue
		}
		v := &o.call.States[id]
		v.Values = v.Values[:0]
		state.Warm(o.ctx.State, slots, state.ID(id))
		for _, s := range slots {
			value, ok := o.ctx.State.Get(s, state.ID(id))
			if ok && value == nil {
				value = emptyValue
			}
			if !ok {
				value = nil
			}
			v.Values = append(v.Values, value)
			size += len(value)
		}
	}
	o.statePerRow = size / causes
}

var emptyValue = []byte{}
