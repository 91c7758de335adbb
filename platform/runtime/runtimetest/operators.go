package runtimetest

import (
	"encoding/binary"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/storage/state"
)

// base is what the operators with inputs share: watermarks are merged over the
// inputs, and rows are held against them.
type base struct {
	ctx    *operator.Context
	merger *element.Merger
	marks  []int64
}

func (b *base) open(ctx *operator.Context) {
	b.ctx, b.merger = ctx, element.NewMerger(len(ctx.Inputs))
	b.marks = make([]int64, len(ctx.Inputs))
	for i := range b.marks {
		b.marks[i] = element.MinTime
	}
}

func (b *base) arrived(w *World, input int, rows *batch.Batch) error {
	for i := range rows.Len() {
		if at := rows.Time(rows.Row(i)); at <= b.marks[input] {
			w.noteLate(b.ctx.Identity, at, b.marks[input])
		}
	}
	return w.before(b.ctx.Identity, rows.Len())
}

func (b *base) Watermark(input int, w element.Watermark) error {
	b.marks[input] = max(b.marks[input], w.Time)
	if out, changed := b.merger.Update(input, w); changed {
		return b.ctx.Output.Watermark(out)
	}
	return nil
}

func (b *base) Timers(int64) error   { return nil }
func (b *base) EndOfInput(int) error { return nil }
func (b *base) Close() error         { return nil }

// pass gives all rows, and on a second output, if there is one, the odd ones.
type pass struct {
	base
	world *World
}

func (p *pass) Open(ctx *operator.Context) error { p.open(ctx); return nil }

func (p *pass) Process(input int, b *batch.Batch) error {
	if err := p.arrived(p.world, input, b); err != nil {
		b.Release()
		return err
	}
	if len(p.ctx.Outputs) > 1 {
		odd := b.Retain().View()
		n, from := b.Len(), b
		sel := odd.Select(n)[:0]
		seqs := b.Columns[1].Int64s()
		for i := range n {
			if row := from.Row(i); seqs[row]%2 == 1 {
				sel = append(sel, int32(row))
			}
		}
		odd.Sel = sel
		if err := p.ctx.Output.Emit(1, odd); err != nil {
			b.Release()
			return err
		}
	}
	return p.ctx.Output.Emit(0, b)
}

func (p *pass) Barrier(element.Barrier) (operator.Snapshot, error) { return operator.Snapshot{}, nil }

// count numbers the rows of each key.
type count struct {
	base
	world  *World
	keyers []*batch.Keyer
	rows   *batch.Builder
	slots  []state.Slot
}

func (c *count) Open(ctx *operator.Context) error {
	c.open(ctx)
	c.rows = batch.NewBuilder(c.world.schema)
	for i := range ctx.Inputs {
		k, err := batch.NewKeyer(ctx.Inputs[i], ctx.Key[i])
		if err != nil {
			return err
		}
		c.keyers = append(c.keyers, k)
	}
	return nil
}

func (c *count) Process(input int, b *batch.Batch) error {
	defer b.Release()
	if err := c.arrived(c.world, input, b); err != nil {
		return err
	}
	k := c.keyers[input]
	if err := k.Encode(b); err != nil {
		return err
	}
	c.slots = c.ctx.State.Resolve(state.Keys{Bytes: k.Keys.Bytes, Offsets: k.Keys.Offsets}, k.Hashes, c.slots[:0])
	keys, seqs := b.Columns[0].Int64s(), b.Columns[1].Int64s()
	for i, slot := range c.slots {
		row := b.Row(i)
		acc := c.ctx.State.Mutable(slot, 0, 8)
		n := binary.LittleEndian.Uint64(acc) + 1
		binary.LittleEndian.PutUint64(acc, n)
		c.rows.Column(0).AppendInt64(keys[row])
		c.rows.Column(1).AppendInt64(seqs[row])
		c.rows.Column(2).AppendInt64(int64(n))
		c.rows.EndRow(b.Time(row))
	}
	return c.ctx.Output.Emit(0, c.rows.Finish("", 0))
}

func (c *count) Barrier(element.Barrier) (operator.Snapshot, error) {
	return operator.Snapshot{Keyed: c.ctx.State.Freeze()}, nil
}
