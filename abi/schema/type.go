package schema

import (
	"fmt"
	"strconv"
	"strings"
)

// Kind says which values a type has.
type Kind uint8

// The kinds. Their numbers are not part of the contract; their names are.
const (
	Invalid Kind = iota
	Bool
	Int8
	Int16
	Int32
	Int64
	Float32
	Float64
	Decimal
	Utf8
	Binary
	Date32
	Timestamp
	List
	Struct
	Map
)

var kindNames = [...]string{
	"invalid", "bool", "int8", "int16", "int32", "int64", "float32", "float64", "decimal",
	"utf8", "binary", "date32", "timestamp", "list", "struct", "map",
}

// widths of values in a block; 0 for bits, offsets and nothing.
var widths = [...]int{Int8: 1, Int16: 2, Int32: 4, Int64: 8, Float32: 4, Float64: 8, Decimal: 16, Date32: 4, Timestamp: 8, Map: 0}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Width is the size of a value in bytes, 0 for bool (bits), var-length and nested kinds.
func (k Kind) Width() int {
	if int(k) < len(widths) {
		return widths[k]
	}
	return 0
}

// Nested tells whether the kind has children.
func (k Kind) Nested() bool { return k >= List && k <= Map }

// VarLen tells whether values are bytes behind offsets.
func (k Kind) VarLen() bool { return k == Utf8 || k == Binary }

// Integer tells whether values are int8 to int64.
func (k Kind) Integer() bool { return k >= Int8 && k <= Int64 }

// Keyable tells whether the kind may stand in a key.
func (k Kind) Keyable() bool { return k > Invalid && k < List }

// Type is the type of a field. Elem is the element of a list or the value of a map, Key the key of a map, Fields the
// members of a struct.
type Type struct {
	Kind             Kind
	Nullable         bool
	Precision, Scale int
	Elem             *Type
	Key              *Type
	Fields           []Field

	entries *Type // of a map: the struct of key and value
	nodes   int
}

// Null returns the type with Nullable set.
func (t Type) Null() Type { t.Nullable = true; return t }

// Of makes a type without parameters.
func Of(k Kind) Type { return Type{Kind: k} }

// DecimalOf makes a decimal type.
func DecimalOf(precision, scale int) Type {
	return Type{Kind: Decimal, Precision: precision, Scale: scale}
}

// ListOf makes a list type.
func ListOf(elem Type) Type { return Type{Kind: List, Elem: &elem} }

// StructOf makes a struct type.
func StructOf(fields ...Field) Type { return Type{Kind: Struct, Fields: fields} }

// MapOf makes a map type.
func MapOf(key, value Type) Type { return Type{Kind: Map, Key: &key, Elem: &value} }

// Finish checks a type built by hand and completes it, as New does for the types of a schema.
func (t Type) Finish() (Type, error) {
	total := 0
	return finish(t, 1, &total)
}

// Entries is the struct of key and value that a map's child node is.
func (t *Type) Entries() *Type {
	if t.entries != nil || t.Kind != Map || t.Key == nil || t.Elem == nil {
		return t.entries
	}
	return entriesOf(t)
}

// Child is the type of child node i of a nested type: a list's element, a struct's member, a map's entries.
func (t *Type) Child(i int) *Type {
	switch t.Kind {
	case List:
		return t.Elem
	case Map:
		return t.Entries()
	}
	return &t.Fields[i].Type
}

// Children is the number of child nodes.
func (t *Type) Children() int {
	switch t.Kind {
	case List, Map:
		return 1
	case Struct:
		return len(t.Fields)
	}
	return 0
}

// Nodes is the number of nodes of a value of this type in a column block.
func (t *Type) Nodes() int {
	if t.nodes > 0 {
		return t.nodes
	}
	n := 1
	for i := range t.Children() {
		n += t.Child(i).Nodes()
	}
	return n
}

// Equal tells whether both are the same type, nullability included.
func (t *Type) Equal(o *Type) bool {
	if t == nil || o == nil {
		return t == o
	}
	if t.Kind != o.Kind || t.Nullable != o.Nullable || t.Precision != o.Precision || t.Scale != o.Scale || len(t.Fields) != len(o.Fields) {
		return false
	}
	for i := range t.Fields {
		if t.Fields[i].Name != o.Fields[i].Name || !t.Fields[i].Type.Equal(&o.Fields[i].Type) {
			return false
		}
	}
	return t.Elem.Equal(o.Elem) && t.Key.Equal(o.Key)
}

// String is the canonical text of the type.
func (t Type) String() string { return string(appendType(nil, &t)) }

