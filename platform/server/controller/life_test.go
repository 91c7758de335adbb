package controller_test

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/runtime/runtimetest"
	"github.com/weirstream/weir/platform/server/agent"
	"github.com/weirstream/weir/platform/server/controller"
	"github.com/weirstream/weir/platform/storage/blob/blobfault"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
)

func TestAJobStartsCommitsAndFinishes(t *testing.T) {
	w := runtimetest.NewWorld(3, 300)
	open(t, w, inMemory(), func(t *testing.T, h *house) {
		uid := h.apply(nil)
		h.state(uid, catalog.JobRunning)
		w.Allow(100)
		h.shown(uid)
		w.Allow(300)
		j := h.state(uid, catalog.JobFinished)
		h.exact(900)
		if j.Unpublished() || j.Attempt != 1 || j.Restarts != 0 {
			t.Errorf("%+v", j)
		}
		if r, ok := h.control.Report(uid); !ok || r.ID != j.Last.ID || r.TotalBytes == 0 {
			t.Errorf("report %+v of checkpoint %d", r, j.Last.ID)
		}
	})
}

func TestManyQuickCheckpointsKeepFewSegmentsAndNoOrphans(t *testing.T) {
	const (
		rows     = 150 // and about as many checkpoints
		segments = 8   // live at once per range of key groups, as the design has it
	)
	w := runtimetest.NewWorld(60, rows)
	open(t, w, inMemory(), func(t *testing.T, h *house) {
		uid := h.apply(func(r *catalog.Revision) { r.Retain = 2 })
		h.state(uid, catalog.JobRunning)
		last := uint64(0)
		commits := 0
		for w.Allowed() < rows {
			w.Allow(w.Allowed() + 1)
			j := h.until(uid, "another commit", func(j catalog.Job) bool { return j.Last != nil && j.Last.ID > last && !j.Unpublished() })
			if j.State != catalog.JobRunning && w.Allowed() < rows {
				t.Fatalf("the job is %s: %+v", j.State, j.Error)
			}
			commits++
			last = j.Last.ID
			if n := h.manifest(uid, *j.Last).LiveSegments(); n > segments {
				t.Fatalf("%d segments live after %d commits", n, commits)
			}
			if len(j.Retained) > 2 || commits > 3 && len(j.Retained) != 2 {
				t.Fatalf("%d checkpoints are retained, want 2", len(j.Retained))
			}
			if commits%10 == 0 {
				h.sweep(uid)
			}
		}
		if commits < 100 {
			t.Fatalf("only %d commits", commits)
		}
		j := h.state(uid, catalog.JobFinished)
		h.exact(60 * rows)
		h.sweep(uid)
		h.onlyKept(uid, j)
	})
}

