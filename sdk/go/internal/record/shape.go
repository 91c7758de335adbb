package record

import (
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// Shape is how one Go type is written in a state row.
type Shape struct {
	Type    reflect.Type
	Kind    wire.Kind // base kinds, Struct, List
	Mutable bool      // a copy shares memory with its original
	Fixed   int       // upper bound of its encoded bytes; -1 if it has none
	integer bool
	opts    options
	fields  []shapeField // Struct: ascending by id
	elem    *Shape       // List
	null    nullMode     // List: how elements are null
	flag    uintptr
}

type shapeField struct {
	id    uint64
	tag   uint64
	name  string
	off   uintptr
	null  nullMode
	flag  uintptr
	shape *Shape
}

// Row is how one Go type is the value of a state: a struct's fields, or one field 1 for everything else.
type Row struct {
	Shape
	flat []flatField
}

// RowOf plans a state's type.
func RowOf(t reflect.Type) (*Row, error) {
	s, err := shapeOf(t, options{precision: 38, scale: 9}, 1)
	if err != nil {
		return nil, errors.New("state of type " + t.String() + ": " + err.Error())
	}
	if s.Kind != wire.Struct {
		inner := s
		s = &Shape{Type: t, Kind: wire.Struct, Mutable: inner.Mutable, fields: []shapeField{{id: 1, tag: 1<<3 | wireOf(inner.Kind), name: "value", shape: inner}}}
	}
	s.finish()
	r := &Row{Shape: *s}
	r.flatten()
	return r, nil
}

// ElementOf plans the element type of a framed list.
func ElementOf(t reflect.Type) (*Shape, error) {
	s, err := shapeOf(t, options{precision: 38, scale: 9}, 1)
	if err != nil {
		return nil, errors.New("list of type " + t.String() + ": " + err.Error())
	}
	return s, nil
}

func shapeOf(t reflect.Type, o options, level int) (*Shape, error) {
	if level > abi.MaxLevels {
		return nil, errors.New("nested deeper than " + strconv.Itoa(abi.MaxLevels) + " levels")
	}
	if b, ok := baseOf(t); ok && !b.headers {
		return &Shape{Type: t, Kind: b.kind, integer: b.integer, Mutable: b.kind == wire.Binary, Fixed: fixedSize(b.kind), opts: o}, nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return structOf(t, level)
	case reflect.Slice:
		inner, mode, flag := unwrapNull(t.Elem())
		elem, err := shapeOf(inner, o, level+1)
		if err != nil {
			return nil, err
		}
		return &Shape{Type: t, Kind: wire.List, Mutable: true, Fixed: -1, elem: elem, null: mode, flag: flag}, nil
	}
	return nil, errors.New(t.String() + " cannot be kept: want bool, a signed integer, a float, string, []byte, time.Time, weir.Date, weir.Decimal, " +
		"or structs and slices of those; for a map use weir.MapOf")
}

func structOf(t reflect.Type, level int) (*Shape, error) {
	s := &Shape{Type: t, Kind: wire.Struct}
	seen := map[uint64]string{}
	for i := range t.NumField() {
		f := t.Field(i)
		o, err := parseTag(f)
		if err != nil {
			return nil, err
		}
		if o.skip || !f.IsExported() {
			continue
		}
		inner, mode, flag := unwrapNull(f.Type)
		sub, err := shapeOf(inner, o, level+1)
		if err != nil {
			return nil, errors.New("field " + f.Name + ": " + err.Error())
		}
		if sub.Kind == wire.Binary && o.null {
			mode = byNil
		}
		if mode == byPointer {
			s.Mutable = true
		}
		s.Mutable = s.Mutable || sub.Mutable
		id := uint64(o.id)
		if id == 0 {
			id = uint64(len(s.fields) + 1)
		}
		if other, ok := seen[id]; ok {
			return nil, errors.New("fields " + other + " and " + f.Name + " have the same id " + strconv.Itoa(int(id)))
		}
		seen[id] = f.Name
		s.fields = append(s.fields, shapeField{id: id, tag: id<<3 | wireOf(sub.Kind), name: o.name, off: f.Offset, null: mode, flag: flag, shape: sub})
	}
	if len(s.fields) == 0 {
		return nil, errors.New(t.String() + " has no exported fields")
	}
	slices.SortFunc(s.fields, func(a, b shapeField) int { return int(a.id) - int(b.id) })
	s.finish()
	return s, nil
}

// finish sums up the bound of a struct's size.
func (s *Shape) finish() {
	s.Fixed = 0
	for _, f := range s.fields {
		if f.shape.Fixed < 0 || f.shape.Kind == wire.Struct {
			s.Fixed = -1
			return
		}
		s.Fixed += 3 + f.shape.Fixed
	}
}

func fixedSize(k wire.Kind) int {
	switch k {
	case wire.Utf8, wire.Binary:
		return -1
	case wire.Decimal:
		return 18
	default:
		return 10
	}
}

func wireOf(k wire.Kind) uint64 {
	switch k {
	case wire.Float64:
		return abi.WireFloat64
	case wire.Float32:
		return abi.WireFloat32
	case wire.Decimal:
		return abi.WireDecimal
	case wire.Utf8, wire.Binary, wire.Struct, wire.List, wire.Map:
		return abi.WireBytes
	default:
		return abi.WireVarint
	}
}

// Text is the manifest's `id:name:type` text.
func (r *Row) Text() string {
	parts := make([]string, len(r.fields))
	for i, f := range r.fields {
		parts[i] = strconv.Itoa(int(f.id)) + ":" + quoteName(f.name) + ":" + f.text()
	}
	return strings.Join(parts, ",")
}

func (f *shapeField) text() string {
	if f.null != notNull {
		return f.shape.TypeText() + "?"
	}
	return f.shape.TypeText()
}

// TypeText is the schema's text of the type.
func (s *Shape) TypeText() string {
	switch s.Kind {
	case wire.List:
		if s.null != notNull {
			return "list<" + s.elem.TypeText() + "?>"
		}
		return "list<" + s.elem.TypeText() + ">"
	case wire.Struct:
		parts := make([]string, len(s.fields))
		for i := range s.fields {
			parts[i] = quoteName(s.fields[i].name) + ":" + s.fields[i].text()
		}
		return "struct<" + strings.Join(parts, ",") + ">"
	}
	return typeText(s.Kind, s.opts)
}

func isNull(p unsafe.Pointer, mode nullMode, flag uintptr) bool {
	switch mode {
	case byPointer, byNil:
		return *(*unsafe.Pointer)(p) == nil
	case byFlag:
		return !*(*bool)(unsafe.Add(p, flag))
	}
	return false
}
