package statetest

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/weirstream/weir/platform/storage/state"
)

// The states of the model test: each form, with and without a time to live.
const (
	plain state.ID = iota
	written
	read
	table
	writtenTable
	readTable
	list
	writtenList
)

// descriptors are out of alphabetical order, and more than a backend may want
// to keep beside the key.
var descriptors = []state.Descriptor{
	plain:        {Name: "plain", Form: state.Single},
	written:      {Name: "a-written", Form: state.Single, TTLMs: 40, TTLOn: state.TTLOnWrite},
	read:         {Name: "read", Form: state.Single, TTLMs: 40, TTLOn: state.TTLOnReadWrite},
	table:        {Name: "table", Form: state.Entries},
	writtenTable: {Name: "b-table", Form: state.Entries, TTLMs: 40, TTLOn: state.TTLOnWrite},
	readTable:    {Name: "c-table", Form: state.Entries, TTLMs: 40, TTLOn: state.TTLOnReadWrite},
	list:         {Name: "list", Form: state.Entries},
	writtenList:  {Name: "z-list", Form: state.Entries, TTLMs: 40, TTLOn: state.TTLOnWrite},
}

// model is what a backend must be equal to: maps, nothing clever.
type model struct {
	clock int64
	keys  map[string]*modelKey
}

type modelKey struct {
	singles map[state.ID]cell
	tables  map[state.ID]map[string]cell
	lists   map[state.ID][]cell
	timers  map[state.Timer]struct{}
}

type cell struct {
	value   string
	expires int64 // 0: never
}

func newModel() *model { return &model{keys: map[string]*modelKey{}} }

func (m *model) key(k string) *modelKey {
	if m.keys[k] == nil {
		m.keys[k] = &modelKey{
			singles: map[state.ID]cell{}, tables: map[state.ID]map[string]cell{},
			lists: map[state.ID][]cell{}, timers: map[state.Timer]struct{}{},
		}
	}
	return m.keys[k]
}

func (m *model) clone() *model {
	c := newModel()
	c.clock = m.clock
	for k, from := range m.keys {
		to := c.key(k)
		to.singles, to.timers = maps.Clone(from.singles), maps.Clone(from.timers)
		for id, t := range from.tables {
			to.tables[id] = maps.Clone(t)
		}
		for id, l := range from.lists {
			to.lists[id] = slices.Clone(l)
		}
	}
	return c
}

func (m *model) alive(c cell) bool { return c.expires == 0 || c.expires > m.clock }

func (m *model) cell(id state.ID, value string) cell {
	if descriptors[id].TTLOn == state.TTLNever {
		return cell{value: value}
	}
	return cell{value: value, expires: m.clock + descriptors[id].TTLMs*1000}
}

// advance drops what has expired, so that the rest of the model need not ask.
func (m *model) advance(clock int64) {
	m.clock = clock
	for _, k := range m.keys {
		maps.DeleteFunc(k.singles, func(_ state.ID, c cell) bool { return !m.alive(c) })
		for _, t := range k.tables {
			maps.DeleteFunc(t, func(_ string, c cell) bool { return !m.alive(c) })
		}
		for id, l := range k.lists {
			k.lists[id] = slices.DeleteFunc(l, func(c cell) bool { return !m.alive(c) })
		}
	}
}

