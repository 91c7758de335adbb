// Package record lays Go types over the contract's bytes: struct fields over columns, values over rows of state. Types are looked at once, when a
// function is declared; after that only offsets are used. It must not know functions, calls or handlers.
package record

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// nullMode says how a Go field shows that it has no value.
type nullMode uint8

const (
	notNull nullMode = iota
	byPointer
	byFlag // weir.Null
	byNil  // []byte with the option "null", and Headers
)

const sdkPath = "github.com/weirstream/weir/sdk/go"

// base is what one Go type is in the contract, if it is one value.
type base struct {
	kind    wire.Kind
	integer bool // Go's int
	headers bool
}

var timeType = reflect.TypeFor[time.Time]()

// baseOf finds the contract's type of a Go type; false if it is a struct, a slice or nothing the contract has.
func baseOf(t reflect.Type) (base, bool) {
	if t == timeType {
		return base{kind: wire.Timestamp}, true
	}
	if t.PkgPath() == sdkPath {
		switch t.Name() {
		case "Date":
			return base{kind: wire.Date32}, true
		case "Decimal":
			return base{kind: wire.Decimal}, true
		case "Headers":
			return base{kind: wire.Map, headers: true}, true
		}
	}
	switch t.Kind() {
	case reflect.Bool:
		return base{kind: wire.Bool}, true
	case reflect.Int8:
		return base{kind: wire.Int8}, true
	case reflect.Int16:
		return base{kind: wire.Int16}, true
	case reflect.Int32:
		return base{kind: wire.Int32}, true
	case reflect.Int64:
		return base{kind: wire.Int64}, true
	case reflect.Int:
		return base{kind: wire.Int64, integer: true}, true
	case reflect.Float32:
		return base{kind: wire.Float32}, true
	case reflect.Float64:
		return base{kind: wire.Float64}, true
	case reflect.String:
		return base{kind: wire.Utf8}, true
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return base{kind: wire.Binary}, true
		}
	}
	return base{}, false
}

// unwrapNull takes weir.Null[T] and *T apart. flag is the offset of Valid behind the value.
func unwrapNull(t reflect.Type) (inner reflect.Type, mode nullMode, flag uintptr) {
	if t.Kind() == reflect.Pointer {
		return t.Elem(), byPointer, 0
	}
	if t.Kind() == reflect.Struct && t.PkgPath() == sdkPath && strings.HasPrefix(t.Name(), "Null[") {
		return t.Field(0).Type, byFlag, t.Field(1).Offset
	}
	return t, notNull, 0
}

// options is a parsed `weir:"name,option,..."` tag.
type options struct {
	name             string
	skip             bool
	null             bool
	whole            bool // a struct as one column, not flattened
	id               int
	precision, scale int
}

func parseTag(f reflect.StructField) (options, error) {
	o := options{name: Snake(f.Name), precision: 38, scale: 9}
	text, ok := f.Tag.Lookup("weir")
	if !ok {
		return o, nil
	}
	if text == "-" {
		o.skip = true
		return o, nil
	}
	for i, part := range splitOptions(text) {
		switch {
		case i == 0:
			if part != "" {
				o.name = part
			}
		case part == "null":
			o.null = true
		case part == "struct":
			o.whole = true
		case strings.HasPrefix(part, "decimal(") && strings.HasSuffix(part, ")"):
			p, s, _ := strings.Cut(part[len("decimal("):len(part)-1], ",")
			var err1, err2 error
			o.precision, err1 = strconv.Atoi(p)
			o.scale, err2 = strconv.Atoi(s)
			if err1 != nil || err2 != nil || o.precision < 1 || o.precision > 38 || o.scale < 0 || o.scale > o.precision {
				return o, errors.New("field " + f.Name + ": " + part + ": want decimal(precision,scale) with 1 <= precision <= 38 and 0 <= scale <= precision")
			}
		default:
			id, err := strconv.Atoi(part)
			if err != nil || id < 1 || id > abi.MaxFieldID {
				return o, errors.New("field " + f.Name + ": unknown option " + strconv.Quote(part) + " in its weir tag: want null, struct, decimal(p,s) or a field id from 1 to 65535")
			}
			o.id = id
		}
	}
	return o, nil
}

func splitOptions(text string) []string {
	var parts []string
	depth, from := 0, 0
	for i, r := range text {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, text[from:i])
				from = i + 1
			}
		}
	}
	return append(parts, text[from:])
}

// Snake turns a Go name into a column's: UserID becomes user_id.
func Snake(name string) string {
	rs := []rune(name)
	var b strings.Builder
	for i, r := range rs {
		if unicode.IsUpper(r) {
			after := i > 0 && !unicode.IsUpper(rs[i-1]) && rs[i-1] != '_'
			before := i > 0 && i+1 < len(rs) && unicode.IsUpper(rs[i-1]) && unicode.IsLower(rs[i+1])
			if after || before {
				b.WriteByte('_')
			}
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// quoteName writes a name as a schema has it: in backquotes unless it is plain.
func quoteName(name string) string {
	plain := name != "" && (name[0] < '0' || name[0] > '9')
	for i := range len(name) {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_.-$", c) >= 0) {
			plain = false
		}
	}
	if plain {
		return name
	}
	return "`" + strings.ReplaceAll(name, "`", "``") + "`"
}

var kindTexts = [...]string{
	wire.Bool: "bool", wire.Int8: "int8", wire.Int16: "int16", wire.Int32: "int32", wire.Int64: "int64", wire.Float32: "float32", wire.Float64: "float64",
	wire.Utf8: "utf8", wire.Binary: "binary", wire.Date32: "date32", wire.Timestamp: "timestamp",
}

func typeText(k wire.Kind, o options) string {
	if k == wire.Decimal {
		return "decimal(" + strconv.Itoa(o.precision) + "," + strconv.Itoa(o.scale) + ")"
	}
	return kindTexts[k]
}
