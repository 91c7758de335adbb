package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/platform/runtime/runtimetest"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/worker/workertest"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// line is source -> kind -> sink, each a stage of its own.
func line(kind string, width int) *jobgraph.Graph {
	columns := []string{runtimetest.Columns}
	in := []jobgraph.Port{{Operator: -1}}
	middle := jobgraph.Operator{ID: "middle", Kind: kind, Inputs: columns, Outputs: columns, Upstream: in}
	e := jobgraph.Edge{From: 0, To: 1, Partitioning: jobgraph.Rebalance, Schema: runtimetest.Columns}
	if kind != runtimetest.Pass {
		middle.Key, middle.State = [][]string{{"key"}}, []jobgraph.State{{Name: "n", Kind: "value", Form: "framed", Codec: "bytes"}}
		e.Partitioning, e.Key = jobgraph.Hash, []string{"key"}
	}
	return &jobgraph.Graph{
		Version: jobgraph.FormatVersion,
		Stages: []jobgraph.Stage{
			{ID: 0, Name: "source", Parallelism: 1, Operators: []jobgraph.Operator{{ID: "source", Kind: runtimetest.Source, Outputs: columns}}},
			{ID: 1, Name: "middle", Parallelism: width, Operators: []jobgraph.Operator{middle}},
			{ID: 2, Name: "sink", Parallelism: 1, Operators: []jobgraph.Operator{{ID: "sink", Kind: runtimetest.Sink, Inputs: columns, Upstream: in}}},
		},
		Edges: []jobgraph.Edge{e, {From: 1, To: 2, Partitioning: jobgraph.Rebalance, Schema: runtimetest.Columns}},
	}
}

// bubble runs a line in which make may replace the operator in the middle.
func bubble(t *testing.T, w *runtimetest.World, kind string, middle func() operator.Operator, test func(t *testing.T, run *workertest.Run)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		run := workertest.New(t, line(kind, 1), memblob.New(memblob.Options{}), func(kind string) (operator.Operator, error) {
			if kind == "own" {
				return middle(), nil
			}
			return w.NewOperator(kind)
		})
		run.Start()
		defer run.Worker.Close()
		test(t, run)
		run.Kill()
		if live := batch.Live(); live != 0 {
			t.Errorf("%d batches or buffers live in the end", live)
		}
	})
}

// slow lets the operator in the middle take a while for each batch.
func slow(w *runtimetest.World, each time.Duration) {
	w.BatchRows = 1
	w.Before = func(id operator.Identity, _ int) error {
		if id.Operator == "middle" {
			<-time.After(each)
		}
		return nil
	}
}

func TestATaskThatIsNeverOutOfWorkTakesAnyNumberOfCheckpoints(t *testing.T) {
	w := runtimetest.NewWorld(1, 1<<40)
	slow(w, time.Millisecond)
	w.Allow(1 << 40)
	bubble(t, w, runtimetest.Count, nil, func(t *testing.T, run *workertest.Run) {
		for range 3 * runtime.MaxControl {
			id := run.Trigger()
			<-time.After(50 * time.Millisecond) // more than what may be queued before the barrier
			if !run.Commit(id) {
				t.Fatalf("checkpoint %d is not acknowledged", id)
			}
			run.Notice()
		}
	})
}

func TestAFailureFromBesideIsHeardByATaskThatIsNeverOutOfWork(t *testing.T) {
	w := runtimetest.NewWorld(1, 1<<40)
	slow(w, time.Millisecond)
	w.Allow(1 << 40)
	var fail func(error)
	own := func() operator.Operator {
		return &timed{world: w, opened: func(ctx *operator.Context) { fail = ctx.Fail }}
	}
	bubble(t, w, "own", own, func(t *testing.T, run *workertest.Run) {
		<-time.After(20 * time.Millisecond)
		fail(errors.New("from beside"))
		<-time.After(20 * time.Millisecond)
		if f := run.Heard().Failures; len(f) != 1 || f[0].Err.Error() != "from beside" {
			t.Fatalf("failures are %v", f)
		}
	})
}

func TestATaskThatIsNeverOutOfWorkIsSeenToBeBusy(t *testing.T) {
	w := runtimetest.NewWorld(1, 1<<40)
	slow(w, time.Millisecond)
	w.Allow(1 << 40)
	bubble(t, w, runtimetest.Count, nil, func(t *testing.T, run *workertest.Run) {
		<-time.After(200 * time.Millisecond)
		for _, task := range run.Worker.Job(workertest.UID).Tasks() {
			busy, waited := task.Busy(), task.Waited()
			switch task.Stage().Name {
			case "source":
				if waited < 150*time.Millisecond || waited > 200*time.Millisecond {
					t.Errorf("the source has waited %v of 200 ms", waited)
				}
			case "middle":
				if busy < 150*time.Millisecond || busy > 200*time.Millisecond {
					t.Errorf("the task in the middle was busy %v of 200 ms", busy)
				}
			case "sink":
				if busy > 20*time.Millisecond {
					t.Errorf("the sink was busy %v of 200 ms", busy)
				}
			}
		}
	})
}

