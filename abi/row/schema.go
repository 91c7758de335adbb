package row

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/weirstream/weir/abi/schema"
)

// Field is one field of a state value.
type Field struct {
	ID   int
	Name string
	Type schema.Type
}

// Schema is the shape of a state value: fields ascending by id.
type Schema struct {
	Fields []Field
}

// Parse reads `id:name:type` fields, as `1:count:int32,2:last:timestamp?`.
func Parse(text string) (*Schema, error) {
	s := &Schema{}
	names := map[string]bool{}
	last := 0
	for i, part := range split(text) {
		digits, rest, ok := strings.Cut(part, ":")
		id, err := strconv.Atoi(digits)
		if !ok || err != nil || id < 1 || id > MaxID || strconv.Itoa(id) != digits {
			return nil, fmt.Errorf("row schema, field %d: want `id:name:type` with an id from 1 to %d, have %q", i, MaxID, part)
		}
		if id <= last {
			return nil, fmt.Errorf("row schema, field %d: id %d after %d: list the fields by ascending id, each once", i, id, last)
		}
		last = id
		one, err := schema.Parse(rest)
		if err != nil {
			return nil, fmt.Errorf("row schema, field %d: %w", id, err)
		}
		f := one.Fields[0]
		if len(one.Fields) != 1 {
			return nil, fmt.Errorf("row schema, field %d: %q has no id", id, one.Fields[1].Name)
		}
		if names[f.Name] {
			return nil, fmt.Errorf("row schema, field %d: name %s appears twice: rename one", id, schema.QuoteName(f.Name))
		}
		names[f.Name] = true
		s.Fields = append(s.Fields, Field{ID: id, Name: f.Name, Type: f.Type})
		if len(s.Fields) > schema.MaxFields {
			return nil, fmt.Errorf("row schema: more than %d fields: split the state", schema.MaxFields)
		}
	}
	return s, nil
}

// split cuts at commas outside of brackets and backquotes.
func split(text string) []string {
	var parts []string
	depth, quote, from := 0, false, 0
	for i := range len(text) {
		switch c := text[i]; {
		case c == '`':
			quote = !quote
		case quote:
		case c == '<' || c == '(':
			depth++
		case c == '>' || c == ')':
			depth--
		case c == ',' && depth == 0:
			parts = append(parts, text[from:i])
			from = i + 1
		}
	}
	return append(parts, text[from:])
}

// String is the canonical text.
func (s *Schema) String() string {
	var b strings.Builder
	for i, f := range s.Fields {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d:%s:%s", f.ID, schema.QuoteName(f.Name), f.Type)
	}
	return b.String()
}

// Field is the field of that id, or nil.
func (s *Schema) Field(id int) *Field {
	for i := range s.Fields {
		if s.Fields[i].ID == id {
			return &s.Fields[i]
		}
	}
	return nil
}

// DriftError says that values of one shape cannot be read as another.
type DriftError struct {
	Old, New string
	Reason   string
}

func (e *DriftError) Error() string {
	return fmt.Sprintf("state of shape %s cannot be read as %s: %s: give the field a new id, or migrate", e.Old, e.New, e.Reason)
}

// Compatible tells whether rows of the old shape are readable as the new one: fields may come, go, be renamed and widen;
// an id never changes its meaning. The error is a *DriftError naming both shapes.
func Compatible(old, new *Schema) error {
	for i := range new.Fields {
		n := &new.Fields[i]
		o := old.Field(n.ID)
		if o == nil {
			continue
		}
		if reason := readable(&o.Type, &n.Type, tagged); reason != "" {
			return &DriftError{Old: old.String(), New: new.String(), Reason: fmt.Sprintf("field %d %s: %s", n.ID, schema.QuoteName(n.Name), reason)}
		}
	}
	return nil
}

// place says whether a value has a tag of its own, which tells its wire.
type place uint8

const (
	tagged place = iota
	bare
)

// readable gives the reason why values of type o cannot be read as n, or "".
func readable(o, n *schema.Type, at place) string {
	switch {
	case o.Kind.Integer() && n.Kind.Integer() && o.Kind <= n.Kind:
		return ""
	case o.Kind == schema.Float32 && n.Kind == schema.Float64 && at == tagged:
		return ""
	case o.Kind != n.Kind:
		return fmt.Sprintf("%s is not readable as %s", o, n)
	}
	switch o.Kind {
	case schema.Decimal:
		if n.Scale < o.Scale || n.Precision-n.Scale < o.Precision-o.Scale {
			return fmt.Sprintf("%s is not readable as %s: digits would be lost", o, n)
		}
	case schema.List:
		return readable(o.Elem, n.Elem, bare)
	case schema.Map:
		if !o.Key.Equal(n.Key) {
			return fmt.Sprintf("map keys change from %s to %s", o.Key, n.Key)
		}
		return readable(o.Elem, n.Elem, bare)
	case schema.Struct:
		// Members have no ids of their own: their place is their id, and the name guards against reordering.
		for i := range min(len(o.Fields), len(n.Fields)) {
			if o.Fields[i].Name != n.Fields[i].Name {
				return fmt.Sprintf("struct member %d changes from %s to %s: append new members at the end", i+1, o.Fields[i].Name, n.Fields[i].Name)
			}
			if reason := readable(&o.Fields[i].Type, &n.Fields[i].Type, tagged); reason != "" {
				return fmt.Sprintf("member %s: %s", o.Fields[i].Name, reason)
			}
		}
	}
	return ""
}
