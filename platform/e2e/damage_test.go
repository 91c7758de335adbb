package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

// A file of a checkpoint whose output is visible must not be passed over: going
// back to an older one would show output twice.
func TestADamagedFileOfACheckpointStopsTheJobAndIsNamed(t *testing.T) {
	w := alone(t)
	if err := w.client.PushModule(t.Context(), "count", built.count); err != nil {
		t.Fatal(err)
	}
	in, out := w.topic(t, "hurt-in", 4), w.topic(t, "hurt-out", 4)
	uid := w.apply(t, countPipeline, "hurt")
	const keys = 20_000 // so much state that it is not inline
	if err := newCounts(w.nc, in, "hurt-in", 4).feed(t.Context(), keys, 1); err != nil {
		t.Fatal(err)
	}
	rows := 0
	w.follow(t, out, func(m Message) error { rows += m.Rows(); return nil }, func() bool { return rows >= keys })
	w.waitFor(t, "hurt", "to have published", func(s *weirv1.PipelineStatus) bool { return s.LastCheckpoint.GetPublished() })
	w.process.Kill()
	object, offset := newestSegment(t, w.setup.BlobDir(), uid, "sums")
	name := filepath.Join(w.setup.BlobDir(), filepath.FromSlash(object))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[offset] ^= 0x55
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if w.process, err = w.setup.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := w.state(t, "hurt", "failed")
	if !strings.Contains(s.Pipeline.Error, object) {
		t.Errorf("failed with %q, want the file %s in it", s.Pipeline.Error, object)
	}
	t.Logf("the error says: %s", s.Pipeline.Error)
}

// newestSegment gives a place in the middle of a segment of the newest checkpoint.
func newestSegment(t *testing.T, blobs, uid, operator string) (object string, offset int64) {
	t.Helper()
	f, err := OpenFiles(t.Context(), blobs, uid)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	newest := slices.Max(slices.Collect(maps.Keys(f.manifests)))
	for _, s := range f.manifests[newest].Operator(operator).Segments {
		if s.Inline == nil {
			return s.Object, s.Offset + (s.Length-s.TailBytes)/2
		}
	}
	t.Fatalf("checkpoint %d has no segment in a file", newest)
	return "", 0
}
