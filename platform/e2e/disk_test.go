package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

// block puts a file where a pipeline's files want a folder, as the next best to a full disk.
func block(blobs string) (fill func(uid string) error, free func(uid string) error, says string) {
	aside := func(uid string) string { return filepath.Join(filepath.Dir(blobs), "aside-"+uid) }
	return func(uid string) error {
			folder := filepath.Join(blobs, uid)
			return errors.Join(os.Rename(folder, aside(uid)), os.WriteFile(folder, nil, 0o600))
		}, func(uid string) error {
			folder := filepath.Join(blobs, uid)
			return errors.Join(os.Remove(folder), os.Rename(aside(uid), folder))
		}, ""
}

func TestAFullDiskStopsCheckpointsAndNotTheProcess(t *testing.T) {
	dir := t.TempDir()
	fill, free, says := fullDisk(t, Setup{Dir: dir}.BlobDir())
	w, err := open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.nc.Close()
		w.process.Kill()
		w.logOnFailure(t)
	})
	if err := w.client.PushModule(t.Context(), "guest", built.guest); err != nil {
		t.Fatal(err)
	}
	in, out := w.topic(t, "kept-in", 4), w.topic(t, "kept-out", 4)
	uid := w.apply(t, keptPipeline, 2)
	load := NewWorkload(13, 20_000, 500, 4)
	first := NewFirstStage(load)
	feed, err := StartFeed(t.Context(), w.nc, in, "kept-in", load)
	if err != nil {
		t.Fatal(err)
	}
	feed.Allow(0.3)
	at, err := Follow(within(t, 30*time.Second), w.nc, out, 0, 20*time.Second, first.Visit, func() bool { return first.Rows > 3000 })
	if err != nil {
		t.Fatal(err)
	}
	if err := fill(uid); err != nil {
		t.Fatal(err)
	}
	feed.Allow(0.6)
	s := w.waitFor(t, "kept", "to say that no checkpoint can be written", func(s *weirv1.PipelineStatus) bool { return s.CheckpointProblem != "" })
	if !strings.Contains(s.CheckpointProblem, says) {
		t.Errorf("the status says %q; want %q in it", s.CheckpointProblem, says)
	}
	t.Logf("the status says: %s", s.CheckpointProblem)
	stuck := s.LastCheckpoint.GetId()
	select {
	case <-w.process.Ended():
		t.Fatal("the process ended")
	case <-time.After(time.Second): // long enough for ten checkpoints
	}
	s, err = w.client.Status(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	if id := s.LastCheckpoint.GetId(); id > stuck {
		t.Errorf("checkpoint %d was committed on a full disk", id)
	}
	if err := free(uid); err != nil {
		t.Fatal(err)
	}
	feed.Allow(1)
	if err := feed.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := Follow(within(t, 60*time.Second), w.nc, out, at, 40*time.Second, first.Visit, first.Done); err != nil {
		t.Fatal(err)
	}
	if err := first.Verdict(nil); err != nil {
		t.Error(err)
	}
	s = w.waitFor(t, "kept", "to be well again", func(s *weirv1.PipelineStatus) bool { return s.CheckpointProblem == "" && s.Pipeline.State == "running" })
	t.Logf("restarts: %d", s.Pipeline.Restarts)
}
