package worker_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/platform/runtime/runtimetest"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/blobfault"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/worker"
	"github.com/weirstream/weir/platform/worker/workertest"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

var (
	columns = []string{runtimetest.Columns}
	outside = []jobgraph.Port{{Operator: -1}}
)

// graph is a source, a counter of two tasks behind it, and sinks that all read the counter.
func graph(sinks ...string) *jobgraph.Graph {
	g := &jobgraph.Graph{Version: jobgraph.FormatVersion, Stages: []jobgraph.Stage{
		{ID: 0, Name: "source", Parallelism: 1, Operators: []jobgraph.Operator{{ID: "source", Kind: runtimetest.Source, Outputs: columns}}},
		{ID: 1, Name: "count", Parallelism: 2, Operators: []jobgraph.Operator{{
			ID: "count", Kind: runtimetest.Count, Inputs: columns, Outputs: columns, Upstream: outside,
			Key: [][]string{{"key"}}, State: []jobgraph.State{{Name: "n", Kind: "value", Form: "framed", Codec: "bytes"}},
		}}},
	}, Edges: []jobgraph.Edge{{From: 0, To: 1, Partitioning: jobgraph.Hash, Key: []string{"key"}, Schema: runtimetest.Columns}}}
	for _, name := range sinks {
		id := jobgraph.StageID(len(g.Stages))
		g.Stages = append(g.Stages, jobgraph.Stage{ID: id, Name: name, Parallelism: 2, Operators: []jobgraph.Operator{{
			ID: name, Kind: runtimetest.Sink, Inputs: columns, Upstream: outside,
		}}})
		g.Edges = append(g.Edges, jobgraph.Edge{From: 1, To: id, Partitioning: jobgraph.Forward, Schema: runtimetest.Columns})
	}
	return g
}

// manyRows make a part that does not fit into an acknowledgement.
const manyRows = 6000

func TestAPartThatCannotBeWrittenIsTriedAgainAndSaysSo(t *testing.T) {
	for kind := blobfault.Fail; kind <= blobfault.Late; kind++ {
		t.Run(kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := runtimetest.NewWorld(1, 2*manyRows)
				store := blobfault.New(memblob.New(memblob.Options{}), blobfault.Plan{})
				run := workertest.New(t, graph("sink"), store, w.NewOperator)
				run.Start()
				defer run.Worker.Close()
				w.Allow(manyRows)
				synctest.Wait()
				store.Arm(blobfault.Plan{From: 1, Count: 3, Kind: kind})
				id := run.Trigger()
				<-time.After(500 * time.Millisecond)
				h := run.Heard()
				if len(h.Stuck) == 0 || !strings.Contains(h.Stuck[0], "injected fault") || run.Commit(id) {
					t.Fatalf("stuck: %q, acknowledged %v", h.Stuck, h.Acks)
				}
				if free := strings.Contains(h.Stuck[0], "free space"); free != (kind == blobfault.Full) {
					t.Errorf("stuck: %q", h.Stuck[0])
				}
				<-time.After(5 * time.Second)
				if h = run.Heard(); len(h.Stuck) != 4 || h.Stuck[3] != "" || len(h.Failures) > 0 {
					t.Fatalf("stuck: %q, failures %v", h.Stuck, h.Failures)
				}
				if !run.Commit(id) {
					t.Fatal("not acknowledged after the store works again")
				}
				// The store is good again, and so is what stands in it.
				run.Kill()
				run.Start()
				synctest.Wait()
				if n := len(visible(w, "sink")); n != manyRows {
					t.Fatalf("%d rows are visible, want %d", n, manyRows)
				}
			})
		})
	}
}

func visible(w *runtimetest.World, sink string) (all []runtimetest.Row) {
	for _, rows := range w.Visible(sink) {
		all = append(all, rows...)
	}
	return all
}

// hanging lets writes wait until it is told to go on, or their context ends.
type hanging struct {
	blob.Store
	goOn chan struct{} // closed when writes may go on
}

func (h *hanging) Put(ctx context.Context, name string, r io.Reader) (blob.Info, error) {
	select {
	case <-h.goOn:
		return h.Store.Put(ctx, name, r)
	case <-ctx.Done():
		return blob.Info{}, ctx.Err()
	}
}

func TestStoppingInTheMiddleOfAWriteDoesNotWaitForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtimetest.NewWorld(1, manyRows)
		w.Allow(manyRows)
		store := &hanging{Store: memblob.New(memblob.Options{}), goOn: make(chan struct{})}
		run := workertest.New(t, graph("sink"), store, w.NewOperator)
		run.Start()
		synctest.Wait()
		run.Trigger()
		synctest.Wait()
		begin := time.Now()
		run.Kill()
		if took := time.Since(begin); took != 0 {
			t.Errorf("took %v", took)
		}
		h := run.Heard()
		if len(h.Acks)+len(h.Stuck)+len(h.Failures) > 0 {
			t.Errorf("heard %+v", h)
		}
		if live := batch.Live(); live != 0 {
			t.Errorf("%d batches or buffers live", live)
		}
	})
}

