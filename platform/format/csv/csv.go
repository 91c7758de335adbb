// Package csv reads and writes records that are one row of comma-separated
// values (RFC 4180). Columns stand in the declared order, or in that of a
// header. Fields in quotes are always values; a field without quotes that
// equals the null text is null. Times are RFC 3339 or numbers in a declared unit,
// binary is in base 64; lists, structs and maps have no place in CSV.
//
// It must not know where records come from.
package csv

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/format"
	"github.com/weirstream/weir/platform/format/scalar"
)

// MaxFields is how many fields a row may have.
const MaxFields = 4096

// Decoder reads rows.
type Decoder struct {
	schema    *schema.Schema
	null      string
	delimiter byte
	unit      int
	units     bool
	columns   []int // column of each field, -1: none
	absent    []int // columns that no field fills
	scratch   []byte
	binary    []byte
}

// NewDecoder makes a decoder of a schema's columns.
func NewDecoder(s *schema.Schema, o format.Options) (*Decoder, error) {
	delimiter, err := check(s, o)
	if err != nil {
		return nil, err
	}
	d := &Decoder{schema: s, null: o.Null, delimiter: delimiter}
	if o.TimeUnit != format.NoUnit {
		if d.unit, d.units = o.TimeUnit.Scale(); !d.units {
			return nil, fmt.Errorf("time unit %q is not known: write s, ms, us or ns", o.TimeUnit)
		}
	}
	if o.Header != nil {
		return d, d.setHeader(o.Header)
	}
	for i := range s.Fields {
		d.columns = append(d.columns, i)
	}
	return d, nil
}

// check wants types that CSV has and a delimiter that is none of its own signs.
func check(s *schema.Schema, o format.Options) (delimiter byte, err error) {
	for i := range s.Fields {
		if s.Fields[i].Type.Kind.Nested() {
			return 0, fmt.Errorf("column %q is %s, which CSV cannot hold: use format json", s.Fields[i].Name, s.Fields[i].Type)
		}
	}
	switch {
	case o.Delimiter == "":
		return ',', nil
	case len(o.Delimiter) != 1 || o.Delimiter == "\"" || o.Delimiter == "\n" || o.Delimiter == "\r":
		return 0, fmt.Errorf("delimiter %q is not one plain character", o.Delimiter)
	}
	return o.Delimiter[0], nil
}

// setHeader says which column each field is. A field of another name is skipped.
func (d *Decoder) setHeader(names []string) error {
	if len(names) > MaxFields {
		return fmt.Errorf("the header has %d fields, the limit is %d", len(names), MaxFields)
	}
	filled := make([]bool, d.schema.Len())
	for _, name := range names {
		i := d.schema.Index(name)
		if i >= 0 && filled[i] {
			return fmt.Errorf("the header names column %q twice", name)
		}
		if i >= 0 {
			filled[i] = true
		}
		d.columns = append(d.columns, i)
	}
	for i, ok := range filled {
		if !ok {
			if !d.schema.Fields[i].Type.Nullable {
				return fmt.Errorf("the header has no field %q, whose column is not nullable", d.schema.Fields[i].Name)
			}
			d.absent = append(d.absent, i)
		}
	}
	return nil
}

// Decode implements format.Decoder. A line end behind the row is allowed.
func (d *Decoder) Decode(b *batch.Builder, rec *format.Record) error {
	err := d.row(b, rec.Value)
	if err != nil {
		b.Cancel()
	}
	return err
}

func (d *Decoder) row(b *batch.Builder, src []byte) error {
	if src == nil {
		return &format.Error{Reason: "the record has no value"}
	}
	src = trimEnd(src)
	pos := 0
	for n := range d.columns {
		if pos > len(src) {
			return &format.Error{Offset: len(src), Reason: fmt.Sprintf("has %d fields, want %d", n, len(d.columns))}
		}
		at := pos
		field, quoted, next, err := d.field(src, pos)
		if err != nil {
			return err
		}
		pos = next
		if i := d.columns[n]; i >= 0 {
			if err := d.value(b, i, field, quoted, at); err != nil {
				return err
			}
		}
	}
	if pos <= len(src) {
		return &format.Error{Offset: pos, Reason: fmt.Sprintf("has more than %d fields", len(d.columns))}
	}
	for _, i := range d.absent {
		b.Column(i).AppendNull()
	}
	return nil
}

func trimEnd(src []byte) []byte {
	if n := len(src); n > 0 && src[n-1] == '\n' {
		src = src[:n-1]
	}
	if n := len(src); n > 0 && src[n-1] == '\r' {
		src = src[:n-1]
	}
	return src
}

