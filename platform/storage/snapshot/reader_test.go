package snapshot

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/blobfault"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/state"
)

// checkReader holds what a reader finds against the model: some hashes, there or
// not, some groups, and a range; and that no timer is due before it says.
func (w *world) checkReader() {
	w.t.Helper()
	r, err := OpenReader(w.t.Context(), w.inner, w.committed, "op", AllGroups())
	w.must(err)
	ranges := map[[2]uint64]bool{}
	for range 10 {
		hash := xxhash.Sum64(fmt.Appendf(nil, "key-%d", w.r.IntN(w.keys*5/4)))
		ranges[[2]uint64{hash, hash}] = true
		other := w.r.Uint64()
		ranges[[2]uint64{min(hash, other), max(hash, other)}] = true
		first, last := Groups{uint16(hash >> 56), uint16(hash >> 56)}.Hashes()
		ranges[[2]uint64{first, last}] = true
	}
	for at := range ranges {
		want, next := map[string]string{}, NextTimers{NoTimer, NoTimer}
		for l, v := range w.barrier {
			if hash, timer := hashOfLine(l); at[0] <= hash && hash <= at[1] {
				want[l] = v
				switch timer.Kind {
				case state.EventTime:
					next.Event = min(next.Event, timer.Time)
				case state.ProcessingTime:
					next.Processing = min(next.Processing, timer.Time)
				}
			}
		}
		got := &collector{lines: map[string]string{}}
		w.must(r.Range(w.t.Context(), at[0], at[1], got.Load))
		if len(got.lines) != len(want) {
			w.t.Fatalf("hashes %x to %x: %d things, want %d", at[0], at[1], len(got.lines), len(want))
		}
		for l, v := range want {
			if got.lines[l] != v {
				w.t.Fatalf("hashes %x to %x: %s has %d bytes, want %d", at[0], at[1], l, len(got.lines[l]), len(v))
			}
		}
		if said := r.NextTimers(at[0], at[1]); said.Event > next.Event || said.Processing > next.Processing {
			w.t.Fatalf("hashes %x to %x: the next timers are said to be %+v and are %+v", at[0], at[1], said, next)
		}
	}
}

// hashOfLine takes apart what line has made.
func hashOfLine(l string) (hash uint64, t state.Timer) {
	parts := bytes.Split([]byte(l), []byte("/"))
	if string(parts[0]) == state.TimerState {
		var sub []byte
		_, _ = fmt.Sscanf(string(parts[2]), "%x", &sub)
		t, _ = state.ParseTimerSub(sub)
	}
	return xxhash.Sum64(parts[1]), t
}

func TestAHashIsFoundWithoutReadingMoreThanItsBlock(t *testing.T) {
	all := values(20_000, 100)
	store, m := stored(t, all)
	r, err := OpenReader(t.Context(), store, m, "op", AllGroups())
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(all); i += 777 {
		var found []string
		if err := r.Hash(t.Context(), all[i].Hash, func(e state.Entry) error {
			found = append(found, string(e.Key))
			return nil
		}); err != nil || len(found) != 1 || found[0] != string(all[i].Key) {
			t.Fatalf("key %s: found %q, %v", all[i].Key, found, err)
		}
		if n := r.Blocks(all[i].Hash, all[i].Hash); n > 2 {
			t.Errorf("a hash lies in %d blocks", n)
		}
		if r.cache.bytes > cacheBytes {
			t.Errorf("the cache holds %d bytes", r.cache.bytes)
		}
	}
	// Whoever owns other key groups opens nothing.
	if err := r.Hash(t.Context(), all[0].Hash+1, func(e state.Entry) error {
		return fmt.Errorf("found %s, which nobody wrote", e.Key)
	}); err != nil {
		t.Error(err)
	}
	none, err := OpenReader(t.Context(), store, m, "other", AllGroups())
	if err != nil || none.Blocks(0, math.MaxUint64) != 0 {
		t.Errorf("an operator without state: %v", err)
	}
}

