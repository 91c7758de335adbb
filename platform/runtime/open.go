package runtime

import (
	"context"
	"fmt"

	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/runtime/barrier"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// prepare builds the chain, restores state and opens the operators, last first,
// so that whoever emits while opening finds its consumers open.
func (t *Task) prepare(ctx context.Context) error {
	stage := t.spec.Stage
	c := &chain{ctx: ctx}
	t.chain = c
	for _, e := range t.spec.Edges {
		edge, err := newOutEdge(e.Edge, e.Targets)
		if err != nil {
			return err
		}
		c.edges = append(c.edges, edge)
	}
	for i := range stage.Operators {
		spec := &stage.Operators[i]
		op, err := t.services.NewOperator(spec.Kind)
		if err != nil {
			return fmt.Errorf("operator %s: %w", spec.ID, err)
		}
		n := &node{chain: c, op: op, spec: spec, meter: t.meters[i], inputs: len(spec.Inputs)}
		n.routes = make([][]route, max(len(spec.Outputs), 1))
		c.nodes = append(c.nodes, n)
	}
	if err := t.wireChain(); err != nil {
		return err
	}
	t.wireInputs()
	var err error
	if t.cycle, err = newCycle(t); err != nil {
		return err
	}
	for i := len(c.nodes) - 1; i >= 0; i-- {
		if err := t.openNode(ctx, c.nodes[i]); err != nil {
			return c.nodes[i].wrap(err)
		}
	}
	t.advanceClock()
	t.restoring = t.chain.restore()
	return nil
}

// wireChain connects outputs to the chain's operators and to edges.
func (t *Task) wireChain() error {
	c := t.chain
	inputs := 0
	for _, in := range t.spec.Inputs {
		inputs = max(inputs, in+1)
	}
	c.heads = make([][]route, inputs)
	for _, n := range c.nodes {
		for input, up := range n.spec.Upstream {
			r := route{node: n, input: input}
			switch {
			case up.Operator < 0 && up.Output < inputs:
				c.heads[up.Output] = append(c.heads[up.Output], r)
			case up.Operator >= 0 && up.Operator < len(c.nodes) && up.Output < len(c.nodes[up.Operator].routes):
				from := c.nodes[up.Operator]
				from.routes[up.Output] = append(from.routes[up.Output], r)
			default:
				return fmt.Errorf("operator %s: input %d comes from nowhere", n.spec.ID, input)
			}
		}
	}
	for _, edge := range c.edges {
		from := c.nodes[edge.spec.Operator]
		if edge.spec.Output >= len(from.routes) {
			return fmt.Errorf("operator %s has no output %d", from.spec.ID, edge.spec.Output)
		}
		from.routes[edge.spec.Output] = append(from.routes[edge.spec.Output], route{edge: edge})
	}
	if src, ok := c.nodes[0].op.(operator.Source); ok {
		c.source = src
	}
	for i, h := range c.heads {
		if len(h) == 0 {
			return fmt.Errorf("stage %s: nothing reads input %d", t.spec.Stage.Name, i)
		}
	}
	return nil
}

func (t *Task) wireInputs() {
	n := len(t.spec.Inputs)
	t.aligner = barrier.New(n)
	t.held = make([][]local.Message, n)
	t.local = make([]int, n)
	t.open = make([]int, len(t.chain.heads))
	for c, in := range t.spec.Inputs {
		t.local[c] = t.open[in]
		t.open[in]++
	}
	for _, channels := range t.open {
		t.merger = append(t.merger, element.NewMerger(channels))
	}
}

// openNode restores an operator's state and opens it.
func (t *Task) openNode(ctx context.Context, n *node) error {
	parallelism := t.spec.Stage.Parallelism
	groups := GroupsOf(t.id.Index, parallelism)
	inputs, err := Schemas(n.spec.Inputs)
	if err != nil {
		return err
	}
	outputs, err := Schemas(n.spec.Outputs)
	if err != nil {
		return err
	}
	if keyed(n.spec) {
		if n.state, err = t.services.NewState(n.spec, groups); err != nil {
			return fmt.Errorf("restore state: %w", err)
		}
	}
	items, checkpoint, err := t.services.Items(n.spec, t.id.Index, parallelism)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	t.clock = max(t.clock, restoredClock(items))
	items, n.feedback = takeFeedback(items)
	about := &operator.Context{
		Identity: operator.Identity{
			Pipeline: t.spec.Job.Pipeline, PipelineUID: t.spec.Job.PipelineUID,
			Operator: n.spec.ID, Task: t.id.Index, Parallelism: parallelism,
			Attempt: t.spec.Job.Attempt, FirstGroup: groups.First, LastGroup: groups.Last,
		},
		Config: n.spec.Config, Inputs: inputs, Outputs: outputs, Key: n.spec.Key,
		State: n.state, Restored: items, RestoredFrom: checkpoint, Doubt: t.spec.Job.Doubt,
		Output: n,
		Log:    t.services.Log.With("operator", n.spec.ID, "task", t.id.Index),
		Clock:  func() int64 { return max(t.clock, sinceMicros(t.services.Clock())) },
		Wake:   t.signal,
		Fail:   t.fail,
		Ending: ctx.Done(),
		Published: func(checkpoint uint64) {
			t.events.Published(t.id, n.spec.ID, checkpoint)
		},
		Crowded: t.crowded,
		Meter:   n.meter,
	}
	if _, ok := n.op.(operator.Gatherer); ok {
		n.chain.gatherers = append(n.chain.gatherers, n)
	}
	if b, ok := n.op.(operator.Brake); ok {
		n.chain.brakes = append(n.chain.brakes, b)
	}
	return n.op.Open(about)
}

// takeFeedback parts what was on its way round a cycle from the operator's own items.
func takeFeedback(items []snapshot.Item) (own, feedback []snapshot.Item) {
	for _, it := range items {
		if it.Kind == ItemFeedback {
			feedback = append(feedback, it)
		} else {
			own = append(own, it)
		}
	}
	return own, feedback
}

// Descriptors says what a backend has to keep for an operator.
func Descriptors(op *jobgraph.Operator) ([]state.Descriptor, error) {
	var out []state.Descriptor
	for _, s := range op.State {
		d := state.Descriptor{Name: s.Name, Form: state.Single, TTLMs: s.TTLMs}
		if s.Form == "hosted" {
			d.Form = state.Entries
		}
		switch {
		case s.TTLMs == 0:
		case s.TTLOn == "read_write":
			d.TTLOn = state.TTLOnReadWrite
		case s.TTLOn == "write" || s.TTLOn == "":
			d.TTLOn = state.TTLOnWrite
		default:
			return nil, fmt.Errorf("state %s: unknown ttl_on %q", s.Name, s.TTLOn)
		}
		out = append(out, d)
	}
	return out, nil
}

// keyed says whether an operator owns keyed state.
func keyed(op *jobgraph.Operator) bool { return len(op.Key) > 0 && len(op.Key[0]) > 0 }

func (t *Task) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *Task) fail(err error) {
	select {
	case t.failure <- err:
	default:
	}
}
