package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

// fullDisk gives a folder that can be filled up and emptied again. As root it is
// a small file system of its own; otherwise the files of a pipeline are blocked.
func fullDisk(t *testing.T, blobs string) (fill func(uid string) error, free func(uid string) error, says string) {
	t.Helper()
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", blobs, "tmpfs", 0, "size=8m"); err != nil {
		return block(blobs)
	}
	t.Cleanup(func() { unmount(t, blobs) })
	filler := filepath.Join(blobs, "filler")
	return func(string) error { return fillUp(filler) }, func(string) error { return os.Remove(filler) }, "space"
}

func unmount(t *testing.T, dir string) {
	if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
		t.Error(err)
	}
}

// fillUp writes a file until there is no space left.
func fillUp(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	for chunk := make([]byte, 4096); err == nil; {
		_, err = f.Write(chunk)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return f.Close()
}

// The log's own disk is full: JetStream marks streams and refuses what comes,
// until it is started again. Weir does that, beside everything that runs.
func TestTopicsOnAFullDiskTakeRecordsAgainWithoutARestart(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(Setup{Dir: dir}.DataDir(), "nats")
	if err := os.MkdirAll(log, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", log, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("a small file system needs root: %v", err)
	}
	t.Cleanup(func() { unmount(t, log) })
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
	w.apply(t, keptPipeline, 2)
	load := NewWorkload(14, 20_000, 500, 4)
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
	filler := filepath.Join(log, "filler")
	if err := fillUp(filler); err != nil {
		t.Fatal(err)
	}
	feed.Allow(1)
	refuses := func(s *weirv1.PipelineStatus) bool {
		return slices.ContainsFunc(s.Warnings, func(w string) bool { return strings.Contains(w, "streams refuse messages") })
	}
	w.waitFor(t, "kept", "to say that streams refuse messages", refuses)
	report, err := w.setup.Weir(t.Context(), nil, "doctor")
	if err == nil || !strings.Contains(report, "no space left") || !strings.Contains(report, "no restart is needed") {
		t.Errorf("the doctor says %q, %v", report, err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := feed.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := Follow(within(t, 90*time.Second), w.nc, out, at, 60*time.Second, first.Visit, first.Done); err != nil {
		t.Fatal(err)
	}
	if err := first.Verdict(nil); err != nil {
		t.Error(err)
	}
	s := w.waitFor(t, "kept", "to be well again", func(s *weirv1.PipelineStatus) bool { return !refuses(s) && s.Pipeline.State == "running" })
	t.Logf("restarts of the job: %d", s.Pipeline.Restarts)
	select {
	case <-w.process.Ended():
		t.Error("the process ended")
	default:
	}
}
