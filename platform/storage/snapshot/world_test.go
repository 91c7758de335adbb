package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/weirstream/weir/platform/storage/blob/blobfault"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/arena"
)

// world is a pipeline with one operator over several tasks and two workers, a
// coordinator and a sweeper, in one goroutine; the model is a map. Every access
// to the store may fail.
type world struct {
	t     *testing.T
	r     *rand.Rand
	noise *rand.ChaCha8
	inner *memblob.Store
	store *blobfault.Store

	keys    int
	tasks   []*task
	model   map[string]string // now; see line
	pending map[string]string // at the newest freeze
	barrier map[string]string // at the newest committed checkpoint

	ids       uint64
	attempt   uint64
	committed *Manifest
	names     []string // of the manifest that is kept
	waiting   []*Part  // of checkpoints that were not committed
	merge     *Part    // that enters with the next manifest
	mergeID   uint64

	mostLive int
	counts   map[string]int
}

type task struct {
	groups  Groups
	backend state.Backend
	frozen  state.Frozen // whose write has not succeeded yet
	id      uint64       // of the checkpoint it belongs to
	timers  NextTimers   // at the freeze
}

var worldStates = []state.Descriptor{{Name: "value", Form: state.Single}, {Name: "table", Form: state.Entries}}

// line names one thing of state.
func line(name string, key, sub []byte) string {
	if sub == nil {
		return fmt.Sprintf("%s/%s", name, key)
	}
	return fmt.Sprintf("%s/%s/%x", name, key, sub)
}

func newWorld(t *testing.T, seed uint64) *world {
	inner := memblob.New(memblob.Options{})
	w := &world{
		t: t, r: rand.New(rand.NewPCG(seed, 7)), noise: rand.NewChaCha8([32]byte{byte(seed)}), inner: inner, store: blobfault.New(inner, blobfault.Plan{}),
		keys: 400, model: map[string]string{}, barrier: map[string]string{}, attempt: 1, counts: map[string]int{},
	}
	w.place(1 + w.r.IntN(4))
	return w
}

func (w *world) close() {
	for _, task := range w.tasks {
		if task.frozen != nil {
			task.frozen.Release()
		}
		if err := task.backend.Close(); err != nil {
			w.t.Error(err)
		}
	}
}

// place deals the key groups out among n empty tasks.
func (w *world) place(n int) {
	w.tasks = nil
	for i := range n {
		b, err := arena.Open(state.Options{Descriptors: worldStates})
		if err != nil {
			w.t.Fatal(err)
		}
		w.tasks = append(w.tasks, &task{backend: b, groups: Groups{uint16(i * (MaxGroup + 1) / n), uint16((i+1)*(MaxGroup+1)/n - 1)}})
	}
}

func nextTimers(b state.Backend) NextTimers {
	next := NextTimers{NoTimer, NoTimer}
	if at, any := b.NextTimer(state.EventTime); any {
		next.Event = at
	}
	if at, any := b.NextTimer(state.ProcessingTime); any {
		next.Processing = at
	}
	return next
}

func (w *world) nextID() uint64 { w.ids++; return w.ids }

// write changes some keys.
func (w *world) write(n int) {
	for range n {
		key := fmt.Appendf(nil, "key-%d", w.r.IntN(w.keys))
		hash := xxhash.Sum64(key)
		i := slices.IndexFunc(w.tasks, func(t *task) bool {
			first, last := t.groups.Hashes()
			return first <= hash && hash <= last
		})
		b := w.tasks[i].backend
		s := b.Resolve(state.Keys{Bytes: key, Offsets: []int32{0, int32(len(key))}}, []uint64{hash}, nil)[0]
		w.change(b, s, key)
		b.Advance(0)
	}
}

func (w *world) change(b state.Backend, s state.Slot, key []byte) {
	sub := []byte{byte(w.r.IntN(4))}
	value := make([]byte, w.r.IntN(6000))
	_, _ = w.noise.Read(value) // does not compress
	timer := state.Timer{Kind: state.TimerKind(1 + w.r.IntN(2)), Time: int64(w.r.IntN(3))}
	switch w.r.IntN(8) {
	case 0, 1:
		w.must(b.Put(s, 0, value))
		w.model[line("value", key, nil)] = string(value)
	case 2:
		b.Clear(s, 0)
		delete(w.model, line("value", key, nil))
	case 3, 4:
		w.must(b.PutEntry(s, 1, sub, value))
		w.model[line("table", key, sub)] = string(value)
	case 5:
		if w.r.IntN(2) == 0 {
			b.DeleteEntry(s, 1, sub)
			delete(w.model, line("table", key, sub))
			return
		}
		b.Clear(s, 1)
		prefix := line("table", key, []byte{})
		maps.DeleteFunc(w.model, func(k, _ string) bool { return strings.HasPrefix(k, prefix) })
	case 6:
		b.SetTimer(s, timer)
		w.model[line(state.TimerState, key, state.AppendTimerSub(nil, timer))] = ""
	case 7:
		b.DeleteTimer(s, timer)
		delete(w.model, line(state.TimerState, key, state.AppendTimerSub(nil, timer)))
	}
}

