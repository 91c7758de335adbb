package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

const checkpointKeys = 1_000_000

// runCheckpoint compares a flow over a million keys with a checkpoint every
// second to the same with one a minute. The sink is at-least-once: an
// exactly-once one would publish in the first flow, and in the second not before
// the measurement is over.
func runCheckpoint(ctx context.Context, c *config) error {
	for _, dirty := range []struct {
		what string
		key  func(*rand.Rand, int) int64
	}{
		{"a tenth dirty a second", func(rng *rand.Rand, i int) int64 {
			// The keys in use move on by a hundred thousand every million records.
			return (int64(i/1_000_000)*100_000 + rng.Int64N(100_000)) % checkpointKeys
		}},
		{"uniform", func(rng *rand.Rand, _ int) int64 { return rng.Int64N(checkpointKeys) }},
	} {
		if err := checkpointFlows(ctx, c, dirty.what, dirty.key); err != nil {
			return err
		}
	}
	return nil
}

func checkpointFlows(ctx context.Context, c *config, what string, key func(*rand.Rand, int) int64) error {
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
	n := 0
	if err := fill(ctx, r, in, c.records, func(rng *rand.Rand, i int) int64 {
		if i < checkpointKeys { // every key once, so that the state is there
			n++
			return int64(i)
		}
		return key(rng, i)
	}); err != nil {
		return err
	}
	rates, cpus := map[string][]float64{}, map[string][]float64{}
	var freezes []float64
	for round := range c.rounds {
		for _, interval := range []string{"60s", "1s"} {
			watching, stop := context.WithCancel(ctx)
			freeze := make(chan []float64, 1)
			go func() { freeze <- watchFreeze(watching, r.server.URL()) }()
			m, err := flow(ctx, r, c, plan{name: fmt.Sprintf("cp-%s-%d", interval, round), operator: cOperator, interval: interval, guarantee: "at_least_once"})
			stop()
			if f := <-freeze; interval == "1s" {
				freezes = append(freezes, f...)
			}
			if err != nil {
				return err
			}
			rates[interval] = append(rates[interval], m.rate)
			cpus[interval] = append(cpus[interval], m.cpuNs)
		}
	}
	if len(freezes) == 0 {
		freezes = []float64{0}
	}
	slices.Sort(freezes)
	slow, fast := median(rates["1s"]), median(rates["60s"])
	more := median(cpus["1s"]) - median(cpus["60s"])
	fmt.Printf("%-24s CPU: %.0f ns a record every second, %.0f once a minute: %.1f %% for checkpoints, %.0f ms for each\n",
		what, median(cpus["1s"]), median(cpus["60s"]), 100*more/median(cpus["1s"]), more*slow/1e6)
	fmt.Printf("%-24s %8.0f records/s every second, %8.0f once a minute: %.1f %% lost; the longest freeze of a task in a checkpoint: median %.2f ms, worst %.2f ms of %d\n", what, slow, fast, 100*(1-slow/fast), quantile(freezes, 0.5)*1000, freezes[len(freezes)-1]*1000, len(freezes))
	return nil
}

// watchFreeze follows the metric of the longest freeze until ctx ends, and gives
// the value of each checkpoint that it saw.
func watchFreeze(ctx context.Context, url string) []float64 {
	var values []float64
	last := 0.0
	for {
		select {
		case <-ctx.Done():
			return values
		case <-time.After(200 * time.Millisecond):
		}
		resp, err := http.Get(url + "/metrics")
		if err != nil {
			continue
		}
		for line := range linesOf(resp.Body) {
			if !strings.HasPrefix(line, "weir_checkpoint_freeze_seconds{") {
				continue
			}
			v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			if err == nil && v > 0 && v != last {
				last = v
				values = append(values, v)
			}
		}
		resp.Body.Close()
	}
}

// linesOf yields the lines of an answer.
func linesOf(body io.Reader) iter.Seq[string] {
	return func(yield func(string) bool) {
		for lines := bufio.NewScanner(body); lines.Scan() && yield(lines.Text()); {
		}
	}
}
