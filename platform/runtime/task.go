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
	"github.com/weirstream/weir/platform/storage/snapshot"
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
		if r := recover(); r != nil {
			err = fmt.Errorf("task %s: %w", t.id, &PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	if err := t.prepare(ctx); err != nil {
		return err
	}
	t.events.Opened(t.id)
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

// runSource polls the source as long as it has something, and otherwise waits.
func (t *Task) runSource(ctx context.Context) error {
	timer := time.NewTimer(TickEvery)
	defer timer.Stop()
	start := time.Now()
	fired := start
	for {
		if now := time.Now(); now.Sub(fired) >= TickEvery/2 { // also while the source never rests
			t.busyNanos.Add(int64(now.Sub(start)))
			start, fired = now, now
			if err := t.fireTimers(); err != nil {
				return err
			}
		}
		select {
		case b := <-t.control:
			if err := t.onTrigger(b); err != nil {
				return err
			}
			continue
		case err := <-t.failure:
			return err
		case <-ctx.Done():
			return nil
		default:
		}
		if !t.drained && !t.ended {
			more, err := t.chain.source.Poll()
			if err != nil {
				return t.chain.nodes[0].wrap(err)
			}
			if t.chain.source.Done() && !more {
				if err := t.endSource(); err != nil {
					return err
				}
				continue
			}
			if more {
				continue
			}
		}
		t.busyNanos.Add(int64(time.Since(start)))
		timer.Reset(t.untilTimer())
		select {
		case b := <-t.control:
			start = time.Now()
			if err := t.onTrigger(b); err != nil {
				return err
			}
		case <-t.wake:
			start = time.Now()
		case <-timer.C:
			start = time.Now()
			if err := t.fireTimers(); err != nil {
				return err
			}
		case err := <-t.failure:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// runInputs handles what arrives in the inbox.
func (t *Task) runInputs(ctx context.Context) error {
	timer := time.NewTimer(TickEvery)
	defer timer.Stop()
	start := time.Now()
	fired := start
	for {
		var err error
		select { // commands and failures are heard also while there is always work
		case b := <-t.control:
			err = t.onTrigger(b)
		case err = <-t.failure:
		default:
		}
		if err != nil {
			return err
		}
		select {
		case m := <-t.spec.Inbox.C: // work first, as long as there is some
			err = t.onMessage(m)
		default:
			now := time.Now()
			t.busyNanos.Add(int64(now.Sub(start)))
			timer.Reset(t.untilTimer())
			select {
			case m := <-t.spec.Inbox.C:
				start = time.Now()
				err = t.onMessage(m)
			case b := <-t.control:
				start = time.Now()
				err = t.onTrigger(b)
			case <-timer.C:
				start, fired = time.Now(), time.Time{} // due now, however recent the last firing was
			case err = <-t.failure:
			case <-ctx.Done():
				return nil
			}
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		// A busy inbox must not keep timers waiting, nor who asks how busy the task is.
		if now := time.Now(); now.Sub(fired) >= TickEvery/2 {
			t.busyNanos.Add(int64(now.Sub(start)))
			start, fired = now, now
			if err := t.fireTimers(); err != nil {
				return err
			}
		}
	}
}

// onMessage handles one element and gives its credit back, unless it is held.
func (t *Task) onMessage(m local.Message) error {
	held, err := t.handle(m)
	if held {
		t.held[m.Channel] = append(t.held[m.Channel], m)
		return nil
	}
	t.spec.Inbox.Done(m)
	return err
}

func (t *Task) handle(m local.Message) (held bool, err error) {
	input := t.spec.Inputs[m.Channel]
	switch e := m.Element; e.Kind {
	case element.KindBatch:
		if t.aligner.OnElement(m.Channel) == barrier.Hold {
			return true, nil
		}
		return false, t.deliver(input, e)
	case element.KindWatermark:
		if t.aligner.OnElement(m.Channel) == barrier.Hold {
			return true, nil
		}
		return false, t.onWatermark(m.Channel, input, e.Watermark)
	case element.KindBarrier:
		if _, active := t.aligner.Current(); !active {
			t.alignFrom = time.Now()
		}
		decision, err := t.aligner.OnBarrier(m.Channel, e.Barrier)
		if err != nil {
			return false, err
		}
		if decision == barrier.Complete {
			return false, t.complete(e.Barrier)
		}
		return decision == barrier.Hold, nil
	case element.KindEndOfInput:
		current, _ := t.aligner.Current()
		switch t.aligner.OnEnd(m.Channel) {
		case barrier.Hold:
			return true, nil
		case barrier.Complete:
			if err := t.complete(current); err != nil {
				return false, err
			}
		}
		return false, t.onEnd(m.Channel, input)
	}
	return false, fmt.Errorf("element of unknown kind %d", m.Element.Kind)
}

func (t *Task) deliver(input int, e element.Element) error {
	routes := t.chain.heads[input]
	for range routes[1:] {
		e.Batch.Retain()
	}
	for i := range routes {
		if err := routes[i].deliver(t.chain.ctx, e.Batch); err != nil {
			for range routes[i+1:] {
				e.Batch.Release()
			}
			return err
		}
	}
	return nil
}

func (t *Task) onWatermark(channel, input int, w element.Watermark) error {
	out, changed := t.merger[input].Update(t.local[channel], w)
	if !changed {
		return nil
	}
	for i := range t.chain.heads[input] {
		if err := t.chain.heads[input][i].watermark(t.chain.ctx, out); err != nil {
			return err
		}
	}
	return nil
}

// onEnd notes the end of a channel; the stage's input ends with its last one.
func (t *Task) onEnd(channel, input int) error {
	t.open[input]--
	if t.open[input] > 0 {
		return t.onWatermark(channel, input, element.Watermark{Time: element.MaxTime, Status: element.Finished})
	}
	for _, r := range t.chain.heads[input] {
		if err := t.chain.endInput(r.node, r.input); err != nil {
			return err
		}
	}
	for _, n := range t.open {
		if n > 0 {
			return nil
		}
	}
	return t.onAllEnded()
}

func (t *Task) endSource() error {
	if err := t.chain.endNode(t.chain.nodes[0]); err != nil {
		return err
	}
	return t.onAllEnded()
}

// onAllEnded: no barrier will come by a channel any more, so one that was asked
// for and not seen is due now.
func (t *Task) onAllEnded() error {
	t.ended = true
	t.events.Ended(t.id)
	if t.trigger.ID > t.done {
		return t.complete(t.trigger)
	}
	return nil
}

func (t *Task) onTrigger(b element.Barrier) error {
	t.trigger = b
	if (t.chain.source == nil && !t.ended) || b.ID <= t.done {
		return nil
	}
	return t.complete(b)
}

// complete takes the snapshot, sends the barrier on and handles what was held.
func (t *Task) complete(b element.Barrier) error {
	begin := time.Now()
	aligned := time.Duration(0)
	if !t.alignFrom.IsZero() {
		aligned = begin.Sub(t.alignFrom)
		t.alignFrom = time.Time{}
	}
	t.advanceClock()
	groups := GroupsOf(t.id.Index, t.spec.Stage.Parallelism)
	ops, ready, err := t.chain.barrier(b, t.clock, t.id.Index, groups)
	froze := time.Since(begin)
	if err == nil {
		// Sending it on may wait for receivers; that is backpressure and no standstill.
		err = t.chain.broadcast(element.Element{Kind: element.KindBarrier, Barrier: b})
	}
	if err != nil {
		return err
	}
	t.done = b.ID
	if b.Actions&element.Drain != 0 {
		t.drained = true
	}
	t.acknowledge(TaskSnapshot{Task: t.id, Barrier: b, Operators: ops, AlignTook: aligned, FreezeTook: froze}, ready)
	return t.replayHeld()
}

// acknowledge hands the snapshot over once every operator allows it.
func (t *Task) acknowledge(s TaskSnapshot, ready []<-chan struct{}) {
	t.snapshots.Go(func() {
		for _, r := range ready {
			select {
			case <-r:
			case <-t.chain.ctx.Done():
				releaseSnapshot(s.Operators)
				return
			}
		}
		t.events.Snapshot(s)
	})
}

func releaseSnapshot(ops []snapshot.OperatorSnapshot) {
	for _, op := range ops {
		if op.Keyed != nil {
			op.Keyed.Release()
		}
	}
}

// replayHeld handles what came behind the barrier. It may hold again, when the
// next barrier is among it.
func (t *Task) replayHeld() error {
	for c := range t.held {
		queue := t.held[c]
		t.held[c] = nil
		for i, m := range queue {
			if err := t.onMessage(m); err != nil {
				for _, rest := range queue[i+1:] {
					if rest.Element.Batch != nil {
						rest.Element.Batch.Release()
					}
				}
				return err
			}
		}
	}
	return nil
}

func (t *Task) advanceClock() {
	t.clock = max(t.clock, sinceMicros(t.services.Clock()))
	for _, n := range t.chain.nodes {
		if n.state != nil {
			n.state.Advance(t.clock)
		}
	}
}

func (t *Task) fireTimers() error {
	t.advanceClock()
	return t.chain.timers(t.clock)
}

// untilTimer is how long the task may sleep.
func (t *Task) untilTimer() time.Duration {
	at, ok := t.chain.nextTimer()
	if !ok {
		return time.Second
	}
	return min(max(time.Duration(at-sinceMicros(t.services.Clock()))*time.Microsecond, 0), time.Second)
}
