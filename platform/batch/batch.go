// Package batch is the unit that flows between operators: a view on abi's
// columns with a selection, event times, row kinds and key hashes. Batches are
// counted references, immutable once emitted. It must not know operators,
// tasks or where rows come from.
package batch

import (
	"sync"
	"sync/atomic"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
)

// NoTime is the event time of a row that has none.
const NoTime int64 = -1 << 63

// Kind is what a row does to the changelog it is part of.
type Kind = byte

// The row kinds; a batch without Kinds is all inserts.
const (
	Insert       Kind = 0
	UpdateBefore Kind = 1
	UpdateAfter  Kind = 2
	Delete       Kind = 3
)

// Origin says where rows were read, for functions that ask and for dead
// letters. Rows of one batch come from one partition or file.
type Origin struct {
	Topic     string
	Partition int32
	Sequences []uint64 // per physical row
	Rows      []int32  // per physical row: index within its message
}

// Batch is rows as columns. Columns, Times, Kinds and Hashes are indexed by
// physical row; Sel, if not nil, names the physical rows that are meant, in
// order. Whoever holds a Batch holds one reference and ends with Release or by
// giving the batch away. Nothing of it may be changed after it was given away.
type Batch struct {
	Schema  *schema.Schema
	Columns []frame.Column
	Sel     []int32 // nil: all rows
	Times   []int64 // microseconds; nil: none known
	Kinds   []Kind  // nil: all inserts
	Hashes  []uint64
	Origin  *Origin

	rows   int // physical
	refs   atomic.Int32
	parent *Batch
	owned  []*Buffer
	sel    []int32 // backing of Sel, kept for reuse
	times  []int64
	kinds  []Kind
	hashes []uint64
	origin Origin

	foreign Origin // views on a frame; apart from origin, whose memory is kept for reuse
}

var batches = sync.Pool{New: func() any { return new(Batch) }}

// New gives an empty batch with one reference.
func New(s *schema.Schema) *Batch {
	b := batches.Get().(*Batch)
	b.Schema = s
	b.refs.Store(1)
	live.Add(1)
	return b
}

// SetColumns gives the batch its columns of n physical rows; the slice is copied.
func (b *Batch) SetColumns(cols []frame.Column, n int) {
	b.Columns = append(b.Columns[:0], cols...)
	b.rows = n
}

// Keep ties a buffer to the batch: it goes back to its pool on the last Release.
func (b *Batch) Keep(buf *Buffer) { b.owned = append(b.owned, buf) }

// Physical is the number of physical rows, selected or not.
func (b *Batch) Physical() int { return b.rows }

// Len is the number of rows that are meant.
func (b *Batch) Len() int {
	if b.Sel != nil {
		return len(b.Sel)
	}
	return b.rows
}

// Row gives the physical row of the i-th row that is meant.
func (b *Batch) Row(i int) int {
	if b.Sel != nil {
		return int(b.Sel[i])
	}
	return i
}

// Time is the event time of a physical row.
func (b *Batch) Time(row int) int64 {
	if b.Times == nil {
		return NoTime
	}
	return b.Times[row]
}

// Kind is the row kind of a physical row.
func (b *Batch) Kind(row int) Kind {
	if b.Kinds == nil {
		return Insert
	}
	return b.Kinds[row]
}

// Retain adds a reference.
func (b *Batch) Retain() *Batch {
	if b.refs.Add(1) <= 1 {
		panic("batch: retained after its last release")
	}
	return b
}

// Release gives a reference back; with the last one the batch's buffers return
// to their pools and its memory may be reused at once.
func (b *Batch) Release() {
	switch n := b.refs.Add(-1); {
	case n > 0:
		return
	case n < 0:
		panic("batch: released more often than retained")
	}
	live.Add(-1)
	for i, buf := range b.owned {
		buf.release()
		b.owned[i] = nil
	}
	parent := b.parent
	clear(b.Columns)
	b.Columns, b.owned = b.Columns[:0], b.owned[:0]
	b.Schema, b.Sel, b.Times, b.Kinds, b.Hashes, b.Origin, b.parent = nil, nil, nil, nil, nil, nil, nil
	b.rows, b.foreign = 0, Origin{}
	if poison {
		poisonInts(b.sel, b.times, b.hashes)
	}
	batches.Put(b)
	if parent != nil {
		parent.Release()
	}
}

// View gives a batch that shares b's rows under its own selection and takes
// over the caller's reference to b. Fill the selection by Select.
func (b *Batch) View() *Batch {
	v := New(b.Schema)
	v.SetColumns(b.Columns, b.rows)
	v.Sel, v.Times, v.Kinds, v.Hashes, v.Origin = b.Sel, b.Times, b.Kinds, b.Hashes, b.Origin
	v.parent = b
	return v
}

// Select gives a selection of n rows to write to, backed by the batch's own memory.
func (b *Batch) Select(n int) []int32 {
	if b.sel == nil || cap(b.sel) < n { // no rows at all is a selection too, and not nil
		b.sel = make([]int32, n, roundUp(n))
	}
	b.Sel = b.sel[:n]
	return b.Sel
}

// MakeTimes gives event times for all physical rows to write to.
func (b *Batch) MakeTimes() []int64 {
	if cap(b.times) < b.rows {
		b.times = make([]int64, roundUp(b.rows))
	}
	b.Times = b.times[:b.rows]
	return b.Times
}

// MakeKinds gives row kinds for all physical rows to write to.
func (b *Batch) MakeKinds() []Kind {
	if cap(b.kinds) < b.rows {
		b.kinds = make([]Kind, roundUp(b.rows))
	}
	b.Kinds = b.kinds[:b.rows]
	return b.Kinds
}

// MakeHashes gives key hashes for all physical rows to write to.
func (b *Batch) MakeHashes() []uint64 {
	if cap(b.hashes) < b.rows {
		b.hashes = make([]uint64, roundUp(b.rows))
	}
	b.Hashes = b.hashes[:b.rows]
	return b.Hashes
}

// MakeOrigin gives an origin for all physical rows to write to.
func (b *Batch) MakeOrigin(topic string, partition int32) *Origin {
	o := &b.origin
	o.Topic, o.Partition = topic, partition
	if cap(o.Sequences) < b.rows {
		o.Sequences = make([]uint64, roundUp(b.rows))
		o.Rows = make([]int32, roundUp(b.rows))
	}
	o.Sequences, o.Rows = o.Sequences[:b.rows], o.Rows[:b.rows]
	b.Origin = o
	return o
}

// roundUp keeps reused slices from growing by every odd batch.
func roundUp(n int) int {
	c := 256
	for c < n {
		c *= 2
	}
	return c
}
