package wasmhost

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

func BenchmarkAnEmptyCall(b *testing.B) {
	in, handle := newInstance(b, newHost(b, Options{}), hostileWasm, InstanceOptions{})
	input := command(cmdBehave, 7)
	write := func(dst []byte) { copy(dst, input) }
	b.ReportAllocs()
	for b.Loop() {
		if _, err := in.Call(context.Background(), handle, len(input), write, CallOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMetering compares a keyed aggregation by the Go guest, 1000 records of
// 100 bytes a call, with and without the meter, in turns on one thread.
func BenchmarkMetering(b *testing.B) {
	const rows = 1000
	h := newHost(b, Options{})
	wasm := buildGoGuest(b)
	metered, handle := newInstance(b, h, wasm, InstanceOptions{})
	plain := newPlain(b, h, wasm)
	input := command(11, rows)
	for i := range rows {
		row := make([]byte, 100)
		copy(row, fmt.Sprintf("%08d", i*7919%500))
		binary.LittleEndian.PutUint64(row[8:], uint64(i))
		input = append(input, row...)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var with, without []time.Duration
	for b.Loop() {
		from := threadTime()
		out, err := call(b.Context(), metered, handle, input, CallOptions{})
		if err != nil {
			b.Fatal(err)
		}
		between := threadTime()
		if got := plain.call(b, handle, input); string(got) != string(out) {
			b.Fatalf("metered %v, plain %v", out, got)
		}
		with, without = append(with, between-from), append(without, threadTime()-between)
	}
	slices.Sort(with)
	slices.Sort(without)
	w, wo := with[len(with)/4], without[len(without)/4]
	b.ReportMetric(float64(w.Nanoseconds())/rows, "metered-ns/row")
	b.ReportMetric(float64(wo.Nanoseconds())/rows, "plain-ns/row")
	b.ReportMetric(100*(float64(w)/float64(wo)-1), "overhead-%")
}

// plain is a guest as it was uploaded, without the meter.
type plain struct {
	in         *Instance
	alloc, run api.Function
}

func newPlain(b *testing.B, h *Host, wasm []byte) plain {
	in := &Instance{}
	in.memory.capBytes = DefaultMemoryPages * pageBytes
	in.meter.deadline = math.MaxInt64
	ctx := withInstance(in)
	mod, err := h.runtime.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName("").WithStartFunctions(exportInitialize))
	if err != nil {
		b.Fatal(err)
	}
	in.run, in.mem = guestContext{ctx}, mod.Memory()
	return plain{in, mod.ExportedFunction(exportAlloc), mod.ExportedFunction(exportCall)}
}

func (p plain) call(b *testing.B, handle uint32, input []byte) []byte {
	stack := p.in.stack[:]
	stack[0] = uint64(len(input))
	if err := p.alloc.CallWithStack(p.in.run.Context, stack); err != nil {
		b.Fatal(err)
	}
	ptr := stack[0]
	p.in.mem.Write(uint32(ptr), input)
	stack[0], stack[1], stack[2] = uint64(handle), ptr, uint64(len(input))
	if err := p.run.CallWithStack(p.in.run.Context, stack); err != nil {
		b.Fatal(err)
	}
	out, _ := p.in.mem.Read(uint32(stack[0]>>32), uint32(stack[0]))
	return out
}