func TestKeysOfOneHashOverManyBlocksAreFoundTogether(t *testing.T) {
	var f fixed
	for i := range 3000 {
		f = append(f, state.Entry{Hash: 7 << 40, State: "v", Key: fmt.Appendf(nil, "key-%04d", i), Value: bytes.Repeat([]byte{byte(i), byte(i >> 3)}, 60)})
	}
	store, m := stored(t, f)
	r, err := OpenReader(t.Context(), store, m, "op", AllGroups())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := r.Hash(t.Context(), 7<<40, func(e state.Entry) error {
		if string(e.Key) != string(f[n].Key) || !bytes.Equal(e.Value, f[n].Value) {
			return fmt.Errorf("entry %d is %s", n, e.Key)
		}
		n++
		return nil
	}); err != nil || n != len(f) || r.Blocks(7<<40, 7<<40) < 3 {
		t.Errorf("%d of %d found in %d blocks, %v", n, len(f), r.Blocks(7<<40, 7<<40), err)
	}
}

func TestAReaderNamesDamageAndWhatIsMissing(t *testing.T) {
	all := values(3000, 40)
	store, m := stored(t, all)
	ref := m.Operator("op").Segments[0]
	good, err := blob.ReadRange(t.Context(), store, ref.Object, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	index, err := readIndex(t.Context(), store, "op", ref)
	if err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) error {
		damaged := memblob.New(memblob.Options{})
		if _, err := blob.PutBytes(t.Context(), damaged, ref.Object, b); err != nil {
			t.Fatal(err)
		}
		r, err := OpenReader(t.Context(), damaged, m, "op", AllGroups())
		if err != nil {
			return err
		}
		return r.Hash(t.Context(), index.blocks[2].first, func(state.Entry) error { return nil })
	}
	bad := bytes.Clone(good)
	bad[ref.Offset+index.blocks[2].offset+20] ^= 1
	var d *DamageError
	if err := read(bad); !errors.As(err, &d) || d.Object != ref.Object || d.Operator != "op" || d.Block != 2 {
		t.Errorf("%v", err)
	}
	bad = bytes.Clone(good)
	bad[ref.Offset+ref.Length-1] ^= 1
	if err := read(bad); !errors.As(err, &d) || d.Object != ref.Object || d.Block != -1 {
		t.Errorf("a damaged footer: %v", err)
	}
	cut := memblob.New(memblob.Options{})
	r, err := OpenReader(t.Context(), store, m, "op", AllGroups())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := blob.PutBytes(t.Context(), cut, ref.Object, good[:ref.Offset+index.blocks[2].offset+5]); err != nil {
		t.Fatal(err)
	}
	r.store = cut
	if err := r.Hash(t.Context(), index.blocks[2].last, func(state.Entry) error { return nil }); !errors.As(err, &d) || d.Block != 2 {
		t.Errorf("an object that was cut: %v", err)
	}
	r.store = blobfault.New(store, blobfault.Plan{From: 1, Count: 1, Kind: blobfault.Cut})
	if err := r.Hash(t.Context(), index.blocks[2].last, func(state.Entry) error { return nil }); errors.As(err, &d) || !errors.Is(err, blobfault.ErrInjected) {
		t.Errorf("a connection that was cut: %v", err)
	}
	if _, err := OpenReader(t.Context(), memblob.New(memblob.Options{}), m, "op", AllGroups()); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("a missing object: %v", err)
	}
}

// The spans are held against all times of a block, whatever they are.
func TestSpansOfTimersAreNeverLateAndExactWhereTimesAreFew(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for round := range 300 {
		var b blockTimers
		var times []int64
		different := 1 + r.IntN(40)
		for range 1 + r.IntN(300) {
			at := []int64{int64(r.IntN(different)) * 1000, int64(r.Uint64()), math.MinInt64, math.MaxInt64 - 1}[min(r.IntN(30), 3)*(round%2)]
			times = append(times, at)
			if err := b.add(state.AppendTimerSub(nil, state.Timer{Kind: state.ProcessingTime, Time: at})); err != nil {
				t.Fatal(err)
			}
		}
		var e encoder
		b.encodeTo(&e)
		d := decoder{b: e.b}
		spans := d.timerSpans()
		if err := d.end(); err != nil {
			t.Fatal(err)
		}
		slices.Sort(times)
		few := len(slices.Compact(slices.Clone(times))) <= maxTimerSpans
		for range 50 {
			from := int64(r.IntN(different*1000+500)) - 200
			if r.IntN(4) == 0 {
				from = cmp.Or(int64(r.Uint64()), math.MinInt64)
			}
			want := int64(NoTimer)
			if i, _ := slices.BinarySearch(times, from); i < len(times) {
				want = times[i]
			}
			got := spans.next(state.ProcessingTime, from)
			if got > want || few && got != want || got < from || spans.next(state.EventTime, from) != NoTimer {
				t.Fatalf("from %d: %d, want %d, few: %t", from, got, want, few)
			}
		}
	}
}

