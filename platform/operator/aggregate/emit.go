package aggregate

import (
	"fmt"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/platform/batch"
)

// A unit of output is a row of the input, or a key of the batch. Updates have a
// row for each unit; a changelog has two places, before and after, of which the
// selection leaves out what never held or holds no more.

func (o *Operator) stride() int {
	if o.config.Emit == Changelog {
		return 2
	}
	return 1
}

// perRow emits the value after each row.
func (o *Operator) perRow(b *batch.Batch) error {
	w := &o.work
	w.before = o.config.Emit == Changelog
	n := len(w.rows)
	o.counts = o.counts[:0]
	for i := range w.keys {
		before, after, err := o.countRow(i)
		if err != nil {
			return err
		}
		if w.before {
			o.counts = append(o.counts, before, after)
		}
	}
	for i, f := range o.folders {
		o.vectors[i].begin(n * o.stride())
		if err := foldRows(f, w, &o.vectors[i]); err != nil {
			return err
		}
	}
	if !w.before && b.Sel == nil {
		return o.emitBeside(b)
	}
	o.gather = o.gather[:0]
	for _, r := range w.rows {
		for range o.stride() {
			o.gather = append(o.gather, r)
		}
	}
	out := o.gathered(n * o.stride())
	if b.Times != nil {
		times := out.MakeTimes()
		for i, r := range o.gather {
			times[i] = b.Times[r]
		}
	}
	return o.emit(out)
}

// perBatch emits the value of each key after the whole batch.
func (o *Operator) perBatch(b *batch.Batch) error {
	w := &o.work
	keys, stride := len(w.accs), o.stride()
	o.counts = o.counts[:0]
	for k := range keys {
		o.counts = append(o.counts, load(w.accs[k]), 0)
	}
	for i := range o.folders {
		o.vectors[i].begin(keys * stride)
	}
	if stride == 2 {
		if err := o.readKeys(0); err != nil {
			return err
		}
	}
	for i := range w.keys {
		if _, _, err := o.countRow(i); err != nil {
			return err
		}
	}
	for _, f := range o.folders {
		for i := range w.keys {
			if err := f.fold(w, i); err != nil {
				return err
			}
		}
	}
	if err := o.readKeys(stride - 1); err != nil {
		return err
	}
	o.gather = o.gather[:0]
	for k := range keys {
		o.counts[2*k+1] = load(w.accs[k])
		for range stride {
			o.gather = append(o.gather, w.rows[o.table.first[k]])
		}
	}
	out := o.gathered(keys * stride)
	if b.Times != nil {
		times := out.MakeTimes()
		for i := range times {
			times[i] = batch.NoTime
		}
		for i, k := range w.keys { // the latest of a key's rows: no row is late by being joined with others
			last := int(k)*stride + stride - 1
			times[last] = max(times[last], b.Times[w.rows[i]])
			times[int(k)*stride] = times[last]
		}
	}
	return o.emit(out)
}

// readKeys writes the present value of each key, at the given place of its unit.
func (o *Operator) readKeys(place int) error {
	stride := o.stride()
	for i, f := range o.folders {
		for k := range o.work.accs {
			if err := f.read(&o.work, uint32(k), &o.vectors[i], k*stride+place); err != nil {
				return err
			}
		}
	}
	return nil
}

// emitBeside puts the results beside the key columns of the input, which are not copied.
func (o *Operator) emitBeside(b *batch.Batch) error {
	out := b.Retain().View()
	out.Schema, out.Kinds, out.Hashes, out.Origin = o.out, nil, nil, nil
	o.finish(out, o.keyer.Columns(), b.Physical())
	return o.ctx.Output.Emit(0, out)
}

// gathered makes a batch of the key columns of the rows in o.gather and the results.
func (o *Operator) gathered(n int) *batch.Batch {
	out := batch.New(o.out)
	keys := o.keyer.Columns()
	buf := batch.NewBuffer(o.enc.Size(o.key, keys, o.gather, n))
	o.enc.Put(buf.Bytes, o.key, keys, o.gather, n)
	out.Keep(buf)
	if _, err := frame.DecodeInto(o.key, buf.Bytes, o.columns[:len(keys)]); err != nil {
		panic(fmt.Sprintf("aggregate: own block does not decode: %v", err))
	}
	o.finish(out, o.columns[:len(keys)], n)
	return out
}

func (o *Operator) finish(out *batch.Batch, keys []frame.Column, n int) {
	columns := append(o.columns[:0], keys...)
	for i := range columns {
		columns[i].Type = &o.out.Fields[i].Type
	}
	for i := range o.vectors {
		columns = append(columns, o.vectors[i].finish(out))
	}
	out.SetColumns(columns, n)
	clear(o.columns)
}

// emit leaves out of a changelog what never held or holds no more.
func (o *Operator) emit(out *batch.Batch) error {
	if o.config.Emit != Changelog {
		return o.ctx.Output.Emit(0, out)
	}
	kinds := out.MakeKinds()
	sel := out.Select(len(kinds))[:0]
	for i := 0; i < len(kinds); i += 2 {
		before, after := o.counts[i], o.counts[i+1]
		kinds[i], kinds[i+1] = batch.UpdateBefore, batch.UpdateAfter
		if after == 0 {
			kinds[i] = batch.Delete
		}
		if before == 0 {
			kinds[i+1] = batch.Insert
		}
		if before > 0 {
			sel = append(sel, int32(i))
		}
		if after > 0 {
			sel = append(sel, int32(i+1))
		}
	}
	out.Sel = sel
	if len(sel) == 0 {
		out.Release()
		return nil
	}
	return o.ctx.Output.Emit(0, out)
}