func (m *model) live() []string {
	var out []string
	for name, k := range m.keys {
		n := len(k.singles) + len(k.timers)
		for _, t := range k.tables {
			n += len(t)
		}
		for _, l := range k.lists {
			n += len(l)
		}
		if n > 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

type modelFiring struct {
	key string
	state.Timer
}

// due is what Due must yield, and takes it away.
func (m *model) due(kind state.TimerKind, upTo int64, limit int, hash func(string) uint64) []modelFiring {
	var all []modelFiring
	for name, k := range m.keys {
		var first *state.Timer
		for t := range k.timers {
			if t.Kind == kind && t.Time <= upTo && (first == nil || compareTimers(t, *first) < 0) {
				first = &t
			}
		}
		if first != nil {
			all = append(all, modelFiring{name, *first})
		}
	}
	slices.SortFunc(all, func(x, y modelFiring) int {
		return cmp.Or(cmp.Compare(x.Time, y.Time), cmp.Compare(hash(x.key), hash(y.key)), cmp.Compare(x.Name, y.Name), cmp.Compare(x.key, y.key))
	})
	all = all[:min(limit, len(all))]
	for _, f := range all {
		delete(m.keys[f.key].timers, f.Timer)
	}
	return all
}

func compareTimers(x, y state.Timer) int {
	return cmp.Or(cmp.Compare(x.Time, y.Time), cmp.Compare(x.Name, y.Name))
}

func (m *model) next(kind state.TimerKind) (int64, bool) {
	best, any := int64(0), false
	for _, k := range m.keys {
		for t := range k.timers {
			if t.Kind == kind && (!any || t.Time < best) {
				best, any = t.Time, true
			}
		}
	}
	return best, any
}

// resolve is Resolve for a few keys.
func resolve(b state.Backend, hash func(string) uint64, keys ...string) []state.Slot {
	batch := state.Keys{Offsets: []int32{0}}
	var hashes []uint64
	for _, k := range keys {
		batch.Bytes = append(batch.Bytes, k...)
		batch.Offsets = append(batch.Offsets, int32(len(batch.Bytes)))
		hashes = append(hashes, hash(k))
	}
	return b.Resolve(batch, hashes, nil)
}

func fullHash(k string) uint64 { return xxhash.Sum64String(k) }

// fewHashes makes keys collide: in the whole hash, and in parts of it.
func fewHashes(k string) uint64 { return xxhash.Sum64String(k) & 0x8100_0003_8000_0001 }

// compare says where a backend differs from the model. Reading changes what
// has a time to live on reads, in both.
func (m *model) compare(t *testing.T, b state.Backend, hash func(string) uint64) {
	t.Helper()
	var got []string
	for s := range b.Keys() {
		k, h := b.Key(s)
		if h != hash(string(k)) {
			t.Fatalf("key %q has hash %x", k, h)
		}
		got = append(got, string(k))
	}
	slices.Sort(got)
	want := m.live()
	if !slices.Equal(got, want) {
		t.Fatalf("live keys are %q, want %q", got, want)
	}
	for kind := state.EventTime; kind <= state.ProcessingTime; kind++ {
		gotTime, gotAny := b.NextTimer(kind)
		wantTime, wantAny := m.next(kind)
		if gotAny != wantAny || gotAny && gotTime != wantTime {
			t.Fatalf("next timer of kind %d: %d %t, want %d %t", kind, gotTime, gotAny, wantTime, wantAny)
		}
	}
	timers := 0
	for _, k := range m.keys {
		timers += len(k.timers)
	}
	if n := b.Stats().Timers; n != timers {
		t.Fatalf("%d timers, want %d", n, timers)
	}
	slots := resolve(b, hash, want...)
	for id := range descriptors {
		state.Warm(b, slots, state.ID(id))
	}
	for i, s := range slots {
		m.compareKey(t, b, s, want[i])
	}
}

func (m *model) compareKey(t *testing.T, b state.Backend, s state.Slot, name string) {
	t.Helper()
	k := m.key(name)
	for i, d := range descriptors {
		id := state.ID(i)
		switch {
		case d.Form == state.Single:
			m.checkGet(t, b, s, name, id)
		case id == list || id == writtenList:
			var got, want []string
			for _, v := range b.Scan(s, id, nil) {
				got = append(got, string(v))
			}
			for _, c := range k.lists[id] {
				want = append(want, c.value)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("key %q %s: %q, want %q", name, d.Name, got, want)
			}
		default:
			m.checkScan(t, b, s, name, id, nil)
		}
	}
}

func (m *model) checkGet(t *testing.T, b state.Backend, s state.Slot, name string, id state.ID) {
	t.Helper()
	k := m.key(name)
	got, ok := b.Get(s, id)
	want, wantOk := k.singles[id]
	if ok != wantOk || string(got) != want.value {
		t.Fatalf("key %q %s: %q %t, want %q %t", name, descriptors[id].Name, got, ok, want.value, wantOk)
	}
	if ok && descriptors[id].TTLOn == state.TTLOnReadWrite {
		k.singles[id] = m.cell(id, want.value)
	}
}

func (m *model) checkScan(t *testing.T, b state.Backend, s state.Slot, name string, id state.ID, after []byte) {
	t.Helper()
	var want []string
	for key := range m.key(name).tables[id] {
		if after == nil || key > string(after) {
			want = append(want, key)
		}
	}
	slices.Sort(want)
	i := 0
	check := func(key, v []byte) {
		t.Helper()
		if i == len(want) || string(key) != want[i] || string(v) != m.key(name).tables[id][want[i]].value {
			t.Fatalf("key %q %s entry %d after %q: %q=%q, want keys %q", name, descriptors[id].Name, i, after, key, v, want)
		}
		i++
	}
	whole := func() {
		t.Helper()
		if i != len(want) {
			t.Fatalf("key %q %s after %q: %d entries, want %q", name, descriptors[id].Name, after, i, want)
		}
	}
	for key, v := range b.Scan(s, id, after) {
		check(key, v)
	}
	whole()
	var c state.Cursor
	c.Begin(b, s, id, after)
	i = 0
	for key, v, ok := c.Next(); ok; key, v, ok = c.Next() {
		check(key, v)
	}
	whole()
	want, i = want[:min(len(want), 2)], 0
	for _, e := range state.ScanPage(b, s, id, after, 2, nil) {
		check(e.Key, e.Value)
	}
	whole()
}

// copyEntry is an entry that outlives its view.
func copyEntry(e state.Entry) state.Entry {
	e.Key, e.Value = bytes.Clone(e.Key), bytes.Clone(e.Value)
	if e.Sub != nil {
		e.Sub = append([]byte{}, e.Sub...)
	}
	return e
}