func TestTheFailureOfOneTaskIsReportedOnceAndItsCheckpointNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtimetest.NewWorld(4, 100)
		fault := errors.New("refused")
		w.Before = func(id operator.Identity, _ int) error {
			if id.Operator == "count" {
				return fault // both tasks, one after the other
			}
			return nil
		}
		run := workertest.New(t, graph("sink"), memblob.New(memblob.Options{}), w.NewOperator)
		run.Start()
		defer run.Worker.Close()
		synctest.Wait()
		w.Allow(100)
		synctest.Wait()
		h := run.Heard()
		if len(h.Failures) != 1 || !errors.Is(h.Failures[0].Err, fault) || h.Failures[0].Attempt != 1 || h.Failures[0].Task.Stage != 1 {
			t.Fatalf("failures are %+v", h.Failures)
		}
		run.Trigger()
		<-time.After(time.Minute)
		if h = run.Heard(); len(h.Acks) > 0 {
			t.Fatalf("acknowledged %v", h.Acks)
		}
		if got := run.Worker.Job(workertest.UID).Waiting(); !slices.Contains(got, "count/0") || !slices.Contains(got, "count/1") {
			t.Errorf("it waits for %v", got)
		}
		w.SetBefore(nil)
		run.Kill()
		run.Start()
		synctest.Wait()
		if h = run.Heard(); !h.Ended || len(h.Failures) > 0 {
			t.Fatalf("the next attempt: %+v", h)
		}
	})
}

func TestACheckpointIsPublishedOnceEverySinkHasShownIt(t *testing.T) {
	for _, sinks := range [][]string{nil, {"one"}, {"one", "two", "three"}} {
		t.Run(strings.Join(sinks, " "), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := runtimetest.NewWorld(2, 100)
				run := workertest.New(t, graph(sinks...), memblob.New(memblob.Options{}), w.NewOperator)
				run.Start()
				defer run.Worker.Close()
				checkpoint := func(allow int64) {
					w.Allow(allow)
					synctest.Wait()
					id := run.Trigger()
					synctest.Wait()
					if !run.Commit(id) {
						t.Fatalf("checkpoint %d is not acknowledged", id)
					}
				}
				checkpoint(20)
				if p := run.Heard().Published; len(p) != 0 {
					t.Fatalf("published are %v before anybody was told of the commit", p)
				}
				run.Notice()
				run.Notice() // a second notice is nothing new
				synctest.Wait()
				if p := run.Heard().Published; !slices.Equal(p, []uint64{1}) {
					t.Fatalf("published are %v, want [1]", p)
				}
				checkpoint(40)
				run.Kill() // between commit and publication
				run.Start()
				synctest.Wait()
				if p := run.Heard().Published; !slices.Equal(p, []uint64{2}) {
					t.Fatalf("after the restore published are %v, want [2]", p)
				}
				for _, sink := range sinks {
					if n := len(visible(w, sink)); n != 80 {
						t.Errorf("%s shows %d rows, want 80", sink, n)
					}
				}
				run.LastSeen = true
				checkpoint(60)
				run.Notice()
				synctest.Wait()
				if p := run.Heard().Published; !slices.Equal(p, []uint64{2, 3}) {
					t.Fatalf("published are %v, want [2 3]", p)
				}
			})
		})
	}
}

func TestAnotherAttemptAndAnotherCheckpointAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtimetest.NewWorld(1, 100)
		store := &hanging{Store: memblob.New(memblob.Options{}), goOn: make(chan struct{})}
		run := workertest.New(t, graph("sink"), store, w.NewOperator)
		run.Start()
		defer run.Worker.Close()
		if err := run.Worker.Start(worker.Start{Pipeline: "test", UID: workertest.UID, Attempt: 1, Graph: graph("sink")}); err == nil {
			t.Error("the same attempt started twice")
		}
		err := run.Worker.Trigger(workertest.UID, element.Barrier{ID: 1, Attempt: 2})
		if !errors.Is(err, worker.ErrUnknownJob) {
			t.Errorf("a barrier of another attempt: %v", err)
		}
		if err := run.Worker.Trigger("other", element.Barrier{ID: 1, Attempt: 1}); !errors.Is(err, worker.ErrUnknownJob) {
			t.Errorf("a barrier of another pipeline: %v", err)
		}
		w.SetBefore(func(id operator.Identity, _ int) error {
			if id.Operator == "count" {
				<-store.goOn
			}
			return nil
		})
		w.Allow(10)
		synctest.Wait()
		run.Trigger()
		if err := run.Worker.Trigger(workertest.UID, element.Barrier{ID: 2, Attempt: 1}); err == nil || !strings.Contains(err.Error(), "1 is in progress") {
			t.Errorf("a second checkpoint: %v", err)
		}
		close(store.goOn)
		synctest.Wait()
		if _, ok := run.Heard().Acks[1]; !ok {
			t.Error("the first checkpoint is not acknowledged")
		}
	})
}

