package e2e

import (
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/failpoint"
)

const keptPipeline = `pipeline: kept
module: guest
parallelism: %d
checkpoint: {interval: 100ms, min_pause: 20ms}
sources:
  in: {topic: kept-in, format: columns, columns: "` + StepColumns + `"}
operators:
  chaos: {function: chaos, input: in}
sinks:
  reached: {topic: kept-out, input: chaos, format: columns, key: key}
`

func TestStateStaysThroughStopResumeANewRevisionAndAnOrderlyEnd(t *testing.T) {
	w := alone(t)
	if err := w.client.PushModule(t.Context(), "guest", built.guest); err != nil {
		t.Fatal(err)
	}
	in, out := w.topic(t, "kept-in", 4), w.topic(t, "kept-out", 4)
	w.apply(t, keptPipeline, 2)
	load := NewWorkload(7, 20_000, 500, 4)
	first := NewFirstStage(load)
	feed, err := StartFeed(t.Context(), w.nc, in, "kept-in", load)
	if err != nil {
		t.Fatal(err)
	}
	at := uint64(0)
	// part feeds up to a share of the records and waits until they have come out.
	part := func(share float64) {
		t.Helper()
		feed.Allow(share)
		least := int(share*float64(load.Records)) - load.Partitions*maxFrameRows
		last, err := Follow(within(t, 30*time.Second), w.nc, out, at, 20*time.Second, first.Visit, func() bool { return share < 1 && first.Rows >= least || first.Done() })
		if err != nil {
			t.Fatal(err)
		}
		at = last
	}
	part(0.25)
	if err := w.client.Stop(t.Context(), "kept"); err != nil {
		t.Fatal(err)
	}
	s := w.state(t, "kept", "stopped")
	if s.LastCheckpoint == nil || !s.LastCheckpoint.Published {
		t.Errorf("stopped without a published checkpoint: %v", s.LastCheckpoint)
	}
	if err := w.client.Resume(t.Context(), "kept"); err != nil {
		t.Fatal(err)
	}
	w.state(t, "kept", "running")
	part(0.5)
	w.apply(t, keptPipeline, 3) // another parallelism: another revision
	if _, err := w.client.Await(within(t, 30*time.Second), "kept", "at revision 2", running(2)); err != nil {
		t.Fatal(err)
	}
	part(0.75)
	if err := w.process.Stop(); err != nil {
		t.Fatal(err)
	}
	if w.process, err = w.setup.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	part(1)
	if err := feed.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := first.Verdict(nil); err != nil {
		t.Error(err)
	}
}

const countPipeline = `pipeline: %[1]s
module: count
parallelism: 2
checkpoint: {interval: 200ms, min_pause: 20ms}
sources:
  in: {topic: %[1]s-in, format: columns, columns: "key:int64,value:int64,pad:utf8"}
operators:
  sums: {function: count_sum, input: in}
sinks:
  out: {topic: %[1]s-out, input: sums, format: columns, key: key}
`

// restartKeys is how many keys hold state at a restart.
const restartKeys = 100_000

func TestAKilledServerGoesOnWithItsStateSoon(t *testing.T) {
	w := alone(t)
	if err := w.client.PushModule(t.Context(), "count", built.count); err != nil {
		t.Fatal(err)
	}
	in, out := w.topic(t, "again-in", 8), w.topic(t, "again-out", 8)
	w.apply(t, countPipeline, "again")
	counts := newCounts(w.nc, in, "again-in", 8)
	if err := counts.feed(t.Context(), restartKeys, 1); err != nil {
		t.Fatal(err)
	}
	rows, at := 0, uint64(0)
	await := func(total int) {
		t.Helper()
		last, err := Follow(within(t, 60*time.Second), w.nc, out, at, 30*time.Second, func(m Message) error {
			rows += m.Rows()
			return nil
		}, func() bool { return rows >= total })
		if err != nil {
			t.Fatal(err)
		}
		at = last
	}
	await(restartKeys)
	var took []time.Duration
	for i := range 5 {
		w.process.Kill()
		// One more record waits, so that the first new output is its.
		p, err := w.setup.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.process = p
		w.reconnected(t)
		if err := counts.feed(t.Context(), 8, int64(i)+2); err != nil {
			t.Fatal(err)
		}
		await(restartKeys + 8*(i+1))
		took = append(took, time.Since(p.Started))
	}
	slices.Sort(took)
	t.Logf("from the start of the process to new output, %d keys of state: p50 %s of %v", restartKeys, took[2], took)
	if limit := 10 * time.Second; took[2] > limit {
		t.Errorf("p50 is %s, over %s", took[2], limit)
	}
	if err := checkCounts(t.Context(), w.nc, out, restartKeys, 8, 6); err != nil {
		t.Error(err)
	}
}

