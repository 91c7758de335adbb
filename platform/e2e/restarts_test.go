package e2e

import (
	"testing"
	"time"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func TestAnOrderlyEndOfTheServerIsNoRestartAndADeathIs(t *testing.T) {
	w := alone(t)
	if err := w.client.PushModule(t.Context(), "count", built.count); err != nil {
		t.Fatal(err)
	}
	in, _ := w.topic(t, "calm-in", 2), w.topic(t, "calm-out", 2)
	w.apply(t, countPipeline, "calm")
	if err := newCounts(w.nc, in, "calm-in", 2).feed(t.Context(), 100, 1); err != nil {
		t.Fatal(err)
	}
	runs := func(attempt uint64) *weirv1.PipelineStatus {
		return w.waitFor(t, "calm", "to run", func(s *weirv1.PipelineStatus) bool {
			return s.Pipeline.State == "running" && s.Pipeline.Attempt >= attempt && s.LastCheckpoint.GetPublished()
		})
	}
	before := runs(1)
	begin := time.Now()
	w.restart(t)
	after := runs(before.Pipeline.Attempt + 1)
	if after.Pipeline.Restarts != before.Pipeline.Restarts || after.Pipeline.Error != "" {
		t.Errorf("an orderly end made %d restarts, error %q", after.Pipeline.Restarts-before.Pipeline.Restarts, after.Pipeline.Error)
	}
	t.Logf("down and up again in %s", time.Since(begin).Round(time.Millisecond))
	w.process.Kill()
	var err error
	if w.process, err = w.setup.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if killed := runs(after.Pipeline.Attempt + 1); killed.Pipeline.Restarts != after.Pipeline.Restarts+1 {
		t.Errorf("a kill made %d restarts, want 1", killed.Pipeline.Restarts-after.Pipeline.Restarts)
	}
}
