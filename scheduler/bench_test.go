package scheduler

import (
	"fmt"
	"testing"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// running makes a core with n jobs of one slot, all running on one worker.
func running(tb testing.TB, n int) (*Core, *catalog.State, int64) {
	tb.Helper()
	state, core, now := catalog.New(), New(), second
	apply := func(c catalog.Command) catalog.Result {
		next, r, err := state.Apply(c)
		if err != nil {
			tb.Fatal(err)
		}
		state = next
		return r
	}
	w := apply(&catalog.RegisterWorker{At: 1, ID: "w", Slots: catalog.MaxSlots}).Number
	for i := range n {
		uid := apply(&catalog.ApplyPipeline{At: 1, Namespace: "default", Name: fmt.Sprintf("p%d", i), Revision: catalog.Revision{
			Graph: digest(1), Spec: digest(2), Widths: []int{1}, Delivery: catalog.ExactlyOnce,
		}}).UID
		apply(&catalog.StartAttempt{At: 1, UID: uid, Attempt: 1, Revision: 1, Slots: catalog.SlotsOf([]uint64{w})})
		apply(&catalog.SetJobState{At: 1, UID: uid, Attempt: 1, To: catalog.JobRunning})
		apply(&catalog.ReserveCheckpoints{At: 1, UID: uid, Count: 1})
		apply(&catalog.CommitCheckpoints{At: 1, Items: []catalog.Commit{{UID: uid, ID: 1, Attempt: 1, Manifest: digest(3)}}})
	}
	core.Step(now, BecameLeader{Seed: 1, State: state})
	for p := range state.Pipelines("") {
		core.Step(now, TasksReady{Worker: w, UID: p.UID, Attempt: 1})
	}
	return core, state, now
}

func BenchmarkTickOverAThousandJobs(b *testing.B) {
	core, _, now := running(b, 1000)
	for b.Loop() {
		now += millisecond
		core.Step(now, WorkerSeen{Worker: 1})
		core.Step(now, Tick{})
	}
}

func BenchmarkCommitOfAHundredAmongFourThousand(b *testing.B) {
	_, state, _ := running(b, 4000)
	for i := range 4000 {
		state, _, _ = state.Apply(&catalog.ReserveCheckpoints{At: 1, UID: fmt.Sprintf("p%d", i+1), Count: catalog.MaxReservation})
	}
	id := uint64(1)
	for b.Loop() {
		id++
		var items []catalog.Commit
		for i := range 100 {
			items = append(items, catalog.Commit{UID: fmt.Sprintf("p%d", i*40+1), ID: id, Attempt: 1, Manifest: digest(id)})
		}
		next, r, err := state.Apply(&catalog.CommitCheckpoints{At: 1, Items: items})
		if err != nil || len(r.Refused) > 0 {
			b.Fatal(err, r.Refused)
		}
		state = next
	}
}
