package scheduler

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weirstream/weir/raftmeta/catalog"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "replay this one seed")
	seedsFlag = flag.Int("seeds", 40, "how many seeds to run")
)

// world is a cluster of a real catalog, one or more leaders one after the other,
// and workers that do what they are told late, twice, or never.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	state   *catalog.State
	core    *Core
	now     int64
	queue   []Event // reports on their way, delivered in random order
	workers map[uint64]*fakeWorker
	uids    []string
	// What the invariants need:
	flying    map[string]uint64 // checkpoint triggered and neither committed nor aborted, of this leader
	triggered map[string]uint64 // the highest id ever triggered
	aborted   map[string]map[uint64]bool
	bounded   map[string]bool // pipelines whose sources have come to their end
	asked     map[uint64]bool // savepoints that were asked for and are not answered
	token     uint64
	unsafe    bool // a proposal's answer may be lost
	log       []string
}

type fakeWorker struct {
	id       string
	progress map[string]uint64
	attempts map[string]uint64
}

func (w *world) logf(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%8d ", w.now/millisecond)+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	for _, line := range w.log[max(0, len(w.log)-60):] {
		w.t.Log(line)
	}
	w.t.Fatalf(format, args...)
}

func (w *world) apply(c catalog.Command) (catalog.Result, error) {
	next, result, err := w.state.Apply(c)
	w.state = next
	w.logf("apply %s: %v", catalog.Name(c), err)
	return result, err
}

func (w *world) must(c catalog.Command) catalog.Result {
	w.t.Helper()
	r, err := w.apply(c)
	if err != nil {
		w.fail("apply %s: %v", catalog.Name(c), err)
	}
	return r
}

func digest(n uint64) catalog.Digest {
	var d catalog.Digest
	for i := range 8 {
		d[i] = byte(n >> (8 * i))
	}
	d[31] = 1
	return d
}

func (w *world) register(id string, slots int) {
	r := w.must(&catalog.RegisterWorker{At: w.now, ID: id, Address: "x", Node: id, Slots: slots, Version: "1"})
	w.workers[r.Number] = &fakeWorker{id: id, progress: map[string]uint64{}, attempts: map[string]uint64{}}
}

// step feeds an event and does what comes out, possibly into more events.
func (w *world) step(in Event) {
	switch e := in.(type) {
	case Proposed:
		w.logf("answer %d %v", e.Token, e.Err)
	case BecameLeader, CatalogChanged, Tick:
		w.logf("%T", in)
	default:
		w.logf("event %T %+v", in, in)
	}
	for _, a := range w.core.Step(w.now, in) {
		if p, ok := a.(Propose); ok {
			entry, err := catalog.EncodeEntry(p.Command)
			w.logf("  propose %d %s %v", p.Token, entry, err)
		} else {
			w.logf("  action %T %+v", a, a)
		}
		switch a := a.(type) {
		case Propose:
			w.proposed(a)
		case Trigger:
			w.trigger(a)
		case Abort:
			w.abort(a)
		case WriteManifest:
			if w.rng.IntN(20) == 0 {
				w.queue = append(w.queue, ManifestFailed{UID: a.UID, Attempt: a.Attempt, ID: a.ID, Reason: "disk is full"})
			} else {
				w.queue = append(w.queue, ManifestWritten{UID: a.UID, Attempt: a.Attempt, ID: a.ID, Digest: digest(a.ID)})
			}
		case WriteSavepoint:
			written := SavepointWritten{UID: a.UID, Token: a.Token, Digest: digest(a.Checkpoint.ID + 1<<40)}
			if w.rng.IntN(20) == 0 {
				written.Reason = "disk is full"
			}
			w.queue = append(w.queue, written)
		case SavepointDone:
			if !w.asked[a.Token] {
				w.t.Fatalf("savepoint request %d is answered twice or was never made", a.Token)
			}
			delete(w.asked, a.Token)
		}
	}
}

func (w *world) proposed(a Propose) {
	if w.unsafe && w.rng.IntN(10) == 0 {
		// Its outcome is unknown to the proposer: half of those took effect.
		if w.rng.IntN(2) == 0 {
			w.propose(a.Command)
		}
		w.queue = append(w.queue, Proposed{Token: a.Token, Err: fmt.Errorf("outcome unknown"), State: w.state})
		return
	}
	result, err := w.propose(a.Command)
	w.queue = append(w.queue, Proposed{Token: a.Token, Result: result, Err: err, State: w.state})
}

