package runtime

import (
	"context"
	"fmt"

	"github.com/weirstream/weir/abi/key"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Sender is the sending end of a channel to one task, in this process or not.
type Sender interface {
	// Send takes over the batch's reference, also when it fails.
	Send(ctx context.Context, e element.Element) error
}

// outEdge sends an operator's output to the tasks of another stage.
type outEdge struct {
	spec    jobgraph.Edge
	targets []Sender
	ended   bool

	// For Hash edges.
	keyer  *batch.Keyer
	owners []uint16       // task of each row
	counts []int32        // rows by task
	parts  []*batch.Batch // views by task
	fill   [][]int32      // their selections, while they are written

	next int // for Rebalance
}

func newOutEdge(spec jobgraph.Edge, targets []Sender) (*outEdge, error) {
	e := &outEdge{spec: spec, targets: targets, counts: make([]int32, len(targets)), parts: make([]*batch.Batch, len(targets)), fill: make([][]int32, len(targets))}
	if spec.Partitioning == jobgraph.Hash {
		s, err := schema.Parse(spec.Schema)
		if err != nil {
			return nil, fmt.Errorf("edge from stage %d to %d: %w", spec.From, spec.To, err)
		}
		if e.keyer, err = batch.NewKeyer(s, spec.Key); err != nil {
			return nil, fmt.Errorf("edge from stage %d to %d: %w", spec.From, spec.To, err)
		}
	}
	return e, nil
}

// send passes a batch on, taking over the reference.
func (e *outEdge) send(ctx context.Context, b *batch.Batch) error {
	switch {
	case e.spec.Partitioning == jobgraph.Hash:
		return e.scatter(ctx, b)
	case e.spec.Partitioning == jobgraph.Broadcast:
		for range e.targets[1:] {
			b.Retain()
		}
		for i, t := range e.targets {
			if err := t.Send(ctx, element.Element{Kind: element.KindBatch, Batch: b}); err != nil {
				for range e.targets[i+1:] {
					b.Release()
				}
				return err
			}
		}
		return nil
	default: // Forward has one target; Rebalance takes turns
		t := e.targets[e.next]
		e.next = (e.next + 1) % len(e.targets)
		return t.Send(ctx, element.Element{Kind: element.KindBatch, Batch: b})
	}
}

// scatter hashes the rows' keys and sends each target a view of its rows.
func (e *outEdge) scatter(ctx context.Context, b *batch.Batch) error {
	v := b.View()
	v.Hashes = nil // those of another key, if any
	if err := e.keyer.Encode(v); err != nil {
		v.Release()
		return err
	}
	hashes := v.MakeHashes()
	if v.Sel == nil {
		copy(hashes, e.keyer.Hashes)
	} else {
		for i, row := range v.Sel {
			hashes[row] = e.keyer.Hashes[i]
		}
	}
	p := len(e.targets)
	if p == 1 {
		return e.targets[0].Send(ctx, element.Element{Kind: element.KindBatch, Batch: v})
	}
	clear(e.counts)
	e.owners = e.owners[:0]
	for _, h := range e.keyer.Hashes {
		t := uint16(TaskOf(int(key.Group(h)), p))
		e.owners = append(e.owners, t)
		e.counts[t]++
	}
	for t, count := range e.counts {
		e.parts[t], e.fill[t] = nil, nil
		if count > 0 {
			e.parts[t] = v.Retain().View()
			e.fill[t] = e.parts[t].Select(int(count))[:0]
		}
	}
	for i, t := range e.owners {
		e.fill[t] = append(e.fill[t], int32(v.Row(i)))
	}
	v.Release()
	var failed error
	for t, part := range e.parts {
		switch {
		case part == nil:
		case failed != nil:
			part.Release()
		default:
			failed = e.targets[t].Send(ctx, element.Element{Kind: element.KindBatch, Batch: part})
		}
	}
	return failed
}

func (e *outEdge) broadcast(ctx context.Context, el element.Element) error {
	if e.ended {
		return nil
	}
	for _, t := range e.targets {
		if err := t.Send(ctx, el); err != nil {
			return err
		}
	}
	return nil
}

func (e *outEdge) end(ctx context.Context) error {
	if e.ended {
		return nil
	}
	err := e.broadcast(ctx, element.Element{Kind: element.KindEndOfInput})
	e.ended = true
	return err
}
