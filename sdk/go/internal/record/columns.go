package record

import (
	"errors"
	"reflect"
	"strconv"
	"strings"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// column is one field of a Go struct as a column.
type column struct {
	base
	name   string
	text   string
	off    uintptr
	null   nullMode
	flag   uintptr // byFlag: offset of Valid within the field
	scale  int
	node   int          // its first node in the block
	elem   reflect.Type // byPointer: what it points to
	spares reflect.Value
	nested *nested // a list, struct or map; it knows its nulls itself
}

// Columns is how one Go struct lies over columns.
type Columns struct {
	Type    reflect.Type
	Kinds   []wire.Kind // nodes, in preorder
	Nested  bool        // has list, struct or map columns
	Mutable bool        // a copied struct shares memory with its original
	columns []column

	fixed  int       // what a struct takes in a block, texts aside
	texts  []uintptr // offsets of strings and bytes that stand in the struct
	others []int     // columns whose size takes more than that
}

// ColumnsOf plans a struct type.
func ColumnsOf(t reflect.Type) (*Columns, error) {
	if t.Kind() != reflect.Struct || t == timeType {
		return nil, errors.New("type " + t.String() + " is no struct: a row is a struct whose fields are its columns")
	}
	c := &Columns{Type: t}
	if err := c.add(t, 0, "", 1); err != nil {
		return nil, errors.New("type " + t.String() + ": " + err.Error())
	}
	if len(c.columns) == 0 {
		return nil, errors.New("type " + t.String() + " has no exported fields: a row has at least one column")
	}
	if len(c.Kinds) > abi.MaxFields {
		return nil, errors.New("type " + t.String() + " has " + strconv.Itoa(len(c.Kinds)) + " columns; the limit is " + strconv.Itoa(abi.MaxFields))
	}
	seen := map[string]bool{}
	for _, col := range c.columns {
		if seen[col.name] {
			return nil, errors.New("type " + t.String() + ": two fields are column " + strconv.Quote(col.name) + ": name one with a weir tag")
		}
		seen[col.name] = true
	}
	c.measure()
	return c, nil
}

func (c *Columns) add(t reflect.Type, off uintptr, prefix string, level int) error {
	if level > abi.MaxLevels {
		return errors.New("nested deeper than " + strconv.Itoa(abi.MaxLevels) + " levels")
	}
	for i := range t.NumField() {
		f := t.Field(i)
		o, err := parseTag(f)
		if err != nil {
			return err
		}
		if o.skip || !f.IsExported() && !f.Anonymous {
			continue
		}
		inner, mode, flag := unwrapNull(f.Type)
		b, ok := baseOf(inner)
		switch {
		case ok:
			if b.kind == wire.Binary && o.null || b.headers {
				if mode != notNull {
					return errors.New("field " + f.Name + ": a nil value is its null already")
				}
				mode = byNil
			}
			c.append(column{base: b, name: prefix + o.name, off: off + f.Offset, null: mode, flag: flag, scale: o.scale, elem: inner}, o)
		case inner.Kind() == reflect.Struct && mode == notNull && !o.whole:
			under := prefix + o.name + "."
			if _, tagged := f.Tag.Lookup("weir"); f.Anonymous && !tagged {
				under = prefix
			}
			if err := c.add(inner, off+f.Offset, under, level+1); err != nil {
				return err
			}
		case inner.Kind() == reflect.Struct || inner.Kind() == reflect.Slice || inner.Kind() == reflect.Map:
			n, err := nestedOf(f.Type, o, level)
			if err != nil {
				return errors.New("field " + f.Name + ": " + err.Error())
			}
			c.append(column{base: base{kind: n.kind}, name: prefix + o.name, off: off + f.Offset, nested: n}, o)
		default:
			return errors.New("field " + f.Name + " of type " + f.Type.String() + " is no column: want bool, a signed integer, a float, string, []byte, time.Time, " +
				"weir.Date, weir.Decimal, a struct, slice or map of those, or a pointer to or weir.Null of one")
		}
	}
	return nil
}

func (c *Columns) append(col column, o options) {
	col.node = len(c.Kinds)
	if col.nested != nil {
		c.Kinds = col.nested.kinds(c.Kinds)
		col.text = col.nested.text
		c.Nested, c.Mutable = true, c.Mutable || col.nested.shares()
		c.columns = append(c.columns, col)
		return
	}
	c.Kinds = append(c.Kinds, col.kind)
	if col.headers {
		c.Kinds = append(c.Kinds, wire.Struct, wire.Utf8, wire.Binary)
		c.Nested = true
		col.text = "map<utf8,binary>"
	} else {
		col.text = typeText(col.kind, o)
	}
	if col.null != notNull {
		col.text += "?"
	}
	if col.null == byPointer || col.null == byNil || col.kind == wire.Binary {
		c.Mutable = true
	}
	c.columns = append(c.columns, col)
}

// Text is the schema's canonical text.
func (c *Columns) Text() string {
	parts := make([]string, len(c.columns))
	for i, col := range c.columns {
		parts[i] = quoteName(col.name) + ":" + col.text
	}
	return strings.Join(parts, ",")
}

// Names are the columns' names.
func (c *Columns) Names() []string {
	names := make([]string, len(c.columns))
	for i, col := range c.columns {
		names[i] = col.name
	}
	return names
}

// Select keeps the named columns only, in that order; it plans the key columns of an input.
func (c *Columns) Select(names []string) (kinds []wire.Kind, texts []string, err error) {
	for _, name := range names {
		found := false
		for _, col := range c.columns {
			if col.name != name {
				continue
			}
			if col.headers || col.nested != nil {
				return nil, nil, errors.New("column " + strconv.Quote(name) + " is " + col.text + ": keys are scalar columns")
			}
			kinds = append(kinds, col.kind)
			texts = append(texts, col.text)
			found = true
		}
		if !found {
			return nil, nil, errors.New("key column " + strconv.Quote(name) + " is not among its columns: " + strings.Join(c.Names(), ", "))
		}
	}
	return kinds, texts, nil
}
