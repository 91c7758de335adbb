package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/pprof"
	"time"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/connector/jetstream"
)

const (
	flowKeys   = 100_000
	frameRows  = 655 // 64 KiB of records of 100 B
	padBytes   = 84  // key and value are 16 B
	flowSchema = "key:int64,value:int64,pad:utf8"
)

// operators are the same function, key and state: count and sum a key.
var operators = []struct{ name, yaml string }{
	{"native", `{kind: aggregate, input: in, key: [key], config: {aggregates: [{fn: count, as: count}, {fn: sum, column: value, as: sum}]}}`},
	{"c", `{module: count_sum, function: count_sum, input: in}`},
	{"go", `{module: bench, function: count_sum, input: in}`},
}

func runFlow(ctx context.Context, c *config) error {
	r, err := newRig(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.push(ctx, "count_sum", "sdk/c/bench/count_sum.wasm"); err != nil {
		return err
	}
	if err := r.push(ctx, "bench", "bin/bench.wasm"); err != nil {
		return err
	}
	in, err := r.topic(ctx, "in", weirv1.Layout_LAYOUT_FRAMES)
	if err != nil {
		return err
	}
	if err := fill(ctx, r, in, c.records, func(rng *rand.Rand, _ int) int64 { return rng.Int64N(flowKeys) }); err != nil {
		return err
	}
	rates, cpus := map[string][]float64{}, map[string][]float64{}
	for round := range c.rounds {
		for _, op := range operators {
			name := fmt.Sprintf("flow-%s-%d", op.name, round)
			rate, perRecord, err := flow(ctx, r, c, name, op.yaml, "1s")
			if err != nil {
				return err
			}
			fmt.Printf("  round %d  %-7s %8.0f records/s  %6.0f ns of CPU a record\n", round+1, op.name, rate, perRecord)
			rates[op.name] = append(rates[op.name], rate)
			cpus[op.name] = append(cpus[op.name], perRecord)
		}
	}
	base := median(rates["native"])
	for _, op := range operators {
		m := median(rates[op.name])
		fmt.Printf("%-7s %8.0f records/s, %.2f of native, %.0f ns of CPU a record (medians of %d)\n", op.name, m, m/base, median(cpus[op.name]), c.rounds)
	}
	return nil
}

// flow runs a pipeline over everything in the topic `in` and measures the middle
// of it: from a tenth to nine tenths.
func flow(ctx context.Context, r *rig, c *config, name, operator, interval string) (rate, cpuPerRecord float64, err error) {
	if _, err := r.topic(ctx, name, weirv1.Layout_LAYOUT_FRAMES); err != nil {
		return 0, 0, err
	}
	if c.profile != "" {
		f, err := os.Create(c.profile + "." + name)
		if err != nil {
			return 0, 0, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return 0, 0, err
		}
		defer pprof.StopCPUProfile()
	}
	err = r.apply(ctx, fmt.Sprintf(`
pipeline: %[1]s
parallelism: 2
checkpoint: {interval: %[3]s}
sources:
  in: {topic: in, format: columns, columns: "%[4]s"}
operators:
  op: %[2]s
sinks:
  out: {topic: %[1]s, input: op, format: columns, key: key}
`, name, operator, interval, flowSchema))
	if err != nil {
		return 0, 0, err
	}
	total := uint64(c.records)
	var from, to time.Time
	var first, last uint64
	var spent time.Duration
	err = r.until(ctx, name, func(s *weirv1.PipelineStatus) bool {
		n := taken(s, "sink.out")
		switch {
		case from.IsZero() && n >= total/10:
			from, first, spent = time.Now(), n, cpu()
		case !from.IsZero() && to.IsZero() && n >= total*9/10:
			to, last, spent = time.Now(), n, cpu()-spent
		}
		return n >= total
	})
	if err != nil {
		return 0, 0, err
	}
	if n := float64(last - first); n > 0 {
		rate, cpuPerRecord = n/to.Sub(from).Seconds(), float64(spent)/n
	}
	return rate, cpuPerRecord, r.remove(ctx, name)
}

// fill publishes typed frames of records of 100 B, spread over the partitions.
func fill(ctx context.Context, r *rig, topic jetstream.Topic, records int, key func(*rand.Rand, int) int64) error {
	p, err := jetstream.NewPublisher(ctx, r.conn, topic, jetstream.PublisherOptions{})
	if err != nil {
		return err
	}
	defer p.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	b := frame.NewBuilder(schema.MustParse(flowSchema))
	var enc frame.StoredEncoder
	var msg []byte
	pad := make([]byte, padBytes)
	for i := 0; i < records; {
		b.Reset()
		for range min(frameRows, records-i) {
			for j := range pad {
				pad[j] = 'a' + byte(rng.IntN(26))
			}
			b.Column(0).AppendInt64(key(rng, i))
			b.Column(1).AppendInt64(int64(i))
			b.Column(2).AppendBytes(pad)
			i++
		}
		if msg, err = enc.Append(msg[:0], &frame.Stored{Schema: b.Schema(), Rows: b.Rows(), Columns: b.Columns()}, frame.CodecNone); err != nil {
			return err
		}
		if _, err := p.PublishFrame(ctx, rng.IntN(topic.Partitions), msg); err != nil {
			return err
		}
	}
	return p.Flush(ctx)
}
