package cluster

import (
	"testing"

	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
)

func TestALimitOfGuestsReachesWorkersThatRunTheNamespace(t *testing.T) {
	state := catalog.New()
	do := func(c catalog.Command) catalog.Result {
		t.Helper()
		next, result, err := state.Apply(c)
		if err != nil {
			t.Fatal(err)
		}
		state = next
		return result
	}
	worker := do(&catalog.RegisterWorker{ID: "a", Slots: 4}).Number
	idle := do(&catalog.RegisterWorker{ID: "b", Slots: 4}).Number
	uid := do(&catalog.ApplyPipeline{Namespace: catalog.DefaultNamespace, Name: "p", Revision: catalog.Revision{
		Graph: catalog.Digest{1}, Spec: catalog.Digest{2}, Widths: []int{1}, Delivery: catalog.ExactlyOnce}}).UID
	started := do(&catalog.StartAttempt{UID: uid, Attempt: 1, Revision: 1, Slots: catalog.SlotsOf([]uint64{worker})})
	held, none := map[string]bool{}, map[string]bool{}
	if u := assignments(raftmeta.Update{State: state, Changes: started.Changes}, worker, held); len(u.Assigned) != 1 || u.Assigned[0].Guests != (catalog.GuestLimits{}) {
		t.Fatalf("%+v", u)
	}
	limited := do(&catalog.SetLimits{Namespace: catalog.DefaultNamespace, Limits: catalog.LimitChange{GuestShare: new(500), GuestMemory: new(int64(1 << 27))}})
	move := raftmeta.Update{State: state, Changes: limited.Changes}
	if u := assignments(move, worker, held); u == nil || len(u.Assigned) != 1 || u.Assigned[0].Guests != (catalog.GuestLimits{Share: 500, MemoryBytes: 1 << 27}) {
		t.Errorf("the worker is told %+v", u)
	}
	if u := assignments(move, idle, none); u != nil {
		t.Errorf("a worker that runs nothing of it is told %+v", u)
	}
}
