package catalog

import (
	"os"
	"testing"
)

// The image was written by the first version that had savepoints. It is never
// written again: a catalog of that version must stay restorable. The
// expectations are those of the commands that made it.
func TestAnImageOfTheFirstVersionWithSavepointsIsReadForEver(t *testing.T) {
	b, err := os.ReadFile("testdata/image-v1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := DecodeImage(b)
	if err != nil {
		t.Fatal(err)
	}
	if s.Revision != 13 || s.Settings.ClusterID != "c0ffee" {
		t.Errorf("revision %d of cluster %q", s.Revision, s.Settings.ClusterID)
	}
	if topic, ok := s.Topic("team", "visits"); !ok || topic.Partitions != 4 || topic.Incarnation != 1 {
		t.Errorf("topic %+v", topic)
	}
	if m, ok := s.Module("team", "golden"); !ok || m.Latest().Digest != (Digest{1}) || m.Latest().SizeBytes != 99 {
		t.Errorf("module %+v", m)
	}
	if w, ok := s.WorkerNamed("worker-1"); !ok || w.Slots != 8 || w.Epoch != 1 {
		t.Errorf("worker %+v", w)
	}
	p, ok := s.PipelineNamed("team", "sums")
	if !ok || p.UID != "p1-ab12" || p.Current.FileSlots != 2 || p.Current.Slots() != 5 || p.Job.State != JobRunning || p.Job.Slots.Len() != 5 {
		t.Fatalf("pipeline %+v", p)
	}
	if j := p.Job; j.Last.ID != 7 || j.Last.Manifest != (Digest{5}) || j.Last.NextTimer != 77 || j.Publish != 7 || j.Reserved != (Range{1, 1000}) {
		t.Errorf("job %+v", j)
	}
	if sp, ok := s.Savepoint("s1"); !ok || sp.Pipeline != "sums" || sp.Checkpoint != 7 || sp.Manifest != (Digest{6}) || sp.Label != "kept" || sp.Cluster != "" {
		t.Errorf("savepoint %+v", sp)
	}
	if sp, ok := s.Savepoint("s2"); !ok || sp.UID != "i77" || sp.Cluster != "beef" || sp.Graph != (Digest{8}) {
		t.Errorf("imported savepoint %+v", sp)
	}
	// What comes next has numbers that were never given.
	if _, r, err := s.Apply(&RegisterWorker{ID: "worker-2", Slots: 1}); err != nil || r.Number != 2 {
		t.Errorf("the next worker: %+v, %v", r, err)
	}
}
