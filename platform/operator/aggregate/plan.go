package aggregate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Kind is the operator's name in pipelines and job graphs.
const Kind = "aggregate"

// MaxAggregates is how many aggregates one operator has: each may need two states
// beside the accumulators.
const MaxAggregates = (state.MaxStates - 1) / 2

// MaxTextBytes is how much text an aggregate may emit for one batch, far below
// the 2 GiB that offsets reach: a long extreme is repeated for every row.
const MaxTextBytes = 512 << 20

// The functions.
const (
	Count = "count"
	Sum   = "sum"
	Min   = "min"
	Max   = "max"
	Avg   = "avg"
)

// Aggregate is one column of the output. Count without a column counts rows.
type Aggregate struct {
	Fn     string `json:"fn"`
	Column string `json:"column,omitempty"`
	As     string `json:"as"`
}

// Emit says what the output is.
type Emit string

// Updates gives the value after each change, as inserts. Changelog gives what
// ceases to hold and what holds instead: -U and +U, +I for a key's first row, -D
// when its last one was taken back; as an update that is a row of zero counts
// and nulls.
const (
	Updates   Emit = "updates"
	Changelog Emit = "changelog"
)

// Per says how often the output is given: after each row, or once a batch and
// key. How rows are cut into batches is not part of a result: PerBatch gives
// fewer rows, and other ones from run to run, that end in the same values.
type Per string

// How often the output is given.
const (
	PerRow   Per = "row"
	PerBatch Per = "batch"
)

// Config is the operator's part of a pipeline and of a job graph.
type Config struct {
	Aggregates []Aggregate `json:"aggregates"`
	Emit       Emit        `json:"emit,omitempty"`
	Per        Per         `json:"per,omitempty"`
	// Retracting is set by the planner: the input is a changelog.
	Retracting bool `json:"retracting,omitempty"`
}

// accumulators is the state that has all fixed-width accumulators of a key.
const accumulators = "accumulators"

// Plan checks a configuration against the input and infers the output.
func Plan(raw json.RawMessage, inputs []native.Input, key []string) (native.Plan, error) {
	var c Config
	if err := native.Decode(raw, &c); err != nil {
		return native.Plan{}, err
	}
	switch {
	case len(inputs) != 1:
		return native.Plan{}, native.Refuse("name one", "an aggregate has one input, not %d", len(inputs))
	case len(key) == 0:
		return native.Plan{}, native.Refuse("add key: [column, …]", "an aggregate is kept per key, and no key is given")
	}
	c.Retracting = inputs[0].Changelog
	if err := c.complete(); err != nil {
		return native.Plan{}, err
	}
	out, folders, states, err := c.build(inputs[0].Schema, key)
	if err != nil {
		return native.Plan{}, err
	}
	shape := []string{"rows"}
	for _, f := range folders {
		shape = append(shape, f.shape())
	}
	states[0].Value = strings.Join(shape, ";")
	return native.Plan{Config: c, State: states, Output: out, Key: [][]string{key}, Changelog: c.Emit == Changelog}, nil
}

func (c *Config) complete() error {
	if c.Emit == "" {
		c.Emit = Updates
	}
	if c.Per == "" {
		c.Per = PerRow
	}
	switch {
	case c.Emit != Updates && c.Emit != Changelog:
		return native.Refuse("say updates or changelog", "emit: %q is unknown", c.Emit)
	case c.Per != PerRow && c.Per != PerBatch:
		return native.Refuse("say row or batch", "per: %q is unknown", c.Per)
	case len(c.Aggregates) == 0:
		return native.Refuse(`add aggregates: [{fn: count, as: n}]`, "there are no aggregates")
	case len(c.Aggregates) > MaxAggregates:
		return native.Refuse("split the operator in two", "there are %d aggregates, the limit is %d", len(c.Aggregates), MaxAggregates)
	}
	return nil
}

