// Package operatortest runs one operator over a real state backend, as a task
// would, and compares it with a model: whole, cut into other batches, and
// restored from a barrier. It must not know what any operator does.
package operatortest

import (
	"encoding/json"
	"log/slog"
	"slices"
	"testing"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/arena"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Spec is an operator as it is planned and made.
type Spec struct {
	Plan   func(config json.RawMessage, inputs []native.Input, key []string) (native.Plan, error)
	New    func() operator.Operator
	Config string
	Inputs []native.Input
	Key    []string
}

// MustPlan plans the operator or fails the test.
func (s Spec) MustPlan(t testing.TB) native.Plan {
	t.Helper()
	p, err := s.Plan(json.RawMessage(s.Config), s.Inputs, s.Key)
	if err != nil {
		t.Fatalf("plan %s: %v", s.Config, err)
	}
	return p
}

// Run is an operator at work.
type Run struct {
	Operator operator.Operator
	State    state.Backend // nil: the operator keeps none
	Plan     native.Plan
	Rows     []Row // of the output so far
	Marks    []element.Watermark
	Clock    int64

	t      testing.TB
	spec   Spec
	keep   bool
	closed bool
}

// Retention says whether a run keeps its output.
type Retention uint8

// KeepRows is for tests, DropRows for benchmarks.
const (
	KeepRows Retention = iota
	DropRows
)

// Open plans and opens the operator; segments, oldest first, are what it starts from.
func Open(t testing.TB, spec Spec, keep Retention, segments ...[]state.Entry) *Run {
	t.Helper()
	plan := spec.MustPlan(t)
	config, err := json.Marshal(plan.Config)
	if err != nil {
		t.Fatal(err)
	}
	r := &Run{Operator: spec.New(), Plan: plan, t: t, spec: spec, keep: keep == KeepRows}
	if len(plan.Key) > 0 {
		if r.State, err = arena.Open(state.Options{Descriptors: descriptors(plan.State)}); err != nil {
			t.Fatal(err)
		}
		for _, segment := range segments {
			for _, e := range segment {
				if err := r.State.Load(e); err != nil {
					t.Fatalf("restore: %v", err)
				}
			}
		}
	}
	var inputs []*schema.Schema
	for _, in := range spec.Inputs {
		inputs = append(inputs, in.Schema)
	}
	err = r.Operator.Open(&operator.Context{
		Identity: operator.Identity{Pipeline: "test", Operator: "operator", Parallelism: 1, LastGroup: 255},
		Config:   config, Inputs: inputs, Outputs: []*schema.Schema{plan.Output}, Key: plan.Key,
		State: r.State, Output: (*output)(r), Log: slog.New(slog.DiscardHandler),
		Clock: func() int64 { return r.Clock }, Wake: func() {}, Fail: func(err error) { t.Error(err) },
		Published: func(uint64) {}, Crowded: func() bool { return false }, Meter: &operator.Meter{},
	})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return r
}

// descriptors is what a task makes of the planned states.
func descriptors(states []jobgraph.State) []state.Descriptor {
	var out []state.Descriptor
	for _, s := range states {
		d := state.Descriptor{Name: s.Name, Form: state.Single, TTLMs: s.TTLMs}
		if s.Form == "hosted" {
			d.Form = state.Entries
		}
		if s.TTLMs > 0 {
			d.TTLOn = state.TTLOnWrite
			if s.TTLOn == "read_write" {
				d.TTLOn = state.TTLOnReadWrite
			}
		}
		out = append(out, d)
	}
	return out
}

type output Run

func (o *output) Emit(port int, b *batch.Batch) error {
	if port != 0 {
		o.t.Errorf("emitted to output %d", port)
	}
	if o.keep {
		if !b.Schema.Equal(o.Plan.Output) {
			o.t.Errorf("emitted %s, planned is %s", b.Schema, o.Plan.Output)
		}
		o.Rows = append(o.Rows, RowsOf(b)...)
	}
	b.Release()
	return nil
}

func (o *output) Watermark(w element.Watermark) error {
	if o.keep {
		o.Marks = append(o.Marks, w)
	}
	return nil
}

// Process feeds rows to an input, as one batch.
func (r *Run) Process(input int, rows ...Row) {
	r.t.Helper()
	if err := r.Try(input, rows...); err != nil {
		r.t.Fatalf("process: %v", err)
	}
}

// Try is Process with its error.
func (r *Run) Try(input int, rows ...Row) error {
	return r.Operator.Process(input, Batch(nil, r.spec.Inputs[input].Schema, rows))
}

// Watermark moves an input's event time.
func (r *Run) Watermark(input int, w element.Watermark) {
	r.t.Helper()
	if err := r.Operator.Watermark(input, w); err != nil {
		r.t.Fatalf("watermark: %v", err)
	}
}

// Advance moves the clock, as a task does between elements.
func (r *Run) Advance(micros int64) {
	r.Clock = micros
	if r.State != nil {
		r.State.Advance(micros)
	}
}

// Barrier ends an epoch and gives the segment of what changed in it.
func (r *Run) Barrier() []state.Entry {
	r.t.Helper()
	s, err := r.Operator.Barrier(element.Barrier{ID: 1, Actions: element.Checkpoint})
	if err != nil {
		r.t.Fatalf("barrier: %v", err)
	}
	if s.Keyed == nil {
		return nil
	}
	var out []state.Entry
	for e := range s.Keyed.Entries() {
		e.Key, e.Sub, e.Value = slices.Clone(e.Key), slices.Clone(e.Sub), slices.Clone(e.Value)
		out = append(out, e)
	}
	s.Keyed.Release()
	return out
}

// Close ends the operator and its state; a second time it does nothing.
func (r *Run) Close() {
	r.t.Helper()
	if r.closed {
		return
	}
	r.closed = true
	if err := r.Operator.Close(); err != nil {
		r.t.Errorf("close: %v", err)
	}
	if r.State != nil {
		if err := r.State.Close(); err != nil {
			r.t.Errorf("close state: %v", err)
		}
	}
}
