package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/failpoint"
)

// rescaleTopics are those that pipelineFile names.
var rescaleTopics = []string{"steps", "reached", "totals", "violations"}

// A new leader takes one checkpoint as soon as something moves; the next one is
// the rescale's last, so its failpoints are passed for the second time.
func TestARescaleLosesAndDoublesNothingThoughItsProcessIsKilledInTheMiddle(t *testing.T) {
	w := alone(t)
	if err := w.client.PushModule(t.Context(), "guest", built.guest); err != nil {
		t.Fatal(err)
	}
	streams := map[string]string{}
	for _, name := range rescaleTopics {
		streams[name] = w.topic(t, name, 8)
	}
	if _, err := w.client.Apply(t.Context(), pipelineFile(2, time.Hour, "")); err != nil {
		t.Fatal(err)
	}
	w.state(t, "chaos", "running")
	load := NewWorkload(23, 40_000, 1_000, 8)
	feed, err := StartFeed(t.Context(), w.nc, streams["steps"], "steps", load)
	if err != nil {
		t.Fatal(err)
	}
	first, second := NewFirstStage(load), NewSecondStage(load)

	steps := []struct {
		to    int
		place string // of the first process, in the rescale's last checkpoint
		deal  string // of the second one, which finds what the first one left
		share float64
	}{
		{to: 5, place: failpoint.CommitNoticed, deal: failpoint.SinkChunkPublished, share: 0.2}, // nothing is visible; then a part
		{to: 3, place: failpoint.PublishedNoticed, share: 0.4},                                  // all is visible, nobody knows
		{to: 8, place: failpoint.PartWritten, share: 0.5},                                       // prepared, not committed
		{to: 1, place: failpoint.CheckpointCommit, deal: failpoint.AttemptStarting, share: 0.7},
		{to: 5, share: 0.9}, // nobody dies
	}
	before := 0.0
	for i, step := range steps {
		last := w.state(t, "chaos", "running").LastCheckpoint.GetId()
		nth := 2
		if step.place == failpoint.PublishedNoticed {
			nth++ // it is passed for the restored checkpoint too
		}
		w.restartAt(t, Death{Place: step.place, Nth: nth})
		feed.Allow((before + step.share) / 2)
		if _, err := w.client.Await(within(t, 60*time.Second), "chaos", "to take a checkpoint", func(s *weirv1.PipelineStatus) bool {
			return s.Pipeline.State == "running" && s.LastCheckpoint.GetId() > last && s.LastCheckpoint.Published
		}); err != nil {
			t.Fatal(err)
		}
		fed := feed.Fed.Load()
		feed.Allow(step.share)
		if _, err := w.client.Await(within(t, 60*time.Second), "chaos", "to read on", func(s *weirv1.PipelineStatus) bool {
			return feed.Fed.Load() > fed && s.RecordsIn > 0
		}); err != nil {
			t.Fatal(err)
		}
		err := w.client.Rescale(t.Context(), "chaos", step.to)
		switch {
		case step.place == "" && err != nil:
			t.Fatal(err)
		case step.place == "":
		default:
			w.awaitDeath(t)
			if step.deal != "" {
				w.restartAt(t, Death{Place: step.deal, Nth: 1})
				w.awaitDeath(t)
			}
			w.restartAt(t, Death{})
		}
		if _, err := w.client.Await(within(t, 60*time.Second), "chaos", fmt.Sprintf("to run at %d", step.to), at(uint64(i)+2, step.to)); err != nil {
			t.Fatal(err)
		}
		before = step.share
	}
	feed.Allow(1)
	if err := feed.Wait(); err != nil {
		t.Fatal(err)
	}
	// Lag is of what tasks have looked at: just after a start it is nothing for a
	// moment. It has to stay nothing, through two checkpoints.
	var quiet uint64
	if _, err := w.client.Await(within(t, 60*time.Second), "chaos", "to have read all", func(s *weirv1.PipelineStatus) bool {
		if s.LagRecords != 0 || s.RecordsIn == 0 || s.Pipeline.State != "running" {
			quiet = 0
			return false
		}
		quiet++
		return quiet > uint64(2*time.Second/pollEvery)
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.client.Stop(t.Context(), "chaos"); err != nil {
		t.Fatal(err)
	}
	w.state(t, "chaos", "stopped")
	if _, err := ReadStream(t.Context(), w.nc, streams["reached"], 1, first.Visit); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadStream(t.Context(), w.nc, streams["totals"], 1, second.Visit); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(first.Verdict(nil), second.Verdict()); err != nil {
		t.Error(err)
	}
}

func at(revision uint64, parallelism int) func(*weirv1.PipelineStatus) bool {
	return func(s *weirv1.PipelineStatus) bool {
		p := s.Pipeline
		return p.State == "running" && p.RunningRevision == revision && int(p.RunningParallelism) == parallelism && int(p.Parallelism) == parallelism && p.FileParallelism == 2
	}
}

// restartAt kills the process and starts one that dies at a place, or lives.
func (w *world) restartAt(t *testing.T, d Death) {
	t.Helper()
	w.process.Kill()
	p, err := w.setup.Start(t.Context(), d.env()...)
	if err != nil && !(errors.Is(err, ErrDied) && d.Place != "") {
		t.Fatal(err)
	}
	w.process = p
	if err == nil && d.Nth != 1 {
		w.reconnected(t)
	}
}

func (w *world) awaitDeath(t *testing.T) {
	t.Helper()
	select {
	case <-w.process.Ended():
	case <-within(t, 60*time.Second).Done():
		t.Fatal("the place where the process should die was not reached")
	}
}

func TestARescaleOfOneOperatorKeepsTheOthersAndTheFileRulesAtTheNextApply(t *testing.T) {
	w := together(t)
	w.topic(t, "alone-in", 4)
	w.topic(t, "alone-out", 4)
	file := strings.NewReplacer("kept-in", "alone-in", "kept-out", "alone-out", "pipeline: kept", "pipeline: onealone").Replace(fmt.Sprintf(keptPipeline, 2))
	if _, err := w.client.Apply(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	w.state(t, "onealone", "running")
	tasks := func(want map[string]uint32) {
		t.Helper()
		if _, err := w.client.Await(within(t, 30*time.Second), "onealone", fmt.Sprintf("to have tasks %v", want), func(s *weirv1.PipelineStatus) bool {
			if s.Pipeline.State != "running" {
				return false
			}
			for _, o := range s.Operators {
				if n, ok := want[o.Operator]; ok && o.Tasks != n {
					return false
				}
			}
			return len(s.Operators) > 0
		}); err != nil {
			t.Fatal(err)
		}
	}
	weir := func(args ...string) string {
		t.Helper()
		out, err := w.setup.Weir(within(t, 60*time.Second), strings.NewReader(file), args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	weir("pipeline", "rescale", "onealone", "--parallelism", "3", "--operator", "chaos")
	tasks(map[string]uint32{"in": 2, "chaos": 3, "sink.reached": 2})
	if diff := weir("pipeline", "diff", "-"); !strings.Contains(diff, "~ operator chaos: parallelism was 3, is 2") {
		t.Errorf("the difference to the file is not shown:\n%s", diff)
	}
	if status := weir("pipeline", "status", "onealone"); !strings.Contains(status, "3 (rescaled; the file says 2)") {
		t.Errorf("the status does not tell of the file's parallelism:\n%s", status)
	}
	weir("pipeline", "rescale", "onealone", "--parallelism", "4")
	tasks(map[string]uint32{"in": 4, "chaos": 4, "sink.reached": 4})
	if _, err := w.client.Apply(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	tasks(map[string]uint32{"in": 2, "chaos": 2, "sink.reached": 2})

	for want, args := range map[string][]string{
		`needs 200 slots`:                  {"--parallelism", "200"},
		`has no operator "nothing"`:        {"--parallelism", "2", "--operator", "nothing"},
		`choose a parallelism of 1 to 256`: {"--parallelism", "257"},
	} {
		_, err := w.setup.Weir(within(t, 60*time.Second), nil, append([]string{"pipeline", "rescale", "onealone"}, args...)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", args, err, want)
		}
	}
	if err := w.client.Stop(context.WithoutCancel(t.Context()), "onealone"); err != nil {
		t.Error(err)
	}
}