func TestWhatHasFiredBeforeACheckpointIsNotDueInItsOldSegments(t *testing.T) {
	timers := func(tombstone bool, times ...int64) (f fixed) {
		keys := goldenKeys(300)
		for i, k := range keys {
			f = append(f, state.Entry{Hash: xxhash.Sum64(k), State: state.TimerState, Key: k, Tombstone: tombstone,
				Sub: state.AppendTimerSub(nil, state.Timer{Kind: state.EventTime, Time: times[i%len(times)]})})
		}
		return f
	}
	store := memblob.New(memblob.Options{})
	var m *Manifest
	for i, f := range []fixed{timers(false, 100, 200, 5000), timers(true, 100, 200, 7000)} {
		p, err := WritePart(t.Context(), store, PartID{"p", uint64(i + 1), 1, "w"}, []OperatorSnapshot{{Operator: "op", Groups: AllGroups(), Keyed: f, Timers: &NextTimers{[]int64{100, 5000}[i], NoTimer}}})
		if err != nil {
			t.Fatal(err)
		}
		if m, err = BuildManifest(m, Meta{Pipeline: "p", Checkpoint: uint64(i + 1)}, []*Part{p}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := OpenReader(t.Context(), store, m, "op", AllGroups())
	if err != nil {
		t.Fatal(err)
	}
	if next := r.NextTimers(0, math.MaxUint64); next != (NextTimers{5000, NoTimer}) {
		t.Errorf("next timers are %+v", next)
	}
}

// A segment of version 1 says nothing of timers: any may be due as soon as the
// task's first was.
func TestTimersOfVersionOneAreTakenFromTheTask(t *testing.T) {
	files := goldenOf(t, "testdata/v1")
	r, err := OpenReader(t.Context(), files.store, files.manifest, "count", AllGroups())
	if err != nil {
		t.Fatal(err)
	}
	if next := r.NextTimers(0, math.MaxUint64); next != (NextTimers{5, NoTimer}) {
		t.Errorf("next timers are %+v", next)
	}
}

func FuzzIndex(f *testing.F) {
	for _, seg := range []fixed{values(30, 10), {{State: state.TimerState, Key: []byte("k"), Sub: state.AppendTimerSub(nil, state.Timer{Kind: 1, Time: 9})}}} {
		var b bytes.Buffer
		s, _ := newSegmentWriter(&b)
		for _, e := range seg {
			if err := s.add(e); err != nil {
				f.Fatal(err)
			}
		}
		info, _ := s.close()
		tail := b.Bytes()[info.length-info.tailBytes:]
		f.Add(tail[:len(tail)-footerBytes], info.length-info.tailBytes, uint16(segmentVersion))
	}
	if b, err := os.ReadFile("testdata/v1/object1"); err == nil {
		f.Add(b, int64(0), uint16(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, end int64, version uint16) {
		x, err := parseIndex(b, end, version)
		if err != nil {
			return
		}
		for _, r := range x.blocks {
			for kind := state.EventTime; kind <= state.ProcessingTime; kind++ {
				last := int64(math.MinInt64)
				for range maxTimerSpans + 1 {
					at := r.timers.next(kind, last)
					if at < last {
						t.Fatalf("after %d comes %d", last, at)
					}
					if at == NoTimer || version < 2 {
						break
					}
					i := slices.IndexFunc(r.timers[kind-state.EventTime], func(s span) bool { return s.begin <= at && at <= s.end })
					last = r.timers[kind-state.EventTime][i].end + 1
				}
			}
		}
	})
}
