package wasmhost

import (
	"context"
	"fmt"
	"time"
)

// Fuel is a slice of time. How long a unit takes depends on the code (an upper
// bound of instructions is paid, a page fault costs as much as hundreds), so the
// slice follows the clock.
const (
	// sliceTarget is how long a guest runs between two looks at the clock. It
	// bounds how long a garbage collection waits for it.
	sliceTarget = 250 * time.Microsecond
	sliceMin    = 20_000
	sliceMax    = 1 << 20
	sliceFirst  = 100_000
	// fuelWorst is a pessimistic time for one unit of fuel, overrun what the last
	// slice before a deadline may take beyond it at that pace.
	fuelWorst = 20 * time.Nanosecond
	overrun   = time.Millisecond
	// importsPerCheck is how many imports a guest may call between two looks at
	// the clock, because imports take time that fuel does not measure.
	importsPerCheck = 64
)

// processStart is where the monotonic clock of this package begins.
var processStart = time.Now()

func now() time.Duration { return time.Since(processStart) }

// meter is an instance's side of the metering.
type meter struct {
	deadline time.Duration
	began    time.Duration // when the call began
	since    time.Duration // when the current slice began
	slice    int64         // fuel of a slice
	imports  uint32
	yields   uint64
	canceled <-chan struct{}
}

// begin starts a call and returns its first fuel.
func (m *meter) begin(ctx context.Context, deadline time.Time, fallback time.Duration) int64 {
	m.since = now()
	m.began = m.since
	if deadline.IsZero() {
		m.deadline = m.since + fallback
	} else {
		m.deadline = deadline.Sub(processStart)
	}
	if d, ok := ctx.Deadline(); ok {
		m.deadline = min(m.deadline, d.Sub(processStart))
	}
	m.canceled = ctx.Done()
	if m.slice == 0 {
		m.slice = sliceFirst
	}
	return m.fuel(m.since)
}

// fuel is the next slice: no more than what ends soon after the deadline even at
// the worst pace.
func (m *meter) fuel(t time.Duration) int64 {
	return min(m.slice, int64((max(m.deadline-t, 0)+overrun)/fuelWorst))
}

// yield is called when the fuel is used up. It panics to end the call. That it
// is Go code is what lets the scheduler and the garbage collector in.
func (m *meter) yield() int64 {
	m.yields++
	t := now()
	m.check(t)
	took := max(t-m.since, 1)
	next := m.slice * int64(sliceTarget) / int64(took)
	next = min(max(next, m.slice/4), m.slice*2)
	m.slice = min(max(next, sliceMin), sliceMax)
	m.since = t
	return m.fuel(t)
}

func (m *meter) check(t time.Duration) {
	if t >= m.deadline {
		panic(&stop{kind: ErrDeadline, detail: fmt.Sprintf("stopped %v after the deadline; do less in a call, or raise the function's time limit",
			(t - m.deadline).Round(time.Microsecond))})
	}
	select {
	case <-m.canceled:
		panic(&stop{kind: ErrCanceled})
	default:
	}
}

// imported counts a call of an import.
func (m *meter) imported() {
	if m.imports++; m.imports%importsPerCheck == 0 {
		m.check(now())
	}
}
