package runtime

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// itemClock is the snapshot item that keeps a task's processing time, so that
// it never runs back across a restart.
const itemClock = "clock"

// route is where a batch goes from an operator's output: to an operator of the
// same chain, or to an edge.
type route struct {
	node  *node
	input int
	edge  *outEdge

	join    *join // in a Direct: several routes lead to one input
	channel int
	round   *round // in a Direct: by a feedback edge
}

// node is an operator in its chain. It is its operator's Output.
type node struct {
	chain  *chain
	op     operator.Operator
	spec   *jobgraph.Operator
	state  state.Backend
	meter  *operator.Meter
	routes [][]route
	inputs int
	ended  int // inputs that have ended
	done   bool

	feedback []snapshot.Item // what was on its way to it round a cycle, until it is handed on
}

// chain is the operators of one task.
type chain struct {
	ctx    context.Context
	nodes  []*node
	source operator.Source // nil if the head takes inputs
	heads  [][]route       // stage input -> operators
	edges  []*outEdge
	brakes []operator.Brake

	gatherers []*node
}

// Emit passes a batch to everything that reads the output.
func (n *node) Emit(output int, b *batch.Batch) error {
	if b.Len() == 0 {
		b.Release()
		return nil
	}
	n.meter.RecordsOut.Add(uint64(b.Len()))
	routes := n.routes[output]
	if len(routes) == 0 {
		b.Release()
		return nil
	}
	for range routes[1:] {
		b.Retain()
	}
	for i := range routes {
		if err := routes[i].deliver(n.chain.ctx, b); err != nil {
			for range routes[i+1:] {
				b.Release()
			}
			return err
		}
	}
	return nil
}

