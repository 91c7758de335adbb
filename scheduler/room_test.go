package scheduler

import (
	"errors"
	"testing"

	"github.com/weirstream/weir/raftmeta/catalog"
)

func TestRoomCountsWhatOtherJobsHoldAndNotTheJobsOwn(t *testing.T) {
	view := catalog.New()
	do := func(c catalog.Command) catalog.Result {
		t.Helper()
		next, result, err := view.Apply(c)
		if err != nil {
			t.Fatal(err)
		}
		view = next
		return result
	}
	a := do(&catalog.RegisterWorker{ID: "a", Slots: 4}).Number
	b := do(&catalog.RegisterWorker{ID: "b", Slots: 2}).Number
	start := func(name string, slots ...uint64) string {
		uid := do(&catalog.ApplyPipeline{Namespace: catalog.DefaultNamespace, Name: name, Revision: catalog.Revision{
			Graph: catalog.Digest{1}, Spec: catalog.Digest{2}, Widths: []int{len(slots)}, Delivery: catalog.ExactlyOnce}}).UID
		do(&catalog.StartAttempt{UID: uid, Attempt: 1, Revision: 1, Slots: catalog.SlotsOf(slots)})
		return uid
	}
	own := start("own", a, b)
	start("other", a, a, a)
	if err := Room(view, own, 3); err != nil {
		t.Errorf("3 of 6 slots are another's: %v", err)
	}
	var refusal *NoSlotsError
	if err := Room(view, own, 5); !errors.As(err, &refusal) || refusal.Need != 5 || refusal.Free != 3 || refusal.Workers != 2 {
		t.Errorf("5 of the 3 that are left: %v", err)
	}
	do(&catalog.DrainWorker{Epoch: b})
	if err := Room(view, own, 2); !errors.As(err, &refusal) || refusal.Free != 1 || refusal.Workers != 1 {
		t.Errorf("a worker that leaves counted: %v", err)
	}
}
