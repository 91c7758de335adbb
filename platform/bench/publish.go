package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/connector/jetstream"
)

func runPublish(ctx context.Context, c *config) error {
	r, err := newRig(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	if err := publishFrames(ctx, r, c); err != nil {
		return err
	}
	for _, l := range []struct {
		what    string
		layout  weirv1.Layout
		value   func(*rand.Rand, int) []byte
		records int
	}{
		{"as records, in frames, JSON", weirv1.Layout_LAYOUT_FRAMES, jsonValue, c.records},
		{"as records, in frames, noise", weirv1.Layout_LAYOUT_FRAMES, noise, c.records},
		{"as records, one a message", weirv1.Layout_LAYOUT_RECORDS, jsonValue, c.records / 16},
	} {
		rng := rand.New(rand.NewPCG(5, 6))
		records := make([]jetstream.Record, distinctRecords)
		for i := range records {
			records[i] = jetstream.Record{Key: strconv.AppendInt(nil, rng.Int64N(flowKeys), 10), Value: l.value(rng, i)}
		}
		var rates, cpus []float64
		for round := range c.rounds {
			m, err := publishRecords(ctx, r, fmt.Sprintf("publish-%d-%d-%d", l.layout, len(l.what), round), l.layout, records, l.records)
			if err != nil {
				return err
			}
			rates, cpus = append(rates, m.rate), append(cpus, m.cpuNs)
		}
		fmt.Printf("%-30s %9.0f records/s of 100 B, %6.0f ns of CPU a record (medians of %d)\n", l.what, median(rates), median(cpus), c.rounds)
	}
	return nil
}

const (
	distinctRecords = 100_000
	publishBatch    = 100 // records given to the publisher at once
	valueBytes      = 100
)

// jsonValue is a record as people send them.
func jsonValue(rng *rand.Rand, i int) []byte {
	b := fmt.Appendf(nil, `{"id":%d,"origin":"%c%c%c","delay":%d,"at":"2026-11-%02dT%02d:%02d:%02dZ","carrier":"%c%c","note":"`, i,
		'A'+rng.IntN(26), 'A'+rng.IntN(26), 'A'+rng.IntN(26), rng.IntN(90), 1+rng.IntN(30), rng.IntN(24), rng.IntN(60), rng.IntN(60), 'A'+rng.IntN(26), 'A'+rng.IntN(26))
	for len(b) < valueBytes-2 {
		b = append(b, 'a'+byte(rng.IntN(26)))
	}
	return append(b[:valueBytes-2], `"}`...)
}

// noise cannot be compressed.
func noise(rng *rand.Rand, _ int) []byte {
	b := make([]byte, valueBytes)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// publishRecords publishes n of the records, again and again, and waits until all are stored.
func publishRecords(ctx context.Context, r *rig, name string, layout weirv1.Layout, records []jetstream.Record, n int) (measured, error) {
	topic, err := r.topic(ctx, name, layout)
	if err != nil {
		return measured{}, err
	}
	p, err := jetstream.NewPublisher(ctx, r.conn, topic, jetstream.PublisherOptions{})
	if err != nil {
		return measured{}, err
	}
	defer p.Close()
	from := readOdometer()
	for sent := 0; sent < n; sent += publishBatch {
		at := sent % len(records)
		if err := p.PublishAll(ctx, records[at:at+publishBatch]); err != nil {
			return measured{}, err
		}
	}
	if err := p.Flush(ctx); err != nil {
		return measured{}, err
	}
	m := from.to(readOdometer(), uint64(n))
	return m, r.removeTopic(ctx, name)
}

// publishFrames publishes ready-made frames of typed columns, as our sinks and
// clients with columns do: what is left is the log's own cost.
func publishFrames(ctx context.Context, r *rig, c *config) error {
	var rates []float64
	for round := range c.rounds {
		topic, err := r.topic(ctx, fmt.Sprintf("publish-typed-%d", round), weirv1.Layout_LAYOUT_FRAMES)
		if err != nil {
			return err
		}
		p, err := jetstream.NewPublisher(ctx, r.conn, topic, jetstream.PublisherOptions{})
		if err != nil {
			return err
		}
		b := frame.NewBuilder(schema.MustParse(flowSchema))
		pad := make([]byte, padBytes)
		for i := range frameRows {
			b.Column(0).AppendInt64(int64(i))
			b.Column(1).AppendInt64(int64(i))
			b.Column(2).AppendBytes(pad)
		}
		var enc frame.StoredEncoder
		msg, err := enc.Append(nil, &frame.Stored{Schema: b.Schema(), Rows: b.Rows(), Columns: b.Columns()}, frame.CodecNone)
		if err != nil {
			return err
		}
		start, sent := time.Now(), 0
		for ; sent < c.records; sent += frameRows {
			if _, err := p.PublishFrame(ctx, sent/frameRows%topic.Partitions, msg); err != nil {
				return err
			}
		}
		if err := p.Flush(ctx); err != nil {
			return err
		}
		rates = append(rates, float64(sent)/time.Since(start).Seconds())
		if err := errors.Join(p.Close(), r.removeTopic(ctx, topic.Name)); err != nil {
			return err
		}
	}
	fmt.Printf("%-30s %9.0f records/s of 100 B (median of %d)\n", "ready-made frames", median(rates), c.rounds)
	return nil
}
