package weir

import (
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"time"

	"github.com/weirstream/weir/sdk/go/internal/guest"
	"github.com/weirstream/weir/sdk/go/internal/record"
)

// PipelineGraph is a dataflow that a module declares for itself: the fields of a pipeline file, written in Go. The functions it names are the module's own.
type PipelineGraph struct {
	name        string
	parallelism int
	sources     []node
	operators   []node
	sinks       []node
	errs        []error
}

type node struct {
	name  string
	write func(j *guest.JSON)
}

// Stream is something that rows come out of: a source, or an output of an operator.
type Stream struct{ ref string }

// Side is a side output of an operator.
func (s Stream) Side(name string) Stream { return Stream{s.ref + "." + name} }

// Pipeline declares the module's graph. A module has at most one.
func Pipeline(name string) *PipelineGraph {
	g := &PipelineGraph{name: name}
	if guest.Default.Graph != nil {
		g.fail("the module declares two pipelines")
	}
	guest.Default.Graph = g
	return g
}

func (g *PipelineGraph) fail(text string) {
	g.errs = append(g.errs, errors.New("pipeline "+strconv.Quote(g.name)+": "+text))
}

// Parallelism sets how many tasks each stage has.
func (g *PipelineGraph) Parallelism(n int) *PipelineGraph {
	if n < 1 {
		g.fail("parallelism " + strconv.Itoa(n) + ": want 1 or more")
	}
	g.parallelism = n
	return g
}

// Format is how records are written in a topic.
type Format string

// The formats.
const (
	JSON      Format = "json"
	CSV       Format = "csv"
	RawFormat Format = "raw"
)

// Source is where rows come from.
type Source struct {
	Topic     string
	Format    Format        // JSON if empty
	EventTime string        // the column with the event time; none: unknown
	Lateness  time.Duration // how far rows may be out of order
}

// SourceOf adds a source with rows of type T.
func SourceOf[T any](g *PipelineGraph, name string, s Source) Stream {
	cols, err := record.ColumnsOf(reflect.TypeFor[T]())
	if err != nil {
		g.fail("source " + strconv.Quote(name) + ": " + err.Error())
		cols = &record.Columns{}
	}
	g.add(&g.sources, name, func(j *guest.JSON) {
		j.Text("topic", s.Topic)
		j.Text("format", string(orJSON(s.Format)))
		j.Text("columns", cols.Text())
		if s.EventTime != "" {
			j.Key("event_time")
			j.Open('{')
			j.Text("column", s.EventTime)
			j.Text("lateness", s.Lateness.String())
			j.Close('}')
		}
	})
	return Stream{name}
}

func orJSON(f Format) Format {
	if f == "" {
		return JSON
	}
	return f
}

func (g *PipelineGraph) add(list *[]node, name string, write func(*guest.JSON)) {
	for _, n := range *list {
		if n.name == name {
			g.fail("two nodes are named " + strconv.Quote(name))
		}
	}
	*list = append(*list, node{name, write})
}

// Apply adds an operator that runs a function on streams, in the order of the function's inputs. The operator has the function's name.
func (g *PipelineGraph) Apply(f *Function, inputs ...Stream) Stream {
	return g.apply(f.Name(), f, nil, inputs)
}

// ApplyAs adds an operator with a name of its own and a configuration, which is written as JSON; nil for none.
func (g *PipelineGraph) ApplyAs(name string, f *Function, config any, inputs ...Stream) Stream {
	if config == nil {
		return g.apply(name, f, nil, inputs)
	}
	text, err := json.Marshal(config)
	if err != nil {
		g.fail("operator " + strconv.Quote(name) + ": config: " + err.Error())
	}
	return g.apply(name, f, text, inputs)
}

func (g *PipelineGraph) apply(name string, f *Function, config []byte, inputs []Stream) Stream {
	g.add(&g.operators, name, func(j *guest.JSON) {
		// Only now: inputs may be declared after the graph.
		if len(inputs) != len(f.fn.Inputs) {
			g.fail("operator " + strconv.Quote(name) + " has " + strconv.Itoa(len(inputs)) + " inputs; function " + strconv.Quote(f.Name()) + " has " + strconv.Itoa(len(f.fn.Inputs)))
		}
		j.Text("function", f.Name())
		if len(inputs) == 1 {
			j.Text("input", inputs[0].ref)
		} else {
			j.Key("inputs")
			j.Open('{')
			for i, in := range inputs {
				if i < len(f.fn.Inputs) {
					j.Text(f.fn.Inputs[i].Name, in.ref)
				}
			}
			j.Close('}')
		}
		if config != nil {
			j.Key("config")
			j.Raw(config)
		}
	})
	return Stream{name}
}

// Guarantee is what a sink promises.
type Guarantee string

// The guarantees.
const (
	ExactlyOnce Guarantee = "exactly_once"
	AtLeastOnce Guarantee = "at_least_once"
)

// Sink is where rows go.
type Sink struct {
	Topic     string
	Format    Format    // JSON if empty
	Key       string    // the column with the record's key; none: round robin
	Guarantee Guarantee // ExactlyOnce if empty
}

// Sink adds a sink for a stream.
func (g *PipelineGraph) Sink(name string, from Stream, s Sink) *PipelineGraph {
	g.add(&g.sinks, name, func(j *guest.JSON) {
		j.Text("topic", s.Topic)
		j.Text("input", from.ref)
		j.Text("format", string(orJSON(s.Format)))
		if s.Key != "" {
			j.Text("key", s.Key)
		}
		if s.Guarantee == "" {
			s.Guarantee = ExactlyOnce
		}
		j.Text("guarantee", string(s.Guarantee))
	})
	return g
}

// AppendJSON implements guest.Graph.
func (g *PipelineGraph) AppendJSON(j *guest.JSON) error {
	errs := len(g.errs)
	j.Open('{')
	j.Text("pipeline", g.name)
	if g.parallelism > 0 {
		j.Field("parallelism", int64(g.parallelism))
	}
	for _, part := range []struct {
		name  string
		nodes []node
	}{{"sources", g.sources}, {"operators", g.operators}, {"sinks", g.sinks}} {
		j.Key(part.name)
		j.Open('{')
		for _, n := range part.nodes {
			j.Key(n.name)
			j.Open('{')
			n.write(j)
			j.Close('}')
		}
		j.Close('}')
	}
	j.Close('}')
	err := errors.Join(g.errs...)
	g.errs = g.errs[:errs]
	return err
}
