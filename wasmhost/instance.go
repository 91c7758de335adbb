package wasmhost

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/wasmhost/rewrite"
)

// Names of the exports of abi/README.md section 8.
const (
	exportMemory     = "memory"
	exportABI        = "weir_abi_v1"
	exportAlloc      = "weir_alloc"
	exportDescribe   = "weir_describe"
	exportOpen       = "weir_open"
	exportCall       = "weir_call"
	exportInitialize = "_initialize"
)

// maxInputBytes is the most that a call may be given.
const maxInputBytes = 8 << 20

// Instance is a live sandbox. It belongs to one goroutine at a time.
type Instance struct {
	imports Imports
	memory  memory
	meter   meter
	log     lineLog
	call    guestCall
	stats   Stats

	clockMicros int64
	clockReads  uint64
	random      uint64

	run    guestContext
	mod    api.Module
	mem    api.Memory
	fuel   api.MutableGlobal
	alloc  export
	caller export
	stack  [3]uint64 // arguments and result

	running export // whose code runs; its stack is measured

	opened []function // by order of opening
	handle uint32     // of the function being called
	at     uint32     // address of its progress word, 0: none
	dead   bool
}

// guestContext is what wazero hands to imports, so that they find their instance.
// It is made once and carries no deadline: the caller's context is looked at in
// begin, and watched by the meter.
type guestContext struct{ context.Context }

// function is what weir_open told of a function.
type function struct {
	handle   uint32
	progress uint32
}

// Stats are counters since the instance began.
type Stats struct {
	Calls       uint64
	GuestTime   time.Duration // inside guest code and the imports that it called
	Yields      uint64
	MemoryBytes uint64 // size of the linear memory
	LogsDropped uint64
}

// Instantiate starts an instance: memory is set up, start functions run.
func (m *Module) Instantiate(ctx context.Context, options InstanceOptions) (*Instance, error) {
	in, err := m.instance(options)
	if err != nil {
		return nil, err
	}
	err = in.start(ctx, m, options.Deadline)
	if err == nil {
		err = in.initialize(ctx, options.Deadline)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("instantiate %s: %w", m.digest, err), in.Close(ctx))
	}
	return in, nil
}

// pages is the cap of an instance's memory.
func (m *Module) pages(options InstanceOptions) uint32 {
	if options.MemoryPages == 0 {
		return m.host.options.MemoryPages
	}
	return options.MemoryPages
}

// instance makes an instance that has not started yet.
func (m *Module) instance(options InstanceOptions) (*Instance, error) {
	pages := m.pages(options)
	if pages > MaxMemoryPages {
		return nil, fmt.Errorf("instantiate %s: %d pages of memory, the limit is %d", m.digest, pages, MaxMemoryPages)
	}
	in := &Instance{imports: options.Imports}
	in.memory.capBytes = uint64(pages) * pageBytes
	in.run = guestContext{withInstance(in)}
	if need := m.report.MemoryMin; need > pages {
		in.memory.wanted = uint64(need) * pageBytes
		return nil, fmt.Errorf("instantiate %s: %w", m.digest,
			&Trap{Kind: ErrMemory, Export: exportMemory, Detail: in.memory.detail(), Progress: abi.NoCause})
	}
	return in, nil
}

// start instantiates the module, which runs a start section.
func (in *Instance) start(ctx context.Context, m *Module, deadline time.Time) error {
	in.begin(ctx, CallOptions{Deadline: deadline}, DefaultOpenTimeout)
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	mod, err := m.host.runtime.InstantiateModule(in.run.Context, m.code, config)
	in.finish()
	if err != nil {
		in.dead = true
		return in.newTrap("start", err)
	}
	in.mod, in.mem = mod, mod.Memory()
	in.fuel, _ = mod.ExportedGlobal(rewrite.FuelGlobal).(api.MutableGlobal) // nil: unmetered
	in.alloc, in.caller = in.export(exportAlloc), in.export(exportCall)
	return nil
}

// initialize runs _initialize, where there is one.
func (in *Instance) initialize(ctx context.Context, deadline time.Time) error {
	f := in.export(exportInitialize)
	if f.Function == nil || len(f.Definition().ParamTypes()) != 0 {
		return nil
	}
	options := CallOptions{Deadline: deadline}
	if deadline.IsZero() {
		options.Deadline = time.Now().Add(DefaultOpenTimeout)
	}
	in.begin(ctx, options, DefaultOpenTimeout)
	return in.invoke(exportInitialize, f)
}

// begin sets up clock, seed, limits and logs of a call.
func (in *Instance) begin(ctx context.Context, options CallOptions, fallback time.Duration) {
	in.clockMicros, in.clockReads, in.random = options.ClockMicros, 0, options.Seed
	in.log.begin()
	in.memory.denied = false
	fuel := in.meter.begin(ctx, options.Deadline, fallback)
	if in.fuel != nil {
		in.fuel.Set(uint64(uint32(fuel)))
	}
}

func (in *Instance) finish() {
	in.log.end(in.imports, in.dead)
	in.stats.GuestTime += now() - in.meter.began
}

// invoke runs an export with in.stack as arguments and result.
func (in *Instance) invoke(name string, f export) error {
	in.running = f
	err := f.CallWithStack(in.run.Context, in.stack[:])
	if err != nil {
		return in.die(in.newTrap(name, err))
	}
	return nil
}

// die ends the instance's life. Its memory stays readable until Close.
func (in *Instance) die(t *Trap) *Trap {
	in.dead = true
	return t
}

// fail is die for an answer that is wrong.
func (in *Instance) fail(export string, kind error, format string, args ...any) *Trap {
	return in.die(&Trap{Kind: kind, Export: export, Detail: fmt.Sprintf(format, args...), Progress: in.progress(), Logs: in.log.lines()})
}

// progress reads the progress word of the function being called.
func (in *Instance) progress() uint32 {
	if in.at == 0 || in.mem == nil {
		return abi.NoCause
	}
	v, ok := in.mem.ReadUint32Le(in.at)
	if !ok {
		return abi.NoCause
	}
	return v
}

// Stats reads the counters.
func (in *Instance) Stats() Stats {
	s := in.stats
	s.Yields = in.meter.yields
	s.LogsDropped = in.log.dropped
	s.MemoryBytes = in.memory.size
	return s
}

// Dead tells whether the instance can be called no more.
func (in *Instance) Dead() bool { return in.dead }

// Close frees the instance. Views that its calls returned must not be used any more.
func (in *Instance) Close(ctx context.Context) error {
	in.dead = true
	if in.mod == nil {
		in.memory.Free()
		return nil
	}
	mod := in.mod
	in.mod, in.mem = nil, nil
	if err := mod.Close(ctx); err != nil {
		return fmt.Errorf("close instance: %w", err)
	}
	in.memory.Free()
	return nil
}

func u32At(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
