package lazy

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/arena"
	"github.com/weirstream/weir/platform/storage/state/pebble"
	"github.com/weirstream/weir/platform/storage/state/statetest"
)

// restored is a backend for the suite: what it is told to load it writes into
// files, a segment for each time that the order begins anew, and restores
// lazily from them at the first use.
type restored struct {
	state.Backend // the backend that is loaded at once; then the lazy one
	t             *testing.T
	opts          state.Options
	segments      [][]state.Entry
	clock         int64
	loadedAt      int64
	used          bool
	pieces        int
	r             *rand.Rand
}

func (b *restored) Load(e state.Entry) error {
	if err := b.Backend.Load(e); err != nil || b.used || b.opts.Loading == state.LoadChanged {
		return err
	}
	e.Key, e.Value = bytes.Clone(e.Key), bytes.Clone(e.Value)
	if e.Sub != nil {
		e.Sub = append([]byte{}, e.Sub...)
	}
	last := len(b.segments) - 1
	if last < 0 || compareEntries(b.segments[last][len(b.segments[last])-1], e) >= 0 {
		b.segments = append(b.segments, nil)
		last++
	}
	b.segments[last] = append(b.segments[last], e)
	b.loadedAt = b.clock
	return nil
}

// compareEntries is the order of segments.
func compareEntries(x, y state.Entry) int {
	return cmp.Or(cmp.Compare(x.Hash, y.Hash), strings.Compare(x.State, y.State), bytes.Compare(x.Key, y.Key),
		cmp.Compare(btoi(x.Sub != nil), btoi(y.Sub != nil)), bytes.Compare(x.Sub, y.Sub))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (b *restored) Advance(clock int64) {
	b.clock = max(b.clock, clock)
	b.Backend.Advance(clock)
}

// use turns from loading to lazy, and does some steps now and then.
func (b *restored) use() {
	if l, lazy := b.Backend.(*Backend); lazy && b.r.IntN(4) == 0 {
		l.Step(time.Duration(b.r.IntN(100)) * time.Microsecond)
	}
	if b.used || len(b.segments) == 0 {
		b.used = true
		return
	}
	b.used = true
	timers := nextTimers(b.Backend)
	store, m := filed(b.t, b.segments, timers)
	must(b.t, b.Backend.Close())
	b.Backend = opened(b.t, b.opts, Options{Store: store, Manifest: m, ClockMicros: b.loadedAt}, b.pieces)
	b.Backend.Advance(b.clock)
}

func nextTimers(b state.Backend) snapshot.NextTimers {
	next := snapshot.NextTimers{Event: snapshot.NoTimer, Processing: snapshot.NoTimer}
	if at, any := b.NextTimer(state.EventTime); any {
		next.Event = at
	}
	if at, any := b.NextTimer(state.ProcessingTime); any {
		next.Processing = at
	}
	return next
}

// filed writes generations as checkpoints 1, 2 and so on.
func filed(t testing.TB, segments [][]state.Entry, timers snapshot.NextTimers) (*memblob.Store, *snapshot.Manifest) {
	t.Helper()
	store := memblob.New(memblob.Options{})
	var m *snapshot.Manifest
	for _, entries := range segments {
		m = checkpointed(t, store, m, entries, timers)
	}
	return store, m
}

func checkpointed(t testing.TB, store *memblob.Store, m *snapshot.Manifest, entries generation, timers snapshot.NextTimers) *snapshot.Manifest {
	t.Helper()
	id := uint64(1)
	if m != nil {
		id = m.Meta.Checkpoint + 1
	}
	p, err := snapshot.WritePart(t.Context(), store, snapshot.PartID{Pipeline: "p", Checkpoint: id, Attempt: 1, Worker: "w"}, []snapshot.OperatorSnapshot{
		{Operator: "op", Groups: snapshot.AllGroups(), Keyed: entries, Timers: &timers}})
	must(t, err)
	m, err = snapshot.BuildManifest(m, snapshot.Meta{Pipeline: "p", Checkpoint: id, Attempt: 1}, []*snapshot.Part{p})
	must(t, err)
	_, _, err = snapshot.WriteManifest(t.Context(), store, m)
	must(t, err)
	return m
}

type generation []state.Entry

func (g generation) Len() int { return len(g) }
func (g generation) Release() {}
func (g generation) Entries() iter.Seq[state.Entry] {
	return slices.Values([]state.Entry(g))
}

func sortEntries(g generation) { slices.SortFunc(g, compareEntries) }

func must(t testing.TB, err error) {
	if err != nil {
		t.Helper()
		t.Fatal(err)
	}
}

// inner opens the backend behind.
type inner func(t testing.TB, opts state.Options) state.LateLoader

func inArena(t testing.TB, opts state.Options) state.LateLoader {
	b, err := arena.Open(opts)
	must(t, err)
	return b
}

// onDisk opens backends that have as little memory as can be. They close with the test.
func onDisk(t testing.TB, memory int64) inner {
	s, err := pebble.OpenStore(pebble.StoreOptions{Dir: filepath.Join(t.TempDir(), "state"), MemoryBytes: memory})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return func(t testing.TB, opts state.Options) state.LateLoader {
		b, err := s.Open(opts)
		must(t, err)
		t.Cleanup(func() { must(t, b.Close()) })
		return b
	}
}

// opened restores operator op, all of it unless o says another range.
func opened(t testing.TB, opts state.Options, o Options, pieces int) *Backend {
	t.Helper()
	return openedIn(t, inArena, opts, o, pieces)
}

func openedIn(t testing.TB, in inner, opts state.Options, o Options, pieces int) *Backend {
	t.Helper()
	o.Operator, o.States, o.Log = "op", opts.Descriptors, slog.New(slog.DiscardHandler)
	if o.Groups == (snapshot.Groups{}) {
		o.Groups = snapshot.AllGroups()
	}
	b, err := open(context.Background(), in(t, opts), o, pieces)
	must(t, err)
	return b
}

func (b *restored) Resolve(keys state.Keys, hashes []uint64, out []state.Slot) []state.Slot {
	b.use()
	return b.Backend.Resolve(keys, hashes, out)
}

func (b *restored) Due(kind state.TimerKind, upTo int64, limit int, out []state.Firing) []state.Firing {
	b.use()
	return b.Backend.Due(kind, upTo, limit, out)
}

func (b *restored) Freeze() state.Frozen {
	b.use()
	return b.Backend.Freeze()
}

func (b *restored) Keys() iter.Seq[state.Slot] {
	b.use()
	return b.Backend.Keys()
}

func TestLazy(t *testing.T) {
	for _, pieces := range []int{1, 40} {
		t.Run(fmt.Sprint(pieces, " pieces"), func(t *testing.T) {
			statetest.Run(t, func(t *testing.T, opts state.Options) state.Backend {
				return &restored{Backend: inArena(t, opts), t: t, opts: opts, pieces: pieces, r: rand.New(rand.NewPCG(uint64(pieces), 3))}
			})
		})
	}
}
