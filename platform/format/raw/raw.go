// Package raw passes records through as they are: key, value, time and headers
// as the columns of schema.Raw, any of them, by name. It must not know what the
// bytes mean.
package raw

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/format"
)

// ErrOptions refuses options, of which raw has none.
var ErrOptions = errors.New("format raw has no options")

// parts of a record, as schema.Raw orders them.
const (
	partKey = iota
	partValue
	partTime
	partHeaders
)

// Decoder fills the columns key, value, ts and headers.
type Decoder struct {
	schema *schema.Schema
	parts  []int
	names  []string // of headers, sorted
}

// NewDecoder makes a decoder of a schema whose columns are some of schema.Raw's.
// Key and value may be utf8 instead of binary; bytes that are no UTF-8 are then refused.
func NewDecoder(s *schema.Schema, o format.Options) (*Decoder, error) {
	if o.TimeUnit != "" || o.Null != "" || o.Delimiter != "" || o.Header != nil {
		return nil, ErrOptions
	}
	d := &Decoder{schema: s}
	raw := schema.Raw()
	for i := range s.Fields {
		f := &s.Fields[i]
		part := raw.Index(f.Name)
		if part < 0 {
			return nil, fmt.Errorf("format raw has no column %q: it has %s", f.Name, raw)
		}
		want := raw.Fields[part].Type
		want.Nullable = f.Type.Nullable // fewer nulls are checked row by row
		if f.Type.Kind == schema.Utf8 && want.Kind == schema.Binary {
			want.Kind = schema.Utf8
		}
		if !f.Type.Equal(&want) {
			return nil, fmt.Errorf("column %q is %s, want %s", f.Name, f.Type, raw.Fields[part].Type)
		}
		d.parts = append(d.parts, part)
	}
	return d, nil
}

// Decode implements format.Decoder.
func (d *Decoder) Decode(b *batch.Builder, rec *format.Record) error {
	for i, part := range d.parts {
		if err := d.fill(b.Column(i), part, rec); err != nil {
			b.Cancel()
			return err
		}
	}
	return nil
}

func (d *Decoder) fill(c *frame.ColumnBuilder, part int, rec *format.Record) error {
	absent := false
	switch part {
	case partKey, partValue:
		v := rec.Key
		if part == partValue {
			v = rec.Value
		}
		if c.Type().Kind == schema.Utf8 && !utf8.Valid(v) {
			return &format.Error{Column: schema.Raw().Fields[part].Name, Reason: "is not UTF-8"}
		}
		if absent = v == nil; !absent {
			c.AppendBytes(v)
		}
	case partTime:
		if absent = rec.TimeMicros == format.NoTime; !absent {
			c.AppendInt64(rec.TimeMicros)
		}
	case partHeaders:
		if absent = len(rec.Headers) == 0 && c.Type().Nullable; !absent {
			c.AppendMap()
			d.names = slices.AppendSeq(d.names[:0], maps.Keys(rec.Headers))
			slices.Sort(d.names)
			for _, name := range d.names {
				c.AppendEntry()
				c.MapKey().AppendString(name)
				c.MapValue().AppendBytes(rec.Headers[name])
			}
		}
	}
	if !absent {
		return nil
	}
	if !c.Type().Nullable {
		return &format.Error{Column: schema.Raw().Fields[part].Name, Reason: "is absent and not nullable"}
	}
	c.AppendNull()
	return nil
}

// Encoder writes the column value; a null value is an empty record.
type Encoder struct{ value int }

// NewEncoder makes an encoder of a schema with a column value of bytes or text.
func NewEncoder(s *schema.Schema, o format.Options) (*Encoder, error) {
	if o.TimeUnit != "" || o.Null != "" || o.Delimiter != "" || o.Header != nil {
		return nil, ErrOptions
	}
	i := s.Index("value")
	if i < 0 || !s.Fields[i].Type.Kind.VarLen() {
		return nil, fmt.Errorf("format raw writes a column value of type binary or utf8, have %s", s)
	}
	return &Encoder{i}, nil
}

// Append implements format.Encoder.
func (e *Encoder) Append(dst []byte, cols []frame.Column, row int) []byte {
	if c := &cols[e.value]; !c.Null(row) {
		dst = append(dst, c.BytesAt(row)...)
	}
	return dst
}