func TestSlowTasksHoldBackThoseWhoSendAndNothingIsLost(t *testing.T) {
	w := runtimetest.NewWorld(3, 200)
	slow(w, 3*time.Millisecond)
	w.Allow(200)
	synctest.Test(t, func(t *testing.T) {
		run := workertest.New(t, line(runtimetest.Count, 4), memblob.New(memblob.Options{}), w.NewOperator)
		run.Start()
		defer run.Worker.Close()
		var last uint64
		for !run.Heard().Ended {
			last = run.Trigger()
			<-time.After(200 * time.Millisecond)
			if !run.Commit(last) {
				t.Fatalf("checkpoint %d is not acknowledged; it waits for %v", last, run.Worker.Job(workertest.UID).Waiting())
			}
			run.Notice()
		}
		waited := time.Duration(0)
		for _, task := range run.Worker.Job(workertest.UID).Tasks() {
			waited += task.Waited()
		}
		if waited == 0 {
			t.Error("nobody waited for credit")
		}
		finish(t, run, w, 0, true)
		if rows := len(w.Visible("sink")[0]); rows != 600 {
			t.Errorf("%d rows are visible, want 600", rows)
		}
	})
}

func TestACheckpointAskedForWhileInputsEndIsTakenByEveryTask(t *testing.T) {
	// The tasks hear of the checkpoint while the last rows are still under way:
	// the source has ended, so no barrier comes, and each acts on its own once
	// its inputs have ended.
	w := runtimetest.NewWorld(1, 3) // with their watermarks and the end they fit into the queue
	slow(w, 10*time.Millisecond)
	w.Allow(3)
	bubble(t, w, runtimetest.Count, nil, func(t *testing.T, run *workertest.Run) {
		<-time.After(15 * time.Millisecond)
		if run.Heard().Ended {
			t.Fatal("the rows are through already")
		}
		id := run.Trigger()
		<-time.After(time.Second)
		if !run.Heard().Ended || !run.Commit(id) {
			t.Fatalf("ended %t; checkpoint %d waits for %v", run.Heard().Ended, id, run.Worker.Job(workertest.UID).Waiting())
		}
		run.Notice()
		synctest.Wait()
		if rows := w.Visible("sink")[0]; len(rows) != 3 {
			t.Fatalf("%d rows are visible, want 3", len(rows))
		}
	})
}

func TestAPanicOfAnOperatorIsAnErrorWithItsStack(t *testing.T) {
	w := runtimetest.NewWorld(1, 10)
	w.Before = func(id operator.Identity, _ int) error {
		if id.Operator == "source" {
			panic("what a bug")
		}
		return nil
	}
	w.Allow(10)
	bubble(t, w, runtimetest.Pass, nil, func(t *testing.T, run *workertest.Run) {
		synctest.Wait()
		f := run.Heard().Failures
		var bug *runtime.PanicError
		if len(f) != 1 || !errors.As(f[0].Err, &bug) || bug.Value != "what a bug" || !strings.Contains(string(bug.Stack), "runtimetest") {
			t.Fatalf("failures are %v", f)
		}
		if f[0].Task != (runtime.TaskID{}) {
			t.Errorf("the failed task is %s", f[0].Task)
		}
	})
}

func TestAPanicWhileClosingIsAnErrorToo(t *testing.T) {
	w := runtimetest.NewWorld(1, 10)
	own := func() operator.Operator {
		return &timed{world: w, opened: func(ctx *operator.Context) { ctx.Fail(errors.New("first")) }, closed: func() { panic("second") }}
	}
	bubble(t, w, "own", own, func(t *testing.T, run *workertest.Run) {
		synctest.Wait()
		f := run.Heard().Failures
		if len(f) != 1 || !strings.Contains(f[0].Err.Error(), "first") || !strings.Contains(f[0].Err.Error(), "second") {
			t.Fatalf("failures are %v", f)
		}
	})
}

func TestACancellationThatNobodyAskedForIsAFailure(t *testing.T) {
	w := runtimetest.NewWorld(1, 10)
	w.Before = func(id operator.Identity, _ int) error {
		if id.Operator == "middle" {
			return fmt.Errorf("ask somebody: %w", context.Canceled)
		}
		return nil
	}
	w.Allow(10)
	bubble(t, w, runtimetest.Pass, nil, func(t *testing.T, run *workertest.Run) {
		synctest.Wait()
		f := run.Heard().Failures
		if len(f) != 1 || !errors.Is(f[0].Err, context.Canceled) || !strings.HasPrefix(f[0].Err.Error(), "operator middle:") {
			t.Fatalf("failures are %v", f)
		}
	})
}

func TestAKilledAttemptReportsNoFailure(t *testing.T) {
	w := runtimetest.NewWorld(2, 1<<40)
	slow(w, time.Millisecond)
	w.Allow(1 << 40)
	bubble(t, w, runtimetest.Count, nil, func(t *testing.T, run *workertest.Run) {
		<-time.After(30 * time.Millisecond)
		run.Trigger()
		run.Kill()
		if f := run.Heard().Failures; len(f) != 0 {
			t.Fatalf("failures are %v", f)
		}
	})
}

