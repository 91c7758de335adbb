package json

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/format/scalar"
)

// Encoder writes rows as JSON objects with the schema's names in its order.
// Nulls are written as null, and so are NaN and infinities, which JSON has not.
type Encoder struct {
	names []string // `{"a":` and `,"b":`
	types []written
}

// written is a type with the names of its members made ready.
type written struct {
	names []string
	types []written
}

// NewEncoder makes an encoder of a schema's rows.
func NewEncoder(s *schema.Schema) *Encoder {
	w := prepare(s.Fields)
	return &Encoder{w.names, w.types}
}

func prepare(fields []schema.Field) written {
	var w written
	for i := range fields {
		before := ","
		if i == 0 {
			before = "{"
		}
		w.names = append(w.names, before+string(AppendString(nil, []byte(fields[i].Name)))+":")
		w.types = append(w.types, prepareType(&fields[i].Type))
	}
	return w
}

func prepareType(t *schema.Type) written {
	switch t.Kind {
	case schema.Struct:
		return prepare(t.Fields)
	case schema.List, schema.Map:
		return written{types: []written{prepareType(t.Elem)}}
	}
	return written{}
}

// Append implements format.Encoder.
func (e *Encoder) Append(dst []byte, cols []frame.Column, row int) []byte {
	for i := range cols {
		dst = append(dst, e.names[i]...)
		dst = appendValue(dst, &e.types[i], &cols[i], row)
	}
	return append(dst, '}')
}

func appendValue(dst []byte, w *written, c *frame.Column, row int) []byte {
	if c.Null(row) {
		return append(dst, "null"...)
	}
	switch c.Type.Kind {
	case schema.Utf8:
		return AppendString(dst, c.BytesAt(row))
	case schema.Binary:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, c.BytesAt(row))
		return append(dst, '"')
	case schema.Date32, schema.Timestamp:
		dst = append(dst, '"')
		dst = scalar.AppendText(dst, c, row)
		return append(dst, '"')
	case schema.Float64:
		return appendFloat(dst, c.FloatAt(row), 64)
	case schema.Float32:
		return appendFloat(dst, c.FloatAt(row), 32)
	case schema.List:
		from, to := c.Span(row)
		dst = append(dst, '[')
		for i := from; i < to; i++ {
			if i > from {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, &w.types[0], &c.Children[0], i)
		}
		return append(dst, ']')
	case schema.Struct:
		for i := range c.Children {
			dst = append(dst, w.names[i]...)
			dst = appendValue(dst, &w.types[i], &c.Children[i], row)
		}
		return append(dst, '}')
	case schema.Map:
		return appendMap(dst, w, c, row)
	}
	return scalar.AppendText(dst, c, row)
}

func appendMap(dst []byte, w *written, c *frame.Column, row int) []byte {
	from, to := c.Span(row)
	keys, values := &c.Children[0].Children[0], &c.Children[0].Children[1]
	dst = append(dst, '{')
	for i := from; i < to; i++ {
		if i > from {
			dst = append(dst, ',')
		}
		switch keys.Type.Kind {
		case schema.Utf8:
			dst = AppendString(dst, keys.BytesAt(i))
		case schema.Binary:
			dst = append(dst, '"')
			dst = base64.StdEncoding.AppendEncode(dst, keys.BytesAt(i))
			dst = append(dst, '"')
		default:
			dst = append(dst, '"')
			dst = scalar.AppendText(dst, keys, i)
			dst = append(dst, '"')
		}
		dst = append(dst, ':')
		dst = appendValue(dst, &w.types[0], values, i)
	}
	return append(dst, '}')
}

func appendFloat(dst []byte, f float64, size int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, size)
}

const hex = "0123456789abcdef"

// AppendString writes text as a JSON string.
func AppendString(dst, t []byte) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(t); {
		if i+8 <= len(t) { // eight bytes at once, as in the scanner
			x := binary.LittleEndian.Uint64(t[i:])
			quote, slash := x^(each*'"'), x^(each*'\\')
			if ((quote-each)&^quote|(slash-each)&^slash|(x-each*0x20)&^x)&highs == 0 {
				i += 8
				continue
			}
		}
		c := t[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, t[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, t[start:]...)
	return append(dst, '"')
}
