package statetest

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/platform/storage/state"
)

// run is a random history of one backend, beside the model. Generations are
// serialised by another goroutine while the history goes on.
type run struct {
	t    *testing.T
	r    *rand.Rand
	open func(*testing.T, state.Options) state.Backend
	hash func(string) uint64

	b        state.Backend
	m        *model
	segments [][]state.Entry // of the generations that were released
	pending  chan []state.Entry
	barrier  *model // at the freeze that is pending
}

const historySteps = 1500

func history(t *testing.T, seed uint64, open func(*testing.T, state.Options) state.Backend, hash func(string) uint64) {
	t.Logf("seed %d", seed)
	h := &run{t: t, r: rand.New(rand.NewPCG(seed, 1)), open: open, hash: hash, m: newModel()}
	h.b = open(t, state.Options{Descriptors: descriptors})
	for range historySteps {
		h.step()
	}
	if h.pending != nil {
		h.collect()
	}
	h.m.compare(t, h.b, hash)
}

func (h *run) step() {
	switch p := h.r.IntN(100); {
	case p < 70:
		h.batch()
	case p < 82:
		// Nothing, a little, or enough for everything to expire.
		h.m.advance(h.m.clock + []int64{0, 0, 1_000, 10_000, 50_000}[h.r.IntN(5)])
		h.b.Advance(h.m.clock)
	case p < 90:
		h.fire()
	case p < 96:
		if h.pending != nil {
			h.collect()
		} else {
			h.freeze()
		}
	case p < 98:
		h.m.compare(h.t, h.b, h.hash)
	default:
		if h.pending != nil {
			h.collect()
			h.crash()
		}
	}
}

func (h *run) freeze() {
	f := h.b.Freeze()
	h.barrier = h.m.clone()
	pending := make(chan []state.Entry, 1)
	h.pending = pending
	go func() {
		var out []state.Entry
		for e := range f.Entries() {
			out = append(out, copyEntry(e))
		}
		again := 0
		for e := range f.Entries() {
			if again >= len(out) || e.Hash != out[again].Hash || !bytes.Equal(e.Value, out[again].Value) {
				out = nil // seen as a difference at the restore
				break
			}
			again++
		}
		f.Release()
		pending <- out
	}()
}

// collect ends the pending generation, and restores what stood at its barrier.
func (h *run) collect() {
	segment := <-h.pending
	h.pending = nil
	for i := 1; i < len(segment); i++ {
		if compareEntries(segment[i-1], segment[i]) >= 0 {
			h.t.Fatalf("entries are out of order: %+v before %+v", segment[i-1], segment[i])
		}
	}
	h.segments = append(h.segments, segment)
	restored := h.restore(h.segments, state.LoadUnchanged)
	h.barrier.clone().compare(h.t, restored, h.hash)
	if h.r.IntN(4) == 0 {
		// What a job writes that starts from this state holds all of it.
		other := h.restore(h.segments, state.LoadChanged)
		f := other.Freeze()
		var all []state.Entry
		for e := range f.Entries() {
			all = append(all, copyEntry(e))
		}
		f.Release()
		h.barrier.clone().compare(h.t, h.restore([][]state.Entry{all}, state.LoadUnchanged), h.hash)
	}
}

// crash goes on from the last barrier, as after a failure.
func (h *run) crash() {
	h.b = h.restore(h.segments, state.LoadUnchanged)
	h.m = h.barrier.clone()
}

