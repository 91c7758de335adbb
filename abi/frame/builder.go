package frame

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/weirstream/weir/abi/schema"
)

// Builder builds the rows of a schema column by column. Every column gets one value per row; Rows tells how many rows are
// whole. It is reusable by Reset and keeps its memory. A Builder is not for concurrent use.
type Builder struct {
	schema *schema.Schema
	cols   []ColumnBuilder
	views  []Column
	enc    Encoder
}

// NewBuilder makes an empty builder.
func NewBuilder(s *schema.Schema) *Builder {
	b := &Builder{schema: s, cols: make([]ColumnBuilder, len(s.Fields)), views: NewColumns(s)}
	for i := range b.cols {
		b.cols[i].init(&s.Fields[i].Type)
	}
	return b
}

// Schema is the schema the builder was made for.
func (b *Builder) Schema() *schema.Schema { return b.schema }

// Column is the builder of top-level field i.
func (b *Builder) Column(i int) *ColumnBuilder { return &b.cols[i] }

// Rows is the number of rows every column has.
func (b *Builder) Rows() int {
	n := b.cols[0].length
	for i := range b.cols {
		n = min(n, b.cols[i].length)
	}
	return n
}

// Reset forgets all rows and keeps the memory. Views handed out before are void.
func (b *Builder) Reset() {
	for i := range b.cols {
		b.cols[i].Reset()
	}
}

// Truncate keeps the first n rows: it takes back rows begun and not finished. Views handed out before are void.
func (b *Builder) Truncate(n int) {
	for i := range b.cols {
		b.cols[i].truncate(n)
	}
}

// Columns views what was built, valid until the next change of the builder. Columns of unequal length are a bug of the
// caller and panic.
func (b *Builder) Columns() []Column {
	for i := range b.cols {
		if b.cols[i].length != b.cols[0].length {
			panic(fmt.Sprintf("frame: column %s has %d values, column %s has %d: append one to each per row",
				b.schema.Fields[i].Name, b.cols[i].length, b.schema.Fields[0].Name, b.cols[0].length))
		}
		b.cols[i].view(&b.views[i])
	}
	return b.views
}

// Size is the size of the finished block.
func (b *Builder) Size() int { return b.enc.Size(b.schema, b.Columns(), nil, b.cols[0].length) }

// AppendTo appends the block to dst.
func (b *Builder) AppendTo(dst []byte) []byte {
	return b.enc.Append(dst, b.schema, b.Columns(), nil, b.cols[0].length)
}

// WriteTo writes the block into dst, which has Size bytes or more, and returns its size.
func (b *Builder) WriteTo(dst []byte) int {
	n := b.Size()
	b.enc.Put(dst[:n], b.schema, b.views, nil, b.cols[0].length)
	return n
}

// ColumnBuilder builds one node. The Append method must be that of the column's type; it is not checked on the hot path
// beyond the width, so that a mistake shows as a wrong value in a test, never as a damaged block.
type ColumnBuilder struct {
	typ      *schema.Type
	length   int
	validity []byte // nil until the first null
	valid    []byte // memory of validity, kept by Reset
	values   []byte // fixed-width values, bits, or the start offset of each value
	bytes    []byte
	children []ColumnBuilder
}

func (c *ColumnBuilder) init(t *schema.Type) {
	c.typ = t
	if n := t.Children(); n > 0 {
		c.children = make([]ColumnBuilder, n)
		for i := range n {
			c.children[i].init(t.Child(i))
		}
	}
}

// Type is the type of the column.
func (c *ColumnBuilder) Type() *schema.Type { return c.typ }

// Len is the number of values.
func (c *ColumnBuilder) Len() int { return c.length }

// Child is the builder of child i: a list's elements (0), a struct's member i. A map has MapKey and MapValue.
func (c *ColumnBuilder) Child(i int) *ColumnBuilder { return &c.children[i] }