func entriesOf(t *Type) *Type {
	e := &Type{Kind: Struct, Fields: []Field{{"key", *t.Key}, {"value", *t.Elem}}}
	e.nodes = 1 + t.Key.Nodes() + t.Elem.Nodes()
	return e
}

// finish copies a type deeply, checks it and fills in what is derived. level is that of the type itself, from 1.
func finish(t Type, level int, total *int) (Type, error) {
	if level > MaxLevels {
		return t, fmt.Errorf("schema: more than %d levels: flatten the record", MaxLevels)
	}
	out := Type{Kind: t.Kind, Nullable: t.Nullable, nodes: 1}
	switch t.Kind {
	case Decimal:
		if err := checkDecimal(t.Precision, t.Scale); err != nil {
			return t, err
		}
		out.Precision, out.Scale = t.Precision, t.Scale
	case List:
		if t.Elem == nil {
			return t, fmt.Errorf("schema: list without an element type")
		}
		elem, err := finish(*t.Elem, level+1, total)
		if err != nil {
			return t, err
		}
		out.Elem = &elem
		out.nodes += elem.nodes
	case Struct:
		if len(t.Fields) == 0 {
			return t, fmt.Errorf("schema: struct without fields")
		}
		if err := finishStruct(&out, t.Fields, level, total); err != nil {
			return t, err
		}
	case Map:
		if t.Key == nil || t.Elem == nil {
			return t, fmt.Errorf("schema: map without key or value type")
		}
		if t.Key.Nullable {
			return t, fmt.Errorf("schema: map key %s is nullable: map keys are never null, drop the ?", t.Key)
		}
		k, err := finish(*t.Key, level+1, total)
		if err != nil {
			return t, err
		}
		v, err := finish(*t.Elem, level+1, total)
		if err != nil {
			return t, err
		}
		out.Key, out.Elem = &k, &v
		out.entries = entriesOf(&out)
		out.nodes += out.entries.nodes
	default:
		if t.Kind == Invalid || t.Kind > Map {
			return t, fmt.Errorf("schema: %s is not a type", t.Kind)
		}
	}
	return out, nil
}

func finishStruct(out *Type, fields []Field, level int, total *int) error {
	if err := checkFields(total, len(fields)); err != nil {
		return err
	}
	out.Fields = make([]Field, len(fields))
	names := make(map[string]bool, len(fields))
	for i, f := range fields {
		if err := checkName(f.Name); err != nil {
			return err
		}
		if names[f.Name] {
			return fmt.Errorf("schema: field %s appears twice in a struct: rename one", quoted(f.Name))
		}
		names[f.Name] = true
		ft, err := finish(f.Type, level+1, total)
		if err != nil {
			return err
		}
		out.Fields[i] = Field{f.Name, ft}
		out.nodes += ft.nodes
	}
	return nil
}

func checkDecimal(precision, scale int) error {
	if precision < 1 || precision > MaxPrecision {
		return fmt.Errorf("schema: decimal precision %d is not in 1..%d", precision, MaxPrecision)
	}
	if scale < 0 || scale > precision {
		return fmt.Errorf("schema: decimal scale %d is not in 0..%d (the precision)", scale, precision)
	}
	return nil
}

func appendFields(dst []byte, fields []Field) []byte {
	for i := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendName(dst, fields[i].Name)
		dst = append(dst, ':')
		dst = appendType(dst, &fields[i].Type)
	}
	return dst
}

func appendType(dst []byte, t *Type) []byte {
	dst = append(dst, t.Kind.String()...)
	switch t.Kind {
	case Decimal:
		dst = append(dst, '(')
		dst = strconv.AppendInt(dst, int64(t.Precision), 10)
		dst = append(dst, ',')
		dst = strconv.AppendInt(dst, int64(t.Scale), 10)
		dst = append(dst, ')')
	case List:
		dst = append(appendType(append(dst, '<'), t.Elem), '>')
	case Struct:
		dst = append(appendFields(append(dst, '<'), t.Fields), '>')
	case Map:
		dst = append(appendType(append(dst, '<'), t.Key), ',')
		dst = append(appendType(dst, t.Elem), '>')
	}
	if t.Nullable {
		dst = append(dst, '?')
	}
	return dst
}

func appendName(dst []byte, name string) []byte {
	if bare(name) {
		return append(dst, name...)
	}
	dst = append(dst, '`')
	dst = append(dst, strings.ReplaceAll(name, "`", "``")...)
	return append(dst, '`')
}

func quoted(name string) string { return string(appendName(nil, name)) }

func bare(name string) bool {
	for i := range len(name) {
		if !nameByte(name[i]) || i == 0 && name[i] >= '0' && name[i] <= '9' {
			return false
		}
	}
	return name != ""
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-' || c == '$'
}
