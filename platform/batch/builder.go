package batch

import (
	"fmt"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
)

// Builder builds batches row by row: one value to each column of Rows, then
// EndRow. It keeps its memory from batch to batch.
type Builder struct {
	Rows *frame.Builder

	schema    *schema.Schema
	times     []int64
	kinds     []Kind
	sequences []uint64
	rows      []int32
}

// NewBuilder makes an empty builder.
func NewBuilder(s *schema.Schema) *Builder { return &Builder{Rows: frame.NewBuilder(s), schema: s} }

// Schema is the schema of what is built.
func (b *Builder) Schema() *schema.Schema { return b.schema }

// Column is the builder of field i.
func (b *Builder) Column(i int) *frame.ColumnBuilder { return b.Rows.Column(i) }

// Len is the number of whole rows.
func (b *Builder) Len() int { return len(b.times) }

// EndRow ends a row with its event time, or NoTime.
func (b *Builder) EndRow(time int64) { b.times = append(b.times, time) }

// EndRead is EndRow for a row that was read at a place: a message's sequence and the row within it.
func (b *Builder) EndRead(time int64, sequence uint64, row int32) {
	b.EndRow(time)
	b.sequences = append(b.sequences, sequence)
	b.rows = append(b.rows, row)
}

// EndChange is EndRow for a row of a changelog. Either every row of a batch ends by it or none.
func (b *Builder) EndChange(time int64, kind Kind) {
	b.EndRow(time)
	b.kinds = append(b.kinds, kind)
}

// Cancel takes back the columns of a row that was begun and not ended.
func (b *Builder) Cancel() { b.Rows.Truncate(len(b.times)) }

// Finish gives the rows as a batch and starts over. Topic and partition name
// where rows ended by EndRead were read.
func (b *Builder) Finish(topic string, partition int32) *Batch {
	n := len(b.times)
	out := New(b.schema)
	buf := NewBuffer(b.Rows.Size())
	b.Rows.WriteTo(buf.Bytes)
	out.SetBlock(buf, n)
	copy(out.MakeTimes(), b.times)
	if len(b.kinds) == n && n > 0 {
		copy(out.MakeKinds(), b.kinds)
	}
	if len(b.sequences) == n && n > 0 {
		o := out.MakeOrigin(topic, partition)
		copy(o.Sequences, b.sequences)
		copy(o.Rows, b.rows)
	}
	b.Reset()
	return out
}

// Reset forgets all rows.
func (b *Builder) Reset() {
	b.Rows.Reset()
	b.times, b.kinds, b.sequences, b.rows = b.times[:0], b.kinds[:0], b.sequences[:0], b.rows[:0]
}

// SetBlock makes a block that we wrote ourselves the batch's columns and keeps its buffer.
func (b *Batch) SetBlock(buf *Buffer, rows int) {
	if err := b.DecodeBlock(buf, rows); err != nil {
		panic(fmt.Sprintf("batch: own block does not decode: %v", err))
	}
}

// DecodeBlock makes a foreign block the batch's columns, checked, and keeps its
// buffer, also when it returns an error.
func (b *Batch) DecodeBlock(buf *Buffer, rows int) error {
	b.Keep(buf)
	n := len(b.Schema.Fields)
	if cap(b.Columns) < n {
		b.Columns = make([]frame.Column, n)
	}
	b.Columns = b.Columns[:n]
	got, err := frame.DecodeInto(b.Schema, buf.Bytes, b.Columns)
	if err != nil {
		return err
	}
	if got != rows {
		return fmt.Errorf("a block has %d rows, want %d", got, rows)
	}
	b.rows = got
	return nil
}

// Frame describes the rows that are meant for a frame between workers. It shares
// the batch's memory; origin is where it puts the batch's own.
func (b *Batch) Frame(r *frame.ExchangeRows, origin *frame.ExchangeOriginRows) {
	*r = frame.ExchangeRows{Rows: b.rows, Columns: b.Columns, Times: b.Times, Kinds: b.Kinds, Hashes: b.Hashes, Selection: b.Sel}
	if o := b.Origin; o != nil {
		*origin = frame.ExchangeOriginRows{Topic: o.Topic, Partition: o.Partition, Sequences: o.Sequences, Rows: o.Rows}
		r.Origin = origin
	}
}

// DecodeFrame makes the rows of a foreign frame the batch's own, checked, and
// keeps its body, also when it returns an error. r is scratch that the caller keeps.
func (b *Batch) DecodeFrame(h *frame.ExchangeHeader, body *Buffer, r *frame.ExchangeRows) error {
	b.Keep(body)
	if n := len(b.Schema.Fields); cap(b.Columns) < n {
		b.Columns = make([]frame.Column, n)
	} else {
		b.Columns = b.Columns[:n]
	}
	r.Columns = b.Columns
	if err := frame.DecodeBatch(h, body.Bytes, b.Schema, r); err != nil {
		return err
	}
	b.rows, b.Times, b.Kinds, b.Hashes = r.Rows, r.Times, r.Kinds, r.Hashes
	if o := r.Origin; o != nil {
		b.foreign = Origin{Topic: o.Topic, Partition: o.Partition, Sequences: o.Sequences, Rows: o.Rows}
		b.Origin = &b.foreign
	}
	return nil
}

// Clone copies the rows that are meant into a batch of its own memory, so that
// what b keeps alive can go. It does not release b.
func (b *Batch) Clone() *Batch {
	out := New(b.Schema)
	n := b.Len()
	var enc frame.Encoder
	buf := NewBuffer(enc.Size(b.Schema, b.Columns, b.Sel, n))
	enc.Put(buf.Bytes, b.Schema, b.Columns, b.Sel, n)
	out.SetBlock(buf, n)
	if b.Times != nil {
		gather(out.MakeTimes(), b.Times, b.Sel)
	}
	if b.Kinds != nil {
		gather(out.MakeKinds(), b.Kinds, b.Sel)
	}
	if b.Hashes != nil {
		gather(out.MakeHashes(), b.Hashes, b.Sel)
	}
	if b.Origin != nil {
		o := out.MakeOrigin(b.Origin.Topic, b.Origin.Partition)
		gather(o.Sequences, b.Origin.Sequences, b.Sel)
		gather(o.Rows, b.Origin.Rows, b.Sel)
	}
	return out
}

func gather[T any](dst, src []T, sel []int32) {
	if sel == nil {
		copy(dst, src)
		return
	}
	for i, row := range sel {
		dst[i] = src[row]
	}
}
