package udf

import "github.com/weirstream/weir/platform/storage/state"

// slotTable numbers the distinct keys of one call: backend slot to call slot.
// It is a small open-addressed table that is emptied by raising its generation.
type slotTable struct {
	entries    []slotEntry
	generation uint32
	slots      []state.Slot // call slot -> backend slot
	firstRow   []int32      // call slot -> physical row that has its key
	rowSlots   []uint32     // picked row -> call slot
}

type slotEntry struct {
	generation uint32
	slot       state.Slot
	number     uint32
}

// begin empties the table and makes room for n rows.
func (t *slotTable) begin(n int) {
	size := 64
	for size < 2*n {
		size *= 2
	}
	if len(t.entries) < size {
		t.entries = make([]slotEntry, size)
		t.generation = 0
	}
	t.generation++
	if t.generation == 0 { // wrapped: old entries would look new
		clear(t.entries)
		t.generation = 1
	}
	t.slots, t.firstRow, t.rowSlots = t.slots[:0], t.firstRow[:0], t.rowSlots[:0]
}

// add numbers the key of the next row.
func (t *slotTable) add(s state.Slot, row int32) {
	mask := uint32(len(t.entries) - 1)
	at := (uint32(s) * 0x9e3779b1) >> 7 & mask
	for {
		e := &t.entries[at]
		if e.generation != t.generation {
			*e = slotEntry{generation: t.generation, slot: s, number: uint32(len(t.slots))}
			t.slots = append(t.slots, s)
			t.firstRow = append(t.firstRow, row)
			t.rowSlots = append(t.rowSlots, e.number)
			return
		}
		if e.slot == s {
			t.rowSlots = append(t.rowSlots, e.number)
			return
		}
		at = (at + 1) & mask
	}
}
