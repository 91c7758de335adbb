package weir

import (
	"errors"
	"time"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/guest"
)

// Timer is a declared timer. A key may have it set for any number of times; setting it twice for one time is setting it once.
type Timer struct {
	f      *Function
	timer  *guest.Timer
	number int
}

// EventTimer declares a timer that fires when the watermark reaches its time.
func EventTimer(f *Function, name string) *Timer { return newTimer(f, name, abi.CauseEventTimer) }

// ProcessingTimer declares a timer that fires when the clock reaches its time.
func ProcessingTimer(f *Function, name string) *Timer {
	return newTimer(f, name, abi.CauseProcessingTimer)
}

func newTimer(f *Function, name string, kind uint8) *Timer {
	t := &Timer{f: f, timer: &guest.Timer{Name: name, Kind: kind}}
	t.number = f.fn.AddTimer(t.timer)
	return t
}

// On sets the handler of the timer; at is the time it was set for.
func (t *Timer) On(handler func(ctx *Context, at time.Time) error) {
	if t.timer.Fired != nil {
		t.f.fn.Fail(errors.New("timer \"" + t.timer.Name + "\" has two handlers"))
	}
	t.timer.Fired = func(at int64) error { return handler(t.f.ctx, time.UnixMicro(at).UTC()) }
}

// Set sets the timer for the current key. One whose time has passed fires in a later call.
func (t *Timer) Set(ctx *Context, at time.Time) { t.change(ctx, at, abi.TimerSet) }

// Delete deletes the timer that was set for exactly that time, if there is one.
func (t *Timer) Delete(ctx *Context, at time.Time) { t.change(ctx, at, abi.TimerDelete) }

func (t *Timer) change(ctx *Context, at time.Time, op uint8) {
	check(ctx, t.f.fn)
	ctx.call.Timer(t.number, t.timer.Kind, op, at.UnixMicro())
}
