package arena

import (
	"bytes"
	"cmp"
	"iter"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/weirstream/weir/platform/storage/state"
)

// frozen is a generation that has ended. The task's goroutine touches replaced
// and slotsGone alone; every other field stays as it is from Freeze to Release.
type frozen struct {
	generation *generation
	mem        *memory
	chunks     [][]byte       // of mem at the freeze: the task's slice may move
	slots      [][]slotRecord // likewise; their keys stay
	states     []stateOf
	changes    int
	released   atomic.Bool
	from       *source
	sorted     func() []line // once, for all who read

	replaced  []ref         // cells to give back after the release
	slotsGone []uint32      // slots likewise
	touched   atomic.Uint32 // what touch read, so that it has to
}

var _ state.Frozen = (*frozen)(nil)

// Freeze ends a generation.
func (b *Backend) Freeze() state.Frozen {
	b.endLoading()
	b.settle()
	if len(b.frozen) > 0 && b.tier == nil {
		panic("arena: Freeze while the last generation is not released")
	}
	f := &frozen{
		generation: b.now, mem: b.mem, chunks: b.mem.chunks, slots: b.slots.parts, states: b.states,
		changes: b.now.changes(), from: b.from,
	}
	b.from.retain()
	next := b.spare
	if next == nil {
		next = newGeneration(len(b.states))
	}
	b.spare = nil
	next.number = b.now.number + 1
	f.sorted = sync.OnceValue(f.sortedLines)
	b.now, b.stamp, b.frozen = next, next.number, append(b.frozen, f)
	if len(b.emptied) == 0 {
		b.emptied, b.waiting = b.waiting, b.emptied
	} else {
		b.emptied, b.waiting = append(b.emptied, b.waiting...), b.waiting[:0]
	}
	return f
}

// settle takes back what a released generation held.
func (b *Backend) settle() {
	for len(b.frozen) > 0 && b.frozen[0].released.Load() {
		f := b.frozen[0]
		b.frozen = append(b.frozen[:0], b.frozen[1:]...)
		b.mem.reclaim = append(append(b.mem.reclaim, f.replaced...), f.generation.tombs...)
		b.parked = append(b.parked, f.slotsGone...)
		f.generation.reset()
		b.spare = f.generation
	}
}

// Release ends the view.
func (f *frozen) Release() {
	if !f.released.Swap(true) {
		f.from.release(f.mem)
	}
}

// Len counts keys, entries and timers that were touched.
func (f *frozen) Len() int { return f.changes }

// line is one change on its way to a file.
type line struct {
	hash uint64
	slot uint32
	at   uint32 // the cell, or the place in generation.timers
	rank uint8  // of the state's name
	kind lineKind
	tomb bool
}

type lineKind uint8

const (
	lineSingle lineKind = iota // also: all entries cleared
	lineEntry
	lineTimer
)

// Entries yields the changes in the order of segments.
func (f *frozen) Entries() iter.Seq[state.Entry] {
	return func(yield func(state.Entry) bool) {
		names, lines := f.names(), f.sorted()
		sub := make([]byte, 0, 64) // not nil: an entry may have an empty key
		for i := range lines {
			if i%touchedLines == 0 {
				f.touch(lines[i:min(i+touchedLines, len(lines))])
			}
			l := &lines[i]
			if l.tomb && i+1 < len(lines) && f.sameThing(l, &lines[i+1]) {
				continue // deleted, then made anew: the newer one follows
			}
			e := state.Entry{Hash: l.hash, State: names[l.rank], Key: f.keyOf(l), Tombstone: l.tomb}
			if l.kind != lineSingle {
				sub = f.appendSub(sub[:0], l)
				e.Sub = sub[:len(sub):len(sub)]
			}
			if !l.tomb {
				f.fill(&e, l)
			}
			if !yield(e) {
				return
			}
		}
	}
}

// touchedLines is how many lines ahead are fetched: what they point to stays in
// the processor's nearest cache until its turn comes.
const touchedLines = 64

// touch loads a word of every slot and cell that lines point to. In their order,
// which is that of the hashes, they lie anywhere: one at a time most of the time
// of a checkpoint would go into waiting for memory.
func (f *frozen) touch(lines []line) {
	var sum uint32
	for i := range lines {
		l := &lines[i]
		sum += f.slots[l.slot>>slotsShift][l.slot&slotsMask].keyBytes
		if l.kind != lineTimer && l.at != 0 {
			sum += uint32(f.cell(l)[0])
		}
	}
	f.touched.Store(sum)
}

// names are the states' in the order of segments.
func (f *frozen) names() []string {
	names := make([]string, 0, len(f.states)+1)
	for i := range f.states {
		names = append(names, f.states[i].Name)
	}
	names = append(names, state.TimerState)
	slices.Sort(names)
	return names
}

func (f *frozen) sortedLines() []line { return f.sort(f.lines(f.names())) }

