package arena

import (
	"bytes"

	"github.com/weirstream/weir/platform/storage/state"
)

// slotRecord is a key. It has no pointers and lies outside the Go heap.
type slotRecord struct {
	hash     uint64
	key      ref
	keyBytes uint32
	changed  uint32 // the last generation in which it changed; 0: never
	change   uint32 // its place in that generation's changes
	timers   ref    // timerHead; 0: no timers
	flags    uint32
	cells    [inlineStates]ref // of the first states; the rest stand in slotTable.more
}

const (
	flagUsed   = 1 << iota
	flagFiled  // older segments may hold something of it
	flagQueued // stands in Backend.emptied
)

const (
	inlineStates = 2
	slotsShift   = 12
	slotsMask    = 1<<slotsShift - 1
	noSlot       = ^state.Slot(0)
)

// slotTable grows by parts, so that growing copies nothing.
type slotTable struct {
	from  *source
	extra int // states beyond the inline ones
	parts [][]slotRecord
	more  [][]ref
	count uint32 // slots ever used
	free  []uint32
}

func (t *slotTable) at(s uint32) *slotRecord { return &t.parts[s>>slotsShift][s&slotsMask] }

// cell is where a slot keeps the ref of a state.
func (t *slotTable) cell(s uint32, id state.ID) *ref {
	if id < inlineStates {
		return &t.parts[s>>slotsShift][s&slotsMask].cells[id]
	}
	return &t.more[s>>slotsShift][int(s&slotsMask)*t.extra+int(id)-inlineStates]
}

func (t *slotTable) take() uint32 {
	if n := len(t.free); n > 0 {
		s := t.free[n-1]
		t.free = t.free[:n-1]
		return s
	}
	s := t.count
	if s&slotsMask == 0 {
		t.parts = append(t.parts, table[slotRecord](t.from, slotsMask+1))
		if t.extra > 0 {
			t.more = append(t.more, table[ref](t.from, (slotsMask+1)*t.extra))
		}
	}
	t.count++
	return s
}

// Resolve works in passes over the batch, each of which touches one kind of
// memory: the places in the index, then the slots, then the keys. The loads of
// a pass do not depend on each other, so the processor overlaps their misses.
func (b *Backend) Resolve(keys state.Keys, hashes []uint64, out []state.Slot) []state.Slot {
	b.endLoading()
	b.settle()
	n := len(hashes)
	if cap(out) < n {
		out = make([]state.Slot, n)
	}
	out = out[:n]
	for i, hash := range hashes {
		out[i] = b.probe(hash)
	}
	if cap(b.keyRefs) < n {
		b.keyRefs = make([]ref, n)
	}
	refs := b.keyRefs[:n]
	for i, s := range out {
		refs[i] = 0
		if s == noSlot {
			continue
		}
		if rec := b.slots.at(uint32(s)); rec.hash == hashes[i] {
			refs[i] = rec.key
		}
	}
	for i, s := range out {
		key := keys.Bytes[keys.Offsets[i]:keys.Offsets[i+1]]
		if refs[i] != 0 && b.isKey(uint32(s), key) {
			continue
		}
		out[i] = b.slotOf(key, hashes[i])
	}
	return out
}

// probe is the first slot whose tag fits.
func (b *Backend) probe(hash uint64) state.Slot {
	g := b.index.segment(hash)
	tag := uint32(hash >> 32)
	for i := g.home(tag); g.entries[i] != 0; i = (i + 1) & (len(g.entries) - 1) {
		if uint32(g.entries[i]>>32) == tag {
			return state.Slot(uint32(g.entries[i]) - 1)
		}
	}
	return noSlot
}

func (b *Backend) isKey(s uint32, key []byte) bool {
	rec := b.slots.at(s)
	return int(rec.keyBytes) == len(key) && bytes.Equal(b.mem.cell(rec.key)[:len(key)], key)
}

func (b *Backend) find(key []byte, hash uint64) state.Slot {
	g := b.index.segment(hash)
	tag := uint32(hash >> 32)
	for i := g.home(tag); g.entries[i] != 0; i = (i + 1) & (len(g.entries) - 1) {
		s := uint32(g.entries[i]) - 1
		if uint32(g.entries[i]>>32) == tag && b.slots.at(s).hash == hash && b.isKey(s, key) {
			return state.Slot(s)
		}
	}
	return noSlot
}

// slotOf finds or makes a slot.
func (b *Backend) slotOf(key []byte, hash uint64) state.Slot {
	if s := b.find(key, hash); s != noSlot {
		return s
	}
	return b.newSlot(key, hash)
}

// newSlot makes a slot for a key that has none.
func (b *Backend) newSlot(key []byte, hash uint64) state.Slot {
	s := b.slots.take()
	rec := b.slots.at(s)
	*rec = slotRecord{hash: hash, keyBytes: uint32(len(key)), flags: flagUsed, key: b.mem.take(max(len(key), 1))}
	copy(b.mem.cell(rec.key), key)
	b.index.insert(&b.slots, hash, s)
	b.stats.Keys++
	b.stats.StateBytes += int64(len(key))
	b.queueIfEmpty(s, rec)
	return state.Slot(s)
}

// Key gives back the key of a slot.
func (b *Backend) Key(s state.Slot) ([]byte, uint64) {
	rec := b.slots.at(uint32(s))
	return b.mem.cell(rec.key)[:rec.keyBytes:rec.keyBytes], rec.hash
}

func (b *Backend) holdsNothing(s uint32, rec *slotRecord) bool {
	if rec.timers != 0 {
		return false
	}
	for id := range b.states {
		if *b.slots.cell(s, state.ID(id)) != 0 {
			return false
		}
	}
	return true
}

// queueIfEmpty remembers a slot that holds nothing, for dropEmpty. A new slot
// holds nothing yet.
func (b *Backend) queueIfEmpty(s uint32, rec *slotRecord) {
	if rec.flags&flagQueued == 0 && b.holdsNothing(s, rec) {
		rec.flags |= flagQueued
		b.emptied = append(b.emptied, s)
		b.added++
	}
}

// dropEmpty gives back at most max slots that hold nothing. One whose
// tombstones are in the present generation waits for the next.
func (b *Backend) dropEmpty(limit int) {
	b.lastSlot = noSlot
	for range min(limit, len(b.emptied)) {
		n := len(b.emptied) - 1
		s := b.emptied[n]
		b.emptied = b.emptied[:n]
		rec := b.slots.at(s)
		if !b.holdsNothing(s, rec) {
			rec.flags &^= flagQueued
			continue
		}
		if rec.changed == b.now.number {
			if rec.flags&flagFiled != 0 {
				b.waiting = append(b.waiting, s)
				continue
			}
			b.now.dropKey(rec.change) // born and gone in one generation
		}
		b.index.remove(rec.hash, s)
		b.stats.Keys--
		b.stats.StateBytes -= int64(rec.keyBytes)
		b.giveKey(rec.key)
		*rec = slotRecord{}
		b.slots.free = append(b.slots.free, s)
	}
}
