// Package schema is the type language of Weir's columns: an ordered list of named, typed fields with one canonical text
// and a fingerprint of it. Schemas are immutable once made and safe to share. The package must not know how values are
// laid out in memory or where schemas come from.
package schema

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	"github.com/weirstream/weir/abi"
)

// Limits of a schema; Parse and New refuse what exceeds them.
const (
	MaxFields    = abi.MaxSchemaFields
	MaxLevels    = abi.MaxSchemaLevels
	MaxNameBytes = abi.MaxNameBytes
	MaxPrecision = abi.MaxDecimalPrecision
)

// Field is one named column, or one member of a struct.
type Field struct {
	Name string
	Type Type
}

// Schema is an ordered list of fields. Its fields must not be changed.
type Schema struct {
	Fields []Field

	text        string
	fingerprint uint64
	nodes       int
	index       map[string]int
}

// New makes a schema of the fields, which it copies deeply. It refuses what Parse would refuse.
func New(fields ...Field) (*Schema, error) {
	s := &Schema{Fields: make([]Field, len(fields)), index: make(map[string]int, len(fields))}
	total := 0
	for i, f := range fields {
		if err := checkFields(&total, 1); err != nil {
			return nil, err
		}
		if _, twice := s.index[f.Name]; twice {
			return nil, fmt.Errorf("schema: field %s appears twice: rename one", quoted(f.Name))
		}
		if err := checkName(f.Name); err != nil {
			return nil, err
		}
		t, err := finish(f.Type, 1, &total)
		if err != nil {
			return nil, fmt.Errorf("schema: field %s: %w", quoted(f.Name), err)
		}
		s.Fields[i] = Field{f.Name, t}
		s.index[f.Name] = i
		s.nodes += t.nodes
	}
	if len(fields) == 0 {
		return nil, fmt.Errorf("schema: no fields: give at least one")
	}
	s.text = string(appendFields(nil, s.Fields))
	s.fingerprint = xxhash.Sum64String(s.text)
	return s, nil
}

// Must returns s and panics on an error; for schemas written in code.
func Must(s *Schema, err error) *Schema {
	if err != nil {
		panic(err)
	}
	return s
}

// MustParse parses a schema written in code and panics on an error.
func MustParse(text string) *Schema { return Must(Parse(text)) }

var raw = MustParse("key:binary?,value:binary?,ts:timestamp,headers:map<utf8,binary>?")

// Raw is the schema of a plain byte stream.
func Raw() *Schema { return raw }

// String is the canonical text; Parse of it gives an equal schema.
func (s *Schema) String() string { return s.text }

// Fingerprint is XXH64, seed 0, of the canonical text.
func (s *Schema) Fingerprint() uint64 { return s.fingerprint }

// Nodes is the number of nodes of a column block of this schema.
func (s *Schema) Nodes() int { return s.nodes }

// Len is the number of top-level fields.
func (s *Schema) Len() int { return len(s.Fields) }

// Index is the position of the top-level field of that name, or -1.
func (s *Schema) Index(name string) int {
	if i, ok := s.index[name]; ok {
		return i
	}
	return -1
}

// Equal tells whether both have the same fields in the same order.
func (s *Schema) Equal(o *Schema) bool {
	if s == o {
		return true
	}
	return s != nil && o != nil && s.fingerprint == o.fingerprint && s.text == o.text
}

// Names lists the top-level field names in order.
func (s *Schema) Names() []string {
	names := make([]string, len(s.Fields))
	for i := range s.Fields {
		names[i] = s.Fields[i].Name
	}
	return names
}

// Project makes the schema of the named fields, in the order of names.
func (s *Schema) Project(names ...string) (*Schema, error) {
	fields := make([]Field, len(names))
	for i, n := range names {
		j := s.Index(n)
		if j < 0 {
			return nil, fmt.Errorf("schema: no field %s: have %v", quoted(n), s.Names())
		}
		fields[i] = s.Fields[j]
	}
	return New(fields...)
}

// Nested tells whether a field is a list, struct or map.
func (s *Schema) Nested() bool {
	return slices.ContainsFunc(s.Fields, func(f Field) bool { return f.Type.Kind.Nested() })
}

func checkFields(total *int, add int) error {
	if *total += add; *total > MaxFields {
		return fmt.Errorf("schema: more than %d fields, all levels together: split the record", MaxFields)
	}
	return nil
}

func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("schema: empty field name: names have 1 to %d bytes", MaxNameBytes)
	case len(name) > MaxNameBytes:
		return fmt.Errorf("schema: name %q... has %d bytes, the limit is %d: shorten it", name[:16], len(name), MaxNameBytes)
	case !utf8.ValidString(name):
		return fmt.Errorf("schema: name %q is not UTF-8", name)
	}
	return nil
}
