package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/all"
	"github.com/weirstream/weir/platform/operator/sink"
	"github.com/weirstream/weir/platform/operator/source"
	"github.com/weirstream/weir/platform/operator/udf"
	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/arena"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Step is a record of a test's input, or a move of time.
type Step struct {
	Source           string // by name, or of the function's input that it feeds; "" is the only one
	Record           []byte // nil: time moves
	Watermark, Clock time.Time
	Place            string // file and line, for errors
}

// Row is a row that came out of a test.
type Row struct {
	Sink     string // its name; empty for dead letters
	Operator string // what it is fed from
	Output   string // the output's name in the manifest
	Main     bool   // it is the first output
	Line     []byte // valid during the call
}

// TestOptions of one test.
type TestOptions struct {
	Pipeline string
	Steps    []Step
	Emit     func(Row)
	Log      *slog.Logger
}

// epoch is where a test's clock stands until a step moves it.
var epoch = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)

// Test runs a pipeline over steps, one after the other, under virtual time. Where
// no step moves event time, rows do, as the pipeline says of its sources.
func Test(ctx context.Context, o TestOptions) (err error) {
	p, err := open(ctx, o.Pipeline, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if p.file.Functions != nil {
		return fmt.Errorf("pipeline %s has stateful functions, and a case has no way to send them messages: test them in Go by weirtest, and the whole pipeline by weir dev", p.file.Name.Value)
	}
	p.file.Parallelism = 1
	for i := range p.file.Operators {
		p.file.Operators[i].Parallelism = 0
	}
	for i := range p.file.Sinks {
		p.file.Sinks[i].Parallelism = 0
	}
	plan, err := p.plan(o.Pipeline)
	if err != nil {
		return err
	}
	t := &test{project: p, options: o, graph: plan.Graph, clock: epoch, decoders: map[string]*decoder{}}
	for _, s := range o.Steps {
		t.manual = t.manual || !s.Watermark.IsZero()
	}
	if t.direct, err = runtime.NewDirect(ctx, runtime.Job{Pipeline: p.file.Name.Value, PipelineUID: "test", Attempt: 1}, plan.Graph, t.services()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.direct.Close()) }()
	if err := t.openSources(); err != nil {
		return err
	}
	return t.run()
}

// test is one run of a test.
type test struct {
	*project
	options  TestOptions
	graph    *jobgraph.Graph
	direct   *runtime.Direct
	decoders map[string]*decoder
	clock    time.Time
	manual   bool // steps move event time, rows do not
}

func (t *test) services() runtime.Services {
	return runtime.Services{
		Log:   quiet(t.options.Log),
		Clock: func() time.Time { return t.clock },
		NewState: func(op *jobgraph.Operator, _ runtime.Groups) (state.Backend, error) {
			d, err := runtime.Descriptors(op)
			if err != nil {
				return nil, err
			}
			return arena.Open(state.Options{Descriptors: d})
		},
		Items: func(*jobgraph.Operator, int, int) ([]snapshot.Item, uint64, error) { return nil, 0, nil },
		NewOperator: func(kind string) (operator.Operator, error) {
			switch kind {
			case sink.Kind:
				return &rowSink{test: t}, nil
			case udf.Kind:
				return udf.New(udf.Deps{Modules: t.modules}), nil
			}
			if n, ok := all.Natives[kind]; ok {
				return n.New(), nil
			}
			if placed, ok := all.Placed[kind]; ok {
				return placed(), nil
			}
			return nil, fmt.Errorf("no operator kind %q in a test", kind)
		},
	}
}

// openSources makes a decoder for each source; its output is the direct run's.
func (t *test) openSources() error {
	for s := range t.graph.Stages {
		for i := range t.graph.Stages[s].Operators {
			op := &t.graph.Stages[s].Operators[i]
			if op.Kind != source.Kind {
				continue
			}
			outputs, err := runtime.Schemas(op.Outputs)
			if err != nil {
				return err
			}
			d, err := newDecoder(&operator.Context{
				Identity: operator.Identity{Pipeline: t.file.Name.Value, Operator: op.ID, Parallelism: 1},
				Config:   op.Config, Outputs: outputs, Output: feed{t.direct, op.ID},
			})
			if err != nil {
				return fmt.Errorf("source %s: %w", op.ID, err)
			}
			t.decoders[op.ID] = d
		}
	}
	return nil
}

// feed is a source's output into a direct run.
type feed struct {
	direct *runtime.Direct
	source string
}

func (f feed) Emit(output int, b *batch.Batch) error { return f.direct.Emit(f.source, output, b) }
func (f feed) Watermark(w element.Watermark) error   { return f.direct.Watermark(f.source, w) }

func (t *test) run() error {
	for _, s := range t.options.Steps {
		if err := t.step(s); err != nil {
			return fmt.Errorf("%s: %w", s.Place, err)
		}
	}
	for _, s := range t.file.Sources {
		if err := t.direct.End(s.Name.Value); err != nil {
			return err
		}
	}
	return nil
}

func (t *test) step(s Step) error {
	if !s.Clock.IsZero() {
		t.clock = s.Clock
		if err := t.direct.Clock(); err != nil {
			return err
		}
	}
	if !s.Watermark.IsZero() {
		w := element.Watermark{Time: s.Watermark.UnixMicro()}
		if s.Source != "" {
			name, err := t.sourceNamed(s.Source)
			if err != nil {
				return err
			}
			return t.direct.Watermark(name, w)
		}
		for _, src := range t.file.Sources {
			if err := t.direct.Watermark(src.Name.Value, w); err != nil {
				return err
			}
		}
	}
	if s.Record == nil {
		return nil
	}
	name, err := t.sourceNamed(s.Source)
	if err != nil {
		return err
	}
	d := t.decoders[name]
	if err := d.add(s.Record); err != nil {
		return err
	}
	b := d.finish()
	if b == nil {
		return nil
	}
	if err := t.direct.Emit(name, source.Rows, b); err != nil {
		return err
	}
	if t.manual {
		return nil
	}
	return t.direct.Watermark(name, d.watermark())
}

// rowSink hands rows to the test, as JSON whatever the sink's format.
type rowSink struct {
	lineSink
	test *test
	row  Row
}

func (s *rowSink) Open(ctx *operator.Context) error {
	config, err := json.Marshal(sink.Config{})
	if err != nil {
		return err
	}
	asJSON := *ctx
	asJSON.Config = config
	if err := s.lineSink.Open(&asJSON); err != nil {
		return err
	}
	from, output := sinkOf(s.test.graph, ctx.Operator)
	name, main := s.test.outputName(from, output)
	s.row = Row{Sink: sinkName(ctx.Operator), Operator: from, Output: name, Main: main}
	return nil
}

func (s *rowSink) Process(_ int, b *batch.Batch) error {
	defer b.Release()
	for i := range b.Len() {
		s.line = s.encoder.Append(s.line[:0], b.Columns, b.Row(i))
		s.row.Line = s.line
		s.test.options.Emit(s.row)
	}
	return nil
}
