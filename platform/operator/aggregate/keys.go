package aggregate

import "github.com/weirstream/weir/platform/storage/state"

// keyTable numbers the distinct keys of a batch in the order in which they come.
// It is a small open-addressed table that is emptied by raising its generation.
type keyTable struct {
	entries    []keyEntry
	generation uint32
	slots      []state.Slot // by number
	first      []int32      // by number: the place in the batch of its first row
	numbers    []uint32     // of each row
}

type keyEntry struct {
	generation uint32
	slot       state.Slot
	number     uint32
}

const leastEntries = 64

func (t *keyTable) fill(slots []state.Slot) {
	size := leastEntries
	for size < 2*len(slots) {
		size *= 2
	}
	if len(t.entries) < size {
		t.entries, t.generation = make([]keyEntry, size), 0
	}
	if t.generation++; t.generation == 0 { // wrapped: old entries would look new
		clear(t.entries)
		t.generation = 1
	}
	t.slots, t.first, t.numbers = t.slots[:0], t.first[:0], t.numbers[:0]
	mask := uint32(len(t.entries) - 1)
	for row, s := range slots {
		at := (uint32(s) * 0x9e3779b1) >> 7 & mask // Knuth's multiplier spreads slots that lie together
		for t.entries[at].generation == t.generation && t.entries[at].slot != s {
			at = (at + 1) & mask
		}
		if e := &t.entries[at]; e.generation != t.generation {
			*e = keyEntry{generation: t.generation, slot: s, number: uint32(len(t.slots))}
			t.slots = append(t.slots, s)
			t.first = append(t.first, int32(row))
		}
		t.numbers = append(t.numbers, t.entries[at].number)
	}
}
