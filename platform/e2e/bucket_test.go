package e2e

import (
	"errors"
	"strings"
	"testing"
	"time"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/storage/blob/s3test"
)

// The bucket outlives the processes, which die while a part is written, before
// its commit and after it.
func TestStateInABucketLosesAndDoublesNothingAndCostsOneDataObjectACheckpoint(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	bucket := s3test.New(t)
	w := alone(t, "--blob", bucket.URL(s3test.Bucket, "weir"))
	if err := w.client.PushModule(t.Context(), "guest", built.guest); err != nil {
		t.Fatal(err)
	}
	streams := map[string]string{}
	for _, name := range rescaleTopics {
		streams[name] = w.topic(t, name, 8)
	}
	p, err := w.client.Apply(t.Context(), pipelineFile(2, 200*time.Millisecond, ""))
	if err != nil {
		t.Fatal(err)
	}
	load := NewWorkload(29, 40_000, 5_000, 8)
	feed, err := StartFeed(t.Context(), w.nc, streams["steps"], "steps", load)
	if err != nil {
		t.Fatal(err)
	}
	for i, place := range []string{failpoint.PartWritten, failpoint.CheckpointWritten, failpoint.CheckpointCommit} {
		w.restartAt(t, Death{Place: place, Nth: 2})
		feed.Allow(0.3 * float64(i+1))
		w.awaitDeath(t)
	}
	w.restartAt(t, Death{})
	feed.Allow(1)
	if err := feed.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.Await(within(t, 60*time.Second), "chaos", "to have read all", func(s *weirv1.PipelineStatus) bool { return s.LagRecords == 0 && s.RecordsIn > 0 }); err != nil {
		t.Fatal(err)
	}
	if err := w.client.Stop(t.Context(), "chaos"); err != nil {
		t.Fatal(err)
	}
	w.state(t, "chaos", "stopped")
	first, second := NewFirstStage(load), NewSecondStage(load)
	if _, err := ReadStream(t.Context(), w.nc, streams["reached"], 1, first.Visit); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadStream(t.Context(), w.nc, streams["totals"], 1, second.Visit); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(first.Verdict(nil), second.Verdict()); err != nil {
		t.Error(err)
	}
	checkObjects(t, bucket.Requests(), p.Uid)
}

// checkObjects holds what was written: by checkpoint, at most a manifest and an
// object of data, there being one worker. A merge has an id of its own and no manifest.
func checkObjects(t *testing.T, requests []s3test.Request, uid string) {
	t.Helper()
	data, manifests := map[string]int{}, map[string]int{}
	for _, r := range requests {
		rest, ours := strings.CutPrefix(r.Key, "weir/"+uid+"/")
		if !r.Data() || !ours {
			continue
		}
		checkpoint, name, _ := strings.Cut(rest, "/")
		if strings.Contains(name, "/manifest-") {
			manifests[checkpoint]++
		} else {
			data[checkpoint]++
		}
	}
	total := 0
	for checkpoint, n := range data {
		total += n
		if n > 1 {
			t.Errorf("checkpoint %s has %d objects of data", checkpoint, n)
		}
	}
	for checkpoint, n := range manifests {
		if n > 1 {
			t.Errorf("checkpoint %s has %d manifests", checkpoint, n)
		}
	}
	if len(manifests) < 4 || total == 0 {
		t.Errorf("%d manifests and %d objects of data were seen: the test looks at nothing", len(manifests), total)
	}
	t.Logf("%d requests in all; %d checkpoints wrote %d objects of data", len(requests), len(manifests), total)
}
