package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/connector/jetstream"
)

const (
	latencyRate    = 20_000
	latencySeconds = 15
	warmUp         = 3 * time.Second
)

// runLatency publishes records whose key is new and whose value is the time, so
// that the sum that comes out tells when the record went in.
func runLatency(ctx context.Context, _ *config) error {
	r, err := newRig(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.push(ctx, "count_sum", "sdk/c/bench/count_sum.wasm"); err != nil {
		return err
	}
	for _, guarantee := range []string{"at_least_once", "exactly_once"} {
		times, err := latency(ctx, r, guarantee)
		if err != nil {
			return err
		}
		slices.Sort(times)
		fmt.Printf("%-14s p50 %7.1f ms  p99 %7.1f ms  max %7.1f ms  of %d records at %d/s, checkpoint every second\n",
			guarantee, quantile(times, 0.5), quantile(times, 0.99), times[len(times)-1], len(times), latencyRate)
	}
	return nil
}

func latency(ctx context.Context, r *rig, guarantee string) ([]float64, error) {
	name := "latency-" + strconv.Itoa(len(guarantee))
	in, err := r.topic(ctx, name+"-in", weirv1.Layout_LAYOUT_FRAMES)
	if err != nil {
		return nil, err
	}
	out, err := r.topic(ctx, name, weirv1.Layout_LAYOUT_FRAMES)
	if err != nil {
		return nil, err
	}
	err = r.apply(ctx, fmt.Sprintf(`
pipeline: %[1]s
parallelism: 2
checkpoint: {interval: 1s}
sources:
  in: {topic: %[1]s-in, format: columns, columns: "%[2]s"}
operators:
  op: {module: count_sum, function: count_sum, input: in}
sinks:
  out: {topic: %[1]s, input: op, format: columns, key: key, guarantee: %[3]s}
`, name, flowSchema, guarantee))
	if err != nil {
		return nil, err
	}
	if err := r.until(ctx, name, func(s *weirv1.PipelineStatus) bool { return s.Pipeline.State == "running" }); err != nil {
		return nil, err
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	l := &arrivals{begin: time.Now().Add(warmUp)}
	if err := l.read(reading, r, out); err != nil {
		return nil, err
	}
	if err := trickle(ctx, r, in); err != nil {
		return nil, err
	}
	select {
	case <-time.After(2500 * time.Millisecond): // the last epoch
	case <-ctx.Done():
	}
	stop()
	l.wait.Wait()
	return l.times, r.remove(ctx, name)
}

// trickle publishes a frame to each partition every few milliseconds, as a client
// with a linger of that time does.
func trickle(ctx context.Context, r *rig, topic jetstream.Topic) error {
	const every = 5 * time.Millisecond
	p, err := jetstream.NewPublisher(ctx, r.conn, topic, jetstream.PublisherOptions{})
	if err != nil {
		return err
	}
	defer p.Close()
	b := frame.NewBuilder(schema.MustParse(flowSchema))
	var enc frame.StoredEncoder
	pad := make([]byte, padBytes)
	tick := time.NewTicker(every)
	defer tick.Stop()
	start, sent := time.Now(), 0
	for sent < latencyRate*latencySeconds {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		due := int(time.Since(start).Seconds() * latencyRate)
		for partition := range topic.Partitions {
			share := (due - sent) / (topic.Partitions - partition)
			if share == 0 {
				continue
			}
			b.Reset()
			now := time.Now().UnixMicro()
			for range share {
				b.Column(0).AppendInt64(int64(sent))
				b.Column(1).AppendInt64(now)
				b.Column(2).AppendBytes(pad)
				sent++
			}
			msg, err := enc.Append(nil, &frame.Stored{Schema: b.Schema(), Rows: b.Rows(), Columns: b.Columns()}, frame.CodecNone)
			if err != nil {
				return err
			}
			if _, err := p.PublishFrame(ctx, partition, msg); err != nil {
				return err
			}
		}
	}
	return p.Flush(ctx)
}

// arrivals collects how old records are when they can be read.
type arrivals struct {
	begin time.Time
	wait  sync.WaitGroup

	mu    sync.Mutex // guards times
	times []float64
}

func (l *arrivals) read(ctx context.Context, r *rig, topic jetstream.Topic) error {
	src, err := jetstream.NewSource(r.conn, jetstream.SourceConfig{Topic: topic, Schema: schema.MustParse("key:int64,count:int64,sum:int64")})
	if err != nil {
		return err
	}
	splits, err := src.Splits(ctx)
	if err != nil {
		return err
	}
	for _, split := range splits {
		reader, err := src.Open(ctx, split, nil)
		if err != nil {
			return err
		}
		l.wait.Go(func() {
			defer reader.Close()
			for {
				fetch, err := reader.Next(ctx)
				if err != nil {
					return
				}
				l.note(fetch)
			}
		})
	}
	return nil
}

func (l *arrivals) note(f connector.Fetch) {
	if f.Batch == nil {
		return
	}
	defer f.Batch.Release()
	now := time.Now()
	if now.Before(l.begin) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, sent := range f.Batch.Columns[2].Int64s() {
		l.times = append(l.times, float64(now.UnixMicro()-sent)/1000)
	}
}
