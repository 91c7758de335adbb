package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/connector/jetstream"
)

const (
	rescaleRate = 200_000 // records a second while it is rescaled
	rescalePart = 20_000  // published at once
)

// rescalePipeline counts by key and writes often.
const rescalePipeline = `
pipeline: wide
parallelism: 2
checkpoint: {interval: 200ms}
sources:
  in: {topic: in, format: columns, columns: "%s"}
operators:
  op: {module: count_sum, function: count_sum, input: in}
sinks:
  out: {topic: wide, input: op, format: columns, key: key}
`

// runRescale measures how long nothing comes out when a pipeline is rescaled in
// mid-stream, against the longest silence between two epochs of the same run.
func runRescale(ctx context.Context, c *config) error {
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
	keys := c.records // each once, so that the state is there
	if err := fill(ctx, r, in, keys, func(_ *rand.Rand, i int) int64 { return int64(i) }); err != nil {
		return err
	}
	if _, err := r.topic(ctx, "wide", weirv1.Layout_LAYOUT_FRAMES); err != nil {
		return err
	}
	var last atomic.Int64 // when output came last
	silences := make(chan time.Duration, 1<<16)
	sub, err := r.conn.Subscribe("weir.t.default.wide.>", func(*nats.Msg) {
		now := time.Now().UnixNano()
		if before := last.Swap(now); before != 0 {
			select {
			case silences <- time.Duration(now - before):
			default: // nobody looks at the time
			}
		}
	})
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection is closed next
	if err := r.apply(ctx, fmt.Sprintf(rescalePipeline, flowSchema)); err != nil {
		return err
	}
	if err := r.until(ctx, "wide", func(s *weirv1.PipelineStatus) bool { return taken(s, "sink.out") >= uint64(keys) }); err != nil {
		return err
	}
	feeding, stop := context.WithCancel(ctx)
	fed := make(chan error, 1)
	go func() { fed <- pour(feeding, r, in, keys) }()
	err = rescales(ctx, r, c, silences)
	stop()
	<-fed // it ends by the stop
	return err
}

// pour publishes at a steady rate until ctx ends.
func pour(ctx context.Context, r *rig, in jetstream.Topic, keys int) error {
	tick := time.NewTicker(time.Second * rescalePart / rescaleRate)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := fill(ctx, r, in, rescalePart, func(rng *rand.Rand, _ int) int64 { return rng.Int64N(int64(keys)) }); err != nil {
			return err
		}
	}
}

// rescales goes from 2 to 5 to 3 and back, and takes the longest silence of each.
func rescales(ctx context.Context, r *rig, c *config, silences chan time.Duration) error {
	const settle = 3 * time.Second
	var pauses, usual []float64
	for range c.rounds {
		for _, to := range []uint32{5, 3, 2} {
			usual = append(usual, longest(ctx, silences, settle))
			m, err := r.pipelines.RescalePipeline(ctx, connect.NewRequest(&weirv1.RescalePipelineRequest{Name: "wide", Parallelism: to}))
			if err != nil {
				return err
			}
			revision := m.Msg.Pipeline.Revision
			err = r.until(ctx, "wide", func(s *weirv1.PipelineStatus) bool {
				return s.Pipeline.RunningRevision == revision && s.Pipeline.State == "running"
			})
			if err != nil {
				return err
			}
			pauses = append(pauses, longest(ctx, silences, settle))
		}
	}
	var state, bytes uint64
	err := r.until(ctx, "wide", func(s *weirv1.PipelineStatus) bool {
		for _, o := range s.Operators {
			state, bytes = max(state, o.StateKeys), max(bytes, o.StateBytes)
		}
		return state > 0
	})
	slices.Sort(pauses)
	slices.Sort(usual)
	fmt.Printf("%d keys, %d MB of state, %d records/s: from the last output to the next p50 %.2f s, worst %.2f s of %d rescales; without one the longest silence is p50 %.2f s\n",
		state, bytes>>20, rescaleRate, quantile(pauses, 0.5), pauses[len(pauses)-1], len(pauses), quantile(usual, 0.5))
	return err
}

// longest drains what was noted and waits for a while for more.
func longest(ctx context.Context, silences chan time.Duration, wait time.Duration) float64 {
	most := time.Duration(0)
	end := time.After(wait)
	for {
		select {
		case d := <-silences:
			most = max(most, d)
		case <-end:
			return most.Seconds()
		case <-ctx.Done():
			return most.Seconds()
		}
	}
}
