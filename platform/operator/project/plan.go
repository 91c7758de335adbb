package project

import (
	"encoding/json"
	"strings"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/operator/native"
)

// Kind is the operator's name in pipelines and job graphs.
const Kind = "project"

// MaxPredicates is how many predicates one operator has.
const MaxPredicates = 64

// Column is one column of the output. In a pipeline it may be written as the
// bare name of a column.
type Column struct {
	Column string `json:"column"`
	As     string `json:"as,omitempty"`   // its name; empty: as before
	Cast   string `json:"cast,omitempty"` // its type; empty: as before
}

// UnmarshalJSON reads a column, or the bare name of one.
func (c *Column) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &c.Column)
	}
	type plain Column
	return native.Decode(b, (*plain)(c))
}

// Predicate compares a column with a constant. Rows for which every predicate
// is true stay; a comparison with null is never true.
type Predicate struct {
	Column string          `json:"column"`
	Op     string          `json:"op"`
	Value  json.RawMessage `json:"value,omitempty"`
}

// Config is the operator's part of a pipeline and of a job graph.
type Config struct {
	Columns []Column    `json:"columns,omitempty"` // empty: all as they are
	Where   []Predicate `json:"where,omitempty"`
	// KindColumn adds a last column of this name with the row's kind as text
	// (+I, -U, +U, -D); what was a changelog is then plain rows.
	KindColumn string `json:"kind_column,omitempty"`
}

// Plan checks a configuration against the input and infers the output.
func Plan(raw json.RawMessage, inputs []native.Input, key []string) (native.Plan, error) {
	var c Config
	if err := native.Decode(raw, &c); err != nil {
		return native.Plan{}, err
	}
	switch {
	case len(inputs) != 1:
		return native.Plan{}, native.Refuse("name one", "a project has one input, not %d", len(inputs))
	case len(key) > 0:
		return native.Plan{}, native.Refuse("leave key out", "a project keeps no state and has no key")
	}
	out, _, err := c.build(inputs[0].Schema)
	if err != nil {
		return native.Plan{}, err
	}
	if _, err := compile(c.Where, inputs[0].Schema); err != nil {
		return native.Plan{}, err
	}
	return native.Plan{Config: c, Output: out, Changelog: inputs[0].Changelog && c.KindColumn == ""}, nil
}

// build gives the output and, for each of its columns, the input's.
func (c *Config) build(in *schema.Schema) (*schema.Schema, []int, error) {
	columns := c.Columns
	if len(columns) == 0 {
		for _, name := range in.Names() {
			columns = append(columns, Column{Column: name})
		}
	}
	var fields []schema.Field
	var from []int
	for _, col := range columns {
		at := in.Index(col.Column)
		if at < 0 {
			return nil, nil, native.Refuse("its columns are "+strings.Join(in.Names(), ", "), "the input has no column %q", col.Column)
		}
		f := in.Fields[at]
		if col.As != "" {
			f.Name = col.As
		}
		if col.Cast != "" {
			to, err := schema.ParseType(col.Cast)
			if err != nil {
				return nil, nil, native.Refuse("write a type like int64 or utf8?", "cast of column %s: %v", col.Column, err)
			}
			if !Widens(f.Type, to) {
				return nil, nil, native.Refuse("a project only widens: int8 to int16 to int32 to int64, float32 to float64, to more digits of a decimal, to nullable; for anything else write a function",
					"column %s is %s, which cannot be cast to %s without loss", col.Column, f.Type, to)
			}
			f.Type = to
		}
		fields, from = append(fields, f), append(from, at)
	}
	if c.KindColumn != "" {
		fields = append(fields, schema.Field{Name: c.KindColumn, Type: schema.Of(schema.Utf8)})
	}
	out, err := schema.New(fields...)
	if err != nil {
		return nil, nil, native.Refuse("rename it by as:", "the output has %v", err)
	}
	return out, from, nil
}

// Widens says whether every value of one type is a value of the other, so that
// a cast can lose nothing. A type widens to itself.
func Widens(from, to schema.Type) bool {
	if from.Nullable && !to.Nullable {
		return false
	}
	from.Nullable = to.Nullable
	switch {
	case from.Equal(&to):
		return true
	case from.Kind.Integer() && to.Kind.Integer():
		return from.Kind.Width() <= to.Kind.Width()
	case from.Kind == schema.Decimal && to.Kind == schema.Decimal:
		return from.Scale == to.Scale && from.Precision <= to.Precision
	}
	return from.Kind == schema.Float32 && to.Kind == schema.Float64
}
