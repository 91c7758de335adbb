package arena

import "github.com/weirstream/weir/platform/storage/state"

// generation lists what changed between two freezes. Its lists hold the refs of
// the cells that are valid at the freeze; a change within the generation updates
// the list, so that each thing stands there once. What was born and goes away
// within one generation leaves the list again, and its place is reused.
type generation struct {
	number uint32
	states int

	keys     list[keyChange]
	refs     list[ref] // of key i: [i*states, (i+1)*states)
	deadKeys []uint32

	entries     list[entryChange]
	deadEntries []uint32

	timers     list[timerChange]
	deadTimers []uint32

	tombs []ref // cells that only a tombstone still needs
}

// keyChange is a key of which something changed. mask has a bit per state: a
// Single state was written or cleared, all entries of an Entries state were
// cleared.
type keyChange struct {
	hash uint64
	mask uint64
	slot uint32
}

// entryChange is one entry, written or deleted; cell 0 is a place to reuse.
type entryChange struct {
	key  uint32 // its place in keys
	cell ref
	id   state.ID
	tomb bool
}

// timerChange is one timer, set or deleted; kind 0 is a place to reuse.
type timerChange struct {
	key  uint32
	name uint16
	kind state.TimerKind
	tomb bool
	time int64
}

func newGeneration(states int) *generation { return &generation{states: states} }

func (g *generation) changes() int {
	return g.keys.n - len(g.deadKeys) + g.entries.n - len(g.deadEntries) + g.timers.n - len(g.deadTimers)
}

func (g *generation) reset() {
	g.keys.reset()
	g.refs.reset()
	g.entries.reset()
	g.timers.reset()
	g.deadKeys, g.deadEntries, g.deadTimers = g.deadKeys[:0], g.deadEntries[:0], g.deadTimers[:0]
	g.tombs = nil // the memory has them now
}

func (g *generation) addKey(s uint32, rec *slotRecord) uint32 {
	c := keyChange{hash: rec.hash, slot: s}
	if n := len(g.deadKeys); n > 0 {
		i := g.deadKeys[n-1]
		g.deadKeys = g.deadKeys[:n-1]
		*g.keys.at(i) = c
		return i
	}
	i := g.keys.add(c)
	for range g.states {
		g.refs.add(0)
	}
	return i
}

// dropKey is for a key that was born in this generation and holds nothing.
func (g *generation) dropKey(i uint32) {
	*g.keys.at(i) = keyChange{}
	g.deadKeys = append(g.deadKeys, i)
}

func (g *generation) addEntry(c entryChange) uint32 {
	if n := len(g.deadEntries); n > 0 {
		i := g.deadEntries[n-1]
		g.deadEntries = g.deadEntries[:n-1]
		*g.entries.at(i) = c
		return i
	}
	return g.entries.add(c)
}

func (g *generation) dropEntry(i uint32) {
	*g.entries.at(i) = entryChange{}
	g.deadEntries = append(g.deadEntries, i)
}

func (g *generation) addTimer(c timerChange) uint32 {
	if n := len(g.deadTimers); n > 0 {
		i := g.deadTimers[n-1]
		g.deadTimers = g.deadTimers[:n-1]
		*g.timers.at(i) = c
		return i
	}
	return g.timers.add(c)
}

func (g *generation) dropTimer(i uint32) {
	*g.timers.at(i) = timerChange{}
	g.deadTimers = append(g.deadTimers, i)
}

// change is where to note what happens to a key; the zero value notes nothing.
type change struct {
	g     *generation
	i     uint32
	filed bool
}

// changed enters a key in the present generation.
func (b *Backend) changed(s uint32) change {
	rec := b.slots.at(s)
	if !b.recording() {
		rec.flags |= flagFiled
		return change{}
	}
	if rec.changed != b.now.number {
		if rec.changed != 0 {
			rec.flags |= flagFiled
		}
		rec.changed, rec.change = b.now.number, b.now.addKey(s, rec)
	}
	return change{b.now, rec.change, rec.flags&flagFiled != 0}
}

func (c change) set(id state.ID, r ref) {
	if c.g != nil {
		c.g.keys.at(c.i).mask |= 1 << id
		*c.g.refs.at(c.i*uint32(c.g.states) + uint32(id)) = r
	}
}

// clear notes a tombstone, which only files need that hold something older.
func (c change) clear(id state.ID) {
	if c.g == nil {
		return
	}
	k := c.g.keys.at(c.i)
	k.mask &^= 1 << id
	if c.filed {
		k.mask |= 1 << id
	}
	*c.g.refs.at(c.i*uint32(c.g.states) + uint32(id)) = 0
}

// list is a slice that grows by parts: no pause to copy it, however long.
type list[T any] struct {
	parts [][]T
	n     int
}

const (
	partShift = 10
	partMask  = 1<<partShift - 1
)

func (l *list[T]) at(i uint32) *T { return &l.parts[i>>partShift][i&partMask] }

func (l *list[T]) add(v T) uint32 {
	if l.n>>partShift == len(l.parts) {
		l.parts = append(l.parts, make([]T, 1<<partShift))
	}
	l.parts[l.n>>partShift][l.n&partMask] = v
	l.n++
	return uint32(l.n - 1)
}

// maxSpareParts bounds what a list keeps for the next generation.
const maxSpareParts = 128

// reset empties the list; what is far more than was used, or much at all, goes
// to the collector.
func (l *list[T]) reset() {
	keep := min(len(l.parts), 2*(l.n>>partShift)+2, maxSpareParts)
	clear(l.parts[keep:])
	l.parts, l.n = l.parts[:keep], 0
}