// propose applies a command and checks what it did to every pipeline.
func (w *world) propose(c catalog.Command) (catalog.Result, error) {
	before := w.state
	result, err := w.apply(c)
	for _, uid := range w.uids {
		old, _ := before.Pipeline(uid)
		p, _ := w.state.Pipeline(uid)
		if last := p.Job.Last; last != nil && (old.Job.Last == nil || old.Job.Last.ID != last.ID) {
			if last.Attempt != old.Job.Attempt {
				w.fail("%s: checkpoint %d of attempt %d was committed in attempt %d", uid, last.ID, last.Attempt, old.Job.Attempt)
			}
			if old.Job.Last != nil && last.ID <= old.Job.Last.ID {
				w.fail("%s: checkpoint %d was committed after %d", uid, last.ID, old.Job.Last.ID)
			}
			if old.Job.Unpublished() {
				w.fail("%s: checkpoint %d was committed before %d was published", uid, last.ID, old.Job.Last.ID)
			}
			if w.aborted[uid][last.ID] {
				w.fail("%s: checkpoint %d was committed after workers were told to drop it", uid, last.ID)
			}
			if w.flying[uid] == last.ID {
				delete(w.flying, uid)
			}
		}
		if p.Job.State == catalog.JobStopped && old.Job.State == catalog.JobStopping && (p.Job.Last == nil || p.Job.Unpublished()) {
			w.fail("%s: stopped without a published final checkpoint", uid)
		}
	}
	if set, ok := c.(*catalog.CommitCheckpoints); ok && err == nil {
		for _, r := range result.Refused {
			if w.flying[r.UID] == r.ID {
				delete(w.flying, r.UID)
			}
		}
		_ = set
	}
	return result, err
}

func (w *world) trigger(a Trigger) {
	if w.flying[a.UID] != 0 {
		w.fail("%s: checkpoint %d triggered while %d is under way", a.UID, a.ID, w.flying[a.UID])
	}
	if a.ID <= w.triggered[a.UID] {
		w.fail("%s: checkpoint %d triggered after %d", a.UID, a.ID, w.triggered[a.UID])
	}
	w.flying[a.UID], w.triggered[a.UID] = a.ID, a.ID
	for _, epoch := range a.Workers {
		switch w.rng.IntN(30) {
		case 0: // lost on the way, or the worker hangs
		case 1:
			w.queue = append(w.queue, Decline{Worker: epoch, UID: a.UID, Attempt: a.Attempt, ID: a.ID, Reason: "disk is full"})
		default:
			e := Ack{Worker: epoch, UID: a.UID, Attempt: a.Attempt, ID: a.ID, Part: Part{Inline: []byte{1}, Prepared: w.rng.IntN(2) == 0}}
			w.queue = append(w.queue, e)
			if w.rng.IntN(10) == 0 {
				w.queue = append(w.queue, e)
			}
		}
	}
}

func (w *world) abort(a Abort) {
	if w.aborted[a.UID] == nil {
		w.aborted[a.UID] = make(map[uint64]bool)
	}
	w.aborted[a.UID][a.ID] = true
	if p, ok := w.state.Pipeline(a.UID); ok && p.Job.Last != nil && p.Job.Last.ID == a.ID {
		w.fail("%s: checkpoint %d is committed and workers are told to drop it", a.UID, a.ID)
	}
	if w.flying[a.UID] == a.ID {
		delete(w.flying, a.UID)
	}
}

