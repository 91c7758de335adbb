package aggregate

import (
	"encoding/binary"
	"math"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
)

// vector is a column of the output while it is written: every place once, in
// any order. Fixed-width values go straight into the buffer that leaves.
type vector struct {
	typ    *schema.Type
	length int
	buf    *batch.Buffer
	values []byte
	ints   []int64 // the same, of types of 8 bytes
	valid  []byte  // bits; nil: the type has no nulls

	heap  []byte // utf8 and binary: bytes in the order in which they came
	spans []span // and where each value stands
}

type span struct{ from, to int32 }

// begin makes room for n values, none of them null.
func (v *vector) begin(n int) {
	v.length = n
	bitmap := 0
	if v.typ.Nullable {
		bitmap = (n + 7) / 8
	}
	size := align8(n * v.typ.Kind.Width())
	if v.typ.Kind.VarLen() {
		size = 0
		v.heap = v.heap[:0]
		if cap(v.spans) < n {
			v.spans = make([]span, n+n/2)
		}
		v.spans = v.spans[:n]
	}
	v.buf = batch.NewBuffer(size + bitmap)
	v.values, v.valid = v.buf.Bytes[:size], v.buf.Bytes[size:]
	if bitmap == 0 {
		v.valid = nil
	}
	for i := range v.valid {
		v.valid[i] = 0xff
	}
	v.ints = nil
	if v.typ.Kind.Width() == 8 {
		c := frame.Column{Type: v.typ, Length: n, Values: v.values}
		v.ints = c.Int64s()
	}
}

func align8(n int) int { return (n + 7) &^ 7 }

// null writes a null, or the zero value where the type has none.
func (v *vector) null(i int) {
	if v.valid != nil {
		v.valid[i>>3] &^= 1 << (i & 7)
	}
	if v.typ.Kind.VarLen() {
		v.spans[i] = span{}
		return
	}
	w := v.typ.Kind.Width()
	clear(v.values[i*w : (i+1)*w])
}

func (v *vector) integer(i int, n int64) {
	switch v.typ.Kind.Width() {
	case 8:
		v.ints[i] = n
	case 4:
		binary.LittleEndian.PutUint32(v.values[i*4:], uint32(n))
	case 2:
		binary.LittleEndian.PutUint16(v.values[i*2:], uint16(n))
	default:
		v.values[i] = byte(n)
	}
}

func (v *vector) float(i int, f float64) {
	if v.typ.Kind == schema.Float32 {
		binary.LittleEndian.PutUint32(v.values[i*4:], math.Float32bits(float32(f)))
		return
	}
	v.ints[i] = int64(math.Float64bits(f))
}

func (v *vector) decimal(i int, d wide) { storeWide(v.values[i*wideBytes:], d) }

func (v *vector) bytes(i int, b []byte) {
	from := len(v.heap)
	v.heap = append(v.heap, b...)
	v.spans[i] = span{int32(from), int32(len(v.heap))}
}

// finish gives the column and ties its memory to the batch.
func (v *vector) finish(b *batch.Batch) frame.Column {
	c := frame.Column{Type: v.typ, Length: v.length, Values: v.values, Validity: v.valid}
	b.Keep(v.buf)
	if v.typ.Kind.VarLen() {
		size := (v.length + 1) * 4
		total := 0
		for _, s := range v.spans {
			total += int(s.to - s.from)
		}
		text := batch.NewBuffer(size + total)
		c.Values, c.Bytes = text.Bytes[:size], text.Bytes[size:]
		end := 0
		binary.LittleEndian.PutUint32(c.Values, 0)
		for i, s := range v.spans {
			end += copy(c.Bytes[end:], v.heap[s.from:s.to])
			binary.LittleEndian.PutUint32(c.Values[i*4+4:], uint32(end))
		}
		b.Keep(text)
	}
	v.buf, v.values, v.valid, v.ints = nil, nil, nil, nil
	return c
}

// drop gives back the memory of a column that nobody gets.
func (v *vector) drop() {
	if v.buf != nil {
		v.buf.Release()
		v.buf = nil
	}
}