// build makes the folders, the output's schema and the states that they need;
// the shape of the first state is left to the caller.
func (c *Config) build(in *schema.Schema, key []string) (*schema.Schema, []folder, []jobgraph.State, error) {
	var fields []schema.Field
	for _, k := range key {
		i := in.Index(k)
		switch {
		case i < 0:
			return nil, nil, nil, native.Refuse(columnsOf(in), "the input has no key column %q", k)
		case !in.Fields[i].Type.Kind.Keyable():
			return nil, nil, nil, native.Refuse("choose a column of a plain type", "the column %s is %s, which cannot be a key", k, in.Fields[i].Type)
		}
		fields = append(fields, in.Fields[i])
	}
	states := []jobgraph.State{{Name: accumulators, Kind: "aggregating", Form: "framed", Codec: "accumulators"}}
	var folders []folder
	offset := rowsBytes
	for _, a := range c.Aggregates {
		if a.As == "" {
			return nil, nil, nil, native.Refuse("add as: NAME", "the aggregate %s has no name", a.text())
		}
		f, typ, err := c.folder(a, in, &states)
		if err != nil {
			return nil, nil, nil, err
		}
		f.place(offset)
		offset += f.width()
		folders = append(folders, f)
		fields = append(fields, schema.Field{Name: a.As, Type: typ})
	}
	out, err := schema.New(fields...)
	if err != nil {
		return nil, nil, nil, native.Refuse("rename it by as:", "the output has %v", err)
	}
	return out, folders, states, nil
}

func (a *Aggregate) text() string { return fmt.Sprintf("%s(%s)", a.Fn, a.Column) }

func columnsOf(s *schema.Schema) string { return "its columns are " + strings.Join(s.Names(), ", ") }

// folder chooses the implementation of one aggregate by the column's type.
func (c *Config) folder(a Aggregate, in *schema.Schema, states *[]jobgraph.State) (folder, schema.Type, error) {
	if a.Fn == Count && a.Column == "" {
		return &countRows{}, schema.Of(schema.Int64), nil
	}
	at := in.Index(a.Column)
	if at < 0 {
		return nil, schema.Type{}, native.Refuse(columnsOf(in), "%s: the input has no column %q", a.text(), a.Column)
	}
	typ := in.Fields[at].Type
	kind := typ.Kind
	base := column{index: at, aggregate: a, typ: typ, retracting: c.Retracting}
	// Without a row that counts there is no sum; a key whose rows were all taken
	// back has none either, which only updates show.
	nullable := typ.Nullable || c.Retracting && c.Emit == Updates
	result := func(t schema.Type) schema.Type { t.Nullable = nullable; return t }
	numeric := kind.Integer() || kind == schema.Float32 || kind == schema.Float64 || kind == schema.Decimal
	switch a.Fn {
	case Count:
		return &countValues{base}, schema.Of(schema.Int64), nil
	case Sum, Avg:
		if !numeric {
			return nil, typ, native.Refuse("sum and avg take integers, floats and decimals; project with a cast upstream", "%s: the column is %s", a.text(), typ)
		}
		switch {
		case a.Fn == Sum && kind.Integer():
			return &sumInt{column: base}, result(schema.Of(schema.Int64)), nil
		case kind.Integer():
			return &avgInt{base}, result(schema.Of(schema.Float64)), nil
		case kind == schema.Decimal:
			d := &decimals{column: base, scale: typ.Scale}
			if a.Fn == Avg {
				d.mean, d.scale = true, max(typ.Scale, avgScale)
			}
			return d, result(schema.DecimalOf(schema.MaxPrecision, d.scale)), nil
		default:
			return &floats{column: base, mean: a.Fn == Avg}, result(schema.Of(schema.Float64)), nil
		}
	case Min, Max:
		if kind == schema.Bool || kind.Nested() {
			return nil, typ, native.Refuse("min and max take numbers, text, bytes and times", "%s: the column is %s", a.text(), typ)
		}
		if slices.ContainsFunc(*states, func(s jobgraph.State) bool { return strings.HasPrefix(s.Name, a.text()+".") }) {
			return nil, typ, native.Refuse("leave one out; a project downstream can give it a second name", "%s is asked for twice", a.text())
		}
		return c.extreme(base, states), result(typ), nil
	}
	return nil, typ, native.Refuse("the functions are count, sum, min, max, avg", "the aggregate function %q is unknown", a.Fn)
}

// extreme declares the states of a minimum or maximum: of text its value, and
// for a changelog every value there is, since the next best must be found.
func (c *Config) extreme(base column, states *[]jobgraph.State) folder {
	e := &extreme{column: base, max: base.aggregate.Fn == Max}
	// Named by what it is of, as the accumulators' shape is: a new name of the
	// result must not part the one from the other.
	declare := func(kind, form, suffix string) stateRef {
		name := base.aggregate.text() + suffix
		*states = append(*states, jobgraph.State{Name: name, Kind: kind, Form: form, Codec: "extreme", Value: e.shape()})
		return stateRef{id: len(*states) - 1, name: name}
	}
	if base.typ.Kind.VarLen() {
		e.text = declare("value", "framed", ".value")
	}
	if base.retracting {
		e.values = declare("map", "hosted", ".values")
	}
	return e
}

// avgScale is how many fractional digits the mean of a decimal has at least.
const avgScale = 6
