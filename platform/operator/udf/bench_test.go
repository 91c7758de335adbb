package udf

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
)

const (
	benchRows    = 1024
	barrierEvery = 700 // batches: a second at 700,000 records/s
)

// counted gives batches of records of 100 bytes over a number of keys.
func counted(r *rig, keys, batches int) []*batch.Batch {
	rng := rand.New(rand.NewPCG(1, 2))
	builder := batch.NewBuilder(r.inputs[0])
	pad := make([]byte, 84)
	for i := range pad {
		pad[i] = 'x'
	}
	var out []*batch.Batch
	for range batches {
		for i := range benchRows {
			builder.Column(0).AppendInt64(rng.Int64N(int64(keys)))
			builder.Column(1).AppendInt64(int64(i))
			builder.Column(2).AppendBytes(pad)
			builder.EndRow(int64(i))
		}
		out = append(out, builder.Finish("", 0))
	}
	return out
}

func TestNothingIsAllocatedPerRecordInTheSteadyState(t *testing.T) {
	alive(t)
	r := open(t, plan{module: cModule, function: "count_sum"})
	r.discard = true
	batches := counted(r, 1000, 8)
	i := 0
	one := func() {
		if err := r.Process(0, batches[i%len(batches)].Retain()); err != nil {
			t.Fatal(err)
		}
		i++
	}
	for range 64 {
		one()
	}
	// A batch may cost a few, as when the collector has emptied the pools; a record none.
	if n := testing.AllocsPerRun(200, one); n > 8 {
		t.Errorf("%.1f allocations in a batch of %d records", n, benchRows)
	}
	for _, b := range batches {
		b.Release()
	}
}

// BenchmarkCountSum is count and sum per key by the guest in C: the whole, and
// what of it the guest and the host take.
func BenchmarkCountSum(b *testing.B) {
	for _, keys := range []int{1000, 100_000} {
		b.Run(fmt.Sprint("keys=", keys), func(b *testing.B) {
			r := open(b, plan{module: cModule, function: "count_sum"})
			r.discard = true
			batches := counted(r, keys, 200)
			run := func(i int) {
				if err := r.Process(0, batches[i%len(batches)].Retain()); err != nil {
					b.Fatal(err)
				}
				if i%barrierEvery == barrierEvery-1 {
					freeze(b, r)
				}
			}
			for i := range batches {
				run(i)
			}
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			guest, cpu, began := r.guest.stats().GuestTime, cpuTime(), time.Now()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				run(i)
			}
			b.StopTimer()
			cpu = cpuTime() - cpu
			// The guest's part is known by the clock alone; the thread's own time is split as the clock's.
			part := float64(r.guest.stats().GuestTime-guest) / float64(time.Since(began))
			perRow := float64(cpu) / float64(b.N*benchRows)
			b.ReportMetric(perRow*part, "guest-cpu-ns/row")
			b.ReportMetric(perRow*(1-part), "host-cpu-ns/row")
			b.ReportMetric(float64(r.rowsPerCall), "rows/call")
			for _, batch := range batches {
				batch.Release()
			}
		})
	}
}

// freeze is a barrier whose files cost nothing.
func freeze(b *testing.B, r *rig) {
	s, err := r.Barrier(element.Barrier{ID: 1})
	if err != nil {
		b.Fatal(err)
	}
	s.Keyed.Release()
	r.state.Advance(0)
}
