package join

import (
	"math/rand/v2"
	"testing"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/operator/operatortest"
)

const benchRows = 1024

func TestNothingIsAllocatedPerRecordInTheSteadyState(t *testing.T) {
	o, batches := pairs(t, 100, 8)
	defer o.Close()
	i := 0
	one := func() {
		if err := o.Operator.Process(right, batches[i%len(batches)].Retain()); err != nil {
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

// pairs joins a row of each side over a number of keys, and gives batches that
// update the right side, -U and +U.
func pairs(t testing.TB, keys, count int) (*operatortest.Run, []*batch.Batch) {
	s := small(`{"right_prefix":"r_"}`, true)
	o := operatortest.Open(t, s, operatortest.DropRows)
	var lefts, rights []testRow
	for k := range keys {
		lefts = append(lefts, operatortest.Of(1, int64(k), "left"))
		rights = append(rights, operatortest.Of(1, int64(k), "right"))
	}
	o.Process(left, lefts...)
	o.Process(right, rights...)
	r := rand.New(rand.NewPCG(1, 2))
	var batches []*batch.Batch
	for range count {
		var changes []testRow
		for range benchRows / 2 {
			k := rights[r.IntN(keys)]
			changes = append(changes, k.As(batch.UpdateBefore), k.As(batch.UpdateAfter))
		}
		batches = append(batches, operatortest.Batch(nil, s.Inputs[right].Schema, changes))
	}
	return o, batches
}

// BenchmarkAPairForEachRow joins an update of one side with one row of the
// other, over 10,000 keys.
func BenchmarkAPairForEachRow(b *testing.B) {
	o, batches := pairs(b, 10_000, 32)
	defer o.Close()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := o.Operator.Process(right, batches[i%len(batches)].Retain()); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(benchRows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	for _, x := range batches {
		x.Release()
	}
}
