// Package udf is the operator that runs a function of a Wasm module: it cuts
// batches into calls, lends the function the state of its keys, applies the
// effects, and isolates what makes it fail. It must not know how modules are
// stored, nor how tasks exchange batches.
package udf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/manifest"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/deadletter"
	"github.com/weirstream/weir/platform/operator/quota"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/wasmhost"
)

// Kind is the operator's name in job graphs.
const Kind = "udf"

// Limits of calls.
const (
	MaxRowsPerCall  = 4096
	MinRowsPerCall  = 16
	firstRows       = 512
	waryCalls       = 64               // do not grow after one was too much
	TargetCallTime  = time.Millisecond // what cuts aim at
	aimBytesPerCall = 1 << 20
	CallTimeout     = time.Second
	MaxFirings      = 1024 // per call
)

// Config is the operator's part of a job graph.
type Config struct {
	Module   string          `json:"module"` // digest
	Function string          `json:"function"`
	Config   json.RawMessage `json:"config,omitempty"` // the function's own
	// Address is the type of a stateful function: its outputs get the caller's columns.
	Address string `json:"address,omitempty"`
	// DeadLetters: refused rows go to the output after the function's own; otherwise they fail the job.
	DeadLetters bool `json:"dead_letters,omitempty"`
	// CallTimeoutMs and MemoryPages override the defaults.
	CallTimeoutMs int64  `json:"call_timeout_ms,omitempty"`
	MemoryPages   uint32 `json:"memory_pages,omitempty"`
}

// Modules gives compiled modules by digest.
type Modules interface {
	Module(ctx context.Context, digest string) (*wasmhost.Module, *manifest.Manifest, error)
	// Assets are those of the module's bundle.
	Assets(ctx context.Context, digest string) ([]frame.Asset, error)
}

// UserMetrics takes metrics that a function reports; any goroutine.
type UserMetrics interface {
	Metric(pipelineUID, operator string, gauge bool, name string, value float64)
}

// Deps is what the operator needs from its server.
type Deps struct {
	Modules Modules
	Metrics UserMetrics     // nil: dropped
	Quotas  *quota.Accounts // nil: no limits
	// BeforeCall, if set, may look at the instance before every call or close it,
	// as tests do: the host may replace an instance between any two calls.
	BeforeCall func(*wasmhost.Instance) error
}

// Operator runs one function.
type Operator struct {
	deps     Deps
	ctx      *operator.Context
	config   Config
	timeout  time.Duration
	sig      *frame.Signature
	inputs   []input
	outputs  []output
	merger   *element.Merger
	guest    guest
	quota    *quota.Account // nil: no limits
	reserved int64          // bytes of memory, of the quota
	rng      *rand.Rand
	dead     *deadletter.Writer

	call     frame.Call
	writer   frame.CallWriter
	write    func(dst []byte) // writer.Write as a value, made once
	effects  frame.Effects
	pick     []int32      // physical rows of the call
	resolved []state.Slot // slots of the batch's rows
	table    slotTable
	meta     metaColumns
	hosted   overlay
	rows     rowCauses
	firing   firingCauses

	rowsPerCall int
	leastRows   int // what tuning does not go below
	wary        int // calls to come that do not grow
	statePerRow int // bytes of framed state that came with a cause of the last call
	broken      broken
	clock       int64
	passed      int64 // the watermark that stands downstream
}

// New makes the operator.
func New(d Deps) *Operator { return &Operator{deps: d} }

