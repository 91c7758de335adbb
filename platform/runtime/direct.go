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
	round   round
}

// round has what goes by feedback edges: it is handled when everything before it has been.
type round struct {
	queue []pass
	bytes int64
}

type pass struct {
	node  *node
	input int
	batch *batch.Batch
}

func (q *round) add(n *node, input int, b *batch.Batch) error {
	q.queue = append(q.queue, pass{n, input, b})
	if q.bytes += sizeOf(b); q.bytes > FeedbackMaxBytes {
		return fmt.Errorf("%d MiB of messages wait in a loop: %w", q.bytes>>20, ErrRunaway)
	}
	return nil
}

// settle handles what goes round until nothing does.
func (d *Direct) settle(err error) error {
	q := &d.round
	for err == nil {
		if len(q.queue) == 0 {
			if err = d.task.chain.flush(); err != nil || len(q.queue) == 0 {
				break
			}
		}
		p := q.queue[0]
		q.queue = q.queue[1:]
		q.bytes -= sizeOf(p.batch)
		p.node.meter.RecordsIn.Add(uint64(p.batch.Len()))
		if err = p.node.op.Process(p.input, p.batch); err != nil {
			err = p.node.wrap(err)
		}
	}
	if len(q.queue) == 0 {
		q.queue = nil
	}
	return err
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
					if e.Feedback {
						from.routes[e.Output] = append(from.routes[e.Output], route{node: n, input: input, round: &d.round})
						continue
					}
					from.routes[e.Output] = append(from.routes[e.Output], route{node: n, input: input, join: join, channel: k})
				}
			}
		}
	}
}

// Emit feeds a source's output; it takes over the batch's reference.
func (d *Direct) Emit(source string, output int, b *batch.Batch) error {
	return d.settle(d.sources[source].Emit(output, b))
}

// Watermark moves a source's event time.
func (d *Direct) Watermark(source string, w element.Watermark) error {
	return d.settle(d.sources[source].Watermark(w))
}

// Clock lets processing time reach what the services' clock says, and fires what is due.
func (d *Direct) Clock() error { return d.settle(d.task.fireTimers()) }

// End ends a source.
func (d *Direct) End(source string) error {
	n := d.sources[source]
	if err := n.Watermark(element.Watermark{Time: element.MaxTime, Status: element.Finished}); err != nil {
		return err
	}
	return d.settle(d.task.chain.endNode(n))
}

// Close closes the operators.
func (d *Direct) Close() error {
	for _, p := range d.round.queue {
		p.batch.Release()
	}
	return d.task.chain.close()
}

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
