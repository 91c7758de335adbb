package worker

import (
	"context"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// heard gives what is acknowledged; the rest of a Reporter is never called here.
type heard struct {
	Reporter
	acks chan Ack
}

func (h heard) Acknowledged(a Ack) { h.acks <- a }

// A barrier comes from another worker's task as fast as a batch does; the trigger
// of the same checkpoint comes from the leader and may be later.
func TestASnapshotThatIsTakenBeforeItsTriggerComesIsNotLost(t *testing.T) {
	stage := &jobgraph.Stage{Name: "s", Parallelism: 2, Operators: []jobgraph.Operator{{ID: "o"}}}
	h := heard{acks: make(chan Ack, 1)}
	j := &Job{options: Options{Reporter: h, Blobs: memblob.New(memblob.Options{})}, start: Start{UID: "p", Attempt: 1}}
	j.ctx, j.cancel = context.WithCancel(t.Context())
	for i := range 2 {
		j.tasks = append(j.tasks, runtime.NewTask(runtime.TaskSpec{Stage: stage, Index: i}, runtime.Services{}, (*jobEvents)(j)))
	}
	snapshot := func(task int, id uint64) {
		(*jobEvents)(j).Snapshot(runtime.TaskSnapshot{Task: j.tasks[task].ID(), Barrier: element.Barrier{ID: id}})
	}
	acknowledged := func(id uint64) {
		t.Helper()
		select {
		case a := <-h.acks:
			if a.Checkpoint != id {
				t.Fatalf("checkpoint %d is acknowledged, want %d", a.Checkpoint, id)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("checkpoint %d is not acknowledged; it waits for %v", id, j.Waiting())
		}
	}
	trigger := func(id uint64) {
		t.Helper()
		if err := j.trigger(element.Barrier{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	trigger(1)
	snapshot(0, 1)
	snapshot(1, 1)
	acknowledged(1)
	snapshot(1, 2)
	trigger(2)
	snapshot(0, 2)
	acknowledged(2)
	snapshot(0, 3)
	snapshot(1, 3)
	trigger(3)
	acknowledged(3)
	snapshot(0, 5) // given up before its trigger came
	snapshot(0, 6)
	snapshot(1, 6)
	trigger(6)
	acknowledged(6)
	snapshot(0, 6) // late ones of what is over are nobody's
	snapshot(1, 4)
	if len(j.early) != 0 || j.pending != nil {
		t.Errorf("%d early ones, pending %v", len(j.early), j.pending)
	}
	j.stop()
}