// Open starts the first instance of the module and binds the function's columns.
func (o *Operator) Open(ctx *operator.Context) error {
	o.ctx = ctx
	if err := json.Unmarshal(ctx.Config, &o.config); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	o.timeout = CallTimeout
	if o.config.CallTimeoutMs > 0 {
		o.timeout = time.Duration(o.config.CallTimeoutMs) * time.Millisecond
	}
	background := context.Background()
	module, m, err := o.deps.Modules.Module(background, o.config.Module)
	if err != nil {
		return err
	}
	assets, err := o.deps.Modules.Assets(background, o.config.Module)
	if err != nil {
		return err
	}
	f := m.Function(o.config.Function)
	if f == nil {
		return fmt.Errorf("module %s has no function %q", o.config.Module, o.config.Function)
	}
	o.sig = f.Signature()
	if err := o.bind(f); err != nil {
		return err
	}
	if err := o.bindAddress(f); err != nil {
		return err
	}
	if o.config.DeadLetters {
		o.dead = deadletter.NewWriter(ctx.Identity, len(o.sig.Outputs), ctx.Output)
	}
	// The seed need not be secret or repeatable: exactly-once relies on neither.
	o.rng = rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(ctx.Task)))
	o.rowsPerCall, o.leastRows = firstRows, MinRowsPerCall
	o.passed, o.call.Watermark = element.MinTime, element.MinTime
	o.merger = element.NewMerger(len(o.sig.Inputs))
	o.call.FirstGroup, o.call.LastGroup = uint32(ctx.FirstGroup), uint32(ctx.LastGroup)
	o.call.Attempt, o.call.MaxOutput = uint32(ctx.Attempt), wasmhost.DefaultMaxOutputBytes
	o.call.States = make([]frame.StateValues, len(o.sig.States))
	o.write = func(dst []byte) { o.writer.Write(dst) }
	o.firing.open(o)
	o.hosted.open(o, f)
	namespace, _, _ := strings.Cut(ctx.Pipeline, "/")
	o.guest.opening = module.Opening(namespace, openRequest(o.config, m, f, assets), wasmhost.InstanceOptions{MemoryPages: o.config.MemoryPages, Imports: &o.hosted})
	if o.deps.Quotas != nil {
		o.quota = o.deps.Quotas.Of(namespace)
		most := int64(o.guest.opening.MemoryBytes())
		if err := o.quota.Reserve(most); err != nil {
			return fmt.Errorf("open function %s: %w", o.config.Function, err)
		}
		o.reserved = most
	}
	if err := o.renew(); err != nil {
		return fmt.Errorf("open function %s: %w", o.config.Function, err)
	}
	return nil
}

// Watermark fires the event-time timers that are due and passes the merged watermark on.
func (o *Operator) Watermark(in int, w element.Watermark) error {
	merged, changed := o.merger.Update(in, w)
	if !changed {
		return nil
	}
	o.call.Watermark = merged.Time
	if o.ctx.State != nil {
		o.clock = o.ctx.Clock()
		if err := o.fire(state.EventTime, merged.Time); err != nil {
			return err
		}
	}
	o.passed = merged.Time
	return o.ctx.Output.Watermark(merged)
}

// Timers fires the processing-time timers that are due.
func (o *Operator) Timers(clockMicros int64) error {
	if o.ctx.State == nil {
		return nil
	}
	if next, ok := o.ctx.State.NextTimer(state.ProcessingTime); !ok || next > clockMicros {
		return nil
	}
	o.clock = clockMicros
	return o.fire(state.ProcessingTime, clockMicros)
}

// Barrier freezes the keyed state; everything else is a cache.
func (o *Operator) Barrier(element.Barrier) (operator.Snapshot, error) {
	if o.ctx.State == nil {
		return operator.Snapshot{}, nil
	}
	return operator.Snapshot{Keyed: o.ctx.State.Freeze()}, nil
}

// EndOfInput has nothing to do: the last watermark has fired every timer.
func (o *Operator) EndOfInput(int) error { return nil }

// Close ends the instance.
func (o *Operator) Close() error {
	err := o.guest.close(context.Background())
	if o.reserved > 0 {
		o.quota.Release(o.reserved)
		o.reserved = 0
	}
	return err
}

// renew replaces the instance. That is guest time too: a module's start functions run.
func (o *Operator) renew() error {
	if o.quota == nil {
		return o.guest.renew(context.Background())
	}
	if err := o.quota.Wait(o.ctx.Ending); err != nil {
		return err
	}
	started := time.Now()
	err := o.guest.renew(context.Background())
	o.quota.Spent(time.Since(started))
	return err
}

// options bounds one call.
func (o *Operator) options(now time.Time) wasmhost.CallOptions {
	return wasmhost.CallOptions{
		Deadline:    now.Add(o.timeout),
		ClockMicros: o.call.Clock, Seed: o.call.Seed, MaxOutputBytes: o.call.MaxOutput + abi.EffectsSlackBytes,
	}
}

// UserError is a failure that only the user can mend: it fails the job.
type UserError struct{ Text string }

func (e *UserError) Error() string { return e.Text }

// UserFault marks the error for whoever decides about restarts.
func (e *UserError) UserFault() bool { return true }

// trapOf finds the report of a call that ended badly.
func trapOf(err error) (*wasmhost.Trap, bool) {
	var t *wasmhost.Trap
	ok := errors.As(err, &t)
	return t, ok
}

// input is one input of the function: which columns of the batch it declared.
type input struct {
	columns []int // declared column -> column of the batch
	keyer   *batch.Keyer
	keyCols []int
	view    []frame.Column
	keys    []frame.Column
}
