//go:build linux

package arena

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"

	"github.com/weirstream/weir/platform/storage/state"
)

const batchRows = 1024

// batches of keys of 16 bytes, uniform over a number of keys.
type load struct {
	keys   []state.Keys
	hashes [][]uint64
}

func keyOf(i int) []byte { return fmt.Appendf(nil, "key-%012d", i) }

func uniform(keys, batches int, pick func(int) int) (l load) {
	for range batches {
		k := state.Keys{Offsets: []int32{0}}
		var h []uint64
		for i := range batchRows {
			key := keyOf(pick(i) % keys)
			k.Bytes = append(k.Bytes, key...)
			k.Offsets = append(k.Offsets, int32(len(k.Bytes)))
			h = append(h, xxhash.Sum64(key))
		}
		l.keys, l.hashes = append(l.keys, k), append(l.hashes, h)
	}
	return l
}

func random(keys, batches int) load {
	r := rand.New(rand.NewPCG(1, 2))
	return uniform(keys, batches, func(int) int { return r.IntN(keys) })
}

func filled(b testing.TB, keys, valueBytes int) *Backend {
	backend, err := Open(state.Options{Descriptors: []state.Descriptor{{Name: "v", Form: state.Single}}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { backend.Close() })
	next := -1
	value := make([]byte, valueBytes)
	slots := []state.Slot{}
	for range (keys + batchRows - 1) / batchRows {
		l := uniform(keys, 1, func(int) int { next++; return next })
		slots = backend.Resolve(l.keys[0], l.hashes[0], slots)
		for _, s := range slots {
			binary.LittleEndian.PutUint64(value, uint64(s))
			if err := backend.Put(s, 0, value); err != nil {
				b.Fatal(err)
			}
		}
		backend.Advance(0)
	}
	return backend
}

// BenchmarkReadModifyWrite is Resolve a batch, then Get and Put of 16 bytes a row.
func BenchmarkReadModifyWrite(b *testing.B) {
	for _, keys := range []int{1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			backend, l := filled(b, keys, 16), random(keys, 200)
			var value [16]byte
			slots := make([]state.Slot, 0, batchRows)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				n := i % len(l.keys)
				slots = backend.Resolve(l.keys[n], l.hashes[n], slots)
				for _, s := range slots {
					old, _ := backend.Get(s, 0)
					copy(value[:], old)
					binary.LittleEndian.PutUint64(value[8:], binary.LittleEndian.Uint64(value[8:])+1)
					if err := backend.Put(s, 0, value[:]); err != nil {
						b.Fatal(err)
					}
				}
				backend.Advance(0)
			}
			b.ReportMetric(float64(b.N)*batchRows/b.Elapsed().Seconds()/1e6, "Mrmw/s")
		})
	}
}

// BenchmarkFreeze freezes with 100,000 of 1,000,000 keys of 100 bytes changed,
// and serialises them beside going on.
func BenchmarkFreeze(b *testing.B) {
	const keys, changed = 1_000_000, 100_000
	backend := filled(b, keys, 100)
	backend.Freeze().Release()
	l := random(keys, changed/batchRows+1)
	value := make([]byte, 100)
	var freezes, writes, sorts []time.Duration
	for b.Loop() {
		start := time.Now()
		for n := range l.keys {
			for _, s := range backend.Resolve(l.keys[n], l.hashes[n], nil) {
				if err := backend.Put(s, 0, value); err != nil {
					b.Fatal(err)
				}
			}
		}
		writes = append(writes, time.Since(start))
		start = time.Now()
		f := backend.Freeze()
		freezes = append(freezes, time.Since(start))
		start = time.Now()
		for range f.Entries() {
		}
		sorts = append(sorts, time.Since(start))
		f.Release()
	}
	b.ReportMetric(slices.Max(freezes).Seconds()*1e6, "max-freeze-us")
	b.ReportMetric(slices.Min(sorts).Seconds()*1e3, "min-entries-ms")
	b.ReportMetric(changed/writes[len(writes)/2].Seconds()/1e6, "Mput/s")
}

func resident(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("needs /proc")
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kb float64
	fmt.Sscan(rest, &kb)
	return kb * 1024
}

// BenchmarkMemory fills 1,000,000 keys of 16 bytes with values of 100 bytes;
// pause is the longest batch while it grows.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		const keys = 1_000_000
		runtime.GC()
		before := resident(b)
		backend := filled(b, keys, 100)
		b.ReportMetric((resident(b)-before)/keys, "resident-B/key")
		b.ReportMetric(resident(b)/1e6, "process-MB")
		b.ReportMetric(float64(backend.Stats().TotalBytes)/keys, "held-B/key")
		backend.Close()
	}
}

// threadTime is the processor time of this thread: the machine's other work does
// not count, page faults and everything that growing does here do.
func threadTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkGrowth tells the longest batch of new keys on the way to 2,000,000.
func BenchmarkGrowth(b *testing.B) {
	const keys = 2_000_000
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for b.Loop() {
		backend := filled(b, 1, 16)
		next := -1
		var worst time.Duration
		for range keys / batchRows {
			l := uniform(keys, 1, func(int) int { next++; return next })
			start := threadTime(b)
			for _, s := range backend.Resolve(l.keys[0], l.hashes[0], nil) {
				if err := backend.Put(s, 0, l.keys[0].Bytes[:16]); err != nil {
					b.Fatal(err)
				}
			}
			backend.Advance(0)
			worst = max(worst, threadTime(b)-start)
		}
		b.ReportMetric(worst.Seconds()*1e3, "worst-batch-ms")
	}
}

// BenchmarkTimers sets a timer on each of 1,000,000 keys, then fires them all.
func BenchmarkTimers(b *testing.B) {
	const keys = 1_000_000
	for b.Loop() {
		backend := filled(b, keys, 16)
		backend.Freeze().Release()
		backend.Advance(0)
		r := rand.New(rand.NewPCG(1, 2))
		runtime.GC()
		before, start := resident(b), time.Now()
		for s := range state.Slot(keys) {
			backend.SetTimer(s, state.Timer{Kind: state.EventTime, Time: r.Int64N(3_600_000_000)})
		}
		b.ReportMetric(keys/time.Since(start).Seconds()/1e6, "Mset/s")
		backend.Freeze().Release()
		backend.Advance(0)
		runtime.GC()
		b.ReportMetric((resident(b)-before)/keys, "resident-B/timer")
		start = time.Now()
		var due []state.Firing
		for n := 1; n > 0; n = len(due) {
			due = backend.Due(state.EventTime, 3_600_000_000, batchRows, due)
		}
		b.ReportMetric(keys/time.Since(start).Seconds()/1e6, "Mfire/s")
		backend.Close()
	}
}
