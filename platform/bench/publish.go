package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/connector/jetstream"
)

func runPublish(ctx context.Context, c *config) error {
	r, err := newRig(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	value := make([]byte, 100)
	for i := range value {
		value[i] = 'a' + byte(i%26)
	}
	for _, l := range []struct {
		layout  weirv1.Layout
		what    string
		records int
	}{
		{weirv1.Layout_LAYOUT_FRAMES, "in frames", c.records},
		{weirv1.Layout_LAYOUT_RECORDS, "one a message", c.records / 16},
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
		fmt.Printf("%-14s %9.0f records/s of 100 B (median of %d)\n", l.what, median(rates), c.rounds)
	}
	return nil
}
