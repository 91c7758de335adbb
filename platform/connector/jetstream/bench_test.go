package jetstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"testing"

	"github.com/weirstream/weir/platform/connector"
)

// report gives the rate in records a second.
func report(b *testing.B, records int) {
	b.ReportMetric(float64(records)/b.Elapsed().Seconds()/1e6, "Mrec/s")
}

func BenchmarkPublish(b *testing.B) {
	value := make([]byte, 92)
	for i := range value {
		value[i] = byte('a' + i%26)
	}
	keys := make([][]byte, 1000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key-%04d", i)
	}
	for _, c := range []struct {
		name   string
		layout Layout
		how    Compression
		n      int // records an iteration
	}{{"frames-plain", Frames, Uncompressed, 100_000}, {"frames", Frames, WherePaying, 100_000}, {"records", Records, WherePaying, 2000}} {
		b.Run(c.name, func(b *testing.B) {
			nc := serve(b)
			topic := create(b, nc, Topic{Name: "t", Layout: c.layout})
			p, err := NewPublisher(b.Context(), nc, topic, PublisherOptions{Compression: c.how})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			ctx := context.Background()
			total := 0
			batch := make([]Record, 100)
			b.ResetTimer()
			for b.Loop() {
				for i := range c.n / len(batch) {
					for j := range batch {
						batch[j] = Record{Key: keys[(i*len(batch)+j)%1000], Value: value}
					}
					if err := p.PublishAll(ctx, batch); err != nil {
						b.Fatal(err)
					}
				}
				total += c.n
			}
			if err := p.Flush(ctx); err != nil {
				b.Fatal(err)
			}
			report(b, total)
		})
	}
}

// BenchmarkConsume reads two million records of 100 B in frames of typed columns.
func BenchmarkConsume(b *testing.B) {
	for _, layout := range []Layout{Frames, Records} {
		b.Run(string(layout), func(b *testing.B) {
			nc := serve(b)
			topic := create(b, nc, Topic{Name: "t", Layout: layout})
			p, err := NewPublisher(b.Context(), nc, topic, PublisherOptions{})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			n := 2_000_000
			if layout == Records {
				n = 60_000
			}
			value := make([]byte, 92)
			for i := range n {
				if err := p.Publish(b.Context(), Record{Key: fmt.Appendf(nil, "key-%04d", i%1000), Value: value, TimeMicros: 1}); err != nil {
					b.Fatal(err)
				}
			}
			if err := p.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			src := sourceOf(b, nc, SourceConfig{Topic: topic, Bound: connector.UntilEnd})
			total := 0
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				var wg sync.WaitGroup
				var mu sync.Mutex
				for part := range topic.Partitions {
					wg.Go(func() {
						r, err := src.Open(b.Context(), connector.Split{ID: strconv.Itoa(part)}, nil)
						if err != nil {
							b.Error(err)
							return
						}
						defer r.Close()
						rows := 0
						for {
							f, err := r.Next(b.Context())
							if errors.Is(err, io.EOF) {
								break
							}
							if err != nil {
								b.Error(err)
								break
							}
							if f.Batch != nil {
								rows += f.Batch.Len()
								f.Batch.Release()
							}
						}
						mu.Lock()
						total += rows
						mu.Unlock()
					})
				}
				wg.Wait()
			}
			report(b, total)
		})
	}
}

// BenchmarkSink prepares and publishes epochs of 200,000 rows.
func BenchmarkSink(b *testing.B) {
	nc := serve(b)
	topic := create(b, nc, Topic{Name: "t"})
	sink := sinkOf(b, nc, SinkConfig{Topic: topic, Key: "key"})
	w := writerOf(b, sink, 0)
	rows := makeRows(0, 4000, 1000)
	defer rows.Release()
	checkpoint, total := uint64(0), 0
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		for range 50 {
			if err := w.Write(rows); err != nil {
				b.Fatal(err)
			}
		}
		checkpoint++
		txn := prepare(b, w, checkpoint)
		publish(b, sink, txn)
		w.Recycle(txn)
		total += 200_000
	}
	report(b, total)
}
