package planner

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/weirstream/weir/abi/manifest"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/operator/deadletter"
	"github.com/weirstream/weir/platform/operator/udf"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Ids and names of what the planner adds by itself.
const (
	deadLetterStage = "dead_letters"
	pagesPerMiB     = 16
	sinkPrefix      = "sink." // an operator and its sink may bear one name
)

// Plan is what a pipeline file comes to.
type Plan struct {
	File        *pipelinefile.File
	Graph       *jobgraph.Graph
	Modules     []string // digests
	Guarantee   connector.Guarantee
	DeadLetters string // topic; empty: nothing can go there
	// Messages and Replies are the topics of what comes to stateful functions through
	// the API and of its answers; empty: the pipeline has no such functions.
	Messages, Replies string
	Reads             []string // topics
	Writes            []string
	Warnings          []pipelinefile.Problem
}

// Scale is a parallelism by operator id, in place of what the file says.
type Scale map[string]int

// Make plans a file. Either there is a plan or there are problems.
func Make(f *pipelinefile.File, w World) (*Plan, []pipelinefile.Problem) {
	return MakeScaled(f, w, nil)
}

// MakeScaled plans a file at another parallelism than its own. What the scale
// does not name is as the file says.
func MakeScaled(f *pipelinefile.File, w World, scale Scale) (*Plan, []pipelinefile.Problem) {
	l := resolve(f, w, scale)
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	p := &physical{logical: l, places: map[*node]place{}, plan: &Plan{
		File: f, Graph: &jobgraph.Graph{Version: jobgraph.FormatVersion}, Guarantee: connector.AtLeastOnce, Warnings: l.warnings,
	}}
	for _, n := range l.nodes {
		if err := p.node(n); err != nil {
			return nil, []pipelinefile.Problem{{Pos: n.pos, Message: err.Error()}}
		}
	}
	p.functionStage()
	if err := p.deadLetters(); err != nil {
		return nil, []pipelinefile.Problem{{Message: err.Error()}}
	}
	p.backend()
	if err := p.plan.Graph.Validate(); err != nil {
		return nil, []pipelinefile.Problem{{Message: err.Error()}}
	}
	return p.plan, nil
}

// backend says where the keyed operators keep their state.
func (p *physical) backend() {
	chosen := p.file.State.Backend
	if chosen.Value != pipelinefile.Disk {
		return
	}
	keyed := false
	for i := range p.plan.Graph.Stages {
		for j := range p.plan.Graph.Stages[i].Operators {
			if op := &p.plan.Graph.Stages[i].Operators[j]; len(op.Key) > 0 {
				op.Backend, keyed = jobgraph.OnDisk, true
			}
		}
	}
	if !keyed {
		p.plan.Warnings = append(p.plan.Warnings, pipelinefile.Problem{Pos: chosen.Pos, Message: "no operator has a key, so there is no state to keep on disk", Hint: "leave state out"})
	}
}

// physical places nodes in stages.
type physical struct {
	*logical
	plan    *Plan
	places  map[*node]place
	letters []letterOutput
}

// letterOutput is an output for dead letters.
type letterOutput struct {
	place
	output int
}

// place is where a node became an operator.
type place struct {
	stage    jobgraph.StageID
	operator int
}

func (p *physical) node(n *node) error {
	if _, done := p.places[n]; done {
		return nil
	}
	for _, in := range n.inputs {
		if err := p.node(in.node); err != nil { // upstream first
			return err
		}
	}
	op, err := p.operator(n)
	if err != nil {
		return err
	}
	if up, ok := p.chainable(n); ok {
		stage := &p.plan.Graph.Stages[up.stage]
		op.Upstream = []jobgraph.Port{{Operator: up.operator, Output: n.inputs[0].output}}
		stage.Operators = append(stage.Operators, op)
		p.places[n] = place{up.stage, len(stage.Operators) - 1}
		return nil
	}
	for i := range n.inputs {
		op.Upstream = append(op.Upstream, jobgraph.Port{Operator: -1, Output: i})
	}
	at := p.stage(op.ID, n.parallelism, op)
	p.places[n] = at
	for i, in := range n.inputs {
		p.edge(n, i, in, at)
	}
	return nil
}

func (p *physical) stage(name string, parallelism int, op jobgraph.Operator) place {
	g := p.plan.Graph
	id := jobgraph.StageID(len(g.Stages))
	g.Stages = append(g.Stages, jobgraph.Stage{ID: id, Name: name, Parallelism: parallelism, Operators: []jobgraph.Operator{op}})
	return place{stage: id}
}

// chainable says whether a node can run in its upstream's task: rows stay where they are.
func (p *physical) chainable(n *node) (place, bool) {
	if len(n.inputs) != 1 || len(n.key) > 0 {
		return place{}, false
	}
	up := p.places[n.inputs[0].node]
	return up, p.plan.Graph.Stages[up.stage].Parallelism == n.parallelism
}

