package wasmhost

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/weirstream/weir/wasmhost/rewrite"
)

// Limits of what passes through an import.
const (
	maxKeyBytes    = 4096
	maxValueBytes  = 1 << 20
	maxMetricBytes = 64
)

// Kinds of user metric.
const (
	MetricCounter = 0
	MetricGauge   = 1
)

// Access says on whose behalf an import is called.
type Access struct {
	Handle uint32 // of the function, as weir_open gave it
	Cause  uint32 // from the progress word, or abi.NoCause
}

// Imports serves one instance, on the goroutine that calls it. Byte slices are
// views of guest memory, valid until the method returns. An error ends the call.
type Imports interface {
	Log(level int, line []byte)
	Metric(kind int, name []byte, value float64)
	// StateGet copies a map's value to dst if it fits, and returns its length, or -1 if there is none.
	StateGet(at Access, state, slot uint32, key, dst []byte) (int64, error)
	StatePut(at Access, state, slot uint32, key, value []byte) error
	StateDelete(at Access, state, slot uint32, key []byte) error
	StateAppend(at Access, state, slot uint32, value []byte) error
	StateClear(at Access, state, slot uint32) error
	// StateScan writes a page of entries after the key (nil: from the first) to
	// dst, as abi/README.md section 11 has it, and returns entries and bytes.
	StateScan(at Access, state, slot uint32, after, dst []byte) (entries, bytes uint32, err error)
}

const (
	weirModule = "weir"
	i32        = api.ValueTypeI32
	i64        = api.ValueTypeI64
	f64        = api.ValueTypeF64
)

type (
	types     = []api.ValueType
	guestFunc func(c *guestCall)
)

// hostImport is one function that a guest may import.
type hostImport struct {
	name            string
	params, results types
	call            guestFunc
}

// guestCall is what an import is called with: its arguments on the stack, where
// its result goes, too. Stack-based, because reflection costs microseconds.
type guestCall struct {
	in    *Instance
	mem   api.Memory
	stack []uint64
}

func (c *guestCall) u32(i int) uint32 { return uint32(c.stack[i]) }
func (c *guestCall) result(v uint64)  { c.stack[0] = v }
func (c *guestCall) access() Access   { return Access{c.in.handle, c.in.progress()} }

// must ends the call with an error of the Imports.
func (c *guestCall) must(err error) {
	if err != nil {
		panic(&stop{kind: ErrImport, cause: err})
	}
}

// bytes is a checked view of guest memory.
func (c *guestCall) bytes(ptr, length uint32) []byte {
	b, ok := c.mem.Read(ptr, length)
	if !ok {
		panic(&stop{kind: ErrBadPointer, detail: fmt.Sprintf("an import got %d bytes at %d, the memory has %d", length, ptr, c.mem.Size())})
	}
	return b
}

func (c *guestCall) limited(ptr, length, limit uint32, what string) []byte {
	if length > limit {
		panic(&stop{kind: ErrImport, detail: fmt.Sprintf("%s of %d bytes, the limit is %d", what, length, limit)})
	}
	return c.bytes(ptr, length)
}

func (c *guestCall) key(at int) []byte {
	return c.limited(c.u32(at), c.u32(at+1), maxKeyBytes, "state key")
}

// state gives the imports, or ends the call if they are not there.
func (c *guestCall) state() Imports {
	if c.in.imports == nil {
		panic(&stop{kind: ErrImport, detail: "hosted state is not granted; declare a state of form hosted, or run under a host that has one"})
	}
	return c.in.imports
}

