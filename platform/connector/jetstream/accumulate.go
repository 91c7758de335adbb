package jetstream

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/key"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
)

// frameTarget is the size at which a frame is closed: large enough that a
// message's cost is spread over hundreds of records, small enough for latency.
const frameTarget = 64 << 10

// accumulator gathers the rows of one partition into frames.
type accumulator struct {
	rows  *frame.Builder
	count int
	times []int64 // of typed columns; a plain byte stream has a column for them
	kinds []byte
	timed bool // some row has a time
	kept  bool // some row is no insert
	bytes int
}

func newAccumulator(s *schema.Schema) *accumulator {
	return &accumulator{rows: frame.NewBuilder(s)}
}

func (a *accumulator) len() int { return a.count }

func (a *accumulator) reset() {
	a.rows.Reset()
	a.times, a.kinds = a.times[:0], a.kinds[:0]
	a.timed, a.kept, a.bytes, a.count = false, false, 0, 0
}

// add copies the rows of b that rows lists, until the frame is full; it gives
// back those that are left.
func (a *accumulator) add(b *batch.Batch, rows []int32, fixed int) []int32 {
	n := 0
	if slices.ContainsFunc(b.Columns, variable) {
		for n < len(rows) && (a.bytes < frameTarget || a.len()+n == 0) {
			a.bytes += fixed + variableBytes(b.Columns, int(rows[n]))
			n++
		}
	} else {
		n = min(len(rows), max((frameTarget-a.bytes+fixed-1)/fixed, 0))
		a.bytes += n * fixed
	}
	for i := range b.Columns {
		a.rows.Column(i).AppendRows(&b.Columns[i], rows[:n])
	}
	for _, r := range rows[:n] {
		time, kind := b.Time(int(r)), b.Kind(int(r))
		a.timed = a.timed || time != batch.NoTime
		a.kept = a.kept || kind != batch.Insert
		a.times = append(a.times, time)
		a.kinds = append(a.kinds, kind)
	}
	a.count += n
	return rows[n:]
}

// full tells whether the frame should go.
func (a *accumulator) full() bool { return a.bytes >= frameTarget }

// stored views what was gathered as a frame to encode.
func (a *accumulator) stored() frame.Stored {
	f := frame.Stored{Schema: a.rows.Schema(), Rows: a.len(), Columns: a.rows.Columns()}
	if a.timed {
		f.Times = a.times
	}
	if a.kept {
		f.Kinds = a.kinds
	}
	return f
}

// fixedBytes is what every row of a schema takes in a frame.
func fixedBytes(s *schema.Schema) int {
	n := 9 // time and kind
	for i := range s.Fields {
		n += max(s.Fields[i].Type.Kind.Width(), 4)
	}
	return n
}

// variable tells a column whose values differ in size.
func variable(c frame.Column) bool { return c.Type.Kind.VarLen() || c.Type.Kind.Nested() }

// variableBytes is what a row takes besides.
func variableBytes(cols []frame.Column, row int) int {
	n := 0
	for i := range cols {
		switch kind := cols[i].Type.Kind; {
		case kind.VarLen():
			n += len(cols[i].BytesAt(row))
		case kind.Nested():
			n += cols[i].Size() / max(cols[i].Length, 1)
		}
	}
	return n
}

// The fields of a plain byte stream.
const (
	rawKey = iota
	rawValue
	rawTime
	rawHeaders
)

// addRecord gathers one record into a frame of a plain byte stream.
func (a *accumulator) addRecord(r *record) {
	appendNullable(a.rows.Column(rawKey), r.key)
	appendNullable(a.rows.Column(rawValue), r.value)
	a.rows.Column(rawTime).AppendInt64(r.timeMicros)
	headers := a.rows.Column(rawHeaders)
	if len(r.headers) == 0 {
		headers.AppendNull()
	} else {
		headers.AppendMap()
		for name, value := range r.headers {
			headers.AppendEntry()
			headers.MapKey().AppendString(name)
			headers.MapValue().AppendBytes(value)
			a.bytes += len(name) + len(value) + 8
		}
	}
	a.count++
	a.bytes += 32 + len(r.key) + len(r.value)
}

func appendNullable(c *frame.ColumnBuilder, v []byte) {
	if v == nil {
		c.AppendNull()
		return
	}
	c.AppendBytes(v)
}

// Partition is where a key's records stand, as NATS computes partition() of one token.
func Partition(recordKey []byte, partitions int) int { return key.Partition(recordKey, partitions) }

// tooLarge refuses a message that the server would.
func tooLarge(size int, limit int64) error {
	return fmt.Errorf("a message of %d bytes is over the NATS server's limit of %d: make the record smaller or raise max_payload", size, limit)
}

func nowMicros() int64 { return time.Now().UnixMicro() }
