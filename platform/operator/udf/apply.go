package udf

import (
	"fmt"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/storage/state"
)

// output is scratch space of one output.
type output struct{ enc frame.Encoder }

// apply carries out the effects of a call, all of them or, with an error that
// fails the task, none that lasts: state writes, timers, then output.
func (o *Operator) apply(c causes) error {
	e := &o.effects
	if o.ctx.State != nil {
		for id := range e.Writes {
			if err := o.applyWrites(state.ID(id), &e.Writes[id]); err != nil {
				return err
			}
		}
		o.applyTimers(&e.Timers)
		if err := o.hosted.apply(e.Consumed); err != nil {
			return err
		}
	}
	for i := range e.Outputs {
		if out := &e.Outputs[i]; out.Rows > 0 {
			if err := o.emit(i, out, c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *Operator) applyWrites(id state.ID, w *frame.StateWrites) error {
	for i := range w.Rows {
		slot := o.table.slots[w.Slots[i]]
		if w.Value.Null(i) {
			o.ctx.State.Clear(slot, id)
			continue
		}
		if err := o.ctx.State.Put(slot, id, w.Value.BytesAt(i)); err != nil {
			return fmt.Errorf("write state %s: %w", o.sig.States[id].Name, err)
		}
	}
	return nil
}

func (o *Operator) applyTimers(t *frame.TimerChanges) {
	for i := range t.Rows {
		timer := state.Timer{Kind: state.EventTime, Name: uint16(t.Timers[i]), Time: t.Times[i]}
		if uint8(t.Kinds[i]) == abi.TimerProcessing {
			timer.Kind = state.ProcessingTime
		}
		slot := o.table.slots[t.Slots[i]]
		if t.Ops[i] == abi.TimerSet {
			o.ctx.State.SetTimer(slot, timer)
		} else {
			o.ctx.State.DeleteTimer(slot, timer)
		}
	}
}

// emit copies an output out of the guest's memory and passes it on.
func (o *Operator) emit(i int, out *frame.Output, c causes) error {
	s := o.sig.Outputs[i]
	enc := &o.outputs[i].enc
	buf := batch.NewBuffer(enc.Size(s, out.Columns, nil, out.Rows))
	enc.Put(buf.Bytes, s, out.Columns, nil, out.Rows)
	b := batch.New(s)
	b.SetBlock(buf, out.Rows)
	if o.config.Address != "" {
		o.addCaller(i, b, out)
	}
	times := b.MakeTimes()
	if out.Times != nil {
		copy(times, out.Times)
	} else {
		c.times(times, out.Causes)
	}
	late := uint64(0)
	for _, t := range times {
		if t <= o.passed && t != batch.NoTime {
			late++
		}
	}
	if out.Kinds != nil {
		copy(b.MakeKinds(), out.Kinds)
	}
	if late > 0 {
		o.ctx.Meter.LateRecords.Add(late)
	}
	return o.ctx.Output.Emit(i, b)
}
