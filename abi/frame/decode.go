package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/schema"
)

// MaxRows is the most rows a block may have.
const MaxRows = abi.MaxBlockRows

// ErrBlock is wrapped by every refusal of a column block, ErrUTF8 by that of a utf8 value.
var (
	ErrBlock = errors.New("bad column block")
	ErrUTF8  = errors.New("not UTF-8")
)

// Decode views the block as columns of the schema, checked: no accessor of the result can go out of bounds. Nothing is
// copied, unless the block does not begin at an address divisible by 8.
func Decode(s *schema.Schema, block []byte) ([]Column, int, error) {
	cols := NewColumns(s)
	rows, err := DecodeInto(s, block, cols)
	if err != nil {
		return nil, 0, err
	}
	return cols, rows, nil
}

// DecodeInto is Decode into columns made by NewColumns of the same schema, and allocates nothing. After an error the
// columns must not be used.
func DecodeInto(s *schema.Schema, block []byte, cols []Column) (rows int, err error) {
	if len(cols) != len(s.Fields) {
		return 0, fmt.Errorf("decode block: %d columns given, the schema has %d", len(cols), len(s.Fields))
	}
	d, err := openBlock(block, s.Nodes())
	if err != nil {
		return 0, err
	}
	for i := range cols {
		if t := &s.Fields[i].Type; cols[i].Type != t {
			cols[i] = newColumn(t)
		}
		if err := d.node(&cols[i], d.rows); err != nil {
			return 0, fmt.Errorf("%w, column %s: %w", ErrBlock, schema.QuoteName(s.Fields[i].Name), err)
		}
	}
	return d.rows, nil
}

type blockReader struct {
	b    []byte
	data int // where buffers may begin
	next int // offset of the next node
	rows int
}

func openBlock(b []byte, nodes int) (blockReader, error) {
	if len(b) < abi.BlockHeaderSize {
		return blockReader{}, fmt.Errorf("%w: %d bytes, the header has %d", ErrBlock, len(b), abi.BlockHeaderSize)
	}
	le := binary.LittleEndian
	rows, have, size := le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:])
	data := abi.BlockHeaderSize + abi.BlockNodeSize*nodes
	switch {
	case uint64(size) != uint64(len(b)):
		return blockReader{}, fmt.Errorf("%w: size says %d, the section has %d bytes", ErrBlock, size, len(b))
	case size%8 != 0:
		return blockReader{}, fmt.Errorf("%w: size %d is not divisible by 8", ErrBlock, size)
	case uint64(have) != uint64(nodes):
		return blockReader{}, fmt.Errorf("%w: %d nodes, the schema has %d", ErrBlock, have, nodes)
	case le.Uint32(b[12:]) != 0:
		return blockReader{}, fmt.Errorf("%w: reserved bytes 12..15 are not zero", ErrBlock)
	case data > len(b):
		return blockReader{}, fmt.Errorf("%w: %d bytes, %d nodes alone have %d", ErrBlock, len(b), nodes, data)
	case rows > MaxRows:
		return blockReader{}, fmt.Errorf("%w: %d rows, the limit is %d: send smaller blocks", ErrBlock, rows, MaxRows)
	}
	if !aligned(b) {
		b = alignedCopy(b)
	}
	return blockReader{b: b, data: data, next: abi.BlockHeaderSize, rows: int(rows)}, nil
}

// anyLength is the length a list's child may have: whatever its node says.
const anyLength = -1

func (d *blockReader) node(c *Column, want int) error {
	le := binary.LittleEndian
	n := d.b[d.next : d.next+abi.BlockNodeSize]
	d.next += abi.BlockNodeSize
	length := le.Uint32(n)
	validity, values, bytes, bytesSize := le.Uint32(n[4:]), le.Uint32(n[8:]), le.Uint32(n[12:]), le.Uint32(n[16:])
	if want != anyLength && uint64(length) != uint64(want) {
		return fmt.Errorf("%s node has length %d, want %d", c.Type.Kind, length, want)
	}
	// A value takes at least a bit somewhere, so this bounds every size computed below.
	if uint64(length) > uint64(len(d.b))*8 {
		return fmt.Errorf("%s node has length %d in a block of %d bytes", c.Type.Kind, length, len(d.b))
	}
	if le.Uint32(n[20:]) != 0 {
		return fmt.Errorf("reserved bytes of the %s node are not zero", c.Type.Kind)
	}
	c.Length = int(length)
	c.Validity, c.Values, c.Bytes = nil, nil, nil
	var err error
	if validity != 0 {
		if !c.Type.Nullable {
			return fmt.Errorf("%s is not nullable but has validity", c.Type.Kind)
		}
		if c.Length > 0 {
			if c.Validity, err = d.buffer("validity", validity, bitmapSize(c.Length)); err != nil {
				return err
			}
		}
	}
	if !c.Type.Kind.VarLen() && (bytes != 0 || bytesSize != 0) {
		return fmt.Errorf("%s node has bytes", c.Type.Kind)
	}
	switch kind := c.Type.Kind; {
	case kind == schema.Struct:
		if values != 0 {
			return errors.New("struct node has values")
		}
		for i := range c.Children {
			if err := d.node(&c.Children[i], c.Length); err != nil {
				return err
			}
		}
		return nil
	case kind == schema.List || kind == schema.Map:
		return d.list(c, values)
	case kind.VarLen():
		return d.varLen(c, values, bytes, bytesSize)
	case c.Length == 0:
		return nil
	case kind == schema.Bool:
		c.Values, err = d.buffer("values", values, bitmapSize(c.Length))
	default:
		c.Values, err = d.buffer("values", values, c.Length*kind.Width())
	}
	return err
}

