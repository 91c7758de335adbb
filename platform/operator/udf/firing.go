package udf

import (
	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/key"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/storage/state"
)

// firingCauses are due timers as causes of calls.
type firingCauses struct {
	o    *Operator
	due  []state.Firing
	keys *frame.Builder // the keys of the call's slots
	list []frame.Cause
}

func (f *firingCauses) open(o *Operator) {
	f.o = o
	if o.sig.Key != nil {
		f.keys = frame.NewBuilder(o.sig.Key)
	}
}

// fire calls the function for every timer that is due. Only the earliest of each
// key goes into a call, since handling it may set or delete the next.
func (o *Operator) fire(kind state.TimerKind, upTo int64) error {
	f := &o.firing
	w := endless{last: element.MinTime}
	for {
		f.due = o.ctx.State.Due(kind, upTo, MaxFirings, f.due[:0])
		if len(f.due) == 0 {
			return nil
		}
		if w.suspects(f.due, upTo) && w.certain(o.ctx.State.Stats()) {
			return o.neverEnds(kind, f.due[0], w.fired, upTo)
		}
		if err := o.work(f, len(f.due)); err != nil {
			return err
		}
		o.meter()
	}
}

func (f *firingCauses) prepare(from, n int) {
	o, c := f.o, &f.o.call
	o.pick = o.pick[:0]
	f.list = f.list[:0]
	f.keys.Reset()
	o.table.begin(n)
	for i, d := range f.due[from : from+n] {
		kind := uint8(abi.CauseEventTimer)
		if d.Timer.Kind == state.ProcessingTime {
			kind = abi.CauseProcessingTimer
		}
		o.table.add(d.Slot, int32(i))
		f.list = append(f.list, frame.Cause{Kind: kind, Number: d.Timer.Name, Slot: uint32(i), Time: d.Timer.Time})
		o.pick = append(o.pick, int32(from+i))
		k, _ := o.ctx.State.Key(d.Slot)
		if err := key.Decode(k, f.keys); err != nil {
			panic("udf: own key does not decode: " + err.Error())
		}
	}
	c.Clock, c.Seed = o.clock, o.rng.Uint64()
	c.Rows, c.Columns, c.Selection, c.Times, c.Kinds, c.Meta = 0, nil, nil, nil, nil, nil
	c.Causes = f.list
	c.Slots, c.RowSlots = n, nil
	c.Keys, c.KeySelection = f.keys.Columns(), nil
	o.fetchStates(o.table.slots, n)
}

func (f *firingCauses) times(out []int64, causes []uint32) {
	for i, cause := range causes {
		out[i] = f.list[cause].Time
	}
}

func (f *firingCauses) most() int {
	return max(1, min(f.o.rowsPerCall, aimBytesPerCall/(f.o.statePerRow+1), f.o.hosted.most()))
}

// refuse takes a firing out: its key goes to the dead letters.
func (f *firingCauses) refuse(i int, why *refusal) error {
	d := f.due[i]
	k, _ := f.o.ctx.State.Key(d.Slot)
	f.keys.Reset()
	if err := key.Decode(k, f.keys); err != nil {
		return err
	}
	b := batch.New(f.o.sig.Key)
	buf := batch.NewBuffer(f.keys.Size())
	f.keys.WriteTo(buf.Bytes)
	b.SetBlock(buf, 1)
	defer b.Release()
	b.MakeTimes()[0] = d.Timer.Time
	name := f.o.sig.Timers[d.Timer.Name].Name
	return f.o.refuse(b, 0, &refusal{reason: "timer " + name + ": " + why.reason, report: why.report})
}