func (p *physical) edge(n *node, input int, from port, to place) {
	up := p.places[from.node]
	e := jobgraph.Edge{
		From: up.stage, Operator: up.operator, Output: from.output, To: to.stage, Input: input,
		Schema: from.node.outputs[from.output].schema.String(),
	}
	switch {
	case len(n.key) > 0:
		// A row whose key is longer than key.MaxBytes fails the job, as its author's
		// error, whatever becomes of other bad rows: an edge has no dead letters,
		// and no function has seen the row that could refuse it.
		e.Partitioning, e.Key = jobgraph.Hash, n.key[input]
	case p.plan.Graph.Stages[up.stage].Parallelism == n.parallelism:
		e.Partitioning = jobgraph.Forward
	case n.sink != nil && n.sink.Key.Value != "":
		e.Partitioning, e.Key = jobgraph.Hash, []string{n.sink.Key.Value} // keeps the order of a key
	default:
		e.Partitioning = jobgraph.Rebalance
		if n.parallelism == 1 {
			break // every task's rows keep their order into the only one there is
		}
		p.plan.Warnings = append(p.plan.Warnings, pipelinefile.Problem{Pos: n.pos, Message: fmt.Sprintf("%s has another parallelism than %s: rows are dealt out and lose their order", n.name, portName(from)), Hint: "give both one parallelism to keep it"})
	}
	p.plan.Graph.Edges = append(p.plan.Graph.Edges, e)
}

// operator describes a node as an operator of the job graph.
func (p *physical) operator(n *node) (jobgraph.Operator, error) {
	op := jobgraph.Operator{ID: n.id(), Key: n.key}
	for _, in := range n.inputs {
		op.Inputs = append(op.Inputs, in.node.outputs[in.output].schema.String())
	}
	for _, out := range n.outputs {
		op.Outputs = append(op.Outputs, out.schema.String())
	}
	if n.letters {
		op.Outputs = append(op.Outputs, deadletter.Schema.String())
	}
	var config any
	switch {
	case n.source != nil:
		op.Kind, config = kindSource, p.sourceConfig(n)
	case n.sink != nil:
		op.Kind, config = kindSink, p.sinkConfig(n)
	case n.function != nil:
		op.Kind, op.State = udf.Kind, statesOf(n.function)
		config = udf.Config{Module: n.module.Digest, Function: n.function.Name, Config: n.operator.Config, DeadLetters: n.letters,
			CallTimeoutMs: n.operator.CallTimeout.Milliseconds(), MemoryPages: uint32(n.operator.MemoryMiB) * pagesPerMiB,
		}
		if !slices.Contains(p.plan.Modules, n.module.Digest) {
			p.plan.Modules = append(p.plan.Modules, n.module.Digest)
		}
	default:
		op.Kind, op.State, config = n.kind, n.native.State, n.native.Config
	}
	b, err := json.Marshal(config)
	op.Config = b
	return op, err
}

// statesOf carries a function's states into the graph, where drift is looked for.
func statesOf(f *manifest.Function) []jobgraph.State {
	var out []jobgraph.State
	for _, s := range f.State {
		out = append(out, jobgraph.State{
			Name: s.Name, Kind: string(s.Kind), Form: string(s.Form), Codec: s.Codec, Value: s.Value, Key: s.Key,
			Version: s.Version, TTLMs: s.TTLMs, TTLOn: string(s.TTLOn), MaxBytes: s.MaxBytes,
		})
	}
	return out
}

// deadLetters adds the sink that takes every operator's dead letters.
func (p *physical) deadLetters() error {
	for _, n := range p.nodes {
		if n.letters {
			p.letters = append(p.letters, letterOutput{p.places[n], len(n.outputs)})
		}
	}
	if len(p.letters) == 0 {
		return nil
	}
	p.plan.DeadLetters = p.file.DeadLetters.Value
	if p.plan.DeadLetters == "" {
		p.plan.DeadLetters = DeadLetterTopic(p.file.Name.Value)
	}
	config, err := json.Marshal(p.deadLetterConfig())
	if err != nil {
		return err
	}
	at := p.stage(deadLetterStage, 1, jobgraph.Operator{
		ID: deadLetterStage, Kind: kindSink, Config: config,
		Inputs: []string{deadletter.Schema.String()}, Upstream: []jobgraph.Port{{Operator: -1}},
	})
	for _, l := range p.letters {
		p.plan.Graph.Edges = append(p.plan.Graph.Edges, jobgraph.Edge{
			From: l.stage, Operator: l.operator, Output: l.output, To: at.stage,
			Partitioning: jobgraph.Rebalance, Schema: deadletter.Schema.String(),
		})
	}
	return nil
}
