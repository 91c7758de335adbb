package json

import (
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
)

// node is a column, or a part of a nested one, with what decoding it needs.
type node struct {
	typ    *schema.Type
	name   string
	quoted string // "name": as it mostly stands in a record
	path   string // for errors: address.lines[]
	col    *frame.ColumnBuilder
	object *object // struct
	elem   *node   // list: its elements; map: its values
	key    *node   // map
}

// object is the fields of a record or a struct.
type object struct {
	fields []node
	index  map[string]int
	// guess is the field that was the k-th of the last object, because the
	// records of a stream mostly have the same fields in the same order.
	guess []int
}

func newObject(fields []schema.Field, prefix string) *object {
	o := &object{fields: make([]node, len(fields)), index: make(map[string]int, len(fields))}
	for i := range fields {
		o.fields[i] = newNode(&fields[i].Type, prefix+fields[i].Name)
		o.fields[i].name = fields[i].Name
		o.fields[i].quoted = string(AppendString(nil, []byte(fields[i].Name))) + ":"
		o.index[fields[i].Name] = i
		o.guess = append(o.guess, i)
	}
	return o
}

func newNode(t *schema.Type, path string) node {
	n := node{typ: t, path: path}
	switch t.Kind {
	case schema.Struct:
		n.object = newObject(t.Fields, path+".")
	case schema.List:
		e := newNode(t.Elem, path+"[]")
		n.elem = &e
	case schema.Map:
		k, v := newNode(t.Key, path+"{key}"), newNode(t.Elem, path+"{}")
		n.key, n.elem = &k, &v
	}
	return n
}

// bind ties the plan to the columns of a builder.
func (o *object) bind(column func(int) *frame.ColumnBuilder) {
	for i := range o.fields {
		o.fields[i].bind(column(i))
	}
}

func (n *node) bind(c *frame.ColumnBuilder) {
	n.col = c
	switch n.typ.Kind {
	case schema.Struct:
		n.object.bind(c.Child)
	case schema.List:
		n.elem.bind(c.Child(0))
	case schema.Map:
		n.key.bind(c.MapKey())
		n.elem.bind(c.MapValue())
	}
}

// expected gives the field that mostly stands k-th, if the text begins with its
// name and colon, or -1.
func (o *object) expected(k int, text []byte) int {
	if k < len(o.guess) {
		i := o.guess[k]
		if q := o.fields[i].quoted; len(text) >= len(q) && string(text[:len(q)]) == q {
			return i
		}
	}
	return -1
}

// find gives the field of a name that stands k-th in its object, or -1.
func (o *object) find(k int, name []byte) int {
	if k < len(o.guess) {
		if i := o.guess[k]; o.fields[i].name == string(name) {
			return i
		}
	}
	i, ok := o.index[string(name)]
	if !ok {
		return -1
	}
	if k < len(o.guess) {
		o.guess[k] = i
	}
	return i
}
