package runtime

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/runtime/barrier"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// TaskSpec says what a task is made of.
type TaskSpec struct {
	Job    Job
	Stage  *jobgraph.Stage
	Index  int
	Inbox  *local.Inbox // nil for a source
	Inputs []int        // channel of the inbox -> input of the stage
	Edges  []EdgeSpec
}

// EdgeSpec is an outgoing edge and the sending ends to its target tasks.
type EdgeSpec struct {
	Edge    jobgraph.Edge
	Targets []Sender
}

// Task runs one parallel instance of a stage: one goroutine that owns the chain
// and takes turns between commands, input and timers.
type Task struct {
	id       TaskID
	spec     TaskSpec
	services Services
	events   Events
	control  chan element.Barrier
	wake     chan struct{}
	failure  chan error

	// Owned by the task's goroutine.
	chain     *chain
	aligner   *barrier.Aligner
	merger    []*element.Merger // per stage input, over its channels
	local     []int             // channel -> its number within its input's merger
	open      []int             // stage input -> channels that have not ended
	held      [][]local.Message // per channel: what came behind the barrier
	trigger   element.Barrier   // last one told by command
	done      uint64            // id of the last barrier that was handled
	alignFrom time.Time
	clock     int64
	restoring bool   // some state is still to be loaded
	cycle     *cycle // nil without feedback edges
	braked    bool   // something of held is there because of the brake
	drained   bool
	ended     bool

	busyNanos atomic.Int64
	meters    []*operator.Meter
	snapshots sync.WaitGroup
}

// NewTask makes a task; Run starts it.
func NewTask(spec TaskSpec, services Services, events Events) *Task {
	t := &Task{
		id:   TaskID{Stage: spec.Stage.ID, Index: spec.Index},
		spec: spec, services: services, events: events,
		control: make(chan element.Barrier, MaxControl),
		wake:    make(chan struct{}, 1),
		failure: make(chan error, 1),
	}
	for range spec.Stage.Operators {
		t.meters = append(t.meters, &operator.Meter{})
	}
	return t
}

// ID names the task.
func (t *Task) ID() TaskID { return t.id }

// Meters gives the operators' meters, in the stage's order.
func (t *Task) Meters() []*operator.Meter { return t.meters }

// Stage is the stage that the task is an instance of.
func (t *Task) Stage() *jobgraph.Stage { return t.spec.Stage }

// Busy is the time that the task has spent working since it started.
func (t *Task) Busy() time.Duration { return time.Duration(t.busyNanos.Load()) }

// Waited is the time that the task has spent waiting for those it sends to.
func (t *Task) Waited() time.Duration {
	sum := time.Duration(0)
	for _, e := range t.spec.Edges {
		for _, target := range e.Targets {
			if w, ok := target.(interface{ Waited() time.Duration }); ok {
				sum += w.Waited()
			}
		}
	}
	return sum
}

// Trigger asks the task for a checkpoint. Tasks with live inputs wait for the
// barrier itself; sources, and tasks whose inputs have ended, act on it.
func (t *Task) Trigger(b element.Barrier) error {
	select {
	case t.control <- b:
		return nil
	default:
		return fmt.Errorf("task %s: more than %d commands wait", t.id, MaxControl)
	}
}

// Committers names the operators whose effects become visible on commit. It may
// be called once the task has opened.
func (t *Task) Committers() []string {
	var ids []string
	for _, n := range t.chain.nodes {
		if _, ok := n.op.(operator.Committer); ok {
			ids = append(ids, n.spec.ID)
		}
	}
	return ids
}

// Committed tells the operators that a checkpoint is in the catalog. It may be
// called from any goroutine once the task has sent its snapshot.
func (t *Task) Committed(id uint64) {
	for _, n := range t.chain.nodes {
		if c, ok := n.op.(operator.Committer); ok {
			c.Committed(id)
		}
	}
}

// Run works until ctx ends or something fails, and closes what it opened. A
// panic is reported as an error with its stack: it must not take other jobs down.
func (t *Task) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := t.run(ctx)
	stopped := ctx.Err() != nil // then an error of having been cancelled is no news
	cancel()                    // snapshots that still wait for their turn give up
	t.snapshots.Wait()
	if t.cycle != nil {
		t.cycle.close()
	}
	if t.chain != nil {
		err = errors.Join(err, t.chain.close())
	}
	for _, held := range t.held {
		for _, m := range held {
			if m.Element.Batch != nil {
				m.Element.Batch.Release()
			}
		}
	}
	if err != nil && !(stopped && errors.Is(err, context.Canceled)) {
		t.events.Failed(t.id, err)
	}
}

func (t *Task) run(ctx context.Context) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case state.Failure:
			err = fmt.Errorf("restore state: %w", r.Err)
		default:
			err = fmt.Errorf("task %s: %w", t.id, &PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	if err := t.prepare(ctx); err != nil {
		return err
	}
	t.events.Opened(t.id)
	if t.cycle != nil {
		t.cycle.start(ctx)
		if err := t.resume(); err != nil {
			return err
		}
	}
	if t.chain.source != nil {
		return t.runSource(ctx)
	}
	return t.runInputs(ctx)
}

// PanicError is a bug that a task ran into.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }
