package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Direct runs a whole graph in the caller's goroutine, one task a stage and no
// queues between them: what goes in has come out when a method returns. Tests
// of pipelines use it, because nothing in it depends on timing. Its sources are
// fed by hand.
type Direct struct {
	task    *Task
	sources map[string]*node
}

// NewDirect opens every operator but the sources.
func NewDirect(ctx context.Context, job Job, g *jobgraph.Graph, services Services) (*Direct, error) {
	t := &Task{services: services, wake: make(chan struct{}, 1), failure: make(chan error, 1), events: noEvents{}}
	t.spec.Job = job
	c := &chain{ctx: ctx}
	t.chain = c
	d := &Direct{task: t, sources: map[string]*node{}}
	placed := map[TaskID]*node{} // stage and index of the operator
	var opened []*node
	for s := range g.Stages {
		stage := &g.Stages[s]
		for i := range stage.Operators {
			spec := &stage.Operators[i]
			n := &node{chain: c, spec: spec, meter: &operator.Meter{}, inputs: len(spec.Inputs)}
			n.routes = make([][]route, max(len(spec.Outputs), 1))
			if len(spec.Inputs) == 0 {
				d.sources[spec.ID] = n
			} else {
				op, err := services.NewOperator(spec.Kind)
				if err != nil {
					return nil, fmt.Errorf("operator %s: %w", spec.ID, err)
				}
				n.op = op
				opened = append(opened, n)
			}
			placed[TaskID{stage.ID, i}] = n
			c.nodes = append(c.nodes, n)
		}
	}
	d.wire(g, placed)
	one := &jobgraph.Stage{Parallelism: 1}
	t.spec.Stage = one
	for i := len(opened) - 1; i >= 0; i-- {
		if err := t.openNode(ctx, opened[i]); err != nil {
			c.nodes = opened
			return nil, errors.Join(opened[i].wrap(err), c.close())
		}
	}
	c.nodes = opened
	t.advanceClock()
	return d, nil
}

// wire connects operators within stages and, by edges, between them.
func (d *Direct) wire(g *jobgraph.Graph, placed map[TaskID]*node) {
	for s := range g.Stages {
		stage := &g.Stages[s]
		for i := range stage.Operators {
			n := placed[TaskID{stage.ID, i}]
			for input, up := range n.spec.Upstream {
				if up.Operator >= 0 {
					from := placed[TaskID{stage.ID, up.Operator}]
					from.routes[up.Output] = append(from.routes[up.Output], route{node: n, input: input})
					continue
				}
				var edges []jobgraph.Edge
				for _, e := range g.Edges {
					if e.To == stage.ID && e.Input == up.Output {
						edges = append(edges, e)
					}
				}
				join := &join{node: n, input: input, merger: element.NewMerger(len(edges)), open: len(edges)}
				for k, e := range edges {
					from := placed[TaskID{e.From, e.Operator}]
					from.routes[e.Output] = append(from.routes[e.Output], route{node: n, input: input, join: join, channel: k})
				}
			}
		}
	}
}

// Emit feeds a source's output; it takes over the batch's reference.
func (d *Direct) Emit(source string, output int, b *batch.Batch) error {
	return d.sources[source].Emit(output, b)
}

// Watermark moves a source's event time.
func (d *Direct) Watermark(source string, w element.Watermark) error {
	return d.sources[source].Watermark(w)
}

// Clock lets processing time reach what the services' clock says, and fires what is due.
func (d *Direct) Clock() error { return d.task.fireTimers() }

// End ends a source.
func (d *Direct) End(source string) error {
	n := d.sources[source]
	if err := n.Watermark(element.Watermark{Time: element.MaxTime, Status: element.Finished}); err != nil {
		return err
	}
	return d.task.chain.endNode(n)
}

// Close closes the operators.
func (d *Direct) Close() error { return d.task.chain.close() }

// join merges the watermarks of several edges into one input.
type join struct {
	node   *node
	input  int
	merger *element.Merger
	open   int
}

type noEvents struct{}

func (noEvents) Opened(TaskID)                    {}
func (noEvents) Snapshot(TaskSnapshot)            {}
func (noEvents) Ended(TaskID)                     {}
func (noEvents) Failed(TaskID, error)             {}
func (noEvents) Published(TaskID, string, uint64) {}
