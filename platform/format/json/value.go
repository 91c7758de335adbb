package json

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/format"
	"github.com/weirstream/weir/platform/format/scalar"
)

// maxShown is how much of a wrong value an error repeats.
const maxShown = 40

// value reads one value into a column.
func (d *Decoder) value(n *node, depth int) error {
	c := d.blanks()
	if c == 'n' {
		if err := d.word("null"); err != nil {
			return err
		}
		if !n.typ.Nullable {
			return d.refuse(n, d.pos-len("null"), "is null and not nullable")
		}
		n.col.AppendNull()
		return nil
	}
	at := d.pos
	switch kind := n.typ.Kind; kind {
	case schema.Utf8, schema.Binary, schema.Date32:
		if c != '"' {
			return d.wrong(n, c)
		}
		t, ascii, err := d.text()
		if err != nil {
			return err
		}
		return d.fromText(n, at, t, ascii)
	case schema.Timestamp:
		if c == '"' {
			t, _, err := d.text()
			if err != nil {
				return err
			}
			return d.fromText(n, at, t, true)
		}
		return d.fromNumber(n, c)
	case schema.Decimal:
		if c != '"' {
			return d.fromNumber(n, c)
		}
		t, _, err := d.text()
		if err != nil {
			return err
		}
		return d.decimal(n, at, t)
	case schema.Int64, schema.Int32, schema.Int16, schema.Int8, schema.Float64, schema.Float32:
		return d.fromNumber(n, c)
	case schema.Bool:
		return d.boolean(n, c)
	case schema.Struct:
		if c != '{' {
			return d.wrong(n, c)
		}
		n.col.AppendStruct()
		return d.object(n.object, depth)
	case schema.List:
		if c != '[' {
			return d.wrong(n, c)
		}
		return d.list(n, depth)
	case schema.Map:
		if c != '{' {
			return d.wrong(n, c)
		}
		return d.mapping(n, depth)
	}
	return d.refuse(n, at, "has a type that JSON cannot fill")
}

func (d *Decoder) boolean(n *node, c byte) error {
	switch c {
	case 't':
		if err := d.word("true"); err != nil {
			return err
		}
		n.col.AppendBool(true)
	case 'f':
		if err := d.word("false"); err != nil {
			return err
		}
		n.col.AppendBool(false)
	default:
		return d.wrong(n, c)
	}
	return nil
}

// fastDigits is how many digits surely fit 64 bits.
const fastDigits = 18

func (d *Decoder) fromNumber(n *node, c byte) error {
	if c != '-' && c-'0' > 9 {
		return d.wrong(n, c)
	}
	if n.typ.Kind.Integer() && d.shortInt(n) {
		return nil
	}
	at := d.pos
	t, err := d.number()
	if err != nil {
		return err
	}
	return d.numberText(n, at, t)
}

// shortInt reads an integer of ordinary length that the column holds; false
// leaves everything to the careful way.
func (d *Decoder) shortInt(n *node) bool {
	src, i := d.src, d.pos
	negative := src[i] == '-'
	if negative {
		i++
	}
	first := i
	var v int64
	for i < len(src) && src[i]-'0' <= 9 {
		v = v*10 + int64(src[i]-'0')
		i++
	}
	if i == first || i-first > fastDigits || (src[first] == '0' && i-first > 1) {
		return false
	}
	if i < len(src) && (src[i] == '.' || src[i] == 'e' || src[i] == 'E') {
		return false
	}
	if negative {
		v = -v
	}
	if !n.col.AppendInt(v) {
		return false
	}
	d.pos = i
	return true
}

