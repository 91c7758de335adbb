package udf

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/wasmhost"
)

// causes are what calls are made for: the rows of a batch, or firings.
type causes interface {
	prepare(from, n int)                // describe n causes in o.call
	times(out []int64, causes []uint32) // event times of causes of the call
	most() int
	refuse(i int, why *refusal) error
}

// refusal is why a cause cannot be handled.
type refusal struct {
	reason  string
	report  string // the long form, for the log
	outside bool   // it happened outside of any handler
}

// result is what a call came to. After a trap nothing of it was applied.
type result struct {
	consumed int
	took     time.Duration
	fresh    bool     // it was the instance's first call
	refused  *refusal // of the cause at consumed
	trapped  *trapped
	tooLarge *refusal // the call was not made
}

// trapped says at which cause a call died, if the guest told.
type trapped struct {
	at   uint32
	late bool // the time limit ended it
	refusal
}

// work handles all causes, in as many calls as it takes. After a trap what stood
// before the culprit is done again on a fresh instance, then the culprit alone.
func (o *Operator) work(c causes, total int) error {
	h := hunt{culprit: -1}
	for from := 0; from < total; {
		n := h.next(from, min(total-from, c.most()))
		if h.culprit == from && !o.guest.fresh {
			if err := o.renew(); err != nil {
				return fmt.Errorf("start a fresh instance: %w", err)
			}
		}
		c.prepare(from, n)
		r, err := o.invoke(c)
		switch {
		case err != nil:
			return err
		case r.tooLarge != nil && n > 1:
			o.cut(n / 2)
			continue
		case r.tooLarge != nil:
			r.refused = r.tooLarge
		case r.trapped != nil:
			if err := o.bury(); err != nil {
				return err
			}
			if r.trapped.late && n > 1 {
				o.cut(int(min(r.trapped.at, uint32(n))) / 2)
			}
			guilty, err := h.died(from, n, r.trapped.at, r.fresh)
			if err != nil {
				return fmt.Errorf("function %s: %w: %s", o.config.Function, err, r.trapped.report)
			}
			if !guilty {
				continue
			}
			r.refused = &r.trapped.refusal
		case h.culprit == from:
			o.cut(min(o.rowsPerCall, total-from) / 2) // innocent by itself: the company was too much
		}
		h.progress(r.consumed, r.refused != nil)
		if err := o.trust(r); err != nil {
			return err
		}
		from += r.consumed
		if r.refused != nil {
			if err := c.refuse(from, r.refused); err != nil {
				return err
			}
			from++
			continue
		}
		o.tune(r.consumed, r.took)
	}
	return nil
}

// bury replaces an instance whose call died.
func (o *Operator) bury() error {
	o.ctx.Meter.GuestTraps.Add(1)
	if err := o.renew(); err != nil {
		return fmt.Errorf("start a fresh instance: %w", err)
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
		if err := o.renew(); err != nil {
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
	if o.quota != nil {
		if err := o.quota.Wait(o.ctx.Ending); err != nil {
			return result{}, err
		}
	}
	o.hosted.begin()
	r := result{fresh: o.guest.fresh}
	o.guest.fresh = false
	started := time.Now()
	out, err := o.guest.instance.Call(context.Background(), o.guest.handle, size, o.write, o.options(started))
	r.took = time.Since(started)
	if o.quota != nil {
		o.quota.Spent(r.took)
	}
	if err == nil {
		err = o.effects.Decode(o.sig, &o.call, out)
	}
	if err != nil {
		r.trapped, err = died(err)
		return r, err
	}
	if err := o.apply(c); err != nil {
		return result{}, err
	}
	r.consumed = o.effects.Consumed
	if o.effects.Status == abi.StatusFailed {
		r.refused = o.failed()
	}
	return r, nil
}

// failed is the guest's own word on why a cause failed.
func (o *Operator) failed() *refusal {
	text := string(o.effects.Text)
	if text == "" {
		text = "the function refused the record without a reason"
	}
	return &refusal{reason: text, outside: unreadable(text)}
}

// died turns a failed call into how it died. Effects that break the contract
// count like a trap: the instance cannot be trusted any more. What else goes
// wrong is the host's own error.
func died(err error) (*trapped, error) {
	t := &trapped{at: abi.NoCause, refusal: refusal{reason: err.Error(), report: err.Error()}}
	var broken *frame.EffectsError
	if errors.As(err, &broken) {
		t.outside = true
		return t, nil
	}
	trap, ok := trapOf(err)
	if !ok {
		return nil, err
	}
	t.at, t.report, t.late = trap.Progress, trap.Report(), errors.Is(trap.Kind, wasmhost.ErrDeadline)
	t.outside = trap.Progress == abi.NoCause && !ofSize(trap.Kind)
	if last := lastWords(trap); last != "" {
		t.reason = last + " (" + t.reason + ")"
	}
	return t, nil
}

// lastWords is what the guest's runtime wrote before it trapped: Go's panics
// say there what went wrong, and the trap itself only that something did.
func lastWords(t *wasmhost.Trap) string {
	if !errors.Is(t.Kind, wasmhost.ErrTrap) {
		return ""
	}
	for _, line := range t.Logs {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return line
		}
	}
	return ""
}

// cut makes calls smaller, because one was too much for the guest. Later ones
// grow again, but not at once: each such death costs an instance.
func (o *Operator) cut(rows int) {
	o.rowsPerCall = max(1, rows)
	o.leastRows = min(o.leastRows, o.rowsPerCall)
	o.wary = waryCalls
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
	if o.wary > 0 {
		o.wary--
		want = min(want, o.rowsPerCall)
	}
	want = min(want, 2*o.rowsPerCall)
	o.rowsPerCall = min(max((3*o.rowsPerCall+want+3)/4, o.leastRows), MaxRowsPerCall)
}

// meter publishes the guest's counters.
func (o *Operator) meter() {
	s := o.guest.stats()
	o.ctx.Meter.GuestCalls.Store(s.Calls)
	o.ctx.Meter.GuestNanos.Store(uint64(s.GuestTime))
	o.ctx.Meter.GuestBytes.Store(int64(s.MemoryBytes))
}
