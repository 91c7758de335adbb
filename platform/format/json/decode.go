package json

import (
	"errors"
	"fmt"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/format"
)

// Decoder reads records that are one JSON object.
type Decoder struct {
	scanner
	root    *object
	builder *batch.Builder // that root is bound to
	unit    int            // decimal digits from the time unit to microseconds
	units   bool           // integer timestamps are allowed
	binary  []byte         // decoded base 64

	// careful: a name was found twice in one object. Records with that are read
	// in two passes, in which the last of equal names wins.
	careful bool
	spans   []int  // where the values of the objects being read begin
	names   []byte // keys of the map being read, for finding equal ones
	ends    []int
}

// NewDecoder makes a decoder of a schema's columns.
func NewDecoder(s *schema.Schema, o format.Options) (*Decoder, error) {
	if o.Null != "" || o.Delimiter != "" || o.Header != nil {
		return nil, errors.New("format json has no options null, delimiter and header; they are csv's")
	}
	d := &Decoder{root: newObject(s.Fields, "")}
	if o.TimeUnit != format.NoUnit {
		if d.unit, d.units = o.TimeUnit.Scale(); !d.units {
			return nil, fmt.Errorf("time unit %q is not known: write s, ms, us or ns", o.TimeUnit)
		}
	}
	return d, nil
}

// errRepeated asks for a second, careful reading.
var errRepeated = errors.New("a name appears twice")

// Decode implements format.Decoder.
func (d *Decoder) Decode(b *batch.Builder, rec *format.Record) error {
	if d.builder != b {
		d.root.bind(b.Column)
		d.builder = b
	}
	if rec.Value == nil {
		return &format.Error{Reason: "the record has no value"}
	}
	err := d.record(rec.Value)
	if err == errRepeated {
		b.Cancel()
		d.careful, d.spans = true, d.spans[:0]
		err = d.record(rec.Value)
		d.careful = false
	}
	if err != nil {
		b.Cancel()
	}
	return err
}

func (d *Decoder) record(value []byte) error {
	d.src, d.pos = value, 0
	d.names, d.ends = d.names[:0], d.ends[:0]
	if c := d.blanks(); c != '{' {
		if err := d.skip(0); err != nil {
			return err
		}
		return &format.Error{Reason: "want an object, have " + what(c)}
	}
	if err := d.object(d.root, 0); err != nil {
		return err
	}
	return d.end()
}

// object reads an object's members into its columns.
func (d *Decoder) object(o *object, depth int) error {
	if d.careful {
		return d.carefulObject(o, depth)
	}
	base := o.fields[0].col.Len()
	filled := 0
	d.pos++
	if d.blanks() == '}' {
		d.pos++
		return d.absent(o, base)
	}
	for k := 0; ; k++ {
		if d.blanks() != '"' {
			return d.syntax("a name in quotes")
		}
		i := o.expected(k, d.src[d.pos:])
		var err error
		if i >= 0 {
			d.pos += len(o.fields[i].quoted)
		} else if i, err = d.name(o, k); err != nil {
			return err
		}
		if i < 0 {
			err = d.skip(depth + 1)
		} else {
			n := &o.fields[i]
			if n.col.Len() != base {
				return errRepeated
			}
			filled++
			err = d.value(n, depth+1)
		}
		if err != nil {
			return err
		}
		switch d.blanks() {
		case ',':
			d.pos++
			continue
		case '}':
			d.pos++
		default:
			return d.syntax("a comma or }")
		}
		if filled == len(o.fields) {
			return nil
		}
		return d.absent(o, base)
	}
}

// name reads a member's name and colon, and gives its field or -1.
func (d *Decoder) name(o *object, k int) (int, error) {
	name, _, err := d.text()
	if err != nil {
		return 0, err
	}
	i := o.find(k, name)
	if d.blanks() != ':' {
		return 0, d.syntax("a colon")
	}
	d.pos++
	return i, nil
}

// absent gives null to the columns that the object had nothing for.
func (d *Decoder) absent(o *object, base int) error {
	for i := range o.fields {
		n := &o.fields[i]
		if n.col.Len() != base {
			continue
		}
		if !n.typ.Nullable {
			return &format.Error{Column: n.path, Offset: d.pos, Reason: "is missing and not nullable"}
		}
		n.col.AppendNull()
	}
	return nil
}

// carefulObject notes where each value begins, then reads the last of each name.
func (d *Decoder) carefulObject(o *object, depth int) error {
	first := len(d.spans)
	for range o.fields {
		d.spans = append(d.spans, -1)
	}
	err := d.members(depth, func(name []byte) error {
		if i, ok := o.index[string(name)]; ok {
			d.spans[first+i] = d.pos
		}
		return d.skip(depth + 1)
	})
	if err != nil {
		return err
	}
	end := d.pos
	base := o.fields[0].col.Len()
	for i := range o.fields {
		if at := d.spans[first+i]; at >= 0 {
			d.pos = at
			if err := d.value(&o.fields[i], depth+1); err != nil {
				return err
			}
		}
	}
	d.pos, d.spans = end, d.spans[:first]
	return d.absent(o, base)
}

// list reads a list's elements.
func (d *Decoder) list(n *node, depth int) error {
	n.col.AppendList()
	return d.elements(depth, func() error { return d.value(n.elem, depth+1) })
}

// closeLook is how many keys of a map are compared one by one; a longer map is
// read carefully, with a hash table.
const closeLook = 32

// mapping reads an object into a map column.
func (d *Decoder) mapping(n *node, depth int) error {
	n.col.AppendMap()
	if d.careful {
		return d.carefulMapping(n, depth)
	}
	first, count := len(d.ends), 0
	defer func(names int) { d.names, d.ends = d.names[:names], d.ends[:first] }(len(d.names))
	return d.members(depth, func(name []byte) error {
		if count++; count > closeLook || d.seen(first, name) {
			return errRepeated
		}
		n.col.AppendEntry()
		if err := d.mapKey(n.key, name); err != nil {
			return err
		}
		return d.value(n.elem, depth+1)
	})
}

// seen tells whether a key was in the map already, and remembers it. The keys of
// a map lie one after the other in names; ends says where each ends.
func (d *Decoder) seen(first int, name []byte) bool {
	start := 0
	if first > 0 {
		start = d.ends[first-1]
	}
	for _, end := range d.ends[first:] {
		if string(d.names[start:end]) == string(name) {
			return true
		}
		start = end
	}
	d.names = append(d.names[:start], name...)
	d.ends = append(d.ends, len(d.names))
	return false
}

func (d *Decoder) carefulMapping(n *node, depth int) error {
	last := map[string]int{}
	var order []string
	err := d.members(depth, func(name []byte) error {
		if _, twice := last[string(name)]; !twice {
			order = append(order, string(name))
		}
		last[string(name)] = d.pos
		return d.skip(depth + 1)
	})
	if err != nil {
		return err
	}
	end := d.pos
	for _, name := range order {
		d.pos = last[name]
		n.col.AppendEntry()
		if err := d.mapKey(n.key, []byte(name)); err != nil {
			return err
		}
		if err := d.value(n.elem, depth+1); err != nil {
			return err
		}
	}
	d.pos = end
	return nil
}
