package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/server"
)

func TestAnAtLeastOnceSinkShowsRowsAtOnceAndLosesNone(t *testing.T) {
	w := alone(t)
	if err := w.client.PushModule(t.Context(), "guest", built.guest); err != nil {
		t.Fatal(err)
	}
	in, out := w.topic(t, "least-in", 4), w.topic(t, "least-out", 4)
	// The interval is longer than the test: what shows does not wait for a checkpoint.
	w.apply(t, `pipeline: least
module: guest
parallelism: 2
checkpoint: {interval: %s}
sources:
  in: {topic: least-in, format: columns, columns: "%s"}
operators:
  chaos: {function: chaos, input: in}
sinks:
  out: {topic: least-out, input: chaos, format: columns, key: key, guarantee: at_least_once}
`, "5m", StepColumns)
	load := NewWorkload(5, 20_000, 400, 4)
	feed, err := StartFeed(t.Context(), w.nc, in, "least-in", load)
	if err != nil {
		t.Fatal(err)
	}
	reached := map[string]map[int64]int64{} // key -> seq -> sum
	rows := 0
	visit := func(m Message) error {
		for r := range m.Rows() {
			c := m.Frame.Columns
			name, seq, sum := string(c[0].BytesAt(r)), c[1].IntAt(r), c[2].IntAt(r)
			if reached[name] == nil {
				reached[name] = map[int64]int64{}
			}
			if before, again := reached[name][seq]; again && before != sum {
				return fmt.Errorf("key %s at %d has the sums %d and %d", name, seq, before, sum)
			} else if !again {
				rows++
			}
			reached[name][seq] = sum
		}
		return nil
	}
	feed.Allow(0.5)
	w.follow(t, out, visit, func() bool { return rows > load.Records/3 })
	w.process.Kill()
	if w.process, err = w.setup.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	feed.Allow(1)
	if err := feed.Wait(); err != nil {
		t.Fatal(err)
	}
	clear(reached)
	rows = 0
	w.follow(t, out, visit, func() bool { return rows >= load.Records })
	for k, n := range load.counts {
		sum := int64(0)
		for q := 1; q <= int(n); q++ {
			sum += load.value(k, q)
			if got := reached[KeyName(k)][int64(q)]; got != sum {
				t.Fatalf("key %s at %d has the sum %d, the model %d", KeyName(k), q, got, sum)
			}
		}
	}
}

// The rule that nothing lives in a guest between two calls: an instance that is
// replaced at any time changes nothing that shows.
func TestInstancesReplacedAtRandomBetweenCallsGiveTheSameOutput(t *testing.T) {
	nats, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.Start(t.Context(), server.Options{
		DataDir: t.TempDir(), Listen: "127.0.0.1:0", NATSListen: nats, ResetInstances: 0.2, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	nc, err := DialNATS("nats://" + nats)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	w := &world{client: NewClient(s.URL()), nc: nc}
	if err := w.client.PushModule(t.Context(), "guest", built.guest); err != nil {
		t.Fatal(err)
	}
	in := w.topic(t, "steps", 4)
	reached, totals := w.topic(t, "reached", 4), w.topic(t, "totals", 4)
	w.topic(t, "violations", 1)
	load := NewWorkload(3, 10_000, 300, 4)
	w.feedAll(t, in, "steps", load)
	w.apply(t, "%s", pipelineFile(2, 100*time.Millisecond, ""))
	first, second := NewFirstStage(load), NewSecondStage(load)
	w.follow(t, reached, first.Visit, first.Done)
	w.follow(t, totals, second.Visit, second.Done)
	if err := first.Verdict(nil); err != nil {
		t.Error(err)
	}
	if err := second.Verdict(); err != nil {
		t.Error(err)
	}
}

// waitFor waits until a status is as wanted.
func (w *world) waitFor(t *testing.T, pipeline, what string, wanted func(*weirv1.PipelineStatus) bool) *weirv1.PipelineStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := w.client.Await(ctx, pipeline, what, wanted)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