// work lets workers look at the catalog and report, as they would.
func (w *world) work() {
	for _, epoch := range w.epochs() {
		f := w.workers[epoch]
		if _, ok := w.state.Worker(epoch); !ok {
			delete(w.workers, epoch) // its registration is over: it stops by itself
			continue
		}
		seen := WorkerSeen{Worker: epoch}
		for _, uid := range w.uids {
			p, ok := w.state.Pipeline(uid)
			if !ok || !slices.Contains(p.Job.Slots.Workers(), epoch) || !p.Job.State.HasTasks() {
				continue
			}
			attempt := p.Job.Attempt
			if f.attempts[uid] != attempt {
				f.attempts[uid], f.progress[uid] = attempt, 0
			}
			w.queue = append(w.queue, TasksReady{Worker: epoch, UID: uid, Attempt: attempt})
			if w.bounded[uid] {
				w.queue = append(w.queue, SourcesEnded{Worker: epoch, UID: uid, Attempt: attempt})
			}
			f.progress[uid] += uint64(w.rng.IntN(3))
			seen.Progress = append(seen.Progress, Progress{UID: uid, Attempt: attempt, Count: f.progress[uid]})
			if last := p.Job.Last; last != nil && p.Job.Unpublished() {
				w.queue = append(w.queue, OutputPublished{Worker: epoch, UID: uid, Attempt: attempt, ID: last.ID})
			}
		}
		w.queue = append(w.queue, seen)
	}
}

func (w *world) epochs() []uint64 {
	var list []uint64
	for e := range w.workers {
		list = append(list, e)
	}
	slices.Sort(list)
	return list
}

// deliver brings some of the reports, in any order.
func (w *world) deliver(share int) {
	for n := len(w.queue); n > 0 && len(w.queue) > 0; n-- {
		if w.rng.IntN(100) >= share {
			continue
		}
		i := w.rng.IntN(len(w.queue))
		e := w.queue[i]
		w.queue = slices.Delete(w.queue, i, i+1)
		w.step(e)
	}
}

func (w *world) elect() {
	w.queue = slices.DeleteFunc(w.queue, func(e Event) bool { _, ok := e.(Proposed); return ok })
	clear(w.flying)
	w.core = New()
	w.step(BecameLeader{Seed: w.rng.Uint64(), State: w.state})
}

func (w *world) disturb(next *int) {
	uid := w.uids[w.rng.IntN(len(w.uids))]
	p, _ := w.state.Pipeline(uid)
	epochs := w.epochs()
	switch w.rng.IntN(13) {
	case 0:
		w.must(&catalog.SetDesired{At: w.now, UID: uid, Desired: catalog.DesiredStopped})
	case 1, 2:
		w.must(&catalog.SetDesired{At: w.now, UID: uid, Desired: catalog.DesiredRunning})
	case 3:
		if len(epochs) > 0 {
			epoch := epochs[w.rng.IntN(len(epochs))]
			delete(w.workers, epoch) // dies silently
			w.logf("worker %d dies", epoch)
			if w.rng.IntN(2) == 0 {
				w.step(WorkerClosed{Worker: epoch})
			}
		}
	case 4:
		*next++
		w.register(fmt.Sprintf("w%d", *next), 1+w.rng.IntN(4))
	case 5:
		if len(p.Job.Regions) > 0 {
			r := w.rng.IntN(len(p.Job.Regions))
			class := []catalog.ErrorClass{catalog.ErrorRetryable, catalog.ErrorBug, catalog.ErrorUser}[w.rng.IntN(3)]
			w.step(TaskFailed{UID: uid, Attempt: p.Job.Regions[r], Region: r, Class: class, Text: "boom"})
		}
	case 6:
		w.elect()
	case 7:
		rev := p.Current
		rev.Graph = digest(w.rng.Uint64())
		rev.Widths = []int{1 + w.rng.IntN(3), 1 + w.rng.IntN(4)}
		w.must(&catalog.ApplyPipeline{At: w.now, Namespace: "default", Name: p.Name, Revision: rev})
	case 8:
		w.token++
		w.asked[w.token] = true
		w.step(SavepointRequested{UID: uid, Label: "x", Token: w.token})
	case 9:
		w.step(CheckpointRequested{UID: uid})
	case 10:
		if len(epochs) > 0 {
			w.must(&catalog.DrainWorker{At: w.now, Epoch: epochs[w.rng.IntN(len(epochs))]})
		}
	case 11:
		w.bounded[uid] = w.bounded[uid] || w.rng.IntN(4) == 0
	case 12:
		// A zombie of an older attempt speaks up.
		w.step(Ack{Worker: 1, UID: uid, Attempt: p.Job.Attempt - 1, ID: w.triggered[uid], Part: Part{}})
		w.step(TaskFailed{UID: uid, Attempt: p.Job.Attempt - 1, Class: catalog.ErrorUser, Text: "zombie"})
	}
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		asked: make(map[uint64]bool),
		t:     t, rng: rand.New(rand.NewPCG(seed, 1)), state: catalog.New(), core: New(), now: second, workers: make(map[uint64]*fakeWorker),
		flying: make(map[string]uint64), triggered: make(map[string]uint64), aborted: make(map[string]map[uint64]bool), bounded: make(map[string]bool), unsafe: seed%2 == 0,
	}
	for i := range 3 {
		r := w.must(&catalog.ApplyPipeline{At: w.now, Namespace: "default", Name: fmt.Sprintf("job%d", i), Revision: catalog.Revision{
			Graph: digest(1), Spec: digest(2), Widths: []int{2, 1 + i}, Delivery: catalog.ExactlyOnce, TimeoutMs: 5000, Retain: i,
		}})
		w.uids = append(w.uids, r.UID)
	}
	w.register("w1", 4)
	w.register("w2", 4)
	return w
}