func TestTimersOfTheClockFireWithoutInput(t *testing.T) {
	w := runtimetest.NewWorld(1, 3)
	var fired atomic.Int64
	var at atomic.Int64
	own := func() operator.Operator {
		return &timed{world: w, after: 300 * time.Millisecond, fired: func(clock int64) { fired.Add(1); at.Store(clock) }}
	}
	bubble(t, w, "own", own, func(t *testing.T, run *workertest.Run) {
		w.Allow(2) // the input stays open and silent
		synctest.Wait()
		set := time.Now()
		<-time.After(299 * time.Millisecond)
		if fired.Load() != 0 {
			t.Fatal("a timer fired early")
		}
		<-time.After(time.Millisecond + runtime.TickEvery)
		if fired.Load() != 2 {
			t.Fatalf("%d timers have fired, want 2", fired.Load())
		}
		if late := time.UnixMicro(at.Load()).Sub(set.Add(300 * time.Millisecond)); late < 0 || late > runtime.TickEvery {
			t.Fatalf("fired %v late", late)
		}
	})
}

func TestTimersOfTheClockFireWhileTheInboxIsNeverEmpty(t *testing.T) {
	w := runtimetest.NewWorld(1, 1<<40)
	slow(w, time.Millisecond)
	w.Allow(1 << 40)
	var fired atomic.Int64
	own := func() operator.Operator {
		return &timed{world: w, after: 30 * time.Millisecond, fired: func(int64) { fired.Add(1) }}
	}
	bubble(t, w, "own", own, func(t *testing.T, run *workertest.Run) {
		<-time.After(100 * time.Millisecond)
		if fired.Load() < 2 {
			t.Fatalf("%d timers have fired", fired.Load())
		}
	})
}

func TestProcessingTimeNeverRunsBackOverARestore(t *testing.T) {
	w := runtimetest.NewWorld(1, 100)
	w.Allow(2)
	var clock func() int64
	own := func() operator.Operator {
		return &timed{world: w, opened: func(ctx *operator.Context) { clock = ctx.Clock }}
	}
	var before int64
	run := workertest.New(t, line("own", 1), memblob.New(memblob.Options{}), func(kind string) (operator.Operator, error) {
		if kind == "own" {
			return own(), nil
		}
		return w.NewOperator(kind)
	})
	synctest.Test(t, func(t *testing.T) {
		run.Start()
		<-time.After(time.Hour)
		id := run.Trigger()
		synctest.Wait()
		before = clock()
		if !run.Commit(id) {
			t.Fatal("the checkpoint is not acknowledged")
		}
		run.Kill()
	})
	synctest.Test(t, func(t *testing.T) { // its wall clock starts over: an hour back
		run.Start()
		defer run.Kill()
		synctest.Wait()
		if now := clock(); now < before {
			t.Fatalf("the clock ran back by %v", time.Duration(before-now)*time.Microsecond)
		}
	})
}

// timed is a keyed operator that sets a processing timer for every row.
type timed struct {
	world  *runtimetest.World
	after  time.Duration
	opened func(*operator.Context)
	fired  func(clockMicros int64)
	closed func()

	ctx   *operator.Context
	keyer *batch.Keyer
	slots []state.Slot
	due   []state.Firing
}

func (o *timed) Open(ctx *operator.Context) (err error) {
	o.ctx = ctx
	o.keyer, err = batch.NewKeyer(ctx.Inputs[0], ctx.Key[0])
	if o.opened != nil {
		o.opened(ctx)
	}
	return err
}

func (o *timed) Process(_ int, b *batch.Batch) error {
	if err := o.world.Before; err != nil {
		if err := err(o.ctx.Identity, b.Len()); err != nil {
			b.Release()
			return err
		}
	}
	if o.after > 0 {
		if err := o.keyer.Encode(b); err != nil {
			b.Release()
			return err
		}
		o.slots = o.ctx.State.Resolve(state.Keys{Bytes: o.keyer.Keys.Bytes, Offsets: o.keyer.Keys.Offsets}, o.keyer.Hashes, o.slots[:0])
		for i, s := range o.slots {
			at := o.ctx.Clock() + o.after.Microseconds() + int64(i)
			o.ctx.State.SetTimer(s, state.Timer{Kind: state.ProcessingTime, Time: at})
		}
	}
	return o.ctx.Output.Emit(0, b)
}

func (o *timed) Timers(clock int64) error {
	for o.due = o.ctx.State.Due(state.ProcessingTime, clock, 16, o.due[:0]); len(o.due) > 0; o.due = o.ctx.State.Due(state.ProcessingTime, clock, 16, o.due[:0]) {
		for range o.due {
			o.fired(clock)
		}
	}
	return nil
}

func (o *timed) Barrier(element.Barrier) (operator.Snapshot, error) {
	return operator.Snapshot{Keyed: o.ctx.State.Freeze()}, nil
}

func (o *timed) Watermark(_ int, w element.Watermark) error { return o.ctx.Output.Watermark(w) }
func (o *timed) EndOfInput(int) error                       { return nil }

func (o *timed) Close() error {
	if o.closed != nil {
		o.closed()
	}
	return nil
}
