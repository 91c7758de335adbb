package rpc_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/pipelines"
	"github.com/weirstream/weir/platform/server/agent"
	"github.com/weirstream/weir/raftmeta/catalog"
)

func TestGraphsAndFilesThatNothingNamesAreSweptWithAge(t *testing.T) {
	w := registered(t)
	p := w.ran(t, "sums")
	_, err := w.node.Propose(t.Context(), &catalog.CreateSavepoint{UID: p.UID, Checkpoint: p.Job.Last.ID})
	must(t, err)
	saved := p.Current
	w.stopped(t, p)
	apply := func(file string) catalog.Revision {
		t.Helper()
		call(t, w.pipeline.ApplyPipeline, &weirv1.ApplyPipelineRequest{File: file, AllowDroppedState: true})
		now, _ := w.node.View().Pipeline(p.UID)
		return now.Current
	}
	old := apply(strings.ReplaceAll(strings.ReplaceAll(sums, "  total:", "  add:"), "input: total", "input: add"))
	current := apply(strings.ReplaceAll(strings.ReplaceAll(sums, "  total:", "  plus:"), "input: total", "input: plus"))
	objects := func(r catalog.Revision) []string {
		return []string{agent.GraphName(r.Graph), "specs/" + r.Spec.String()}
	}
	there := func(names []string) bool {
		for _, name := range names {
			if _, err := w.blobs.Stat(t.Context(), name); err != nil {
				return false
			}
		}
		return true
	}
	begin := time.Now()
	for _, after := range []time.Duration{0, pipelines.OrphanAge - 1} {
		if gone, err := w.pipelines.Sweep(t.Context(), begin.Add(after)); err != nil || len(gone) > 0 {
			t.Fatalf("after %s: deleted %v, %v", after, gone, err)
		}
	}
	// What is applied again in time is named again.
	if again := apply(strings.ReplaceAll(strings.ReplaceAll(sums, "  total:", "  add:"), "input: total", "input: add")); again.Graph != old.Graph {
		t.Fatalf("another graph")
	}
	gone, err := w.pipelines.Sweep(t.Context(), begin.Add(pipelines.OrphanAge))
	if err != nil || len(gone) > 0 {
		t.Errorf("deleted %v, %v: the revision before has just lost its name", gone, err)
	}
	gone, err = w.pipelines.Sweep(t.Context(), begin.Add(2*pipelines.OrphanAge))
	slices.Sort(gone)
	if want := objects(current); err != nil || !slices.Equal(gone, want) {
		t.Errorf("deleted %v, %v, want %v", gone, err, want)
	}
	if !there(objects(old)) || !there(objects(saved)) {
		t.Error("what the pipeline or its savepoint names is gone")
	}
}
