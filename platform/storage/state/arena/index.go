package arena

// index finds the slot of a key by its hash. It is an extendible hash: the low
// bits of a hash choose a segment, the high half is the tag within it, where
// collisions go to the next place. A full segment is split by itself, so that
// growing never moves more than a few thousand places at once. The top bits of
// the hashes of a task are alike (they are its key groups); neither choice
// depends on them alone.
//
//	entry: tag (upper 32 bits) | slot + 1 (lower 32); 0 is free
type index struct {
	from  *source
	dir   []*indexSegment // 1 << depth
	depth uint

	moving []uint64 // a segment's entries while it is split
}

type indexSegment struct {
	entries []uint64
	count   int
	depth   uint // how many low bits its hashes share
}

const (
	firstSegmentEntries = 64
	maxSegmentEntries   = 4096
	maxIndexDepth       = 20 // beyond it segments grow: their hashes are too much alike
)

func newIndex(from *source) index {
	return index{from: from, dir: []*indexSegment{{entries: make([]uint64, firstSegmentEntries)}}}
}

func (x *index) segment(hash uint64) *indexSegment {
	return x.dir[hash&uint64(len(x.dir)-1)]
}

// home is where a tag's entry stands if nothing collides.
func (g *indexSegment) home(tag uint32) int { return int(tag) & (len(g.entries) - 1) }

// insert adds a slot that is not in the index.
func (x *index) insert(slots *slotTable, hash uint64, slot uint32) {
	g := x.segment(hash)
	for g.count >= len(g.entries)/4*3 {
		x.grow(slots, g)
		g = x.segment(hash)
	}
	g.place(hash>>32<<32 | uint64(slot+1))
	g.count++
}

func (g *indexSegment) place(entry uint64) {
	i := g.home(uint32(entry >> 32))
	for g.entries[i] != 0 {
		i = (i + 1) & (len(g.entries) - 1)
	}
	g.entries[i] = entry
}

func (x *index) grow(slots *slotTable, g *indexSegment) {
	if len(g.entries) < maxSegmentEntries || g.depth >= maxIndexDepth {
		old := g.entries
		g.entries = make([]uint64, 2*len(old))
		for _, e := range old {
			if e != 0 {
				g.place(e)
			}
		}
		return
	}
	if g.depth == x.depth {
		x.dir = append(x.dir, x.dir...)
		x.depth++
	}
	// The hashes with this bit set move to a segment of their own.
	bit := uint64(1) << g.depth
	high := &indexSegment{entries: table[uint64](x.from, len(g.entries)), depth: g.depth + 1}
	x.moving = append(x.moving[:0], g.entries...)
	clear(g.entries)
	g.depth, g.count = g.depth+1, 0
	var shared uint64
	for _, e := range x.moving {
		if e == 0 {
			continue
		}
		hash := slots.at(uint32(e) - 1).hash
		shared = hash & (bit - 1)
		to := g
		if hash&bit != 0 {
			to = high
		}
		to.place(e)
		to.count++
	}
	for i := shared | bit; i < uint64(len(x.dir)); i += 2 * bit {
		x.dir[i] = high
	}
}

// remove takes a slot out, and moves up what had to go past its place.
func (x *index) remove(hash uint64, slot uint32) {
	g := x.segment(hash)
	mask := len(g.entries) - 1
	i := g.home(uint32(hash >> 32))
	for uint32(g.entries[i]) != slot+1 {
		i = (i + 1) & mask
	}
	g.count--
	for j := (i + 1) & mask; g.entries[j] != 0; j = (j + 1) & mask {
		home := g.home(uint32(g.entries[j] >> 32))
		if (j-home)&mask >= (j-i)&mask {
			g.entries[i] = g.entries[j]
			i = j
		}
	}
	g.entries[i] = 0
}

func (x *index) heldBytes() (n int64) {
	for i, g := range x.dir {
		if i < 1<<g.depth { // its first place of several
			n += int64(len(g.entries)) * 8
		}
	}
	return n
}
