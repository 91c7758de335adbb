package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/metrics"
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

const cOperator = `{module: count_sum, function: count_sum, input: in}`

// operators are the same function, key and state: count and sum a key.
var operators = []struct{ name, yaml string }{
	{"native", `{kind: aggregate, input: in, key: [key], config: {aggregates: [{fn: count, as: count}, {fn: sum, column: value, as: sum}]}}`},
	{"c", cOperator},
	{"go", `{module: bench, function: count_sum, input: in}`},
}

func runFlow(ctx context.Context, c *config) error {
	r, err := newRig(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	if err := prepare(ctx, r, c); err != nil {
		return err
	}
	rates, cpus, objects := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	for round := range c.rounds {
		for _, op := range operators {
			if c.operator != "" && c.operator != op.name {
				continue
			}
			name := fmt.Sprintf("flow-%s-%d", op.name, round)
			m, err := flow(ctx, r, c, plan{name: name, operator: op.yaml})
			if err != nil {
				return err
			}
			fmt.Printf("  round %d  %-7s %8.0f records/s  %6.0f ns of CPU, %.4f objects of %.1f B allocated a record\n", round+1, op.name, m.rate, m.cpuNs, m.objects, m.bytes/m.objects)
			rates[op.name] = append(rates[op.name], m.rate)
			cpus[op.name] = append(cpus[op.name], m.cpuNs)
			objects[op.name] = append(objects[op.name], m.objects)
		}
	}
	for _, op := range operators {
		if len(rates[op.name]) == 0 {
			continue
		}
		base := ""
		if native := median(rates["native"]); native > 0 {
			base = fmt.Sprintf(", %.2f of native", median(rates[op.name])/native)
		}
		fmt.Printf("%-7s %8.0f records/s%s, %.0f ns of CPU a record, %.4f allocations (medians of %d)\n",
			op.name, median(rates[op.name]), base, median(cpus[op.name]), median(objects[op.name]), c.rounds)
	}
	return nil
}

// measured is what a flow came to in its middle; all but the rate are a record's.
type measured struct {
	rate           float64 // records a second
	cpuNs          float64
	objects, bytes float64 // allocated
}

// odometer is how far the process has come.
type odometer struct {
	at             time.Time
	cpu            time.Duration
	objects, bytes uint64
}

func readOdometer() odometer {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return odometer{time.Now(), cpu(), samples[0].Value.Uint64(), samples[1].Value.Uint64()}
}

func (from odometer) to(to odometer, records uint64) measured {
	n := float64(records)
	return measured{
		rate: n / to.at.Sub(from.at).Seconds(), cpuNs: float64(to.cpu-from.cpu) / n,
		objects: float64(to.objects-from.objects) / n, bytes: float64(to.bytes-from.bytes) / n,
	}
}

// flow runs a pipeline over everything in the topic `in` and measures the middle
// of it: from a tenth to nine tenths.
func flow(ctx context.Context, r *rig, c *config, p plan) (m measured, err error) {
	name := p.name
	if _, err := r.topic(ctx, name, weirv1.Layout_LAYOUT_FRAMES); err != nil {
		return m, err
	}
	if c.profile != "" {
		f, err := os.Create(c.profile + "." + name)
		if err != nil {
			return m, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return m, err
		}
		defer pprof.StopCPUProfile()
	}
	if err := r.apply(ctx, p.file()); err != nil {
		return m, err
	}
	total := uint64(c.records)
	var from, to odometer
	var first, last uint64
	err = r.until(ctx, name, func(s *weirv1.PipelineStatus) bool {
		n := taken(s, "sink.out")
		switch {
		case from.at.IsZero() && n >= total/10:
			from, first = readOdometer(), n
		case !from.at.IsZero() && to.at.IsZero() && n >= total*9/10:
			to, last = readOdometer(), n
		}
		return n >= total
	})
	if err != nil {
		return m, err
	}
	if last > first {
		m = from.to(to, last-first)
	}
	return m, r.remove(ctx, name)
}

// plan is a pipeline that reads the topic in and writes the topic of its own name.
// What is empty: a checkpoint every second, typed columns, exactly once.
type plan struct{ name, operator, interval, format, guarantee string }

func (p plan) file() string {
	return fmt.Sprintf(`
pipeline: %[1]s
parallelism: 2
checkpoint: {interval: %[3]s}
sources:
  in: {topic: in, format: columns, columns: "%[4]s"}
operators:
  op: %[2]s
sinks:
  out: {topic: %[1]s, input: op, format: %[5]s, key: key, guarantee: %[6]s}
`, p.name, p.operator, cmp.Or(p.interval, "1s"), flowSchema, cmp.Or(p.format, "columns"), cmp.Or(p.guarantee, "exactly_once"))
}

func uniformly(rng *rand.Rand, _ int) int64 { return rng.Int64N(flowKeys) }

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
