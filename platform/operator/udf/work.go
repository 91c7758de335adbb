package udf

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
)

// causes are what calls are made for: the rows of a batch, or firings.
type causes interface {
	prepare(from, n int) // describe n causes in o.call
	time(cause int) int64
	most() int
	refuse(i int, why *refusal) error
}

// refusal is why a cause cannot be handled.
type refusal struct {
	reason string
	report string // the long form, for the log
}

// result is what a call came to. After a trap nothing of it was applied.
type result struct {
	consumed int
	refused  *refusal // of the cause at consumed
	trapped  *trapped
	tooLarge *refusal // the call was not made
}

// trapped says at which cause a call died, if the guest told.
type trapped struct {
	at uint32
	refusal
}

// strikesOut is how often a cause has to kill a fresh instance, alone, before
// it counts as the cause's fault: once may be the host's.
const strikesOut = 2

// work handles all causes, in as many calls as it takes. After a trap what stood
// before the culprit is done again on a fresh instance, then the culprit alone.
func (o *Operator) work(c causes, total int) error {
	culprit, strikes := -1, 0
	for from := 0; from < total; {
		n := min(total-from, c.most())
		switch {
		case culprit > from:
			n = min(n, culprit-from)
		case culprit == from:
			n = 1
			if err := o.guest.renew(context.Background()); err != nil {
				return err
			}
		default:
			culprit, strikes = -1, 0
		}
		c.prepare(from, n)
		started := time.Now()
		r, err := o.invoke(c)
		if err != nil {
			return err
		}
		if r.tooLarge != nil {
			if n > 1 {
				culprit = -1
				o.rowsPerCall = max(1, n/2)
				continue
			}
			r.refused = r.tooLarge
		}
		if r.trapped != nil {
			o.ctx.Meter.GuestTraps.Add(1)
			if err := o.guest.renew(context.Background()); err != nil {
				return fmt.Errorf("start a fresh instance: %w", err)
			}
			if n > 1 {
				culprit = from + n/2 // without a word of the guest: halve until one is left
				if r.trapped.at != abi.NoCause && int(r.trapped.at) < n {
					culprit = from + int(r.trapped.at)
				}
				continue
			}
			culprit = from
			if strikes++; strikes < strikesOut {
				continue
			}
			r.refused = &r.trapped.refusal
		}
		from += r.consumed
		if r.refused != nil {
			if err := c.refuse(from, r.refused); err != nil {
				return err
			}
			from++
			continue
		}
		o.tune(n, time.Since(started))
	}
	return nil
}

// invoke makes one call for what o.call describes and applies its effects.
func (o *Operator) invoke(c causes) (result, error) {
	if hook := o.deps.BeforeCall; hook != nil {
		if err := hook(o.guest.instance); err != nil {
			return result{}, err
		}
	}
	if o.guest.instance.Dead() {
		if err := o.guest.renew(context.Background()); err != nil {
			return result{}, err
		}
	}
	size, err := o.writer.Prepare(o.sig, &o.call)
	if errors.Is(err, frame.ErrCallSize) {
		return result{tooLarge: &refusal{reason: err.Error()}}, nil
	}
	if err != nil {
		return result{}, err
	}
	o.hosted.begin()
	out, err := o.guest.instance.Call(context.Background(), o.guest.handle, size, o.write, o.options())
	if err == nil {
		err = o.effects.Decode(o.sig, &o.call, out)
	}
	if err != nil {
		return o.died(err), nil
	}
	if err := o.apply(c); err != nil {
		return result{}, err
	}
	r := result{consumed: o.effects.Consumed}
	if o.effects.Status == abi.StatusFailed {
		text := string(o.effects.Text)
		if text == "" {
			text = "the function refused the record without a reason"
		}
		r.refused = &refusal{reason: text}
	}
	return r, nil
}

// died turns a failed call into a result. Effects that break the contract count
// like a trap: the instance cannot be trusted any more.
func (o *Operator) died(err error) result {
	t := &trapped{at: abi.NoCause, refusal: refusal{reason: err.Error(), report: err.Error()}}
	if trap, ok := trapOf(err); ok {
		t.at, t.report = trap.Progress, trap.Report()
	}
	return result{trapped: t}
}

// tune moves the cut towards TargetCallTime, slowly upwards.
func (o *Operator) tune(rows int, took time.Duration) {
	if rows < o.rowsPerCall/2 {
		return // the batch was small; it says little about the function
	}
	want := MaxRowsPerCall
	if took > 0 {
		want = int(int64(rows) * int64(TargetCallTime) / int64(took))
	}
	want = min(want, 2*o.rowsPerCall)
	o.rowsPerCall = min(max((3*o.rowsPerCall+want)/4, MinRowsPerCall), MaxRowsPerCall)
}

// meter publishes the guest's counters.
func (o *Operator) meter() {
	s := o.guest.stats()
	o.ctx.Meter.GuestCalls.Store(s.Calls)
	o.ctx.Meter.GuestNanos.Store(uint64(s.GuestTime))
	o.ctx.Meter.GuestBytes.Store(int64(s.MemoryBytes))
}
