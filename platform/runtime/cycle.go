package runtime

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/key"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/runtime/barrier"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Limits of what a task has sent round a cycle and nobody has taken yet.
const (
	// FeedbackHighBytes is above which the task takes nothing from outside: what
	// is on its way round goes first.
	FeedbackHighBytes = 1 << 20
	// FeedbackMaxBytes is above which the cycle makes more than it takes, and the job fails.
	FeedbackMaxBytes = 256 << 20
)

// ItemFeedback is the snapshot item with what was on its way round a cycle.
const ItemFeedback = "feedback"

// ErrRunaway is wrapped by the failure of a job whose cycle makes more than it takes.
var ErrRunaway = fmt.Errorf("a cycle makes more than it takes")

// cycle is what a task with feedback edges has besides: how the barriers of its
// inputs by such edges are taken, and what waits to be sent by them.
type cycle struct {
	task    *Task
	loop    *barrier.Loop
	numbers []int // channel -> its number in loop; -1: it comes from outside
	inputs  []*cycleInput
	log     []logged // what belongs to the snapshot being collected
	logSize int64
	pending *TaskSnapshot // the snapshot being collected
	ready   []<-chan struct{}
	outside int // channels from outside that have not ended

	waiting atomic.Int64 // bytes
	senders []*loopSender
	running sync.WaitGroup
}

// cycleInput is an input of the stage that a feedback edge leads to.
type cycleInput struct {
	edge  jobgraph.Edge
	keyer *batch.Keyer
}

type logged struct {
	input int
	batch *batch.Batch
}

// newCycle finds the feedback edges of a task; nil if it has none.
func newCycle(t *Task) (*cycle, error) {
	c := &cycle{task: t, inputs: make([]*cycleInput, len(t.chain.heads))}
	for _, e := range t.chain.edges {
		if !e.spec.Feedback {
			continue
		}
		if e.spec.To != t.id.Stage || e.keyer == nil {
			return nil, fmt.Errorf("feedback edge from stage %d to %d: it has to lead by hash to its own stage", e.spec.From, e.spec.To)
		}
		c.inputs[e.spec.Input] = &cycleInput{edge: e.spec, keyer: e.keyer}
		for i, target := range e.targets {
			s := &loopSender{cycle: c, to: target, wake: make(chan struct{}, 1)}
			e.targets[i] = s
			c.senders = append(c.senders, s)
		}
	}
	if len(c.senders) == 0 {
		return nil, nil
	}
	channels := 0
	for _, input := range t.spec.Inputs {
		number := -1
		if c.inputs[input] != nil {
			number = channels
			channels++
		} else {
			c.outside++
		}
		c.numbers = append(c.numbers, number)
	}
	for channel, number := range c.numbers {
		if number >= 0 {
			t.aligner.OnEnd(channel) // its barriers are the loop's business
		}
	}
	c.loop = barrier.NewLoop(channels)
	return c, nil
}

// start begins to send.
func (c *cycle) start(ctx context.Context) {
	for _, s := range c.senders {
		c.running.Go(func() { s.run(ctx) })
	}
}

// close waits for the senders, whose context has ended, and drops what is left.
func (c *cycle) close() {
	c.running.Wait()
	for _, s := range c.senders {
		s.drop()
	}
	c.releaseLog(c.log)
	if c.pending != nil {
		releaseSnapshot(c.pending.Operators)
	}
}

func (c *cycle) releaseLog(log []logged) {
	for _, l := range log {
		l.batch.Release()
	}
}

// cyclic says whether a channel is one of the cycle's.
func (t *Task) cyclic(channel int) bool { return t.cycle != nil && t.cycle.numbers[channel] >= 0 }

// handleCyclic handles an element that has come round.
func (t *Task) handleCyclic(m local.Message) (held bool, err error) {
	c := t.cycle
	number, input := c.numbers[m.Channel], t.spec.Inputs[m.Channel]
	switch e := m.Element; e.Kind {
	case element.KindBatch:
		switch c.loop.OnElement(number) {
		case barrier.Hold:
			return true, nil
		case barrier.Log:
			c.log = append(c.log, logged{input, e.Batch.Retain()})
			if c.logSize += sizeOf(e.Batch); c.logSize > FeedbackMaxBytes {
				return false, fmt.Errorf("checkpoint %d: more than %d MiB came round before the barrier: %w", c.pending.Barrier.ID, FeedbackMaxBytes>>20, ErrRunaway)
			}
		}
		return false, t.deliver(input, e)
	case element.KindBarrier:
		decision, err := c.loop.OnBarrier(number, e.Barrier)
		if err != nil {
			return false, err
		}
		if decision == barrier.Complete {
			t.collected()
		}
		return decision == barrier.Hold, nil
	default:
		return false, fmt.Errorf("element of kind %d on a feedback edge", e.Kind)
	}
}

// collect keeps a snapshot back until what is still on its way is in it.
func (t *Task) collect(s TaskSnapshot, ready []<-chan struct{}) error {
	whole, err := t.cycle.loop.Snapshot(s.Barrier)
	if err != nil {
		releaseSnapshot(s.Operators)
		return err
	}
	t.cycle.pending, t.cycle.ready = &s, ready
	if whole {
		t.collected()
	}
	return nil
}