// MapKey is the builder of a map's keys, MapValue that of its values. Each gets one value per entry.
func (c *ColumnBuilder) MapKey() *ColumnBuilder { return &c.children[0].children[0] }

// MapValue is the builder of a map's values.
func (c *ColumnBuilder) MapValue() *ColumnBuilder { return &c.children[0].children[1] }

// Reset forgets all values and keeps the memory.
func (c *ColumnBuilder) Reset() {
	if c.validity != nil {
		c.valid = c.validity[:0]
	}
	c.length, c.validity, c.values, c.bytes = 0, nil, c.values[:0], c.bytes[:0]
	for i := range c.children {
		c.children[i].Reset()
	}
}

// present notes that the next value is not null.
func (c *ColumnBuilder) present() {
	if c.validity != nil {
		if c.length&7 == 0 {
			c.validity = append(c.validity, 0)
		}
		c.validity[c.length>>3] |= 1 << (c.length & 7)
	}
	c.length++
}

// AppendNull appends a null. A column that is not nullable gets the zero value: false, 0, empty.
func (c *ColumnBuilder) AppendNull() {
	null := c.typ.Nullable
	if null && c.validity == nil {
		c.validity = c.valid[:0]
		if c.validity == nil {
			c.validity = make([]byte, 0, 64)
		}
		for i := 0; i < c.length; i += 8 {
			c.validity = append(c.validity, byte(1<<min(8, c.length-i)-1))
		}
	}
	c.appendZeroValue()
	if c.validity != nil && null {
		if c.length&7 == 0 {
			c.validity = append(c.validity, 0)
		}
		c.length++
		return
	}
	c.present()
}

func (c *ColumnBuilder) appendZeroValue() {
	switch kind := c.typ.Kind; {
	case kind == schema.Struct:
		for i := range c.children {
			c.children[i].AppendNull()
		}
	case kind == schema.Bool:
		c.bit(0)
	case kind.VarLen():
		c.start(len(c.bytes))
	case kind.Nested():
		c.start(c.children[0].length)
	default:
		var zero [16]byte
		c.values = append(c.values, zero[:kind.Width()]...)
	}
}

func (c *ColumnBuilder) bit(v byte) {
	if c.length&7 == 0 {
		c.values = append(c.values, 0)
	}
	c.values[c.length>>3] |= v << (c.length & 7)
}

func (c *ColumnBuilder) start(n int) {
	c.values = binary.LittleEndian.AppendUint32(c.values, uint32(n))
}

// AppendBool appends to a bool column.
func (c *ColumnBuilder) AppendBool(v bool) {
	var b byte
	if v {
		b = 1
	}
	c.bit(b)
	c.present()
}

// AppendInt64 appends to an int64 or timestamp column.
func (c *ColumnBuilder) AppendInt64(v int64) {
	c.values = binary.LittleEndian.AppendUint64(c.values, uint64(v))
	c.present()
}

// AppendInt32 appends to an int32 or date32 column.
func (c *ColumnBuilder) AppendInt32(v int32) {
	c.values = binary.LittleEndian.AppendUint32(c.values, uint32(v))
	c.present()
}

// AppendInt16 appends to an int16 column.
func (c *ColumnBuilder) AppendInt16(v int16) {
	c.values = binary.LittleEndian.AppendUint16(c.values, uint16(v))
	c.present()
}

// AppendInt8 appends to an int8 column.
func (c *ColumnBuilder) AppendInt8(v int8) {
	c.values = append(c.values, byte(v))
	c.present()
}

// AppendInt appends to a column of any integer width, date32 or timestamp; it tells whether v fits and appends nothing
// if not.
func (c *ColumnBuilder) AppendInt(v int64) bool {
	switch c.typ.Kind.Width() {
	case 8:
		c.AppendInt64(v)
	case 4:
		if v != int64(int32(v)) {
			return false
		}
		c.AppendInt32(int32(v))
	case 2:
		if v != int64(int16(v)) {
			return false
		}
		c.AppendInt16(int16(v))
	default:
		if v != int64(int8(v)) {
			return false
		}
		c.AppendInt8(int8(v))
	}
	return true
}