func (d *blockReader) buffer(what string, offset uint32, size int) ([]byte, error) {
	from := int(offset)
	if offset%8 != 0 {
		return nil, fmt.Errorf("%s offset %d is not divisible by 8", what, offset)
	}
	if from < d.data || from > len(d.b) || size > len(d.b)-from {
		return nil, fmt.Errorf("%s at %d with %d bytes are outside of the block's %d..%d", what, offset, size, d.data, len(d.b))
	}
	return d.b[from : from+size : from+size], nil
}

func (d *blockReader) varLen(c *Column, values, bytes, bytesSize uint32) (err error) {
	if bytesSize > 0 {
		if c.Bytes, err = d.buffer("bytes", bytes, int(bytesSize)); err != nil {
			return err
		}
	}
	if c.Length == 0 {
		if bytesSize != 0 {
			return fmt.Errorf("%s node of length 0 has %d bytes", c.Type.Kind, bytesSize)
		}
		return nil
	}
	if c.Values, err = d.buffer("offsets", values, (c.Length+1)*4); err != nil {
		return err
	}
	return checkOffsets(c.Offsets(), len(c.Bytes))
}

func (d *blockReader) list(c *Column, values uint32) (err error) {
	if c.Length > 0 {
		if c.Values, err = d.buffer("offsets", values, (c.Length+1)*4); err != nil {
			return err
		}
	}
	if err := d.node(&c.Children[0], anyLength); err != nil {
		return err
	}
	return checkOffsets(c.Offsets(), c.Children[0].Length)
}

func checkOffsets(offsets []int32, end int) error {
	if offsets[0] != 0 {
		return fmt.Errorf("offsets begin with %d, not 0", offsets[0])
	}
	// The loop folds the comparison into one word: a branch per offset would cost more than the check is worth.
	var bad int32
	prev := int32(0)
	for _, o := range offsets {
		bad |= (o - prev) | o
		prev = o
	}
	// o-prev cannot wrap while all offsets so far are non-negative, and a negative one sets the sign by itself.
	if bad < 0 {
		return offsetsFault(offsets)
	}
	if int(prev) != end {
		return fmt.Errorf("the last offset is %d, want %d", prev, end)
	}
	return nil
}

func offsetsFault(offsets []int32) error {
	prev := int32(0)
	for i, o := range offsets {
		if o < prev {
			return fmt.Errorf("offset %d is %d, below the one before, %d", i, o, prev)
		}
		prev = o
	}
	return errors.New("offsets decrease")
}

// ValidateUTF8 checks every present value of every utf8 column, nested ones too.
func ValidateUTF8(cols []Column) error {
	for i := range cols {
		if err := validUTF8(&cols[i]); err != nil {
			return fmt.Errorf("column %d: %w", i, err)
		}
	}
	return nil
}

func validUTF8(c *Column) error {
	for i := range c.Children {
		if err := validUTF8(&c.Children[i]); err != nil {
			return err
		}
	}
	if c.Type.Kind != schema.Utf8 || len(c.Bytes) == 0 {
		return nil
	}
	// If the bytes are valid as a whole, each value is as soon as it begins at the beginning of a character.
	if utf8.Valid(c.Bytes) && startsAreRunes(c.Offsets(), c.Bytes) {
		return nil
	}
	for i := range c.Length {
		if !c.Null(i) && !utf8.Valid(c.BytesAt(i)) {
			return fmt.Errorf("row %d: %w: %q", i, ErrUTF8, clip(c.BytesAt(i)))
		}
	}
	return nil
}

func startsAreRunes(offsets []int32, b []byte) bool {
	for _, o := range offsets {
		if int(o) < len(b) && !utf8.RuneStart(b[o]) {
			return false
		}
	}
	return true
}

func clip(b []byte) []byte { return b[:min(len(b), 64)] }