func (w *world) must(err error) {
	if err != nil {
		w.t.Helper()
		w.t.Fatal(err)
	}
}

// checkpoint freezes what can be frozen, writes, and commits if every part came
// through. A part that did not is written again at the next checkpoint.
func (w *world) checkpoint() {
	id := w.nextID()
	behind := false
	for _, t := range w.tasks {
		behind = behind || t.frozen != nil
	}
	if !behind {
		for _, t := range w.tasks {
			t.frozen, t.id, t.timers = t.backend.Freeze(), id, nextTimers(t.backend)
		}
		w.pending = maps.Clone(w.model)
	}
	complete := true
	for worker := range 2 {
		part, err := w.writePart(worker)
		if err != nil {
			w.injected(err)
			complete = false
			continue
		}
		if part != nil {
			w.waiting = append(w.waiting, part)
		}
	}
	if complete && w.r.IntN(8) > 0 { // else some other worker was lost: not committed
		w.commit(id)
	} else {
		w.counts["checkpoints not committed"]++
	}
}

func (w *world) writePart(worker int) (*Part, error) {
	var snaps []OperatorSnapshot
	var id uint64
	var mine []*task
	for i, t := range w.tasks {
		if i%2 != worker || t.frozen == nil {
			continue
		}
		id = t.id
		mine = append(mine, t)
		snaps = append(snaps, OperatorSnapshot{Operator: "op", Task: i, Groups: t.groups, Keyed: t.frozen, Timers: &t.timers, Items: []Item{
			{Kind: KindSplit, Key: fmt.Sprint("split", i), Data: [][]byte{fmt.Append(nil, t.id)}},
			{Kind: KindTransaction, Key: fmt.Sprint("txn", i), Data: [][]byte{bytes.Repeat([]byte{byte(t.id)}, int(t.id%3)*1000), []byte("small")}},
		}})
	}
	if len(mine) == 0 {
		return nil, nil
	}
	p, err := WritePart(w.t.Context(), w.store, PartID{"uid", id, w.attempt, fmt.Sprint("worker", worker)}, snaps)
	if err != nil {
		return nil, err
	}
	for _, t := range mine {
		t.frozen.Release()
		t.frozen = nil
	}
	if p.ObjectBytes > 0 {
		w.counts["parts in objects"]++
	} else {
		w.counts["parts inline"]++
	}
	return UnmarshalPart(p.Marshal())
}

func (w *world) commit(id uint64) {
	parts := slices.Clone(w.waiting)
	if w.merge != nil {
		parts = append(parts, w.merge)
	}
	m, err := BuildManifest(w.committed, Meta{Pipeline: "uid", Checkpoint: id, Attempt: w.attempt, Kind: Checkpoint}, parts)
	w.must(err)
	name, digest, err := WriteManifest(w.t.Context(), w.store, m)
	if err != nil {
		w.injected(err)
		if name, digest, err = WriteManifest(w.t.Context(), w.store, m); err != nil {
			w.injected(err)
			return
		}
	}
	if w.r.IntN(2) == 0 { // as a new leader does
		m, err = ReadManifest(w.t.Context(), w.inner, name, digest)
		w.must(err)
	}
	w.counts["manifest bytes"] += func() int { b, _ := m.Encode(); return len(b) }()
	w.committed, w.names, w.waiting, w.merge = m, []string{name}, nil, nil
	w.barrier = w.pending
	w.mostLive = max(w.mostLive, m.LiveSegments())
	w.counts["commits"]++
}

// runMerge merges what is due, into the next manifest or into nothing.
func (w *world) runMerge() {
	if w.committed == nil || w.merge != nil {
		return
	}
	merges := PlanMerge(w.committed)
	if len(merges) == 0 {
		return
	}
	w.mergeID = w.nextID()
	p, err := RunMerge(w.t.Context(), w.store, PartID{"uid", w.mergeID, w.attempt, "worker0"}, merges)
	if err != nil {
		w.injected(err)
		return
	}
	p, err = UnmarshalPart(p.Marshal())
	w.must(err)
	w.merge = p
	w.counts["merges"]++
}

