package remote

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/statefun/endpoint"
	"github.com/weirstream/weir/platform/storage/state"
)

// Quarantine says why an address is set aside. Its form in state is JSON.
type Quarantine struct {
	Reason      string `json:"reason"`
	SinceMicros int64  `json:"since_us"`
	Tries       int    `json:"tries"`
	// Passing: the endpoint did not answer, so whatever answer comes from it for
	// any address is a reason to try again.
	Passing bool `json:"passing,omitempty"`
}

// Commands to an address, as values of messages of functions.ControlTypename.
const (
	Release = "release" // try again now
	Drop    = "drop"    // give up what waits: to the dead letters, if there are any
)

// maxReasonBytes is where a reason is cut.
const maxReasonBytes = 4096

// quarantine sets an address aside: its mail stays, and no request is made but now
// and then one to see whether it works again.
func (o *Operator) quarantine(a *address, why error) error {
	slot := o.slot(a)
	q := Quarantine{SinceMicros: o.ctx.Clock()}
	if b, ok := o.ctx.State.Get(slot, stateQuarantine); ok {
		_ = json.Unmarshal(b, &q) // a damaged one is written anew
	}
	q.Reason, q.Passing = why.Error(), errors.Is(why, endpoint.ErrExhausted)
	q.Reason = q.Reason[:min(len(q.Reason), maxReasonBytes)]
	q.Tries++
	b, err := json.Marshal(q)
	if err != nil {
		return err
	}
	if err := o.ctx.State.Put(slot, stateQuarantine, b); err != nil {
		return err
	}
	if !a.quarantined {
		o.ctx.Log.Warn("function set aside: its calls fail", "address", a.Address.String(), "reason", q.Reason)
		o.bytes -= a.size
		o.quarantinedBytes += a.size
		a.quarantined = true
	}
	o.quarantined[a] = q.Passing
	at := o.ctx.Clock() + a.probe.Microseconds()
	a.probe = min(2*a.probe, LastProbe)
	o.ctx.State.SetTimer(slot, state.Timer{Kind: state.ProcessingTime, Name: timerProbe, Time: at})
	o.meter()
	return nil
}

// release lets an address be tried. It stands as set aside until a reply is applied.
func (o *Operator) release(a *address) {
	if !a.quarantined {
		return
	}
	a.quarantined = false
	delete(o.quarantined, a)
	o.quarantinedBytes -= a.size
	o.bytes += a.size
	o.enqueue(a)
	o.meter()
}

// recovered notes that an address works, and lets those be tried that waited for
// the endpoint to answer at all.
func (o *Operator) recovered(a *address) error {
	slot := o.slot(a)
	if _, ok := o.ctx.State.Get(slot, stateQuarantine); ok {
		o.ctx.State.Clear(slot, stateQuarantine)
		o.ctx.Log.Info("function works again", "address", a.Address.String())
	}
	a.probe = FirstProbe
	if len(o.quarantined) > 0 {
		for other, passing := range o.quarantined {
			if passing {
				other.probe = FirstProbe
				o.release(other)
			}
		}
	}
	return nil
}

// control carries out a command to an address.
func (o *Operator) control(key []byte, command string) error {
	a := o.addresses[string(key)]
	if a == nil {
		return nil // nothing waits for it
	}
	switch command {
	case Release:
		o.release(a)
	case Drop:
		if a.busy {
			return nil // what is under way is decided by its answer
		}
		return o.drop(a)
	default:
		o.ctx.Log.Warn("unknown command to a function", "address", a.Address.String(), "command", command)
	}
	return nil
}

// drop gives up what waits for an address.
func (o *Operator) drop(a *address) error {
	slot := o.slot(a)
	reason := "dropped from quarantine"
	if b, ok := o.ctx.State.Get(slot, stateQuarantine); ok {
		var q Quarantine
		if json.Unmarshal(b, &q) == nil {
			reason += ": " + q.Reason
		}
	}
	var rows *batch.Builder
	if o.dead != nil {
		rows = o.letters
	}
	wasQuarantined := a.quarantined
	_, err := o.take(a, slot, a.mail, ^uint64(0), func(m *mail) error {
		if rows == nil {
			return nil
		}
		rows.Column(functions.MessageType).AppendString(a.Type)
		rows.Column(functions.MessageID).AppendString(a.ID)
		for i, v := range [...][]byte{m.callerType, m.callerID, m.typename, m.value} {
			if c := rows.Column(functions.MessageCallerType + i); v == nil && i != 2 {
				c.AppendNull()
			} else {
				c.AppendBytes(v)
			}
		}
		rows.EndRow(o.ctx.Clock())
		return nil
	})
	if err != nil {
		return err
	}
	o.ctx.State.Clear(slot, stateQuarantine)
	if wasQuarantined {
		a.quarantined = false
		delete(o.quarantined, a)
	}
	o.meter()
	if rows == nil || rows.Len() == 0 {
		return nil
	}
	b := rows.Finish("", 0)
	defer b.Release()
	o.ctx.Meter.DeadLetters.Add(uint64(b.Len()))
	for i := range b.Len() {
		if err := o.dead.Row(fmt.Sprintf("%s: %s", a.Address, reason), b, i); err != nil {
			return err
		}
	}
	return nil
}

// Timers tries addresses again, and drops values that have ended.
func (o *Operator) Timers(clock int64) error {
	o.meter()
	for {
		if next, ok := o.ctx.State.NextTimer(state.ProcessingTime); !ok || next > clock {
			return nil
		}
		if o.due = o.ctx.State.Due(state.ProcessingTime, clock, addressesPerStep, o.due); len(o.due) == 0 {
			return nil
		}
		for _, f := range o.due {
			if f.Timer.Name == timerExpiry {
				if err := o.expire(f.Slot, clock); err != nil {
					return err
				}
				continue
			}
			key, _ := o.ctx.State.Key(f.Slot)
			if a := o.addresses[string(key)]; a != nil {
				o.release(a)
			}
		}
		if err := o.start(); err != nil {
			return err
		}
	}
}

// meter tells how much waits.
func (o *Operator) meter() {
	o.ctx.Meter.MessagesWaiting.Store(o.waiting)
	o.ctx.Meter.Quarantined.Store(int64(len(o.quarantined)))
}
