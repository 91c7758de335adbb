package join

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Kind is the operator's name in pipelines and job graphs.
const Kind = "join"

// The inputs.
const (
	left  = 0
	right = 1
	sides = 2
)

var sideNames = [sides]string{"left", "right"}

// Config is the operator's part of a pipeline and of a job graph.
type Config struct {
	// RightKey names the right input's key columns where they are not those of the left.
	RightKey []string `json:"right_key,omitempty"`
	// RightPrefix goes before the names of the right input's columns in the output.
	RightPrefix string `json:"right_prefix,omitempty"`
	// TTL, such as 24h, is how long a row waits for its matches; empty: for ever.
	// A row that is taken back after that takes nothing back.
	TTL string `json:"ttl,omitempty"`
	// Retracting is set by the planner: which inputs are changelogs.
	Retracting [sides]bool `json:"retracting"`
}

// Plan checks a configuration against the inputs and infers the output: the
// left columns, then the right ones without the key, which is equal.
func Plan(raw json.RawMessage, inputs []native.Input, key []string) (native.Plan, error) {
	var c Config
	if err := native.Decode(raw, &c); err != nil {
		return native.Plan{}, err
	}
	switch {
	case len(inputs) != sides:
		return native.Plan{}, native.Refuse("write inputs: [left, right]", "a join has two inputs, not %d", len(inputs))
	case len(key) == 0:
		return native.Plan{}, native.Refuse("add key: [column, …]", "a join is made by key, and no key is given")
	}
	c.Retracting = [sides]bool{inputs[left].Changelog, inputs[right].Changelog}
	ttl, err := c.ttl()
	if err != nil {
		return native.Plan{}, err
	}
	if len(c.RightKey) == 0 {
		c.RightKey = key
	}
	keys := [][]string{key, c.RightKey}
	l, err := c.layout(inputs[left].Schema, inputs[right].Schema, keys)
	if err != nil {
		return native.Plan{}, err
	}
	p := native.Plan{Config: c, Output: l.out, Key: keys, Changelog: inputs[left].Changelog || inputs[right].Changelog}
	for s, name := range sideNames {
		st := jobgraph.State{Name: name, Kind: "list", Form: "hosted", Codec: "join row", Value: l.sides[s].shape()}
		if ttl > 0 {
			st.TTLMs, st.TTLOn = ttl.Milliseconds(), "write"
		}
		p.State = append(p.State, st)
	}
	return p, nil
}

func (c *Config) ttl() (time.Duration, error) {
	if c.TTL == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(c.TTL)
	if err != nil || d < time.Millisecond {
		return 0, native.Refuse("write it like 90m or 24h, at least 1ms", "ttl: %q is no duration", c.TTL)
	}
	return d, nil
}

// layout is where columns come from and go to.
type layout struct {
	out   *schema.Schema
	sides [sides]side
}

// side is the columns of one input that appear in the output.
type side struct {
	columns []int // of the input
	fields  []schema.Field
	first   int // the first of them in the output
	keys    []int
}

// shape describes the stored rows, for drift.
func (s *side) shape() string {
	var b strings.Builder
	for i, f := range s.fields {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d:%s:%s", i+1, schema.QuoteName(f.Name), f.Type)
	}
	return b.String()
}

func (c *Config) layout(l, r *schema.Schema, keys [][]string) (*layout, error) {
	if len(keys[left]) != len(keys[right]) {
		return nil, native.Refuse("name as many of the right as of the left", "right_key has %d columns, the key %d", len(keys[right]), len(keys[left]))
	}
	out := &layout{}
	var fields []schema.Field
	for s, in := range []*schema.Schema{l, r} {
		d := &out.sides[s]
		d.first = len(fields)
		for _, name := range keys[s] {
			at := in.Index(name)
			if at < 0 {
				return nil, native.Refuse("its columns are "+strings.Join(in.Names(), ", "), "the %s input has no key column %q", sideNames[s], name)
			}
			d.keys = append(d.keys, at)
		}
		for i, f := range in.Fields {
			if s == right && slices.Contains(d.keys, i) {
				continue
			}
			if f.Type.Kind.Nested() {
				return nil, native.Refuse("leave it out by a project upstream, or flatten it", "column %s of the %s input is %s, which a join does not keep", f.Name, sideNames[s], f.Type)
			}
			d.columns, d.fields = append(d.columns, i), append(d.fields, f)
			if s == right {
				f.Name = c.RightPrefix + f.Name
			}
			fields = append(fields, f)
		}
	}
	for i := range keys[left] {
		a, b := l.Fields[out.sides[left].keys[i]], r.Fields[out.sides[right].keys[i]]
		if !a.Type.Kind.Keyable() || !comparable(a.Type.Kind, b.Type.Kind) {
			return nil, native.Refuse("make them one type upstream", "the key columns %s:%s and %s:%s are never equal", a.Name, a.Type, b.Name, b.Type)
		}
	}
	var err error
	if out.out, err = schema.New(fields...); err != nil {
		return nil, native.Refuse("rename one by a project upstream, or set right_prefix", "the output has %v", err)
	}
	return out, nil
}

// comparable says whether values of two kinds have one canonical form in keys.
func comparable(a, b schema.Kind) bool {
	float := func(k schema.Kind) bool { return k == schema.Float32 || k == schema.Float64 }
	return a == b || a.Integer() && b.Integer() || float(a) && float(b)
}
