package weir

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/guest"
	"github.com/weirstream/weir/sdk/go/internal/record"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// Context is what a handler knows of the row or firing it handles. It is valid while the handler runs.
type Context struct {
	call     guest.Call
	message  *received // of a stateful function
	stateful *stateful
	scratch  []byte // of the value being written; an output copies it
	pcg      rand.PCG
	rand     *rand.Rand
}

// Time is the event time of the row, or the time of the timer; the zero time where it is unknown.
func (ctx *Context) Time() time.Time { return timeOf(ctx.call.Time) }

// Watermark is the event time up to which everything has come; the zero time before the first.
func (ctx *Context) Watermark() time.Time { return timeOf(ctx.call.Watermark) }

// Now is the processing time of the call. time.Now says the same in a module, but not in a native test.
func (ctx *Context) Now() time.Time { return timeOf(ctx.call.Clock) }

// Attempt is the attempt of the region that the call belongs to.
func (ctx *Context) Attempt() uint32 { return ctx.call.Attempt }

// KeyGroups is the range of key groups of the task, both ends included.
func (ctx *Context) KeyGroups() (first, last uint32) { return ctx.call.FirstGroup, ctx.call.LastGroup }

// Rand is a source of randomness seeded by the call and the row, so that a call that is repeated draws the same.
func (ctx *Context) Rand() *rand.Rand {
	if ctx.call.Randomized != ctx.call.Cause+1 {
		ctx.call.Randomized = ctx.call.Cause + 1
		ctx.pcg.Seed(ctx.call.Seed, uint64(ctx.call.Cause))
		if ctx.rand == nil {
			ctx.rand = rand.New(&ctx.pcg)
		}
	}
	return ctx.rand
}

// Position is where a row of a first hop stands in its topic.
type Position struct {
	Partition int32
	Sequence  int64
	Row       int32 // within a stored frame
}

// Position is the row's; false if it has none: in a firing, behind another function, or without the option Positions.
func (ctx *Context) Position() (Position, bool) {
	c := &ctx.call
	if !c.HasMeta || c.Meta.Columns[1].IsNull(int(c.Row)) {
		return Position{}, false
	}
	at := func(column int) unsafe.Pointer {
		return unsafe.Pointer(unsafe.SliceData(c.Meta.Columns[column].Values))
	}
	i := uintptr(c.Row)
	return Position{
		Partition: *(*int32)(unsafe.Add(at(0), 4*i)),
		Sequence:  *(*int64)(unsafe.Add(at(1), 8*i)),
		Row:       *(*int32)(unsafe.Add(at(2), 4*i)),
	}, true
}

// Key is the key of the row or firing: the value of a one-column key, or a struct with fields of the key columns' names.
func Key[K any](ctx *Context) K {
	var k K
	c := &ctx.call
	if !c.Fn.Keyed() {
		panic("weir: Key in function " + c.Fn.Name + ", which is not keyed")
	}
	if s, ok := any(&k).(*string); ok && len(c.Fn.KeyKinds) == 1 && c.Fn.KeyKinds[0] == wire.Utf8 {
		if b, ok := c.Keys.Columns[0].Slice(int(c.Slot)); ok {
			*s = unsafe.String(unsafe.SliceData(b), len(b))
		}
		return k
	}
	t := reflect.TypeFor[K]()
	plan, err := c.Fn.KeyPlan(t, func() (*record.Columns, error) { return record.KeyOf(t, c.Fn.Inputs[0].Key, c.Fn.KeyKinds) })
	if err == nil {
		err = plan.Load(unsafe.Pointer(&k), 0, &c.Keys, int(c.Slot), 1)
	}
	if err != nil {
		panic("weir: Key in function " + c.Fn.Name + ": " + err.Error())
	}
	return k
}

// Debugf writes to the pipeline's log.
func (ctx *Context) Debugf(format string, args ...any) {
	guest.Log(abi.LogDebug, fmt.Sprintf(format, args...))
}

// Infof writes to the pipeline's log.
func (ctx *Context) Infof(format string, args ...any) {
	guest.Log(abi.LogInfo, fmt.Sprintf(format, args...))
}

// Warnf writes to the pipeline's log.
func (ctx *Context) Warnf(format string, args ...any) {
	guest.Log(abi.LogWarn, fmt.Sprintf(format, args...))
}

// Errorf writes to the pipeline's log; to fail a row, return an error.
func (ctx *Context) Errorf(format string, args ...any) {
	guest.Log(abi.LogError, fmt.Sprintf(format, args...))
}

// Counter is a metric that adds up.
type Counter struct{ m guest.Metric }

// NewCounter declares a counter; its name matches [a-z_][a-z0-9_]* and has at most 64 bytes.
func NewCounter(name string) *Counter { return &Counter{guest.Metric{Name: name}} }

// Add adds to the counter.
func (c *Counter) Add(n float64) { c.m.Add(n) }

// Gauge is a metric that has its last value.
type Gauge struct{ m guest.Metric }

// NewGauge declares a gauge; its name is as a counter's.
func NewGauge(name string) *Gauge { return &Gauge{guest.Metric{Name: name, Gauge: true}} }

// Set sets the gauge.
func (g *Gauge) Set(v float64) { g.m.Set(v) }

// NoTime tells EmitAt that a row has no event time.
var NoTime = timeOf(abi.NoTime)
