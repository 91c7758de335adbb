package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
	"github.com/weirstream/weir/platform/runtime/exchange/remote"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// newJob makes this worker's tasks of an attempt, and the channels between them
// and to those of other workers.
func newJob(o Options, s Start) (*Job, error) {
	if err := s.Graph.Validate(); err != nil {
		return nil, err
	}
	if err := s.orphaned(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	j := &Job{options: o, start: s, ctx: ctx, cancel: cancel, published: map[uint64]int{}, lastCommit: s.RestoredFrom}
	w := wiring{
		start: &s, inboxes: make([][]*local.Inbox, len(s.Graph.Stages)), inputs: make([][][]int, len(s.Graph.Stages)),
		inlets: map[remote.Channel]remote.Inlet{}, links: map[uint64]*uplink{},
	}
	for i := range s.Graph.Stages {
		w.stage(&s.Graph.Stages[i])
	}
	for i := range s.Graph.Stages {
		stage := &s.Graph.Stages[i]
		for task := range stage.Parallelism {
			if !s.here(task) {
				continue
			}
			edges, err := w.edges(stage, task)
			if err != nil {
				cancel()
				return nil, err
			}
			spec := runtime.TaskSpec{
				Job:   runtime.Job{Pipeline: s.Pipeline, PipelineUID: s.UID, Attempt: s.Attempt, Doubt: s.Doubt},
				Stage: stage, Index: task, Inbox: w.inboxes[i][task], Inputs: w.inputs[i][task], Edges: edges,
			}
			j.tasks = append(j.tasks, runtime.NewTask(spec, j.services(), (*jobEvents)(j)))
			j.inboxes = append(j.inboxes, spec.Inbox)
		}
	}
	if err := w.inletsOf(); err != nil {
		cancel()
		return nil, err
	}
	for _, l := range w.links {
		j.links = append(j.links, l)
	}
	if o.Exchange == nil && (len(w.links) > 0 || len(w.inlets) > 0) {
		cancel()
		return nil, errors.New("tasks of this job are on other workers, and this one has no exchange with them")
	}
	if o.Exchange != nil {
		j.unexchange = o.Exchange.Open(j.attempt(), w.inlets, j.exchangeFailed)
	}
	return j, nil
}

// orphaned refuses a graph without a sink whose output of the checkpoint is
// committed and not visible yet: nobody would ever show it.
func (s *Start) orphaned() error {
	if s.Manifest == nil || s.Published || s.Doubt == connector.AssumePublished {
		return nil
	}
	kept := map[string]bool{}
	for _, stage := range s.Graph.Stages {
		for _, op := range stage.Operators {
			kept[op.ID] = true
		}
	}
	for _, op := range s.Manifest.Operators {
		for _, it := range itemsOf(s.Manifest, op.Operator) {
			if it.Kind == snapshot.KindTransaction && !kept[op.Operator] {
				return fmt.Errorf("this revision has no sink %s, whose output of checkpoint %d is committed and not visible yet; apply the revision before once more until that is published, or give the output up by: weir pipeline resume NAME --assume-published: %w",
					op.Operator, s.RestoredFrom, connector.ErrPermanent)
			}
		}
	}
	return nil
}

// wiring numbers the channels of every task: edge by edge in the graph's order,
// and within an edge by the sending task. All workers of an attempt number alike.
type wiring struct {
	start   *Start
	inboxes [][]*local.Inbox // stage, task; nil for one that is not here
	inputs  [][][]int        // stage, task, channel -> input of the stage
	inlets  map[remote.Channel]remote.Inlet
	links   map[uint64]*uplink // by the epoch of the worker at the other end
}

func (w *wiring) stage(s *jobgraph.Stage) {
	for task := range s.Parallelism {
		var inputs []int
		for _, e := range w.start.Graph.Edges {
			if e.To == s.ID {
				for range w.senders(e) {
					inputs = append(inputs, e.Input)
				}
			}
		}
		var inbox *local.Inbox
		if w.start.here(task) {
			inbox = local.NewInbox(len(inputs))
		}
		w.inputs[s.ID] = append(w.inputs[s.ID], inputs)
		w.inboxes[s.ID] = append(w.inboxes[s.ID], inbox)
	}
}

// senders is how many tasks send to one target task by an edge.
func (w *wiring) senders(e jobgraph.Edge) int {
	if e.Partitioning == jobgraph.Forward {
		return 1
	}
	return w.start.Graph.Stages[e.From].Parallelism
}

// base is the first channel of an edge at each of its target's tasks.
func (w *wiring) base(index int) int {
	n := 0
	edges := w.start.Graph.Edges
	for _, e := range edges[:index] {
		if e.To == edges[index].To {
			n += w.senders(e)
		}
	}
	return n
}

func (w *wiring) edges(s *jobgraph.Stage, task int) ([]runtime.EdgeSpec, error) {
	var out []runtime.EdgeSpec
	for i, e := range w.start.Graph.Edges {
		if e.From != s.ID {
			continue
		}
		spec := runtime.EdgeSpec{Edge: e}
		if e.Partitioning == jobgraph.Forward {
			// Equal numbers are equal slots: such an edge never leaves the worker.
			spec.Targets = []runtime.Sender{w.inboxes[e.To][task].Channel(w.base(i))}
		} else {
			for target := range w.start.Graph.Stages[e.To].Parallelism {
				sender, err := w.sender(e, target, w.base(i)+task)
				if err != nil {
					return nil, err
				}
				spec.Targets = append(spec.Targets, sender)
			}
		}
		out = append(out, spec)
	}
	return out, nil
}

// sender is the sending end of a channel to a task, here or elsewhere.
func (w *wiring) sender(e jobgraph.Edge, target, channel int) (runtime.Sender, error) {
	if w.start.here(target) {
		return w.inboxes[e.To][target].Channel(channel), nil
	}
	if target >= len(w.start.Slots) {
		return nil, fmt.Errorf("stage %s: no slot is given for task %d", w.start.Graph.Stages[e.To].Name, target)
	}
	columns, err := schema.Parse(e.Schema)
	if err != nil {
		return nil, fmt.Errorf("edge from stage %d to %d: %w", e.From, e.To, err)
	}
	peer := w.start.Slots[target]
	l := w.links[peer.Epoch]
	if l == nil {
		l = &uplink{peer: peer, up: make(chan struct{})}
		w.links[peer.Epoch] = l
	}
	return &farSender{link: l, channel: remote.Channel{Stage: uint16(e.To), Task: target, Number: channel}, schema: columns}, nil
}

// inletsOf lists the channels by which tasks of other workers send to tasks here.
func (w *wiring) inletsOf() error {
	for i, e := range w.start.Graph.Edges {
		if e.Partitioning == jobgraph.Forward {
			continue
		}
		columns, err := schema.Parse(e.Schema)
		if err != nil {
			return fmt.Errorf("edge from stage %d to %d: %w", e.From, e.To, err)
		}
		for target, inbox := range w.inboxes[e.To] {
			for from := range w.senders(e) {
				if inbox != nil && !w.start.here(from) {
					c := remote.Channel{Stage: uint16(e.To), Task: target, Number: w.base(i) + from}
					w.inlets[c] = remote.Inlet{Inbox: inbox, Schema: columns}
				}
			}
		}
	}
	return nil
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

// newState opens an operator's backend, filled from the checkpoint.
func (j *Job) newState(op *jobgraph.Operator, groups runtime.Groups) (state.Backend, error) {
	descriptors, err := runtime.Descriptors(op)
	if err != nil {
		return nil, err
	}
	options := state.Options{Descriptors: descriptors}
	if j.start.Foreign {
		options.Loading = state.LoadChanged
	}
	backend, err := j.options.NewState(op.Backend, options)
	if err != nil || j.start.Manifest == nil {
		return backend, err
	}
	g := snapshot.Groups{First: uint16(groups.First), Last: uint16(groups.Last)}
	return j.restore(backend, op.ID, descriptors, g)
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
