package aggregate

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/operator/operatortest"
)

const (
	benchKeys    = 100_000
	benchRows    = 1024 // per batch
	benchBatches = 256
)

// BenchmarkCountAndSum is the bare operator: count and sum per key over uniform
// int64 keys, rows of about 100 bytes, no frame and no guest.
func BenchmarkCountAndSum(b *testing.B) {
	for _, options := range []string{"", `,"per":"batch"`, `,"emit":"changelog"`} {
		name := "updates"
		if options != "" {
			name = strings.NewReplacer(`,`, "", `"`, "", ":", "=").Replace(options)
		}
		b.Run(name, func(b *testing.B) { bench(b, options) })
	}
}

func bench(b *testing.B, options string) {
	in := native.Input{Schema: schema.MustParse("k:int64,v:int64,payload:utf8")}
	o := operatortest.Open(b, spec(in, options, `{"fn":"count","as":"n"}`, `{"fn":"sum","column":"v","as":"total"}`), operatortest.DropRows)
	defer o.Close()
	r := rand.New(rand.NewPCG(1, 2))
	payload := strings.Repeat("x", 80)
	var batches []*batch.Batch
	for i := range benchBatches {
		var rows []row
		for range benchRows {
			rows = append(rows, operatortest.Of(int64(i), r.Int64N(benchKeys), r.Int64N(1000), payload))
		}
		batches = append(batches, operatortest.Batch(nil, in.Schema, rows))
	}
	process := func(i int) {
		if err := o.Operator.Process(0, batches[i%benchBatches].Retain()); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 4 * benchBatches { // every key is known
		process(i)
	}
	o.Barrier() // and stands in one generation
	for i := range 4 * benchBatches {
		process(i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		process(i)
		i++
	}
	b.ReportMetric(float64(benchRows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	for _, x := range batches {
		x.Release()
	}
}

func TestAKnownKeyCostsNoAllocation(t *testing.T) {
	in := native.Input{Schema: schema.MustParse("k:int64,v:int64")}
	for _, options := range []string{"", `,"per":"batch"`, `,"emit":"changelog"`} {
		o := operatortest.Open(t, spec(in, options, `{"fn":"count","as":"n"}`, `{"fn":"sum","column":"v","as":"total"}`), operatortest.DropRows)
		var rows []row
		for i := range 512 {
			rows = append(rows, operatortest.Of(1, int64(i%100), int64(i)))
		}
		b := operatortest.Batch(nil, in.Schema, rows)
		perBatch := testing.AllocsPerRun(50, func() {
			if err := o.Operator.Process(0, b.Retain()); err != nil {
				t.Fatal(err)
			}
		})
		// A pool may have been emptied by a collection, so a few are allowed for 512 rows.
		if perBatch > 5 {
			t.Errorf("%q: %.0f allocations a batch of 512 rows", options, perBatch)
		}
		b.Release()
		o.Close()
	}
}
