package record

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// KeyOf plans reading a function's key columns into a Go type: a struct with fields of their names, or for a one-column key the value itself.
func KeyOf(t reflect.Type, names []string, kinds []wire.Kind) (*Columns, error) {
	var c *Columns
	if b, ok := baseOf(t); ok && !b.headers {
		c = &Columns{Type: t, columns: []column{{base: b, name: names[0], elem: t}}}
		if len(names) != 1 {
			return nil, errors.New("the key has the columns " + strings.Join(names, ", ") + ": read it into a struct with those fields")
		}
	} else {
		var err error
		if c, err = ColumnsOf(t); err != nil {
			return nil, err
		}
	}
	for i := range c.columns {
		col := &c.columns[i]
		found := false
		for n, name := range names {
			if name == col.name {
				if kinds[n] != col.kind {
					return nil, errors.New("key column " + strconv.Quote(name) + " is no " + kindTexts[col.kind])
				}
				col.node, found = n, true
			}
		}
		if !found {
			return nil, errors.New("column " + strconv.Quote(col.name) + " is not in the key " + strings.Join(names, ", "))
		}
	}
	return c, nil
}

// Size is an upper bound of the bytes the value at p takes as a row.
func (s *Shape) Size(p pointer) int {
	if s.Fixed >= 0 {
		return s.Fixed
	}
	n := 0
	for i := range s.fields {
		f := &s.fields[i]
		v := add(p, f.off)
		if isNull(v, f.null, f.flag) {
			continue
		}
		if f.null == byPointer {
			v = *(*pointer)(v)
		}
		n += 3 + f.shape.valueSize(v)
	}
	return n
}

func (s *Shape) valueSize(p pointer) int {
	switch s.Kind {
	case wire.Utf8, wire.Binary:
		return 5 + len(*(*string)(p))
	case wire.Struct:
		return 5 + s.Size(p)
	case wire.List:
		h := (*sliceHeader)(p)
		n, size := 15, s.Type.Elem().Size()
		for i := range h.len {
			v := add(h.data, uintptr(i)*size)
			n++
			if isNull(v, s.null, s.flag) {
				continue
			}
			if s.null == byPointer {
				v = *(*pointer)(v)
			}
			n += s.elem.valueSize(v)
		}
		return n
	}
	return s.Fixed
}

type pointer = unsafe.Pointer

func add(p pointer, n uintptr) pointer { return unsafe.Add(p, n) }