func TestAServerThatDiesWhileItLoadsItsStateGoesOnExactlyOnce(t *testing.T) {
	w := alone(t)
	if err := w.client.PushModule(t.Context(), "count", built.count); err != nil {
		t.Fatal(err)
	}
	in, out := w.topic(t, "again-in", 8), w.topic(t, "again-out", 8)
	w.apply(t, countPipeline, "again")
	counts := newCounts(w.nc, in, "again-in", 8)
	if err := counts.feed(t.Context(), restartKeys, 1); err != nil {
		t.Fatal(err)
	}
	rows := 0
	w.follow(t, out, func(m Message) error { rows += m.Rows(); return nil }, func() bool { return rows >= restartKeys })
	const each = restartKeys / 20                               // of the keys change between two deaths
	w.setup.Args = append(w.setup.Args, "--eager-restore", "0") // however little it is
	deaths := []Death{{Place: failpoint.PieceLoaded, Nth: 1}, {Place: failpoint.PieceLoaded, Nth: 5}, {Place: failpoint.PieceLoaded, Nth: 12}}
	for i, death := range deaths {
		w.process.Kill()
		p, err := w.setup.Start(t.Context(), death.env()...)
		if err != nil && !errors.Is(err, ErrDied) {
			t.Fatal(err)
		}
		select {
		case <-p.Ended():
		case <-within(t, 30*time.Second).Done():
			t.Fatalf("it did not die at %s", death)
		}
		if w.process, err = w.setup.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.reconnected(t)
		// What comes in touches keys of pieces that are not loaded.
		if err := counts.feed(t.Context(), each, int64(i)+2); err != nil {
			t.Fatal(err)
		}
	}
	want := restartKeys + len(deaths)*each
	rows = 0
	w.follow(t, out, func(m Message) error { rows += m.Rows(); return nil }, func() bool { return rows >= want })
	if err := checkCounts(t.Context(), w.nc, out, restartKeys, each, len(deaths)+1); err != nil {
		t.Error(err)
	}
}

// pauseTime is longer than a worker's lease of three seconds.
const pauseTime = 4 * time.Second

func TestAServerThatStoodStillForLongerThanItsLeaseGoesOnExactlyOnce(t *testing.T) {
	w := alone(t)
	if err := w.client.PushModule(t.Context(), "guest", built.guest); err != nil {
		t.Fatal(err)
	}
	in, out := w.topic(t, "kept-in", 4), w.topic(t, "kept-out", 4)
	w.apply(t, keptPipeline, 2)
	load := NewWorkload(17, 30_000, 500, 4)
	first := NewFirstStage(load)
	feed, err := StartFeed(t.Context(), w.nc, in, "kept-in", load)
	if err != nil {
		t.Fatal(err)
	}
	feed.Allow(0.5)
	at, err := Follow(within(t, 30*time.Second), w.nc, out, 0, 20*time.Second, first.Visit, func() bool { return first.Rows > 3000 })
	if err != nil {
		t.Fatal(err)
	}
	if err := w.process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	feed.Allow(1) // the feeder meets a server that does not answer
	if err := pause(t.Context(), pauseTime); err != nil {
		t.Fatal(err)
	}
	if err := w.process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := feed.Wait(); err != nil {
		t.Fatal(err)
	}
	w.reconnected(t)
	if _, err := Follow(within(t, 60*time.Second), w.nc, out, at, 40*time.Second, first.Visit, first.Done); err != nil {
		t.Fatal(err)
	}
	if err := first.Verdict(nil); err != nil {
		t.Error(err)
	}
}