// Watermark passes a watermark to everything that reads any output.
func (n *node) Watermark(w element.Watermark) error {
	n.meter.WatermarkMicros.Store(w.Time)
	for _, routes := range n.routes {
		for i := range routes {
			if err := routes[i].watermark(n.chain.ctx, w); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *route) deliver(ctx context.Context, b *batch.Batch) error {
	if r.edge != nil {
		return r.edge.send(ctx, b)
	}
	if r.round != nil {
		return r.round.add(r.node, r.input, b)
	}
	r.node.meter.RecordsIn.Add(uint64(b.Len()))
	if err := r.node.op.Process(r.input, b); err != nil {
		return r.node.wrap(err)
	}
	return nil
}

func (r *route) watermark(ctx context.Context, w element.Watermark) error {
	if r.edge != nil {
		return r.edge.broadcast(ctx, element.Element{Kind: element.KindWatermark, Watermark: w})
	}
	if r.round != nil {
		return nil
	}
	if r.join != nil {
		merged, changed := r.join.merger.Update(r.channel, w)
		if !changed {
			return nil
		}
		w = merged
	}
	if err := r.node.op.Watermark(r.input, w); err != nil {
		return r.node.wrap(err)
	}
	return nil
}

// operatorError says which operator an error came from, once.
type operatorError struct {
	operator string
	err      error
}

func (e *operatorError) Error() string { return fmt.Sprintf("operator %s: %v", e.operator, e.err) }
func (e *operatorError) Unwrap() error { return e.err }

func (n *node) wrap(err error) error {
	var inner *operatorError
	if errors.As(err, &inner) {
		return err
	}
	return &operatorError{operator: n.spec.ID, err: err}
}

// barrier snapshots every operator in the order of the stream.
func (c *chain) barrier(b element.Barrier, clockMicros int64, task int, groups Groups) ([]snapshot.OperatorSnapshot, []<-chan struct{}, error) {
	snaps := make([]snapshot.OperatorSnapshot, 0, len(c.nodes))
	var ready []<-chan struct{}
	for _, n := range c.nodes {
		s, err := n.op.Barrier(b)
		if err != nil {
			return nil, nil, n.wrap(err)
		}
		if s.Ready != nil {
			ready = append(ready, s.Ready)
		}
		out := snapshot.OperatorSnapshot{Operator: n.spec.ID, Task: task, Keyed: s.Keyed, Items: s.Items}
		if n.state != nil {
			out.Groups = snapshot.Groups{First: uint16(groups.First), Last: uint16(groups.Last)}
			out.Items = append(out.Items, clockItem(task, clockMicros))
			out.Timers = nextTimers(n.state)
			st := n.state.Stats()
			n.meter.StateKeys.Store(int64(st.Keys))
			n.meter.StateBytes.Store(st.TotalBytes)
			n.meter.Timers.Store(int64(st.Timers))
			n.meter.StateDisk.Store(st.DiskBytes)
			n.meter.StateHits.Store(st.Hits)
			n.meter.StateMisses.Store(st.Misses)
		}
		snaps = append(snaps, out)
	}
	return snaps, ready, nil
}

// nextTimers tells a manifest when the key groups have to be looked at again.
func nextTimers(b state.Backend) *snapshot.NextTimers {
	out := snapshot.NextTimers{Event: snapshot.NoTimer, Processing: snapshot.NoTimer}
	if at, ok := b.NextTimer(state.EventTime); ok {
		out.Event = at
	}
	if at, ok := b.NextTimer(state.ProcessingTime); ok {
		out.Processing = at
	}
	return &out
}

// broadcast sends an element on every edge that has not ended.
func (c *chain) broadcast(e element.Element) error {
	for _, edge := range c.edges {
		if err := edge.broadcast(c.ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// endInput ends one input of an operator, and what depends on it once all of
// its inputs have ended.
func (c *chain) endInput(n *node, input int) error {
	if err := n.op.Watermark(input, element.Watermark{Time: element.MaxTime, Status: element.Finished}); err != nil {
		return n.wrap(err)
	}
	if err := n.op.EndOfInput(input); err != nil {
		return n.wrap(err)
	}
	n.ended++
	if n.ended < n.inputs {
		return nil
	}
	return c.endNode(n)
}

// endNode passes the end of an operator on.
func (c *chain) endNode(n *node) error {
	n.done = true
	for _, routes := range n.routes {
		for _, r := range routes {
			if r.edge != nil {
				if err := r.edge.end(c.ctx); err != nil {
					return err
				}
				continue
			}
			if r.round != nil {
				continue
			}
			if r.join != nil {
				if r.join.open--; r.join.open > 0 {
					continue
				}
			}
			if err := c.endInput(r.node, r.input); err != nil {
				return err
			}
		}
	}
	return nil
}

// nextTimer is the earliest processing-time timer of the chain.
func (c *chain) nextTimer() (int64, bool) {
	least, found := int64(0), false
	for _, n := range c.nodes {
		if n.state == nil {
			continue
		}
		if at, ok := n.state.NextTimer(state.ProcessingTime); ok && (!found || at < least) {
			least, found = at, true
		}
	}
	return least, found
}

// timers lets every keyed operator handle what is due by the clock.
func (c *chain) timers(clockMicros int64) error {
	for _, n := range c.nodes {
		if err := n.op.Timers(clockMicros); err != nil {
			return n.wrap(err)
		}
	}
	return nil
}

// flush lets operators hand on what they have kept back.
func (c *chain) flush() error {
	for _, n := range c.gatherers {
		if err := n.op.(operator.Gatherer).Flush(); err != nil {
			return n.wrap(err)
		}
	}
	return nil
}

// restore lets backends that are being filled go on; false if none is.
func (c *chain) restore() bool {
	more := false
	for _, n := range c.nodes {
		if r, ok := n.state.(state.Restoring); ok {
			r.Step(restoreStep)
			left := r.LeftBytes()
			n.meter.StateLeft.Store(left)
			more = more || left > 0
		}
	}
	return more
}

func (c *chain) close() error {
	var errs []error
	for _, n := range c.nodes {
		if err := n.closeOperator(); err != nil {
			errs = append(errs, fmt.Errorf("close operator %s: %w", n.spec.ID, err))
		}
		if n.state != nil {
			errs = append(errs, n.state.Close())
		}
	}
	return errors.Join(errs...)
}

// closeOperator closes an operator. One that has panicked may well do so again,
// and the others are to be closed all the same.
func (n *node) closeOperator() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	return n.op.Close()
}

// Schemas parses the texts of schemas.
func Schemas(texts []string) ([]*schema.Schema, error) {
	out := make([]*schema.Schema, len(texts))
	for i, text := range texts {
		s, err := schema.Parse(text)
		if err != nil {
			return nil, err
		}
		out[i] = s
	}
	return out, nil
}

func clockItem(task int, micros int64) snapshot.Item {
	return snapshot.Item{Kind: itemClock, Key: fmt.Sprint(task), Data: [][]byte{fmt.Appendf(nil, "%d", micros)}}
}

// restoredClock is the latest processing time that any of the items has.
func restoredClock(items []snapshot.Item) int64 {
	var latest int64
	for _, it := range items {
		if it.Kind != itemClock || len(it.Data) == 0 {
			continue
		}
		var micros int64
		if _, err := fmt.Sscan(string(it.Data[0]), &micros); err == nil {
			latest = max(latest, micros)
		}
	}
	return latest
}

// sinceMicros converts a wall clock reading to the runtime's unit.
func sinceMicros(t time.Time) int64 { return t.UnixMicro() }