// sort deals the lines out by hash, a few to a bucket, and sorts the buckets:
// hashes are spread evenly over a task's key groups, so that is nearly all.
func (f *frozen) sort(lines []line) []line {
	const few, perBucket = 64, 4
	if len(lines) < few {
		slices.SortFunc(lines, f.compare)
		return lines
	}
	low, high := lines[0].hash, lines[0].hash
	for i := range lines {
		low, high = min(low, lines[i].hash), max(high, lines[i].hash)
	}
	shift := max(0, bits.Len64(high-low)-bits.Len(uint(len(lines)/perBucket)))
	begins := make([]uint32, (high-low)>>shift+2)
	for i := range lines {
		begins[(lines[i].hash-low)>>shift+1]++
	}
	for i := 1; i < len(begins); i++ {
		begins[i] += begins[i-1]
	}
	out := make([]line, len(lines))
	for i := range lines {
		bucket := (lines[i].hash - low) >> shift
		out[begins[bucket]] = lines[i]
		begins[bucket]++ // in the end: where the bucket ends
	}
	begin := uint32(0)
	for _, end := range begins[:len(begins)-1] {
		slices.SortFunc(out[begin:end], f.compare)
		begin = end
	}
	return out
}

func (f *frozen) lines(names []string) []line {
	g := f.generation
	ranks := make([]uint8, len(f.states))
	for i := range f.states {
		ranks[i] = uint8(slices.Index(names, f.states[i].Name))
	}
	lines := make([]line, 0, f.changes)
	for i := range uint32(g.keys.n) {
		k := g.keys.at(i)
		for id := range f.states {
			if k.mask>>id&1 == 0 {
				continue
			}
			r := *g.refs.at(i*uint32(g.states) + uint32(id))
			lines = append(lines, line{hash: k.hash, slot: k.slot, at: uint32(r), rank: ranks[id], tomb: r == 0})
		}
	}
	for i := range uint32(g.entries.n) {
		if c := g.entries.at(i); c.cell != 0 {
			k := g.keys.at(c.key)
			lines = append(lines, line{hash: k.hash, slot: k.slot, at: uint32(c.cell), rank: ranks[c.id], kind: lineEntry, tomb: c.tomb})
		}
	}
	timerRank := uint8(slices.Index(names, state.TimerState))
	for i := range uint32(g.timers.n) {
		if c := g.timers.at(i); c.kind != 0 {
			k := g.keys.at(c.key)
			lines = append(lines, line{hash: k.hash, slot: k.slot, at: i, rank: timerRank, kind: lineTimer, tomb: c.tomb})
		}
	}
	return lines
}

func (f *frozen) compare(x, y line) int {
	if x.hash != y.hash {
		if x.hash < y.hash {
			return -1
		}
		return 1
	}
	if c := cmp.Compare(x.rank, y.rank); c != 0 {
		return c
	}
	if x.slot != y.slot {
		if c := bytes.Compare(f.keyOf(&x), f.keyOf(&y)); c != 0 {
			return c
		}
	}
	if c := f.compareSubs(&x, &y); c != 0 {
		return c
	}
	switch { // a tombstone first
	case x.tomb == y.tomb:
		return 0
	case x.tomb:
		return -1
	}
	return 1
}

// compareSubs orders lines of one state and key: no sub before every sub.
func (f *frozen) compareSubs(x, y *line) int {
	if x.kind != y.kind {
		return cmp.Compare(x.kind, y.kind)
	}
	switch x.kind {
	case lineEntry:
		return bytes.Compare(entryKey(f.cell(x)), entryKey(f.cell(y)))
	case lineTimer:
		a, b := f.generation.timers.at(x.at), f.generation.timers.at(y.at)
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.time, b.time), cmp.Compare(a.name, b.name))
	}
	return 0
}

func (f *frozen) sameThing(x, y *line) bool {
	return x.hash == y.hash && x.rank == y.rank && x.slot == y.slot && f.compareSubs(x, y) == 0
}

func (f *frozen) cell(l *line) []byte { return cellIn(f.chunks, ref(l.at)) }

func (f *frozen) keyOf(l *line) []byte {
	return f.slots[l.slot>>slotsShift][l.slot&slotsMask].keyIn(f.chunks)
}

func (f *frozen) appendSub(dst []byte, l *line) []byte {
	if l.kind == lineEntry {
		return append(dst, entryKey(f.cell(l))...)
	}
	c := f.generation.timers.at(l.at)
	return state.AppendTimerSub(dst, state.Timer{Kind: c.kind, Name: c.name, Time: c.time})
}

func (f *frozen) fill(e *state.Entry, l *line) {
	switch l.kind {
	case lineSingle:
		d := &f.states[f.stateNamed(e.State)]
		c := f.cell(l)
		if d.ttlMicros > 0 {
			e.Expires = cellExpiry(c, singleHead)
		}
		e.Value = c[d.headBytes : d.headBytes+cellLength(c)]
	case lineEntry:
		c := f.cell(l)
		if entryFlags(c)&entryTTL != 0 {
			e.Expires = cellExpiry(c, entryHead)
		}
		e.Value = entryValue(c)
	}
}

func (f *frozen) stateNamed(name string) int {
	for i := range f.states {
		if f.states[i].Name == name {
			return i
		}
	}
	return 0
}
