package wasmhost

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
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

// BenchmarkAnOpenedInstance is from nothing to a function that can be called, with
// and without warm images, in turns.
func BenchmarkAnOpenedInstance(b *testing.B) {
	c, err := os.ReadFile("../sdk/c/bench/count_sum.wasm")
	if err != nil {
		b.Fatal(err)
	}
	for _, guest := range []struct {
		name    string
		wasm    []byte
		request []byte
	}{{"go", buildGoGuest(b), nil}, {"c", c, openCountSum()}} {
		b.Run(guest.name, func(b *testing.B) {
			cold := opening(b, newHost(b, Options{ColdStarts: true}), guest.wasm, "a", string(guest.request))
			warm := opening(b, newHost(b, Options{}), guest.wasm, "a", string(guest.request))
			warm.must(b)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var took [2][]time.Duration
			for b.Loop() {
				for i, o := range []*Opening{cold, warm} {
					from := threadTime()
					in, _, err := o.Instance(b.Context())
					took[i] = append(took[i], threadTime()-from)
					if err != nil {
						b.Fatal(err)
					}
					if err := in.Close(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(median(took[0]).Microseconds()), "cold-us")
			b.ReportMetric(float64(median(took[1]).Microseconds()), "warm-us")
		})
	}
}

// openCountSum is the container that opens the C guest's function.
func openCountSum() []byte {
	parts := []struct {
		section uint16
		body    string
	}{{abi.OpenSectionFunction, "count_sum"}, {abi.OpenSectionConfig, "{}"}, {abi.OpenSectionCapabilities, ""}}
	var w frame.ContainerWriter
	w.Reset(frame.KindOpen)
	for _, p := range parts {
		w.Reserve(p.section, 0, abi.SectionMustUnderstand, len(p.body))
	}
	out := make([]byte, w.Size())
	w.Begin(out)
	for i, p := range parts {
		copy(w.Body(i), p.body)
	}
	return out
}

// BenchmarkMemoryOfInstances is how much resident memory an instance takes that
// has been called once, among a hundred.
func BenchmarkMemoryOfInstances(b *testing.B) {
	const instances = 100
	for _, way := range []struct {
		name    string
		options Options
	}{{"cold", Options{ColdStarts: true}}, {"warm", Options{}}} {
		b.Run(way.name, func(b *testing.B) {
			o := opening(b, newHost(b, way.options), buildGoGuest(b), "a", "")
			o.must(b)
			for b.Loop() {
				debug.FreeOSMemory()
				before := residentBytes(b)
				var all []*Instance
				for range instances {
					in, handle, err := o.Instance(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					if _, err := call(b.Context(), in, handle, text(1, 0, "a b"), CallOptions{}); err != nil {
						b.Fatal(err)
					}
					all = append(all, in)
				}
				debug.FreeOSMemory()
				b.ReportMetric(float64(residentBytes(b)-before)/instances/(1<<20), "MiB/instance")
				for _, in := range all {
					if err := in.Close(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// residentBytes is the process's own part: pages of an image that clones only
// read are counted as shared.
func residentBytes(b *testing.B) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("needs /proc")
	}
	var size, resident, shared int64
	if _, err := fmt.Sscan(string(text), &size, &resident, &shared); err != nil {
		b.Fatal(err)
	}
	return (resident - shared) * int64(os.Getpagesize())
}
