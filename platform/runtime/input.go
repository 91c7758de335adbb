package runtime

import (
	"fmt"
	"time"

	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/runtime/barrier"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
)

// onMessage handles one element and gives its credit back, unless it is held.
func (t *Task) onMessage(m local.Message) error {
	held, err := t.handle(m)
	if held {
		t.held[m.Channel] = append(t.held[m.Channel], m)
		return nil
	}
	t.spec.Inbox.Done(m)
	if err != nil || !t.braked {
		return err
	}
	return t.relieve()
}

func (t *Task) handle(m local.Message) (held bool, err error) {
	input := t.spec.Inputs[m.Channel]
	if len(t.held[m.Channel]) > 0 {
		return true, nil // behind others of its channel
	}
	if t.cyclic(m.Channel) {
		return t.handleCyclic(m)
	}
	if t.braking() {
		t.braked = true
		return true, nil
	}
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
	if t.cycle != nil {
		t.cycle.outside--
	}
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
			return t.onOutsideEnded()
		}
	}
	return t.onAllEnded()
}

// onOutsideEnded: what is left comes round a cycle, and asks for no checkpoint.
func (t *Task) onOutsideEnded() error {
	if t.cycle == nil {
		return nil
	}
	if t.cycle.outside == 0 && t.trigger.ID > t.done {
		return t.complete(t.trigger)
	}
	return nil
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
