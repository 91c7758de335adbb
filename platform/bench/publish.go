package main

import (
	"context"
	"fmt"
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
	value := make([]byte, 100)
	for i := range value {
		value[i] = 'a' + byte(i%26)
	}
	for _, l := range []struct {
		layout  weirv1.Layout
		what    string
		records int
	}{
		{weirv1.Layout_LAYOUT_FRAMES, "as records, in frames", c.records},
		{weirv1.Layout_LAYOUT_RECORDS, "as records, one a message", c.records / 16},
	} {
		var rates []float64
		for round := range c.rounds {
			topic, err := r.topic(ctx, fmt.Sprintf("publish-%d-%d", l.layout, round), l.layout)
			if err != nil {
				return err
			}
			p, err := jetstream.NewPublisher(ctx, r.conn, topic, jetstream.PublisherOptions{})
			if err != nil {
				return err
			}
			start := time.Now()
			var key []byte
			for i := range l.records {
				key = strconv.AppendInt(key[:0], int64(i%flowKeys), 10)
				if err := p.Publish(ctx, jetstream.Record{Key: key, Value: value}); err != nil {
					return err
				}
			}
			if err := p.Flush(ctx); err != nil {
				return err
			}
			rates = append(rates, float64(l.records)/time.Since(start).Seconds())
			if err := p.Close(); err != nil {
				return err
			}
		}
		fmt.Printf("%-26s %9.0f records/s of 100 B (median of %d)\n", l.what, median(rates), c.rounds)
	}
	return nil
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
		if err := p.Close(); err != nil {
			return err
		}
	}
	fmt.Printf("%-26s %9.0f records/s of 100 B (median of %d)\n", "ready-made frames", median(rates), c.rounds)
	return nil
}