// field reads the field at pos; next is behind its delimiter, or beyond the end.
func (d *Decoder) field(src []byte, pos int) (field []byte, quoted bool, next int, err error) {
	if pos < len(src) && src[pos] == '"' {
		field, next, err = d.quoted(src, pos+1)
		return field, true, next, err
	}
	for i := pos; i < len(src); i++ {
		switch src[i] {
		case d.delimiter:
			return src[pos:i], false, i + 1, nil
		case '"':
			return nil, false, 0, &format.Error{Offset: i, Reason: `a quote within a field: put the field in quotes and double the quote`}
		case '\n':
			return nil, false, 0, &format.Error{Offset: i, Reason: "a line end outside quotes: one record is one row"}
		}
	}
	return src[pos:], false, len(src) + 1, nil
}

func (d *Decoder) quoted(src []byte, start int) (field []byte, next int, err error) {
	doubled := false
	for i := start; i < len(src); i++ {
		if src[i] != '"' {
			continue
		}
		if i+1 < len(src) && src[i+1] == '"' {
			doubled = true
			i++
			continue
		}
		field = src[start:i]
		if doubled {
			field = d.undouble(field)
		}
		switch {
		case i+1 == len(src):
			return field, len(src) + 1, nil
		case src[i+1] == d.delimiter:
			return field, i + 2, nil
		}
		return nil, 0, &format.Error{Offset: i + 1, Reason: "text behind a closing quote"}
	}
	return nil, 0, &format.Error{Offset: len(src), Reason: "a quote is not closed"}
}

func (d *Decoder) undouble(field []byte) []byte {
	out := d.scratch[:0]
	for i := 0; i < len(field); i++ {
		out = append(out, field[i])
		if field[i] == '"' {
			i++
		}
	}
	d.scratch = out
	return out
}

// value appends a field to its column.
func (d *Decoder) value(b *batch.Builder, i int, t []byte, quoted bool, at int) error {
	f := &d.schema.Fields[i]
	col := b.Column(i)
	refuse := func(reason string) error { return &format.Error{Column: f.Name, Offset: at, Reason: reason} }
	if !quoted && string(t) == d.null {
		// Empty text in a text column that cannot be null is empty text.
		if f.Type.Nullable || f.Type.Kind.VarLen() && len(t) == 0 {
			col.AppendNull()
			return nil
		}
		return refuse("is null and not nullable")
	}
	switch f.Type.Kind {
	case schema.Utf8:
		if !utf8.Valid(t) {
			return refuse("is not UTF-8")
		}
		col.AppendBytes(t)
	case schema.Binary:
		size := base64.StdEncoding.DecodedLen(len(t))
		if cap(d.binary) < size {
			d.binary = make([]byte, size)
		}
		n, err := base64.StdEncoding.Decode(d.binary[:size], t)
		if err != nil {
			return refuse(fmt.Sprintf("%q is not base 64", t))
		}
		col.AppendBytes(d.binary[:n])
	case schema.Bool:
		switch string(t) {
		case "true", "TRUE", "True", "1":
			col.AppendBool(true)
		case "false", "FALSE", "False", "0":
			col.AppendBool(false)
		default:
			return refuse(fmt.Sprintf("want true or false, have %q", t))
		}
	case schema.Float32, schema.Float64:
		size := f.Type.Kind.Width() * 8
		v, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(t), len(t)), size)
		if errors.Is(err, strconv.ErrRange) {
			return refuse(fmt.Sprintf("%s is out of range of %s", t, f.Type))
		}
		if err != nil {
			return refuse(fmt.Sprintf("want %s, have %q", f.Type, t))
		}
		if size == 32 {
			col.AppendFloat32(float32(v))
		} else {
			col.AppendFloat64(v)
		}
	case schema.Decimal:
		v, p := scalar.ParseDecimal(t, f.Type.Precision, f.Type.Scale)
		if p != "" {
			return refuse(fmt.Sprintf("%q %s: it is %s", t, p, f.Type))
		}
		col.AppendDecimal(v.Hi, v.Lo)
	case schema.Date32:
		v, p := scalar.ParseDate(t)
		if p != "" {
			return refuse(fmt.Sprintf("%q %s", t, p))
		}
		col.AppendInt32(v)
	case schema.Timestamp:
		v, p := d.time(t)
		if p != "" {
			return refuse(fmt.Sprintf("%q %s", t, p))
		}
		col.AppendInt64(v)
	default:
		v, p := scalar.ParseInt(t)
		if p != "" {
			return refuse(fmt.Sprintf("%q %s", t, p))
		}
		if !col.AppendInt(v) {
			return refuse(fmt.Sprintf("%s is out of range of %s", t, f.Type))
		}
	}
	return nil
}

func (d *Decoder) time(t []byte) (int64, scalar.Problem) {
	if d.units {
		if v, p := scalar.ScaleTime(t, d.unit); p != scalar.NotANumber {
			return v, p
		}
	}
	return scalar.ParseTime(t)
}