// weirImports is the import table of abi/README.md section 11, but for yield.
var weirImports = []hostImport{
	{"log", types{i32, i32, i32}, nil, func(c *guestCall) {
		level := min(c.u32(0), LevelError)
		line := c.bytes(c.u32(1), c.u32(2))
		c.in.log.line(c.in.imports, int(level), line)
	}},
	{"metric", types{i32, i32, i32, f64}, nil, func(c *guestCall) {
		kind, name := c.u32(0), c.limited(c.u32(1), c.u32(2), maxMetricBytes, "metric name")
		if kind > MetricGauge || !metricName(name) {
			panic(&stop{kind: ErrImport, detail: fmt.Sprintf("metric %q of kind %d: names are [a-z_][a-z0-9_]*, kinds 0 and 1", name, kind)})
		}
		if c.in.imports != nil {
			c.in.imports.Metric(int(kind), name, api.DecodeF64(c.stack[3]))
		}
	}},
	{"state_get", types{i32, i32, i32, i32, i32, i32}, types{i64}, func(c *guestCall) {
		dst := c.bytes(c.u32(4), c.u32(5))
		n, err := c.state().StateGet(c.access(), c.u32(0), c.u32(1), c.key(2), dst)
		c.must(err)
		c.result(uint64(n))
	}},
	{"state_put", types{i32, i32, i32, i32, i32, i32}, nil, func(c *guestCall) {
		value := c.limited(c.u32(4), c.u32(5), maxValueBytes, "state value")
		c.must(c.state().StatePut(c.access(), c.u32(0), c.u32(1), c.key(2), value))
	}},
	{"state_delete", types{i32, i32, i32, i32}, nil, func(c *guestCall) {
		c.must(c.state().StateDelete(c.access(), c.u32(0), c.u32(1), c.key(2)))
	}},
	{"state_append", types{i32, i32, i32, i32}, nil, func(c *guestCall) {
		value := c.limited(c.u32(2), c.u32(3), maxValueBytes, "state value")
		c.must(c.state().StateAppend(c.access(), c.u32(0), c.u32(1), value))
	}},
	{"state_clear", types{i32, i32}, nil, func(c *guestCall) {
		c.must(c.state().StateClear(c.access(), c.u32(0), c.u32(1)))
	}},
	{"state_scan", types{i32, i32, i32, i32, i32, i32}, types{i64}, func(c *guestCall) {
		var after []byte
		if c.u32(3) != ^uint32(0) {
			after = c.key(2)
		}
		dst := c.bytes(c.u32(4), c.u32(5))
		entries, bytes, err := c.state().StateScan(c.access(), c.u32(0), c.u32(1), after, dst)
		c.must(err)
		c.result(uint64(entries)<<32 | uint64(bytes))
	}},
}

func metricName(b []byte) bool {
	for i, c := range b {
		if c != '_' && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return len(b) > 0
}

// yieldImport is called by the meter that the rewriter adds.
var yieldImport = hostImport{"yield", nil, types{i32}, func(c *guestCall) {
	fuel := c.in.meter.yield()
	c.in.checkStack(c.stack)
	c.result(uint64(fuel))
}}

// instanceKey finds the instance in the context that its calls run with.
type instanceKey struct{}

func (h hostImport) wazero() api.GoModuleFunc {
	metered := h.name != yieldImport.name
	return func(ctx context.Context, mod api.Module, stack []uint64) {
		in := ctx.Value(instanceKey{}).(*Instance)
		if metered {
			in.meter.imported()
		}
		c := &in.call
		c.in, c.mem, c.stack = in, mod.Memory(), stack
		h.call(c)
	}
}

// offer makes a host module of a table.
func offer(ctx context.Context, r wazero.Runtime, module string, table []hostImport) error {
	b := r.NewHostModuleBuilder(module)
	for _, h := range table {
		b.NewFunctionBuilder().WithGoModuleFunction(h.wazero(), h.params, h.results).WithName(h.name).Export(h.name)
	}
	if _, err := b.Instantiate(ctx); err != nil {
		return fmt.Errorf("offer host module %s: %w", module, err)
	}
	return nil
}

// policy is what a module must look like, from the same tables.
func policy() rewrite.Policy {
	p := rewrite.Policy{Imports: map[string]rewrite.FuncType{}, RequireMemory: exportMemory, Exports: map[string]rewrite.FuncType{
		exportABI:      {Params: "", Results: "i32"},
		exportAlloc:    {Params: "i32", Results: "i32"},
		exportDescribe: {Params: "i32 i32", Results: "i64"},
		exportOpen:     {Params: "i32 i32", Results: "i64"},
		exportCall:     {Params: "i32 i32 i32", Results: "i64"},
	}}
	add := func(module string, table []hostImport) {
		for _, h := range table {
			p.Imports[module+"."+h.name] = rewrite.FuncType{Params: textTypes(h.params), Results: textTypes(h.results)}
		}
	}
	add(weirModule, weirImports)
	add(wasiModule, wasiImports)
	return p
}

func textTypes(ts types) string {
	s := ""
	for i, t := range ts {
		if i > 0 {
			s += " "
		}
		s += api.ValueTypeName(t)
	}
	return s
}