func (h *run) restore(segments [][]state.Entry, loading state.Loading) state.Backend {
	b := h.open(h.t, state.Options{Descriptors: descriptors, Loading: loading})
	b.Advance(h.barrier.clock)
	for _, segment := range segments {
		for _, e := range segment {
			if err := b.Load(e); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	return b
}

// compareEntries is the order of segments, written down once more.
func compareEntries(x, y state.Entry) int {
	return cmp.Or(cmp.Compare(x.Hash, y.Hash), strings.Compare(x.State, y.State), bytes.Compare(x.Key, y.Key),
		cmp.Compare(boolInt(x.Sub != nil), boolInt(y.Sub != nil)), bytes.Compare(x.Sub, y.Sub))
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (h *run) key() string {
	n := h.r.IntN(60)
	return fmt.Sprintf("k%d%s", n, strings.Repeat("-", n%3*20))
}

func (h *run) value() string {
	size := h.r.IntN(40)
	switch h.r.IntN(60) {
	case 0:
		size = h.r.IntN(5000)
	case 1:
		size = 70_000 + h.r.IntN(20_000)
	case 2:
		size = 0
	}
	return strings.Repeat(string(rune('a'+h.r.IntN(26))), size)
}

func (h *run) batch() {
	keys := make([]string, 1+h.r.IntN(6))
	for i := range keys {
		keys[i] = h.key()
	}
	for i, s := range resolve(h.b, h.hash, keys...) {
		for range h.r.IntN(6) {
			h.operation(s, keys[i])
		}
	}
}

func (h *run) operation(s state.Slot, name string) {
	k := h.m.key(name)
	single := []state.ID{plain, written, read}[h.r.IntN(3)]
	entries := []state.ID{table, writtenTable, readTable}[h.r.IntN(3)]
	lists := []state.ID{list, writtenList}[h.r.IntN(2)]
	timer := state.Timer{Kind: state.TimerKind(1 + h.r.IntN(2)), Name: uint16(h.r.IntN(2)), Time: int64(h.r.IntN(40) - 10)}
	switch h.r.IntN(14) {
	case 0, 1:
		h.m.checkGet(h.t, h.b, s, name, single)
	case 2, 3:
		v := h.value()
		h.must(h.b.Put(s, single, []byte(v)))
		k.singles[single] = h.m.cell(single, v)
	case 4:
		h.mutable(s, k, single)
	case 5:
		h.b.Clear(s, single)
		delete(k.singles, single)
	case 6, 7:
		key, v := h.entryKey(), h.value()
		h.must(h.b.PutEntry(s, entries, []byte(key), []byte(v)))
		if k.tables[entries] == nil {
			k.tables[entries] = map[string]cell{}
		}
		k.tables[entries][key] = h.m.cell(entries, v)
	case 8:
		h.getEntry(s, name, entries)
	case 9:
		key := h.entryKey()
		h.b.DeleteEntry(s, entries, []byte(key))
		delete(k.tables[entries], key)
	case 10:
		if h.r.IntN(3) == 0 {
			h.b.Clear(s, entries)
			delete(k.tables, entries)
		} else {
			h.m.checkScan(h.t, h.b, s, name, entries, []byte(h.entryKey()))
		}
	case 11:
		h.list(s, k, lists)
	case 12:
		h.b.SetTimer(s, timer)
		k.timers[timer] = struct{}{}
	case 13:
		h.b.DeleteTimer(s, timer)
		delete(k.timers, timer)
	}
}

func (h *run) must(err error) {
	if err != nil {
		h.t.Helper()
		h.t.Fatal(err)
	}
}

func (h *run) entryKey() string {
	return []string{"", "a", "a\x00", "ab", "b", "12345678", "\xff\xff\xff\xff\xff\xff\xff\xff", strings.Repeat("long", 30)}[h.r.IntN(8)]
}

func (h *run) mutable(s state.Slot, k *modelKey, id state.ID) {
	size := 1 + h.r.IntN(24)
	was, had := k.singles[id]
	if had && h.r.IntN(2) == 0 && len(was.value) > 0 {
		size = len(was.value)
	}
	want := make([]byte, size)
	if had && len(was.value) == size {
		copy(want, was.value)
	}
	view := h.b.Mutable(s, id, size)
	if !bytes.Equal(view, want) {
		h.t.Fatalf("mutable %s of %d bytes gave %q, want %q", descriptors[id].Name, size, view, want)
	}
	view[h.r.IntN(size)] = byte(h.r.IntN(256))
	k.singles[id] = h.m.cell(id, string(view))
}

func (h *run) getEntry(s state.Slot, name string, id state.ID) {
	k, key := h.m.key(name), h.entryKey()
	got, ok := h.b.GetEntry(s, id, []byte(key))
	want, wantOk := k.tables[id][key]
	if ok != wantOk || string(got) != want.value {
		h.t.Fatalf("key %q %s entry %q: %q %t, want %q %t", name, descriptors[id].Name, key, got, ok, want.value, wantOk)
	}
	if ok && descriptors[id].TTLOn == state.TTLOnReadWrite {
		k.tables[id][key] = h.m.cell(id, want.value)
	}
}

func (h *run) list(s state.Slot, k *modelKey, id state.ID) {
	switch h.r.IntN(8) {
	case 0:
		h.b.Clear(s, id)
		delete(k.lists, id)
	case 1, 2: // the first entry goes, or the last
		var keys [][]byte
		for key := range h.b.Scan(s, id, nil) {
			keys = append(keys, bytes.Clone(key))
		}
		if len(keys) == 0 {
			return
		}
		i := h.r.IntN(2) * (len(keys) - 1)
		h.b.DeleteEntry(s, id, keys[i])
		k.lists[id] = slices.Delete(slices.Clone(k.lists[id]), i, i+1)
	default:
		v := h.value()
		h.must(h.b.AppendEntry(s, id, []byte(v)))
		k.lists[id] = append(k.lists[id], h.m.cell(id, v))
	}
}

func (h *run) fire() {
	kind, upTo, limit := state.TimerKind(1+h.r.IntN(2)), int64(h.r.IntN(40)-10), 1+h.r.IntN(10)
	if h.hash("a") == fewHashes("a") {
		limit = 1000 // keys of one hash fire in any order; a limit would choose between them
	}
	want := h.m.due(kind, upTo, limit, h.hash)
	var got []modelFiring
	for _, f := range h.b.Due(kind, upTo, limit, nil) {
		key, _ := h.b.Key(f.Slot)
		got = append(got, modelFiring{string(key), f.Timer})
	}
	if !slices.IsSortedFunc(got, func(x, y modelFiring) int {
		return cmp.Or(cmp.Compare(x.Time, y.Time), cmp.Compare(h.hash(x.key), h.hash(y.key)), cmp.Compare(x.Name, y.Name))
	}) {
		h.t.Fatalf("firings are out of order: %v", got)
	}
	counts := map[modelFiring]int{}
	for i := range max(len(got), len(want)) {
		if i < len(got) {
			counts[got[i]]++
		}
		if i < len(want) {
			counts[want[i]]--
		}
	}
	maps.DeleteFunc(counts, func(_ modelFiring, n int) bool { return n == 0 })
	if len(counts) > 0 {
		h.t.Fatalf("due up to %d: %v, want %v", upTo, got, want)
	}
}
