// Package statetest is the suite that every state.Backend must pass: fixed
// cases, and random histories beside a model of plain maps, with freezes that
// another goroutine serialises meanwhile, and restores. It must not know how a
// backend keeps its state.
package statetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weirstream/weir/platform/storage/state"
)

// Open opens an empty backend, which the test closes.
type Open func(t *testing.T, opts state.Options) state.Backend

// Run runs the suite.
func Run(t *testing.T, open Open) {
	opening := func(t *testing.T, opts state.Options) state.Backend {
		b := open(t, opts)
		t.Cleanup(func() {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
		return b
	}
	for name, test := range map[string]func(*testing.T, Open){
		"values over the limit are refused with the way out":         tooLarge,
		"a long state is stepped through page by page":               pages,
		"a batch gives each key one slot and the slot its key":       slotsOfABatch,
		"a frozen generation does not see later writes":              frozenIsImmutable,
		"keys that hold nothing are dropped":                         emptyKeysGo,
		"what nobody reads goes away when it has expired":            expiredGoes,
		"what is born and gone in one generation leaves no trace":    noTrace,
		"a state may gain and lose its time to live":                 driftOfTTL,
		"a dropped state is passed over and another form is refused": driftOfForm,
		"a key with many timers fires one at a time":                 oneTimerAtATime,
		"loading after use is refused":                               lateLoad,
		"a backend may be closed before its generation is released":  closeBeforeRelease,
	} {
		t.Run(name, func(t *testing.T) { test(t, opening) })
	}
	t.Run("random histories equal the model", func(t *testing.T) {
		for i := range 4 {
			history(t, rand.Uint64(), opening, []func(string) uint64{fullHash, fewHashes}[i%2])
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tooLarge(t *testing.T, open Open) {
	b := open(t, state.Options{Descriptors: descriptors})
	s := resolve(b, fullHash, "k")[0]
	big := make([]byte, state.MaxValueBytes)
	must(t, b.Put(s, plain, big))
	must(t, b.PutEntry(s, table, big[:state.MaxEntryKeyBytes], big))
	for _, err := range []error{
		b.Put(s, plain, append(big, 0)),
		b.PutEntry(s, table, nil, append(big, 0)),
		b.PutEntry(s, table, big[:state.MaxEntryKeyBytes+1], nil),
	} {
		if !errors.Is(err, state.ErrTooLarge) || !strings.Contains(err.Error(), " of ") {
			t.Errorf("over the limit: %v", err)
		}
	}
	if v, ok := b.Get(s, plain); !ok || len(v) != len(big) {
		t.Errorf("a refused write left %d bytes", len(v))
	}
}

func pages(t *testing.T, open Open) {
	b := open(t, state.Options{Descriptors: descriptors})
	const entries = 1000
	slots := resolve(b, fullHash, "before", "k", "empty", "behind")
	for i := range entries {
		for _, s := range []state.Slot{slots[0], slots[1], slots[3]} {
			must(t, b.PutEntry(s, table, fmt.Appendf(nil, "%04d", i), fmt.Append(nil, i)))
		}
	}
	var c state.Cursor
	for _, from := range []int{0, 1, 500, entries - 1, entries} {
		after := fmt.Appendf(nil, "%04d", from-1)
		if from == 0 {
			after = nil
		}
		// A backend need not have pages of its own.
		for _, backend := range []state.Backend{b, struct{ state.Backend }{b}} {
			next := from
			c.Begin(backend, slots[1], table, after)
			for key, value, ok := c.Next(); ok; key, value, ok = c.Next() {
				if string(key) != fmt.Sprintf("%04d", next) || string(value) != fmt.Sprint(next) {
					t.Fatalf("from %d: %q=%q, want %d", from, key, value, next)
				}
				next++
			}
			if next != entries {
				t.Errorf("from %d: ends before %d, want %d", from, next, entries)
			}
		}
	}
	c.Begin(b, slots[2], table, nil)
	if key, _, ok := c.Next(); ok {
		t.Errorf("a key without entries has %q", key)
	}
	if page := state.ScanPage(b, slots[1], table, nil, 0, nil); len(page) > 0 {
		t.Errorf("%d entries in a page of none", len(page))
	}
}

func slotsOfABatch(t *testing.T, open Open) {
	b := open(t, state.Options{})
	keys := []string{"a", "b", "a", "", "\x00", strings.Repeat("long", state.MaxKeyBytes/4)}
	got := resolve(b, fullHash, keys...)
	if got[0] != got[2] || got[0] == got[1] {
		t.Errorf("slots of a, b, a are %v", got[:3])
	}
	for i, s := range resolve(b, fullHash, keys...) {
		if key, hash := b.Key(s); s != got[i] || string(key) != keys[i] || hash != fullHash(keys[i]) {
			t.Errorf("key %.20q has slot %d, then %d, which is of %.20q, hash %x", keys[i], got[i], s, key, hash)
		}
	}
}

func entriesOf(f state.Frozen) (out []state.Entry) {
	for e := range f.Entries() {
		out = append(out, copyEntry(e))
	}
	return out
}

func frozenIsImmutable(t *testing.T, open Open) {
	b := open(t, state.Options{Descriptors: descriptors})
	const keys = 500
	var names []string
	for i := range keys {
		names = append(names, fmt.Sprint("key", i))
	}
	write := func(round int) {
		for i, s := range resolve(b, fullHash, names...) {
			v := fmt.Appendf(nil, "round %d of %d", round, i)
			must(t, b.Put(s, plain, v))
			must(t, b.PutEntry(s, table, []byte("entry"), v))
		}
	}
	write(1)
	f := b.Freeze()
	first := entriesOf(f)
	write(2)
	for i, s := range resolve(b, fullHash, names...) {
		if i%3 == 0 {
			b.Clear(s, plain)
			b.Clear(s, table)
		}
	}
	for range 10 {
		b.Advance(0)
	}
	write(3)
	again := entriesOf(f)
	if len(first) != 2*keys || len(again) != len(first) || f.Len() != len(first) {
		t.Fatalf("%d entries, then %d, length %d", len(first), len(again), f.Len())
	}
	for i := range first {
		if !bytes.Equal(first[i].Value, again[i].Value) || !bytes.HasPrefix(first[i].Value, []byte("round 1")) {
			t.Fatalf("entry %d was %q and is %q", i, first[i].Value, again[i].Value)
		}
	}
	f.Release()
}

func freezeAndDrop(b state.Backend) int {
	f := b.Freeze()
	n := len(entriesOf(f))
	f.Release()
	for range 20 {
		b.Advance(0)
	}
	return n
}

func emptyKeysGo(t *testing.T, open Open) {
	b := open(t, state.Options{Descriptors: descriptors})
	empty := b.Stats().StateBytes
	for round := range 3 {
		for i := range 3000 {
			s := resolve(b, fullHash, fmt.Sprint("key", i))[0]
			must(t, b.Put(s, plain, []byte("x")))
			must(t, b.AppendEntry(s, list, []byte("y")))
			b.SetTimer(s, state.Timer{Kind: state.EventTime, Time: 1})
		}
		if n := freezeAndDrop(b); n != 9000 {
			t.Fatalf("round %d: %d changes", round, n)
		}
		if n := b.Stats().Keys; n != 3000 {
			t.Fatalf("round %d: %d keys", round, n)
		}
		for i := range 3000 {
			s := resolve(b, fullHash, fmt.Sprint("key", i))[0]
			b.Clear(s, plain)
			b.Clear(s, list)
			b.DeleteTimer(s, state.Timer{Kind: state.EventTime, Time: 1})
		}
		if n := freezeAndDrop(b); n != 9000 {
			t.Fatalf("round %d: %d tombstones", round, n)
		}
		if st := b.Stats(); st.Keys != 0 || st.StateBytes != empty || st.Timers != 0 {
			t.Fatalf("round %d: left %+v", round, st)
		}
	}
}

func expiredGoes(t *testing.T, open Open) {
	b := open(t, state.Options{Descriptors: descriptors})
	b.Advance(1)
	for i := range 1000 {
		s := resolve(b, fullHash, fmt.Sprint("key", i))[0]
		must(t, b.Put(s, written, []byte("x")))
		must(t, b.PutEntry(s, writtenTable, []byte("a"), []byte("x")))
	}
	f := b.Freeze()
	f.Release()
	for range 100 {
		b.Advance(1_000_000)
	}
	if n := freezeAndDrop(b); n != 2000 {
		t.Errorf("%d tombstones", n)
	}
	if st := b.Stats(); st.Keys != 0 || st.StateBytes != 0 {
		t.Errorf("left %+v", st)
	}
}

func noTrace(t *testing.T, open Open) {
	b := open(t, state.Options{Descriptors: descriptors})
	for i := range 5000 {
		s := resolve(b, fullHash, fmt.Sprint("key", i))[0]
		timer := state.Timer{Kind: state.ProcessingTime, Time: int64(i)}
		must(t, b.Put(s, plain, []byte("x")))
		must(t, b.AppendEntry(s, list, []byte("y")))
		b.SetTimer(s, timer)
		b.Clear(s, plain)
		b.DeleteEntry(s, list, make([]byte, 8))
		b.DeleteTimer(s, timer)
		if i%100 == 99 {
			b.Advance(0)
		}
	}
	b.Advance(0)
	if st := b.Stats(); st.Keys != 0 || st.StateBytes != 0 {
		t.Errorf("left %+v", st)
	}
	f := b.Freeze()
	defer f.Release()
	if got := entriesOf(f); len(got) != 0 {
		t.Errorf("%d entries, the first %+v", len(got), got[0])
	}
}

func driftOfTTL(t *testing.T, open Open) {
	with := []state.Descriptor{
		{Name: "v", Form: state.Single, TTLMs: 5, TTLOn: state.TTLOnWrite},
		{Name: "m", Form: state.Entries, TTLMs: 5, TTLOn: state.TTLOnWrite},
	}
	without := []state.Descriptor{{Name: "m", Form: state.Entries}, {Name: "v", Form: state.Single}}
	b := open(t, state.Options{Descriptors: with})
	b.Advance(1000)
	s := resolve(b, fullHash, "k")[0]
	must(t, b.Put(s, 0, []byte("value")))
	must(t, b.PutEntry(s, 1, []byte("e"), []byte("entry")))
	move := func(from state.Backend, to []state.Descriptor, clock int64) state.Backend {
		f := from.Freeze()
		defer f.Release()
		next := open(t, state.Options{Descriptors: to, Loading: state.LoadChanged})
		next.Advance(clock)
		for _, e := range entriesOf(f) {
			must(t, next.Load(e))
		}
		return next
	}
	b = move(b, without, 1000)
	b.Advance(1_000_000)
	s = resolve(b, fullHash, "k")[0]
	if v, ok := b.Get(s, 1); !ok || string(v) != "value" {
		t.Errorf("without a time to live: %q %t", v, ok)
	}
	if v, ok := b.GetEntry(s, 0, []byte("e")); !ok || string(v) != "entry" {
		t.Errorf("entry without a time to live: %q %t", v, ok)
	}
	f := b.Freeze()
	defer f.Release()
	for clock, want := range map[int64]bool{1_004_999: true, 1_005_000: false} {
		next := open(t, state.Options{Descriptors: with})
		next.Advance(1_000_000)
		for _, e := range entriesOf(f) {
			must(t, next.Load(e))
		}
		next.Advance(clock)
		s := resolve(next, fullHash, "k")[0]
		if _, ok := next.Get(s, 0); ok != want {
			t.Errorf("at %d the value is there: %t", clock, ok)
		}
		if _, ok := next.GetEntry(s, 1, []byte("e")); ok != want {
			t.Errorf("at %d the entry is there: %t", clock, ok)
		}
	}
}

func driftOfForm(t *testing.T, open Open) {
	b := open(t, state.Options{Descriptors: descriptors})
	must(t, b.Load(state.Entry{Hash: fullHash("k"), Key: []byte("k"), State: "dropped", Value: []byte("x")}))
	if err := b.Load(state.Entry{Hash: fullHash("k"), Key: []byte("k"), State: "plain", Sub: []byte{}, Value: []byte("x")}); err == nil {
		t.Error("an entry was loaded into a single value")
	}
	if err := b.Load(state.Entry{Hash: fullHash("k"), Key: []byte("k"), State: "table", Value: []byte("x")}); err == nil {
		t.Error("a single value was loaded into a table")
	}
	if err := b.Load(state.Entry{Hash: fullHash("k"), Key: []byte("k"), State: state.TimerState, Sub: []byte("x")}); !errors.Is(err, state.ErrDamaged) {
		t.Errorf("a damaged timer: %v", err)
	}
	if n := b.Stats().Keys; n != 0 {
		t.Errorf("%d keys were made", n)
	}
}

func oneTimerAtATime(t *testing.T, open Open) {
	b := open(t, state.Options{Descriptors: descriptors})
	const timers = 20_000
	slots := resolve(b, fullHash, "many", "one")
	for i := range timers {
		b.SetTimer(slots[0], state.Timer{Kind: state.EventTime, Time: int64(timers - i)})
	}
	b.SetTimer(slots[1], state.Timer{Kind: state.EventTime, Time: timers})
	fired, rounds := 0, 0
	for last := int64(0); ; rounds++ {
		due := b.Due(state.EventTime, timers, 100, nil)
		if len(due) == 0 {
			break
		}
		for _, f := range due {
			if f.Slot == slots[0] && f.Timer.Time != last+1 {
				t.Fatalf("after %d came %d", last, f.Timer.Time)
			}
			if f.Slot == slots[0] {
				last = f.Timer.Time
			}
			fired++
		}
	}
	if fired != timers+1 || rounds != timers {
		t.Errorf("%d timers fired in %d calls", fired, rounds)
	}
}

func lateLoad(t *testing.T, open Open) {
	b := open(t, state.Options{Descriptors: descriptors})
	resolve(b, fullHash, "k")
	if err := b.Load(state.Entry{State: "plain"}); err == nil {
		t.Error("a load after Resolve was accepted")
	}
}

func closeBeforeRelease(t *testing.T, open Open) {
	b := open(t, state.Options{Descriptors: descriptors})
	s := resolve(b, fullHash, "k")[0]
	must(t, b.Put(s, plain, bytes.Repeat([]byte("v"), 100_000)))
	f := b.Freeze()
	must(t, b.Close())
	if got := entriesOf(f); len(got) != 1 || len(got[0].Value) != 100_000 {
		t.Errorf("%d entries", len(got))
	}
	f.Release()
}
