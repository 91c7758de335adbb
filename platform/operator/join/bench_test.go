package join

import (
	"math/rand/v2"
	"testing"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/operator/operatortest"
)

// BenchmarkAPairForEachRow joins an update of one side, -U and +U, with one row
// of the other, over 10,000 keys.
func BenchmarkAPairForEachRow(b *testing.B) {
	const keys, rows = 10_000, 1024
	s := small(`{"right_prefix":"r_"}`, true)
	o := operatortest.Open(b, s, operatortest.DropRows)
	defer o.Close()
	var lefts, rights []testRow
	for k := range keys {
		lefts = append(lefts, operatortest.Of(1, int64(k), "left"))
		rights = append(rights, operatortest.Of(1, int64(k), "right"))
	}
	o.Process(left, lefts...)
	o.Process(right, rights...)
	r := rand.New(rand.NewPCG(1, 2))
	var batches []*batch.Batch
	for range 32 {
		var changes []testRow
		for range rows / 2 {
			k := rights[r.IntN(keys)]
			changes = append(changes, k.As(batch.UpdateBefore), k.As(batch.UpdateAfter))
		}
		batches = append(batches, operatortest.Batch(nil, s.Inputs[right].Schema, changes))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := o.Operator.Process(right, batches[i%len(batches)].Retain()); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	for _, x := range batches {
		x.Release()
	}
}