// collected hands a whole snapshot over.
func (t *Task) collected() {
	c := t.cycle
	s, ready, log := *c.pending, c.ready, c.log
	c.pending, c.ready, c.log, c.logSize = nil, nil, nil, 0
	t.acknowledge(s, ready, func(s *TaskSnapshot) error {
		defer c.releaseLog(log)
		return t.addLog(s, log)
	})
}

// addLog puts what came round into the snapshots of the operators that take it.
func (t *Task) addLog(s *TaskSnapshot, log []logged) error {
	data := make([][][]byte, len(t.chain.heads))
	var enc frame.StoredEncoder
	for _, l := range log {
		b := l.batch
		f := frame.Stored{Schema: b.Schema, Rows: b.Physical(), Columns: b.Columns, Times: b.Times, Selection: b.Sel}
		bytes, err := enc.Append(nil, &f, frame.CodecS2)
		if err != nil {
			return fmt.Errorf("write what is on its way into checkpoint %d: %w", s.Barrier.ID, err)
		}
		data[l.input] = append(data[l.input], bytes)
	}
	for input, frames := range data {
		if len(frames) == 0 {
			continue
		}
		id := t.chain.heads[input][0].node.spec.ID
		for i := range s.Operators {
			if op := &s.Operators[i]; op.Operator == id {
				op.Items = append(op.Items, snapshot.Item{Kind: ItemFeedback, Key: fmt.Sprintf("%d.%d", t.id.Index, input), Data: frames})
			}
		}
	}
	return nil
}

// resume hands on what was on its way when the checkpoint was taken, as far as
// its keys are this task's: before anything else comes in.
func (t *Task) resume() error {
	for input, in := range t.cycle.inputs {
		if in == nil {
			continue
		}
		for _, it := range t.chain.heads[input][0].node.feedback {
			var index, of int
			if _, err := fmt.Sscanf(it.Key, "%d.%d", &index, &of); err != nil || of != input {
				continue
			}
			for _, data := range it.Data {
				if err := t.resumeFrame(input, in, data); err != nil {
					return fmt.Errorf("read what was on its way at the checkpoint: %w", err)
				}
			}
		}
		t.chain.heads[input][0].node.feedback = nil
	}
	return nil
}

func (t *Task) resumeFrame(input int, in *cycleInput, data []byte) error {
	f, _, err := frame.DecodeStored(data, nil)
	if err != nil {
		return err
	}
	b := batch.New(f.Schema)
	b.SetColumns(f.Columns, f.Rows)
	if f.Times != nil {
		copy(b.MakeTimes(), f.Times)
	}
	if err := in.keyer.Encode(b); err != nil {
		b.Release()
		return err
	}
	copy(b.MakeHashes(), in.keyer.Hashes)
	own := GroupsOf(t.id.Index, t.spec.Stage.Parallelism)
	mine := b.Select(f.Rows)[:0]
	for row, hash := range in.keyer.Hashes {
		if g := int(key.Group(hash)); g >= own.First && g <= own.Last {
			mine = append(mine, int32(row))
		}
	}
	b.Sel = mine
	if len(mine) == 0 {
		b.Release()
		return nil
	}
	return t.deliver(input, element.Element{Kind: element.KindBatch, Batch: b})
}

// braking says whether the task takes nothing from outside for now. Towards a
// barrier that has been asked for it does all the same: what stands before one
// is bounded by credits, and the checkpoint must not wait for the backlog.
func (t *Task) braking() bool {
	if t.trigger.ID > t.done {
		return false
	}
	if t.crowded() {
		return true
	}
	for _, b := range t.chain.brakes {
		if b.Braking() {
			return true
		}
	}
	return false
}

// crowded says whether more is on its way round than is taken.
func (t *Task) crowded() bool { return t.cycle != nil && t.cycle.waiting.Load() > FeedbackHighBytes }

// relieve handles what the brake has held up, if it is off.
func (t *Task) relieve() error {
	if !t.braked || t.braking() {
		return nil
	}
	t.braked = false
	return t.replayHeld()
}

// onWake lets operators handle what has come from elsewhere.
func (t *Task) onWake() error {
	for _, n := range t.chain.nodes {
		if w, ok := n.op.(operator.Waker); ok {
			if err := w.Woken(); err != nil {
				return n.wrap(err)
			}
		}
	}
	return t.relieve()
}

// sizeOf is about how many bytes the rows of a batch have.
func sizeOf(b *batch.Batch) int64 {
	if b == nil || b.Physical() == 0 {
		return 0
	}
	var enc frame.Encoder
	whole := enc.Size(b.Schema, b.Columns, nil, b.Physical())
	return int64(whole) * int64(b.Len()) / int64(b.Physical())
}

// busiest names the operators of the chain that have taken the most.
func (t *Task) busiest() string {
	nodes := slices.Clone(t.chain.nodes)
	slices.SortFunc(nodes, func(a, b *node) int { return cmp.Compare(b.meter.RecordsIn.Load(), a.meter.RecordsIn.Load()) })
	var names []string
	for _, n := range nodes {
		// The head and the end of the chain take everything, and say nothing.
		if len(n.routes) > 0 && n.spec.Upstream[0].Operator >= 0 && len(n.spec.Inputs) == 1 && len(names) < 3 {
			names = append(names, fmt.Sprintf("%s (%d messages)", n.spec.ID, n.meter.RecordsIn.Load()))
		}
	}
	return strings.Join(names, ", ")
}
