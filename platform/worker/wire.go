package worker

import (
	"context"
	"fmt"

	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// newJob makes the tasks of an attempt and the channels between them.
func newJob(o Options, s Start) (*Job, error) {
	if err := s.Graph.Validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	j := &Job{options: o, start: s, ctx: ctx, cancel: cancel, published: map[uint64]int{}, lastCommit: s.RestoredFrom}
	w := wiring{graph: s.Graph, inboxes: make([][]*local.Inbox, len(s.Graph.Stages)), inputs: make([][][]int, len(s.Graph.Stages))}
	for i := range s.Graph.Stages {
		w.stage(&s.Graph.Stages[i])
	}
	for i := range s.Graph.Stages {
		stage := &s.Graph.Stages[i]
		for task := range stage.Parallelism {
			spec := runtime.TaskSpec{
				Job:   runtime.Job{Pipeline: s.Pipeline, PipelineUID: s.UID, Attempt: s.Attempt, Doubt: s.Doubt},
				Stage: stage, Index: task, Inbox: w.inboxes[i][task], Inputs: w.inputs[i][task],
				Edges: w.edges(stage, task),
			}
			j.tasks = append(j.tasks, runtime.NewTask(spec, j.services(), (*jobEvents)(j)))
			j.inboxes = append(j.inboxes, spec.Inbox)
		}
	}
	return j, nil
}

// wiring numbers the channels of every task: edge by edge in the graph's order,
// and within an edge by the sending task.
type wiring struct {
	graph   *jobgraph.Graph
	inboxes [][]*local.Inbox // stage, task
	inputs  [][][]int        // stage, task, channel -> input of the stage
}

func (w *wiring) stage(s *jobgraph.Stage) {
	for range s.Parallelism {
		var inputs []int
		for _, e := range w.graph.Edges {
			if e.To == s.ID {
				for range w.senders(e) {
					inputs = append(inputs, e.Input)
				}
			}
		}
		w.inputs[s.ID] = append(w.inputs[s.ID], inputs)
		w.inboxes[s.ID] = append(w.inboxes[s.ID], local.NewInbox(len(inputs)))
	}
}

// senders is how many tasks send to one target task by an edge.
func (w *wiring) senders(e jobgraph.Edge) int {
	if e.Partitioning == jobgraph.Forward {
		return 1
	}
	return w.graph.Stages[e.From].Parallelism
}

// base is the first channel of an edge at each of its target's tasks.
func (w *wiring) base(index int) int {
	n := 0
	for _, e := range w.graph.Edges[:index] {
		if e.To == w.graph.Edges[index].To {
			n += w.senders(e)
		}
	}
	return n
}

func (w *wiring) edges(s *jobgraph.Stage, task int) []runtime.EdgeSpec {
	var out []runtime.EdgeSpec
	for i, e := range w.graph.Edges {
		if e.From != s.ID {
			continue
		}
		spec := runtime.EdgeSpec{Edge: e}
		if e.Partitioning == jobgraph.Forward {
			spec.Targets = []runtime.Sender{w.inboxes[e.To][task].Channel(w.base(i))}
		} else {
			for target := range w.graph.Stages[e.To].Parallelism {
				spec.Targets = append(spec.Targets, w.inboxes[e.To][target].Channel(w.base(i)+task))
			}
		}
		out = append(out, spec)
	}
	return out
}

func (j *Job) services() runtime.Services {
	return runtime.Services{
		Log:         j.options.Log.With("pipeline", j.start.Pipeline),
		Clock:       j.options.Clock,
		NewOperator: j.options.NewOperator,
		NewState:    j.newState,
		Items:       j.items,
	}
}

// newState opens an operator's backend and fills it from the checkpoint.
func (j *Job) newState(op *jobgraph.Operator, groups runtime.Groups) (state.Backend, error) {
	descriptors, err := runtime.Descriptors(op)
	if err != nil {
		return nil, err
	}
	backend, err := j.options.NewState(descriptors)
	if err != nil || j.start.Manifest == nil {
		return backend, err
	}
	g := snapshot.Groups{First: uint16(groups.First), Last: uint16(groups.Last)}
	if err := snapshot.Restore(j.ctx, j.options.Blobs, j.start.Manifest, op.ID, g, backend); err != nil {
		return nil, err
	}
	return backend, nil
}

// items deals an operator's items out among its tasks, whatever the number of
// tasks was that wrote them. Splits and clocks go to every task, which takes
// what is its own; a transaction goes to exactly one.
func (j *Job) items(op *jobgraph.Operator, task, parallelism int) ([]snapshot.Item, uint64, error) {
	if j.start.Manifest == nil {
		return nil, 0, nil
	}
	var out []snapshot.Item
	dealt := 0
	for _, ref := range itemsOf(j.start.Manifest, op.ID) {
		if ref.Kind == snapshot.KindTransaction {
			if j.start.Published {
				continue
			}
			dealt++
			if (dealt-1)%parallelism != task {
				continue
			}
		}
		it, err := snapshot.OpenItem(j.ctx, j.options.Blobs, ref)
		if err != nil {
			return nil, 0, fmt.Errorf("open %s %s: %w", ref.Kind, ref.Key, err)
		}
		out = append(out, it)
	}
	return out, j.start.RestoredFrom, nil
}

// itemsOf lists an operator's items over all tasks that wrote them.
func itemsOf(m *snapshot.Manifest, operator string) []snapshot.ItemRef {
	o := m.Operator(operator)
	if o == nil {
		return nil
	}
	var out []snapshot.ItemRef
	for _, t := range o.Tasks {
		out = append(out, t.Items...)
	}
	return out
}
