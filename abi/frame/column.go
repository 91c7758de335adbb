// Package frame holds rows as columns in Arrow's buffer layout: views on foreign bytes, builders, gathering with a
// selection, and the wrappers in which a block stands in the log, between workers and in a guest's memory. Decoders trust
// nothing and never panic; views keep the bytes they were made of alive. The package must not know who sends a frame,
// where it is kept or what its rows mean.
package frame

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/weirstream/weir/abi/schema"
)

// Column is a view on one node of a block. The slices belong to whoever owns the block; a view is never changed in place.
//
//	fixed width    Values: Length values          bool     Values: bits, LSB first
//	utf8, binary   Values: int32[Length+1]        Bytes    the bytes the offsets point into
//	list, map      Values: int32[Length+1]        Children one: the elements, or the struct of key and value
//	struct                                        Children one per member, each of Length
//
// Validity nil means no nulls. A column of length 0 may have no offsets at all.
type Column struct {
	Type     *schema.Type
	Length   int
	Validity []byte
	Values   []byte
	Bytes    []byte
	Children []Column
}

var zeroOffset = []int32{0}

// Null tells whether value i is absent.
func (c *Column) Null(i int) bool {
	return c.Validity != nil && c.Validity[i>>3]&(1<<(i&7)) == 0
}

// HasNulls tells whether any value is absent.
func (c *Column) HasNulls() bool {
	if c.Validity == nil {
		return false
	}
	for _, b := range c.Validity[:c.Length>>3] {
		if b != 0xff {
			return true
		}
	}
	rest := byte(1)<<(c.Length&7) - 1
	return rest != 0 && c.Validity[c.Length>>3]&rest != rest
}

// Bool is value i of a bool column.
func (c *Column) Bool(i int) bool { return c.Values[i>>3]&(1<<(i&7)) != 0 }

// Int64s views the values of an int64 or timestamp column.
func (c *Column) Int64s() []int64 { return view[int64](c.Values, c.Length) }

// Int32s views the values of an int32 or date32 column.
func (c *Column) Int32s() []int32 { return view[int32](c.Values, c.Length) }

// Int16s views the values of an int16 column.
func (c *Column) Int16s() []int16 { return view[int16](c.Values, c.Length) }

// Int8s views the values of an int8 column.
func (c *Column) Int8s() []int8 { return view[int8](c.Values, c.Length) }

// Float64s views the values of a float64 column.
func (c *Column) Float64s() []float64 { return view[float64](c.Values, c.Length) }

// Float32s views the values of a float32 column.
func (c *Column) Float32s() []float32 { return view[float32](c.Values, c.Length) }

// Offsets views the Length+1 offsets of a utf8, binary, list or map column.
func (c *Column) Offsets() []int32 {
	if c.Length == 0 {
		return zeroOffset
	}
	return view[int32](c.Values, c.Length+1)
}

// BytesAt is value i of a utf8 or binary column, a view.
func (c *Column) BytesAt(i int) []byte {
	from, to := c.span(i)
	return c.Bytes[from:to:to]
}

// StringAt is value i of a utf8 or binary column, a view that lives as long as the block: copy what is kept.
func (c *Column) StringAt(i int) string {
	from, to := c.span(i)
	return unsafe.String(unsafe.SliceData(c.Bytes[from:to]), int(to-from))
}

// Span is the range of list or map value i in its child.
func (c *Column) Span(i int) (from, to int) {
	f, t := c.span(i)
	return int(f), int(t)
}

func (c *Column) span(i int) (from, to int32) {
	o := c.Values[i*4 : i*4+8]
	return int32(binary.LittleEndian.Uint32(o)), int32(binary.LittleEndian.Uint32(o[4:]))
}

// Decimal is value i of a decimal column: hi<<64 | lo, two's complement, unscaled.
func (c *Column) Decimal(i int) (hi int64, lo uint64) {
	v := c.Values[i*16 : i*16+16]
	return int64(binary.LittleEndian.Uint64(v[8:])), binary.LittleEndian.Uint64(v)
}

// IntAt is value i of an integer, date32 or timestamp column, widened.
func (c *Column) IntAt(i int) int64 {
	switch c.Type.Kind.Width() {
	case 8:
		return int64(binary.LittleEndian.Uint64(c.Values[i*8:]))
	case 4:
		return int64(int32(binary.LittleEndian.Uint32(c.Values[i*4:])))
	case 2:
		return int64(int16(binary.LittleEndian.Uint16(c.Values[i*2:])))
	}
	return int64(int8(c.Values[i]))
}

// FloatAt is value i of a float32 or float64 column, widened.
func (c *Column) FloatAt(i int) float64 {
	if c.Type.Kind == schema.Float32 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(c.Values[i*4:])))
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(c.Values[i*8:]))
}

// Size is the number of bytes the views of the column and its children cover.
func (c *Column) Size() int {
	n := len(c.Validity) + len(c.Values) + len(c.Bytes)
	for i := range c.Children {
		n += c.Children[i].Size()
	}
	return n
}

// NewColumns makes empty columns of the schema with room for all nested nodes, for DecodeInto to fill.
func NewColumns(s *schema.Schema) []Column {
	cols := make([]Column, len(s.Fields))
	for i := range cols {
		cols[i] = newColumn(&s.Fields[i].Type)
	}
	return cols
}

func newColumn(t *schema.Type) Column {
	c := Column{Type: t}
	if n := t.Children(); n > 0 {
		c.Children = make([]Column, n)
		for i := range n {
			c.Children[i] = newColumn(t.Child(i))
		}
	}
	return c
}

// fixed is every type a block holds by value.
type fixed interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint32 | ~uint64 | ~float32 | ~float64
}

// view casts bytes to n values. Blocks begin at addresses divisible by 8, so the copy is for hand-made columns only.
func view[T fixed](b []byte, n int) []T {
	var zero T
	size := int(unsafe.Sizeof(zero))
	if n == 0 {
		return nil
	}
	b = b[:n*size]
	p := unsafe.Pointer(unsafe.SliceData(b))
	if uintptr(p)%uintptr(size) == 0 {
		return unsafe.Slice((*T)(p), n)
	}
	out := make([]T, n)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(out))), n*size), b)
	return out
}

// bytesOf views values as bytes.
func bytesOf[T fixed](v []T) []byte {
	var zero T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(zero)))
}

// Fixed makes a column of fixed-width values, a view on them; validity may be nil.
func Fixed[T fixed](t *schema.Type, values []T, validity []byte) Column {
	return Column{Type: t, Length: len(values), Values: bytesOf(values), Validity: validity}
}

// VarLen makes a utf8 or binary column of offsets (one more than values) and bytes, a view on them.
func VarLen(t *schema.Type, offsets []int32, bytes, validity []byte) Column {
	return Column{Type: t, Length: len(offsets) - 1, Values: bytesOf(offsets), Bytes: bytes, Validity: validity}
}

func aligned(b []byte) bool {
	return len(b) == 0 || uintptr(unsafe.Pointer(unsafe.SliceData(b)))%8 == 0
}

// alignedCopy copies b to an address divisible by 8.
func alignedCopy(b []byte) []byte {
	words := make([]uint64, (len(b)+7)/8)
	out := bytesOf(words)[:len(b)]
	copy(out, b)
	return out
}

func align8(n int) int { return (n + 7) &^ 7 }

func bitmapSize(n int) int { return (n + 7) >> 3 }