func TestAGenerationIsWrittenToItsEndThoughItsTaskHasFailedAndClosedTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtimetest.NewWorld(40, 100)
		run := workertest.New(t, graph("sink"), memblob.New(memblob.Options{}), w.NewOperator)
		arena := run.NewState
		reading, goOn := make(chan struct{}, 8), make(chan struct{})
		run.NewState = func(d state.Options) (state.Backend, error) {
			b, err := arena(d)
			return &watched{Backend: b, reading: reading, goOn: goOn}, err
		}
		run.Start()
		defer run.Worker.Close()
		w.Allow(50)
		synctest.Wait()
		id := run.Trigger()
		<-reading // the writer stands between two entries
		w.SetBefore(func(operator.Identity, int) error { return errors.New("refused") })
		w.Allow(51)
		synctest.Wait()
		if len(run.Heard().Failures) != 1 {
			t.Fatalf("failures are %v", run.Heard().Failures)
		}
		close(goOn)
		synctest.Wait()
		if !run.Commit(id) {
			t.Fatal("the checkpoint is not acknowledged")
		}
		w.SetBefore(nil)
		run.Kill()
		run.Start()
		w.Allow(100)
		synctest.Wait()
		last := run.Trigger()
		synctest.Wait()
		if !run.Commit(last) {
			t.Fatal("the last checkpoint is not acknowledged")
		}
		run.Notice()
		synctest.Wait()
		next := map[int64]int64{}
		rows := visible(w, "sink")
		slices.SortFunc(rows, func(a, b runtimetest.Row) int { return int(a.Seq - b.Seq) })
		for _, row := range rows {
			if next[row.Key]++; row.N != next[row.Key] {
				t.Fatalf("key %d, row %d has the number %d, want %d", row.Key, row.Seq, row.N, next[row.Key])
			}
		}
		if len(rows) != 4000 {
			t.Errorf("%d rows, want 4000", len(rows))
		}
	})
}

// watched stops the reading of a generation after its first entry.
type watched struct {
	state.Backend
	reading chan struct{}
	goOn    chan struct{} // closed when reading may go on
}

func (b *watched) Freeze() state.Frozen { return &stopping{Frozen: b.Backend.Freeze(), at: b} }

type stopping struct {
	state.Frozen
	at *watched
}

func (f *stopping) Entries() iter.Seq[state.Entry] {
	return func(yield func(state.Entry) bool) {
		first := true
		for e := range f.Frozen.Entries() {
			if !yield(e) {
				return
			}
			if first {
				first = false
				select {
				case f.at.reading <- struct{}{}:
				default:
				}
				<-f.at.goOn
			}
		}
	}
}

func TestAWorkerSaysWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtimetest.NewWorld(1, 10)
		run := workertest.New(t, graph("sink"), memblob.New(memblob.Options{}), w.NewOperator)
		run.Start()
		synctest.Wait()
		if jobs := run.Worker.Jobs(); !slices.Equal(jobs, []string{workertest.UID}) || !run.Heard().Running {
			t.Fatalf("jobs are %v", jobs)
		}
		var ids []runtime.TaskID
		for _, task := range run.Worker.Job(workertest.UID).Tasks() {
			ids = append(ids, task.ID())
		}
		if want := []runtime.TaskID{{}, {Stage: 1}, {Stage: 1, Index: 1}, {Stage: 2}, {Stage: 2, Index: 1}}; !slices.Equal(ids, want) {
			t.Errorf("tasks are %v", ids)
		}
		run.Worker.Close()
		if jobs := run.Worker.Jobs(); len(jobs) > 0 {
			t.Errorf("after Close there are %v", jobs)
		}
	})
}

func TestARevisionWithoutASinkWhoseOutputIsCommittedAndNotVisibleIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtimetest.NewWorld(1, 100)
		run := workertest.New(t, graph("kept", "gone"), memblob.New(memblob.Options{}), w.NewOperator)
		run.Start()
		defer run.Worker.Close()
		w.Allow(50)
		synctest.Wait()
		id := run.Trigger()
		<-time.After(time.Second)
		if !run.Commit(id) {
			t.Fatal("the checkpoint was not acknowledged")
		}
		run.Kill() // before its sinks heard of the commit
		next := worker.Start{Pipeline: "test", UID: workertest.UID, Attempt: run.Attempt + 1, Graph: graph("kept"), Manifest: run.Last, RestoredFrom: id}
		err := run.Worker.Start(next)
		if !errors.Is(err, connector.ErrPermanent) || !strings.Contains(err.Error(), "gone") {
			t.Fatalf("%v", err)
		}
		for _, change := range []func(*worker.Start){
			func(s *worker.Start) { s.Published = true },
			func(s *worker.Start) { s.Doubt = connector.AssumePublished },
			func(s *worker.Start) { s.Graph = graph("kept", "gone") },
		} {
			s := next
			run.Attempt++
			s.Attempt = run.Attempt
			change(&s)
			if err := run.Worker.Start(s); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
	})
}