// AppendFloat64 appends to a float64 column.
func (c *ColumnBuilder) AppendFloat64(v float64) { c.AppendInt64(int64(math.Float64bits(v))) }

// AppendFloat32 appends to a float32 column.
func (c *ColumnBuilder) AppendFloat32(v float32) { c.AppendInt32(int32(math.Float32bits(v))) }

// AppendDecimal appends the unscaled value hi<<64 | lo, two's complement, to a decimal column.
func (c *ColumnBuilder) AppendDecimal(hi int64, lo uint64) {
	c.values = binary.LittleEndian.AppendUint64(c.values, lo)
	c.values = binary.LittleEndian.AppendUint64(c.values, uint64(hi))
	c.present()
}

// AppendBytes appends a copy of v to a utf8 or binary column.
func (c *ColumnBuilder) AppendBytes(v []byte) {
	c.start(len(c.bytes))
	c.bytes = append(c.bytes, v...)
	c.present()
}

// AppendString appends to a utf8 or binary column.
func (c *ColumnBuilder) AppendString(v string) {
	c.start(len(c.bytes))
	c.bytes = append(c.bytes, v...)
	c.present()
}

// AppendList begins a value of a list; what is appended to Child(0) from now on, until the next value, is its elements.
func (c *ColumnBuilder) AppendList() {
	c.start(c.children[0].length)
	c.present()
}

// AppendMap begins a value of a map; AppendEntry then precedes each pair of MapKey and MapValue.
func (c *ColumnBuilder) AppendMap() { c.AppendList() }

// AppendEntry begins an entry of the map value begun last.
func (c *ColumnBuilder) AppendEntry() { c.children[0].present() }

// AppendStruct begins a value of a struct; each child gets one value.
func (c *ColumnBuilder) AppendStruct() { c.present() }

func (c *ColumnBuilder) view(v *Column) {
	v.Type, v.Length = c.typ, c.length
	v.Validity, v.Bytes = c.validity, c.bytes
	if c.typ.Kind.VarLen() || c.typ.Kind == schema.List || c.typ.Kind == schema.Map {
		// The end of the last value closes the offsets; it is written behind the slice and taken back by the next append.
		end := len(c.bytes)
		if c.typ.Kind.Nested() {
			end = c.children[0].length
		}
		closed := binary.LittleEndian.AppendUint32(c.values, uint32(end))
		c.values = closed[:len(closed)-4]
		v.Values = closed
	} else {
		v.Values = c.values
	}
	for i := range c.children {
		if c.typ.Kind == schema.Struct && c.children[i].length != c.length {
			panic(fmt.Sprintf("frame: struct member %s has %d values, the struct has %d", c.typ.Fields[i].Name, c.children[i].length, c.length))
		}
		c.children[i].view(&v.Children[i])
	}
}

func (c *ColumnBuilder) truncate(n int) {
	if n >= c.length {
		return
	}
	switch kind := c.typ.Kind; {
	case kind == schema.Struct:
		for i := range c.children {
			c.children[i].truncate(n)
		}
	case kind == schema.Bool:
		c.values = truncateBits(c.values, n)
	case kind.VarLen() || kind.Nested():
		start := int(binary.LittleEndian.Uint32(c.values[n*4:]))
		c.values = c.values[:n*4]
		if kind.VarLen() {
			c.bytes = c.bytes[:start]
		} else {
			c.children[0].truncate(start)
		}
	default:
		c.values = c.values[:n*kind.Width()]
	}
	if c.validity != nil {
		c.validity = truncateBits(c.validity, n)
	}
	c.length = n
}

func truncateBits(b []byte, n int) []byte {
	b = b[:bitmapSize(n)]
	if rest := n & 7; rest != 0 {
		b[len(b)-1] &= 1<<rest - 1
	}
	return b
}