// onlyKept wants every object of the pipeline to be named by a checkpoint that is kept, and there.
func (h *house) onlyKept(uid string, j catalog.Job) {
	h.t.Helper()
	var want []string
	for _, cp := range append([]catalog.Checkpoint{*j.Last}, j.Retained...) {
		want = append(want, controller.ManifestName(uid, cp))
		want = append(want, h.manifest(uid, cp).Objects()...)
	}
	slices.Sort(want)
	want = slices.Compact(want)
	if got := h.names(uid); !slices.Equal(got, want) {
		h.t.Errorf("objects are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAStoppedJobHasShownAllAndGoesOnWhereItStood(t *testing.T) {
	w := runtimetest.NewWorld(3, 1000)
	open(t, w, inMemory(), func(t *testing.T, h *house) {
		uid := h.apply(func(r *catalog.Revision) { r.IntervalMs = 3_600_000 }) // no checkpoint but the last
		h.state(uid, catalog.JobRunning)
		w.Allow(200)
		synctest.Wait()
		h.desire(uid, catalog.DesiredStopped, catalog.StartFrom{})
		j := h.state(uid, catalog.JobStopped)
		h.exact(600)
		if j.Last == nil || j.Unpublished() {
			t.Fatalf("%+v", j)
		}
		if jobs := h.agent.Worker().Jobs(); len(jobs) > 0 {
			t.Fatalf("%v still run", jobs)
		}
		h.desire(uid, catalog.DesiredRunning, catalog.StartFrom{})
		h.state(uid, catalog.JobRunning)
		w.Allow(1000)
		if j = h.state(uid, catalog.JobFinished); j.Attempt != 2 {
			t.Errorf("attempt %d", j.Attempt)
		}
		h.exact(3000)
	})
}

// usersFault is an error that only the user can mend.
type usersFault struct{}

func (usersFault) Error() string   { return "record 7 is nonsense" }
func (usersFault) UserFault() bool { return true }

func TestAUsersErrorFailsTheJobAndItResumesWhenMended(t *testing.T) {
	w := runtimetest.NewWorld(3, 100)
	open(t, w, inMemory(), func(t *testing.T, h *house) {
		uid := h.apply(nil)
		h.state(uid, catalog.JobRunning)
		w.Allow(50)
		h.shown(uid)
		w.SetBefore(func(operator.Identity, int) error { return usersFault{} })
		w.Allow(100)
		j := h.state(uid, catalog.JobFailed)
		if j.Error == nil || j.Error.Class != catalog.ErrorUser || !mentions(j.Error.Text, "operator source", "record 7 is nonsense") || j.Restarts != 0 {
			t.Fatalf("%+v, error %+v", j, j.Error)
		}
		w.SetBefore(nil)
		h.desire(uid, catalog.DesiredStopped, catalog.StartFrom{})
		h.desire(uid, catalog.DesiredRunning, catalog.StartFrom{})
		h.state(uid, catalog.JobFinished)
		h.exact(300)
	})
}

func TestABugRestartsTheJobWithGrowingPauses(t *testing.T) {
	w := runtimetest.NewWorld(3, 100)
	open(t, w, inMemory(), func(t *testing.T, h *house) {
		var at []time.Time
		w.SetBefore(func(id operator.Identity, _ int) error {
			if id.Operator == "count" && id.Task == 0 && len(at) < 5 {
				at = append(at, time.Now())
				panic("a bug")
			}
			return nil
		})
		uid := h.apply(nil)
		w.Allow(100)
		j := h.state(uid, catalog.JobFinished)
		h.exact(300)
		if j.Restarts != 5 || j.Attempt != 6 || !strings.Contains(h.log.String(), "class=bug") {
			t.Errorf("%+v", j)
		}
		for i := 2; i < len(at); i++ {
			if now, before := at[i].Sub(at[i-1]), at[i-1].Sub(at[i-2]); now < before*3/2 {
				t.Errorf("pause %d is %v after %v", i, now, before)
			}
		}
	})
}

func TestACheckpointThatCannotBeWrittenRestartsTheAttemptAfterItsTimeOut(t *testing.T) {
	store := blobfault.New(inMemory(), blobfault.Plan{})
	w := runtimetest.NewWorld(3, 3000)
	w.BatchRows = 500
	open(t, w, store, func(t *testing.T, h *house) {
		uid := h.apply(func(r *catalog.Revision) { r.TimeoutMs = 2000 })
		h.state(uid, catalog.JobRunning)
		w.Allow(10)
		h.shown(uid)
		store.Arm(blobfault.Plan{From: 1, Count: -1, Kind: blobfault.Full})
		w.Allow(2990)
		h.until(uid, "a stuck checkpoint", func(catalog.Job) bool { return mentions(h.agent.StuckText(uid), "free space") })
		h.until(uid, "a restart", func(j catalog.Job) bool { return j.Restarts > 0 })
		store.Arm(blobfault.Plan{})
		h.until(uid, "another attempt", func(j catalog.Job) bool { return j.State == catalog.JobRunning && j.Attempt > 1 })
		h.shown(uid)
		if text := h.agent.StuckText(uid); text != "" {
			t.Errorf("still stuck: %s", text)
		}
		w.Allow(3000)
		j := h.state(uid, catalog.JobFinished)
		h.exact(9000)
		h.sweep(uid)
		h.onlyKept(uid, j)
	})
}

func TestAManifestThatCannotBeWrittenOnceIsNotTheEndOfTheJob(t *testing.T) {
	for n := 1; n <= 6; n++ {
		store := blobfault.New(inMemory(), blobfault.Plan{})
		w := runtimetest.NewWorld(3, 100)
		open(t, w, store, func(t *testing.T, h *house) {
			uid := h.apply(nil)
			h.state(uid, catalog.JobRunning)
			w.Allow(50)
			h.shown(uid)
			store.Arm(blobfault.Plan{From: n, Count: 1, Kind: blobfault.Kind(n%4 + 1)})
			w.Allow(100)
			j := h.state(uid, catalog.JobFinished)
			store.Arm(blobfault.Plan{})
			h.exact(300)
			h.sweep(uid)
			h.onlyKept(uid, j)
		})
	}
}

func TestAJobResumesFromAnOlderCheckpointAndShowsAgainWhatCameAfterIt(t *testing.T) {
	w := runtimetest.NewWorld(3, 100)
	open(t, w, inMemory(), func(t *testing.T, h *house) {
		uid := h.apply(func(r *catalog.Revision) { r.Retain = 3 })
		h.state(uid, catalog.JobRunning)
		for _, n := range []int64{10, 20, 30} {
			w.Allow(n)
			h.shown(uid)
		}
		h.desire(uid, catalog.DesiredStopped, catalog.StartFrom{})
		j := h.state(uid, catalog.JobStopped)
		older := j.Retained[len(j.Retained)-1]
		if len(j.Retained) > 3 {
			t.Fatalf("%d are retained", len(j.Retained))
		}
		h.desire(uid, catalog.DesiredRunning, catalog.StartFrom{Checkpoint: older.ID, AllowDuplicates: true})
		h.state(uid, catalog.JobRunning)
		w.Allow(100)
		j = h.state(uid, catalog.JobFinished)
		if j.Last.ID <= j.Retained[0].ID || j.Unpublished() {
			t.Errorf("%+v", j)
		}
		numbers := map[[2]int64]int64{}
		copies := map[[2]int64]int{}
		for _, row := range h.visible() {
			at := [2]int64{row.Key, row.Seq}
			if n, twice := numbers[at]; twice && n != row.N {
				t.Fatalf("key %d, row %d was number %d and is %d", row.Key, row.Seq, n, row.N)
			}
			numbers[at] = row.N
			copies[at]++
		}
		if len(numbers) != 300 {
			t.Errorf("%d rows, want 300", len(numbers))
		}
		twice := 0
		for at, n := range copies {
			if n == 2 && at[1] < 30 {
				twice++
			} else if n != 1 {
				t.Fatalf("row %v came %d times", at, n)
			}
		}
		if twice == 0 {
			t.Error("nothing came again: it did not go back")
		}
	})
}

func TestAWorkerThatWasGivenUpRegistersAgainAndItsJobsGoOn(t *testing.T) {
	w := runtimetest.NewWorld(3, 100)
	open(t, w, inMemory(), func(t *testing.T, h *house) {
		uid := h.apply(nil)
		h.state(uid, catalog.JobRunning)
		w.Allow(50)
		h.shown(uid)
		before := h.session.Epoch()
		// What the leader proposes when a worker was silent for a lease: the whole
		// process was stopped for a while, for instance.
		h.propose(&catalog.RemoveWorker{At: time.Now().UnixMicro(), Epoch: before, Reason: "it was silent"})
		w.Allow(100)
		j := h.state(uid, catalog.JobFinished)
		h.exact(300)
		if j.Attempt != 2 || h.session.Epoch() == before {
			t.Errorf("attempt %d, registration %d after %d", j.Attempt, h.session.Epoch(), before)
		}
	})
}

func TestLeadershipThatIsLostAndGainedAgainLeavesTheAttemptAlone(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	w := runtimetest.NewWorld(3, 1000)
	synctest.Test(t, func(t *testing.T) {
		var peers []raftmeta.Peer
		var transports []*raft.InmemTransport
		for _, id := range []string{"a", "b", "c"} {
			_, tr := raft.NewInmemTransport(raft.ServerAddress(id))
			transports = append(transports, tr)
			peers = append(peers, raftmeta.Peer{ID: id, Address: id})
		}
		var nodes []*raftmeta.Node
		for i, p := range peers {
			for _, other := range transports {
				transports[i].Connect(other.LocalAddr(), other)
			}
			n, err := raftmeta.Open(t.Context(), raftmeta.Options{NodeID: p.ID, DataDir: dirs[i], Peers: peers, Transport: transports[i]})
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			nodes = append(nodes, n)
		}
		lead := func(want *raftmeta.Node) { // until it does
			for !want.Leads() {
				for _, n := range nodes {
					if n.Leads() {
						_ = n.HandOver(t.Context()) // refused while the next one is behind
					}
				}
				<-time.After(300 * time.Millisecond)
			}
		}
		lead(nodes[0])
		if err := nodes[0].Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		h := move(t, w, inMemory(), nodes[0])
		defer h.leave()
		uid := h.apply(nil)
		h.state(uid, catalog.JobRunning)
		for round := range int64(5) {
			w.Allow(100*round + 50)
			h.shown(uid)
			for nodes[0].Leads() {
				_ = nodes[0].HandOver(t.Context())
				<-time.After(100 * time.Millisecond)
			}
			w.Allow(100*round + 100) // shown only when it leads again
			lead(nodes[0])
			h.shown(uid)
		}
		w.Allow(1000)
		j := h.state(uid, catalog.JobFinished)
		h.exact(3000)
		if j.Attempt != 1 {
			t.Errorf("attempt %d\n%s", j.Attempt, h.log)
		}
	})
}

func TestAJobWhoseGraphIsMissingTriesAgainUntilItIsThere(t *testing.T) {
	w := runtimetest.NewWorld(3, 100)
	var broken atomic.Bool
	open(t, w, inMemory(), func(t *testing.T, h *house) {
		w.SetBefore(func(operator.Identity, int) error {
			if broken.Swap(false) {
				return errors.New("for once")
			}
			return nil
		})
		uid := h.apply(nil)
		h.state(uid, catalog.JobRunning)
		p, _ := h.node.View().Pipeline(uid)
		if err := h.blobs.Delete(t.Context(), agent.GraphName(p.Current.Graph)); err != nil {
			t.Fatal(err)
		}
		broken.Store(true)
		w.Allow(50)
		h.until(uid, "more restarts", func(j catalog.Job) bool { return j.Restarts > 3 })
		if j := h.job(uid); j.Error == nil || !mentions(j.Error.Text, "read graph") {
			t.Fatalf("%+v", j.Error)
		}
		w.Allow(100)
		h.apply(nil) // stores the graph again
		h.state(uid, catalog.JobFinished)
		h.exact(300)
	})
}