// numberText appends a number given as valid text.
func (d *Decoder) numberText(n *node, at int, t []byte) error {
	switch kind := n.typ.Kind; kind {
	case schema.Float64, schema.Float32:
		size := 64
		if kind == schema.Float32 {
			size = 32
		}
		// ParseFloat keeps nothing of a text that it can read.
		f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(t), len(t)), size)
		if err != nil {
			return d.refuse(n, at, fmt.Sprintf("%s is out of range of %s", clip(t), n.typ))
		}
		if size == 32 {
			n.col.AppendFloat32(float32(f))
		} else {
			n.col.AppendFloat64(f)
		}
		return nil
	case schema.Decimal:
		return d.decimal(n, at, t)
	case schema.Timestamp:
		if !d.units {
			return d.refuse(n, at, fmt.Sprintf("has the number %s, but no unit is declared: set time_unit to s, ms, us or ns", clip(t)))
		}
		v, p := scalar.ScaleTime(t, d.unit)
		if p != "" {
			return d.refuse(n, at, fmt.Sprintf("%s %s", clip(t), p))
		}
		n.col.AppendInt64(v)
		return nil
	}
	v, p := scalar.ParseInt(t)
	if p != "" {
		return d.refuse(n, at, fmt.Sprintf("%s %s", clip(t), p))
	}
	if !n.col.AppendInt(v) {
		return d.refuse(n, at, fmt.Sprintf("%s is out of range of %s", clip(t), n.typ))
	}
	return nil
}

func (d *Decoder) decimal(n *node, at int, t []byte) error {
	v, p := scalar.ParseDecimal(t, n.typ.Precision, n.typ.Scale)
	if p != "" {
		return d.refuse(n, at, fmt.Sprintf("%s %s: it is %s", clip(t), p, n.typ))
	}
	n.col.AppendDecimal(v.Hi, v.Lo)
	return nil
}

// fromText appends the text of a string.
func (d *Decoder) fromText(n *node, at int, t []byte, ascii bool) error {
	switch n.typ.Kind {
	case schema.Utf8:
		if !ascii && !utf8.Valid(t) {
			return d.refuse(n, at, "is not UTF-8")
		}
		n.col.AppendBytes(t)
	case schema.Binary:
		size := base64.StdEncoding.DecodedLen(len(t))
		if cap(d.binary) < size {
			d.binary = make([]byte, size)
		}
		got, err := base64.StdEncoding.Decode(d.binary[:size], t)
		if err != nil {
			return d.refuse(n, at, fmt.Sprintf("%q is not base 64", clip(t)))
		}
		n.col.AppendBytes(d.binary[:got])
	case schema.Date32:
		v, p := scalar.ParseDate(t)
		if p != "" {
			return d.refuse(n, at, fmt.Sprintf("%q %s", clip(t), p))
		}
		n.col.AppendInt32(v)
	case schema.Timestamp:
		v, p := scalar.ParseTime(t)
		if p != "" {
			return d.refuse(n, at, fmt.Sprintf("%q %s", clip(t), p))
		}
		n.col.AppendInt64(v)
	}
	return nil
}

// mapKey appends the name of a member to a map's keys, which may be of any type
// that has a text.
func (d *Decoder) mapKey(n *node, name []byte) error {
	switch n.typ.Kind {
	case schema.Utf8, schema.Binary, schema.Date32, schema.Timestamp:
		return d.fromText(n, d.pos, name, false)
	case schema.Bool:
		if s := string(name); s == "true" || s == "false" {
			n.col.AppendBool(s == "true")
			return nil
		}
	case schema.Int8, schema.Int16, schema.Int32, schema.Int64, schema.Decimal, schema.Float32, schema.Float64:
		if number := (&scanner{src: name}); len(name) > 0 {
			if t, err := number.number(); err == nil && len(t) == len(name) {
				return d.numberText(n, d.pos, t)
			}
		}
	}
	return d.refuse(n, d.pos, fmt.Sprintf("want %s as a name, have %q", n.typ, clip(name)))
}

// wrong refuses a value of another type than the column's, and says what it is.
func (d *Decoder) wrong(n *node, c byte) error {
	at := d.pos
	if err := d.skip(0); err != nil {
		return err
	}
	return d.refuse(n, at, fmt.Sprintf("want %s, have %s %s", n.typ, what(c), clip(d.src[at:d.pos])))
}

func (d *Decoder) refuse(n *node, at int, reason string) error {
	return &format.Error{Column: n.path, Offset: at, Reason: reason}
}

// what names the type of a value by its first byte.
func what(c byte) string {
	switch c {
	case '"':
		return "the string"
	case '{':
		return "the object"
	case '[':
		return "the list"
	case 't', 'f':
		return "the boolean"
	case 'n':
		return "null"
	}
	return "the number"
}

func clip(t []byte) string {
	if len(t) <= maxShown {
		return string(t)
	}
	n := maxShown
	for n > 0 && !utf8.RuneStart(t[n]) {
		n--
	}
	return string(t[:n]) + "…"
}
