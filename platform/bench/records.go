package main

import (
	"context"
	"fmt"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

// recordsShare is which part of a flow's records this takes: a message for each
// of them, which waits for the one before it.
const recordsShare = 40

// runRecords writes JSON, one record a message, exactly once.
func runRecords(ctx context.Context, c *config) error {
	r, err := newRig(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.push(ctx, "count_sum", "sdk/c/bench/count_sum.wasm"); err != nil {
		return err
	}
	in, err := r.topic(ctx, "in", weirv1.Layout_LAYOUT_FRAMES)
	if err != nil {
		return err
	}
	records := c.records / recordsShare
	if err := fill(ctx, r, in, records, uniformly); err != nil {
		return err
	}
	var rates, cpus []float64
	for round := range c.rounds {
		m, err := published(ctx, r, fmt.Sprintf("records-%d", round), uint64(records))
		if err != nil {
			return err
		}
		rates, cpus = append(rates, m.rate), append(cpus, m.cpuNs)
	}
	fmt.Printf("exactly once, one a message  %8.0f records/s that can be read, %.0f ns of CPU a record (medians of %d)\n", median(rates), median(cpus), c.rounds)
	return nil
}

// published measures the middle of what arrives in the output topic: messages
// that are committed and published, not those that are prepared.
func published(ctx context.Context, r *rig, name string, total uint64) (m measured, err error) {
	if _, err := r.topic(ctx, name, weirv1.Layout_LAYOUT_RECORDS); err != nil {
		return m, err
	}
	if err := r.apply(ctx, (plan{name: name, operator: cOperator, format: "json"}).file()); err != nil {
		return m, err
	}
	var from odometer
	var first uint64
	err = r.until(ctx, name, func(*weirv1.PipelineStatus) bool {
		t, topicErr := r.topics.GetTopic(ctx, connect.NewRequest(&weirv1.GetTopicRequest{Name: name}))
		if topicErr != nil {
			return false // the next poll meets it again, or the pipeline fails
		}
		n := t.Msg.LastSequence
		if from.at.IsZero() && n >= total/10 {
			from, first = readOdometer(), n
		}
		if n < total*9/10 {
			return false
		}
		m = from.to(readOdometer(), n-first)
		return true
	})
	if err != nil {
		return m, err
	}
	return m, r.remove(ctx, name)
}
