package runtime

import (
	"time"

	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/storage/snapshot"
)

func (t *Task) onTrigger(b element.Barrier) error {
	t.trigger = b
	if b.ID <= t.done {
		return nil
	}
	if t.chain.source == nil && !t.ended && (t.cycle == nil || t.cycle.outside > 0) {
		return t.relieve() // the barrier may stand behind what the brake holds up
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
	s := TaskSnapshot{Task: t.id, Barrier: b, Operators: ops, AlignTook: aligned, FreezeTook: froze}
	if t.cycle == nil {
		t.acknowledge(s, ready, nil)
	} else if err := t.collect(s, ready); err != nil {
		return err
	}
	return t.replayHeld()
}

// acknowledge hands the snapshot over once every operator allows it. finish, if
// not nil, makes it whole beside the task.
func (t *Task) acknowledge(s TaskSnapshot, ready []<-chan struct{}, finish func(*TaskSnapshot) error) {
	t.snapshots.Go(func() {
		if finish != nil {
			if err := finish(&s); err != nil {
				releaseSnapshot(s.Operators)
				t.fail(err)
				return
			}
		}
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