func (w *world) injected(err error) {
	w.t.Helper()
	if !errors.Is(err, blobfault.ErrInjected) && !errors.Is(err, state.ErrDamaged) && !errors.Is(err, context.DeadlineExceeded) {
		w.t.Fatalf("an error that nobody injected: %v", err)
	}
	w.counts["injected"]++
}

func (w *world) roots() Roots {
	r := Roots{Pipeline: "uid", KeptNames: w.names, Live: []uint64{w.attempt}}
	if w.committed != nil {
		r.Newest, r.Kept = w.committed.Meta.Checkpoint, []*Manifest{w.committed}
	}
	if w.merge != nil {
		r.InFlight = []uint64{w.mergeID}
	}
	return r
}

func (w *world) sweep() {
	if _, err := Sweep(w.t.Context(), w.store, w.roots()); err != nil {
		w.injected(err)
	}
}

// fail loses every task, and restores with another parallelism.
func (w *world) fail() {
	w.close()
	w.attempt++
	w.waiting, w.merge = nil, nil
	w.place(1 + w.r.IntN(4))
	w.model = maps.Clone(w.barrier)
	if w.committed == nil {
		return
	}
	for _, t := range w.tasks {
		if err := Restore(w.t.Context(), w.store, w.committed, "op", t.groups, t.backend); err != nil {
			w.injected(err)
			// A backend that is half full is of no use: once more from the start.
			w.must(t.backend.Close())
			t.backend, err = arena.Open(state.Options{Descriptors: worldStates})
			w.must(err)
			w.must(Restore(w.t.Context(), w.inner, w.committed, "op", t.groups, t.backend))
		}
	}
	w.counts["restores"]++
}

// collector holds every entry once, and in order.
type collector struct {
	lines map[string]string
	hash  uint64
}

func (c *collector) Load(e state.Entry) error {
	l := line(e.State, e.Key, e.Sub)
	if _, twice := c.lines[l]; twice || e.Tombstone || e.Hash < c.hash || e.Hash != xxhash.Sum64(e.Key) {
		return fmt.Errorf("loaded %s again, or out of order", l)
	}
	c.lines[l], c.hash = string(e.Value), e.Hash
	return nil
}

// check holds the newest checkpoint against the model.
func (w *world) check() {
	w.t.Helper()
	if w.committed == nil {
		return
	}
	w.must(Verify(w.t.Context(), w.inner, w.committed))
	got := &collector{lines: map[string]string{}}
	w.must(Restore(w.t.Context(), w.inner, w.committed, "op", AllGroups(), got))
	if !maps.Equal(got.lines, w.barrier) {
		for l := range w.barrier {
			if v, ok := got.lines[l]; !ok || v != w.barrier[l] {
				w.t.Errorf("%s: there %t, %d bytes, want %d", l, ok, len(v), len(w.barrier[l]))
			}
		}
		for l := range got.lines {
			if _, ok := w.barrier[l]; !ok {
				w.t.Errorf("%s came back", l)
			}
		}
		w.t.FailNow()
	}
	w.checkReader()
}

// checkSwept wants nothing in the store but what the newest checkpoint needs.
func (w *world) checkSwept() {
	w.t.Helper()
	// What is above the newest checkpoint stays until one passes it.
	w.store.Arm(blobfault.Plan{})
	for range 3 {
		w.checkpoint()
		w.merge = nil
	}
	for before := -1; w.counts["commits"] != before && len(w.waiting) > 0; {
		before = w.counts["commits"]
		w.checkpoint()
	}
	w.sweep()
	var left []string
	for info, err := range w.inner.List(w.t.Context(), "") {
		w.must(err)
		left = append(left, info.Name)
	}
	want := append(w.committed.Objects(), w.names...)
	for _, p := range w.waiting {
		want = append(want, p.Objects()...)
	}
	slices.Sort(want)
	left = slices.DeleteFunc(left, func(name string) bool {
		_, id, _, _ := parseName(name)
		return id > w.committed.Meta.Checkpoint && !slices.Contains(want, name)
	})
	if !slices.Equal(left, slices.Compact(want)) {
		w.t.Fatalf("after the sweep there are\n%s\nwant\n%s", strings.Join(left, "\n"), strings.Join(want, "\n"))
	}
}
