package lazy

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/pebble"
)

// world is a pipeline that is restarted in the middle of loading, again and
// again, with another number of tasks, while files are merged and all but the
// newest checkpoint's are swept. The model is two maps.
type world struct {
	t       *testing.T
	in      inner
	r       *rand.Rand
	noise   *rand.ChaCha8
	store   *memblob.Store
	tasks   []*worldTask
	now     model
	barrier model // at the newest checkpoint

	ids, attempt uint64
	committed    *snapshot.Manifest
	kept         string           // the manifest's name
	lost         []*snapshot.Part // of checkpoints that were not committed
	merged       *snapshot.Part
	mergeID      uint64
	counts       map[string]int
	reopened     atomic.Int64
}

type worldTask struct {
	groups snapshot.Groups
	state.Backend
}

type model struct {
	values map[string]string
	timers map[string]int64 // one a key, of event time
}

func (m model) clone() model { return model{maps.Clone(m.values), maps.Clone(m.timers)} }

var worldStates = []state.Descriptor{{Name: "v", Form: state.Single}}

const worldKeys = 3000

func (w *world) restart() {
	for _, task := range w.tasks {
		if l, lazy := task.Backend.(*Backend); lazy && l.LeftBytes() > 0 {
			w.counts["killed while loading"]++
		}
		must(w.t, task.Close())
	}
	w.attempt++
	w.now, w.tasks, w.merged, w.lost = w.barrier.clone(), nil, nil, nil
	n := 1 + w.r.IntN(4)
	for i := range n {
		task := &worldTask{groups: snapshot.Groups{First: uint16(i * 256 / n), Last: uint16((i+1)*256/n - 1)}}
		if w.committed == nil {
			task.Backend = w.in(w.t, state.Options{Descriptors: worldStates})
		} else {
			task.Backend = openedIn(w.t, w.in, state.Options{Descriptors: worldStates}, Options{Store: w.store, Manifest: w.committed, Groups: task.groups,
				Newest: func(context.Context) (*snapshot.Manifest, error) {
					w.reopened.Add(1)
					return w.committed, nil
				}}, 100)
		}
		w.tasks = append(w.tasks, task)
	}
}

func (w *world) of(key string) (*worldTask, state.Slot) {
	hash := xxhash.Sum64String(key)
	for _, task := range w.tasks {
		if first, last := task.groups.Hashes(); first <= hash && hash <= last {
			return task, task.Resolve(state.Keys{Bytes: []byte(key), Offsets: []int32{0, int32(len(key))}}, []uint64{hash}, nil)[0]
		}
	}
	panic("a key of no task")
}

func (w *world) write() {
	key := fmt.Sprint("key-", w.r.IntN(worldKeys))
	task, s := w.of(key)
	if got, ok := task.Get(s, 0); string(got) != w.now.values[key] || ok != (w.now.values[key] != "") {
		w.t.Fatalf("key %s has %q %t, want %q", key, got, ok, w.now.values[key])
	}
	switch w.r.IntN(5) {
	case 0:
		task.Clear(s, 0)
		delete(w.now.values, key)
	case 1:
		if at, set := w.now.timers[key]; set {
			task.DeleteTimer(s, state.Timer{Kind: state.EventTime, Time: at})
			delete(w.now.timers, key)
		} else {
			w.now.timers[key] = w.r.Int64N(1000)
			task.SetTimer(s, state.Timer{Kind: state.EventTime, Time: w.now.timers[key]})
		}
	default:
		value := make([]byte, 1+w.r.IntN(8000))
		_, _ = w.noise.Read(value) // does not compress
		w.now.values[key] = string(value)
		must(w.t, task.Put(s, 0, value))
	}
}

// fire takes what is due up to a time, all of it, from every task.
func (w *world) fire() {
	upTo := w.r.Int64N(300)
	got, want := map[string]int64{}, map[string]int64{}
	for _, task := range w.tasks {
		for {
			due := task.Due(state.EventTime, upTo, 100, nil)
			for _, f := range due {
				key, _ := task.Key(f.Slot)
				got[string(key)] = f.Timer.Time
			}
			if len(due) == 0 {
				break
			}
		}
	}
	for key, at := range w.now.timers {
		if at <= upTo {
			want[key] = at
			delete(w.now.timers, key)
		}
	}
	if !maps.Equal(got, want) {
		w.t.Fatalf("up to %d there fired %v, want %v", upTo, got, want)
	}
	next := int64(snapshot.NoTimer)
	for _, task := range w.tasks {
		next = min(next, nextTimers(task).Event)
	}
	for key, at := range w.now.timers {
		if at < next {
			w.t.Fatalf("the next timer is said to be at %d, %s has one at %d", next, key, at)
		}
	}
}

