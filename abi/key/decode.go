package key

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
)

// ErrKey is wrapped by every refusal of key bytes.
var ErrKey = errors.New("bad key bytes")

var (
	errNull      = errors.New("null in a column that is not nullable")
	errCanonical = errors.New("not the canonical form")
	errRange     = errors.New("value does not fit the column's type")
	errUTF8      = errors.New("not UTF-8")
)

// Decode appends the row that the key's canonical bytes stand for to b, whose schema is that of the key columns. Only
// canonical bytes are accepted. After an error b has the rows it had before.
func Decode(key []byte, b *frame.Builder) error {
	s := b.Schema()
	rows := b.Rows()
	rest := key
	for i := range s.Fields {
		place := Inner
		if i == len(s.Fields)-1 {
			place = Last
		}
		var err error
		if rest, err = takeColumn(rest, b.Column(i), place); err != nil {
			b.Truncate(rows)
			return fmt.Errorf("%w: column %s:%s: %w", ErrKey, schema.QuoteName(s.Fields[i].Name), s.Fields[i].Type, err)
		}
	}
	if len(rest) != 0 {
		b.Truncate(rows)
		return fmt.Errorf("%w: %d bytes after the columns of %s", ErrKey, len(rest), s)
	}
	return nil
}

// DecodeAll appends a row for every key.
func DecodeAll(keys *Keys, b *frame.Builder) error {
	for i := range keys.Len() {
		if err := Decode(keys.Key(i), b); err != nil {
			return fmt.Errorf("decode key %d: %w", i, err)
		}
	}
	return nil
}

func takeColumn(b []byte, c *frame.ColumnBuilder, place Place) ([]byte, error) {
	if len(b) == 0 {
		return nil, errTruncated
	}
	tag := b[0]
	b = b[1:]
	t := c.Type()
	switch {
	case tag == tagNull && t.Nullable:
		c.AppendNull()
		return b, nil
	case tag == tagNull:
		return nil, errNull
	case tag != tagValue:
		return nil, fmt.Errorf("tag %02x, want 01 (null) or 02", tag)
	}
	switch t.Kind {
	case schema.Bool:
		if len(b) == 0 {
			return nil, errTruncated
		}
		if b[0] > 1 {
			return nil, errCanonical
		}
		c.AppendBool(b[0] == 1)
		return b[1:], nil
	case schema.Float32, schema.Float64:
		return takeFloat(b, c)
	case schema.Decimal:
		hi, lo, rest, err := takeDecimal(b, t.Scale)
		if err != nil {
			return nil, err
		}
		c.AppendDecimal(hi, lo)
		return rest, nil
	case schema.Utf8, schema.Binary:
		return takeBytes(b, c, place)
	case schema.List, schema.Struct, schema.Map:
		return nil, fmt.Errorf("a %s is not a key", t.Kind)
	}
	if len(b) < 8 {
		return nil, errTruncated
	}
	if !c.AppendInt(int64(binary.BigEndian.Uint64(b) ^ 1<<63)) {
		return nil, errRange
	}
	return b[8:], nil
}

func takeFloat(b []byte, c *frame.ColumnBuilder) ([]byte, error) {
	if len(b) < 8 {
		return nil, errTruncated
	}
	bits := binary.BigEndian.Uint64(b)
	if bits>>63 != 0 {
		bits &^= 1 << 63
	} else {
		bits = ^bits
	}
	v := math.Float64frombits(bits)
	if v != v && bits != canonicalNaN || v == 0 && bits != 0 {
		return nil, errCanonical
	}
	if c.Type().Kind == schema.Float64 {
		c.AppendFloat64(v)
		return b[8:], nil
	}
	if v == v && float64(float32(v)) != v {
		return nil, errRange
	}
	c.AppendFloat32(float32(v))
	return b[8:], nil
}

func takeBytes(b []byte, c *frame.ColumnBuilder, place Place) ([]byte, error) {
	value, rest := b, []byte(nil)
	if place == Inner {
		var escaped bool
		end := 0
		for {
			i := bytes.IndexByte(b[end:], 0)
			if i < 0 || end+i+1 >= len(b) {
				return nil, errTruncated
			}
			end += i
			if b[end+1] == 1 {
				break
			}
			if b[end+1] != 0xff {
				return nil, errCanonical
			}
			escaped = true
			end += 2
		}
		value, rest = b[:end], b[end+2:]
		if escaped {
			value = bytes.ReplaceAll(value, []byte{0, 0xff}, []byte{0})
		}
	}
	if c.Type().Kind == schema.Utf8 && !utf8.Valid(value) {
		return nil, errUTF8
	}
	c.AppendBytes(value)
	return rest, nil
}