func (w *world) pass(us int64) {
	w.now += us
	w.step(CatalogChanged{State: w.state, Resync: true})
	w.step(Tick{})
}

// TestRandomHistoriesHoldTheInvariants throws events of every kind at the core in
// any order and then lets the cluster calm down: everything wanted must run, the rest must have stopped.
func TestRandomHistoriesHoldTheInvariants(t *testing.T) {
	first, last := uint64(1), uint64(*seedsFlag)
	if *seedFlag != 0 {
		first, last = *seedFlag, *seedFlag
	}
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { randomHistory(t, seed) })
	}
}

func TestOneSeedGivesOneHistory(t *testing.T) {
	for seed := range uint64(5) {
		a, b := randomHistory(t, seed+1), randomHistory(t, seed+1)
		for i := range max(len(a), len(b)) {
			if i >= len(a) || i >= len(b) || a[i] != b[i] {
				t.Fatalf("seed %d: line %d differs", seed+1, i)
			}
		}
	}
}

func randomHistory(t *testing.T, seed uint64) []string {
	w := newWorld(t, seed)
	w.elect()
	next := 2
	for range 300 {
		if w.rng.IntN(6) == 0 {
			w.disturb(&next)
		}
		w.work()
		w.deliver(70)
		w.pass(w.rng.Int64N(400 * millisecond))
	}
	w.unsafe = false
	w.register("calm", 20)
	for _, uid := range w.uids {
		p, _ := w.state.Pipeline(uid)
		w.must(&catalog.SetDesired{At: w.now, UID: uid, Desired: p.Desired})
	}
	committed := make(map[string]uint64)
	for i := range 1000 {
		w.work()
		w.deliver(90)
		w.pass(100 * millisecond)
		if i == 750 {
			for _, uid := range w.uids {
				p, _ := w.state.Pipeline(uid)
				committed[uid] = p.Job.Newest
			}
		}
	}
	for _, uid := range w.uids {
		p, _ := w.state.Pipeline(uid)
		switch {
		case p.Desired == catalog.DesiredStopped && p.Job.State != catalog.JobStopped && p.Job.State != catalog.JobFinished:
			w.fail("seed %d: %s is wanted stopped and is %s", seed, uid, p.Job.State)
		case p.Desired == catalog.DesiredRunning && w.bounded[uid]:
			if p.Job.State != catalog.JobFinished || p.Job.Unpublished() {
				w.fail("seed %d: %s has come to its end and is %s", seed, uid, p.Job.State)
			}
		case p.Desired == catalog.DesiredRunning && p.Job.State != catalog.JobRunning:
			status, _ := w.core.Status(uid)
			w.fail("seed %d: %s is wanted running and is %s: %+v", seed, uid, p.Job.State, status)
		case p.Desired == catalog.DesiredRunning && p.Job.Newest <= committed[uid]:
			w.fail("seed %d: %s takes no checkpoint any more after %d", seed, uid, p.Job.Newest)
		}
		for _, epoch := range p.Job.Slots.Workers() {
			if _, ok := w.state.Worker(epoch); !ok {
				w.fail("seed %d: %s has slots on worker %d, which is gone", seed, uid, epoch)
			}
		}
	}
	return w.log
}