func (w *world) checkpoint() {
	w.ids++
	var snaps []snapshot.OperatorSnapshot
	for i, task := range w.tasks {
		timers := nextTimers(task)
		frozen := task.Freeze()
		defer frozen.Release()
		snaps = append(snaps, snapshot.OperatorSnapshot{Operator: "op", Task: i, Groups: task.groups, Keyed: frozen, Timers: &timers})
	}
	p, err := snapshot.WritePart(w.t.Context(), w.store, snapshot.PartID{Pipeline: "p", Checkpoint: w.ids, Attempt: w.attempt, Worker: "w"}, snaps)
	must(w.t, err)
	if w.lost = append(w.lost, p); w.r.IntN(5) == 0 {
		return // the commit fails: the part goes into the next manifest
	}
	parts := w.lost
	if w.merged != nil {
		parts = append(parts, w.merged)
	}
	m, err := snapshot.BuildManifest(w.committed, snapshot.Meta{Pipeline: "p", Checkpoint: w.ids, Attempt: w.attempt}, parts)
	must(w.t, err)
	w.kept, _, err = snapshot.WriteManifest(w.t.Context(), w.store, m)
	must(w.t, err)
	w.committed, w.barrier, w.lost, w.merged = m, w.now.clone(), nil, nil
	w.counts["commits"]++
}

func (w *world) merge() {
	if w.committed == nil || w.merged != nil {
		return
	}
	if merges := snapshot.PlanMerge(w.committed); len(merges) > 0 {
		w.ids++
		var err error
		w.mergeID = w.ids
		w.merged, err = snapshot.RunMerge(w.t.Context(), w.store, snapshot.PartID{Pipeline: "p", Checkpoint: w.ids, Attempt: w.attempt, Worker: "w"}, merges)
		must(w.t, err)
		w.counts["merges"]++
	}
}

// sweep keeps the newest checkpoint alone, whoever reads older files.
func (w *world) sweep() {
	if w.committed == nil {
		return
	}
	roots := snapshot.Roots{Pipeline: "p", Newest: w.committed.Meta.Checkpoint, Kept: []*snapshot.Manifest{w.committed}, KeptNames: []string{w.kept}, Live: []uint64{w.attempt}}
	if w.merged != nil {
		roots.InFlight = []uint64{w.mergeID}
	}
	deleted, err := snapshot.Sweep(w.t.Context(), w.store, roots)
	must(w.t, err)
	w.counts["swept"] += len(deleted)
}

func (w *world) steps() {
	for _, task := range w.tasks {
		if l, lazy := task.Backend.(*Backend); lazy {
			l.Step(time.Duration(w.r.IntN(200)) * time.Microsecond)
		}
		task.Advance(0)
	}
}

// check looks at everything, which loads everything.
func (w *world) check() {
	var got, want []string
	for _, task := range w.tasks {
		for s := range task.Keys() {
			key, _ := task.Key(s)
			v, _ := task.Get(s, 0)
			got = append(got, fmt.Sprintf("%s=%s", bytes.Clone(key), v))
		}
		if l, lazy := task.Backend.(*Backend); lazy && (l.LeftBytes() != 0 || l.left != 0) {
			w.t.Fatalf("%d bytes are left", l.LeftBytes())
		}
	}
	for key, v := range w.now.values {
		want = append(want, fmt.Sprintf("%s=%s", key, v))
	}
	for key := range w.now.timers {
		if _, also := w.now.values[key]; !also {
			want = append(want, key+"=")
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Fatalf("%d keys, want %d", len(got), len(want))
	}
}

func TestRestartsInTheMiddleOfLoadingLoseNothingAndBringNothingBack(t *testing.T) {
	for name, in := range map[string]inner{"arena": inArena, "arena again": inArena, "disk": onDisk(t, pebble.MinMemoryBytes)} {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(name, " seed ", seed), func(t *testing.T) { restarts(t, in, seed) })
	}
}

func restarts(t *testing.T, in inner, seed uint64) {
	w := &world{t: t, in: in, r: rand.New(rand.NewPCG(seed, 9)), noise: rand.NewChaCha8([32]byte{}), store: memblob.New(memblob.Options{}), counts: map[string]int{},
		barrier: model{map[string]string{}, map[string]int64{}}}
	w.restart()
	for range 4 * worldKeys {
		w.write()
	}
	w.checkpoint()
	for range 300 {
		switch p := w.r.IntN(100); {
		case p < 50:
			for range w.r.IntN(20) {
				w.write()
			}
		case p < 60:
			w.steps()
		case p < 75:
			w.checkpoint()
		case p < 80:
			w.merge()
		case p < 85:
			w.merge()
			w.checkpoint()
			w.sweep()
		case p < 90:
			w.fire()
		case p < 98:
			w.restart()
		default:
			w.check()
		}
	}
	w.check()
	w.restart()
	w.check()
	for _, task := range w.tasks {
		must(t, task.Close())
	}
	w.counts["reopened"] = int(w.reopened.Load())
	t.Log(w.counts)
	for _, what := range []string{"killed while loading", "merges", "swept", "commits"} {
		if w.counts[what] == 0 {
			t.Errorf("none %s", what)
		}
	}
}
