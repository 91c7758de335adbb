package arena

import (
	"bytes"
	"encoding/binary"

	"github.com/weirstream/weir/platform/storage/state"
)

// slotRecord is a key. It has no pointers and lies outside the Go heap. It is a
// line of the processor's cache: to compare a short key costs no further miss.
type slotRecord struct {
	hash     uint64
	keyBytes uint32
	changed  uint32 // the last generation in which it changed; 0: never
	change   uint32 // its place in that generation's changes
	timers   ref    // timerHead; 0: no timers
	flags    uint32
	cells    [inlineStates]ref // of the first states; the rest stand in slotTable.more
	key      [inlineKey]byte   // or, of a longer one, the ref of its cell
}

const (
	flagUsed   = 1 << iota
	flagFiled  // older segments may hold something of it
	flagQueued // stands in Backend.emptied

	// Of a tier, see tier.go.
	flagFresh     // made, and not yet filled from what is kept elsewhere
	flagUsedLate  // asked for since the hand of the clock came by
	flagUncounted // holds nothing and is kept only until that is known elsewhere
)

const (
	inlineStates = 2
	inlineKey    = 28
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

// longKey is the cell of a key that is not inline.
func (rec *slotRecord) longKey() ref { return ref(binary.LittleEndian.Uint32(rec.key[:])) }

// keyIn is the key of a record, which must not be copied.
func (rec *slotRecord) keyIn(chunks [][]byte) []byte {
	if rec.keyBytes <= inlineKey {
		return rec.key[:rec.keyBytes:rec.keyBytes]
	}
	return cellIn(chunks, rec.longKey())[:rec.keyBytes:rec.keyBytes]
}

// Resolve works in passes over the batch, each of which touches one kind of
// memory: the places in the index, then the slots. The loads of a pass do not
// depend on each other, so the processor overlaps their misses.
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
	b.touchSlots(out)
	for i, s := range out {
		key := keys.Bytes[keys.Offsets[i]:keys.Offsets[i+1]]
		if s != noSlot && b.slots.at(uint32(s)).hash == hashes[i] && b.isKey(uint32(s), key) {
			if b.tier != nil {
				b.slots.at(uint32(s)).flags |= flagUsedLate
			}
			continue
		}
		out[i] = b.slotOf(key, hashes[i])
	}
	return out
}

// touchSlots loads a word of every slot and does nothing else, so that many
// misses are under way at a time.
func (b *Backend) touchSlots(slots []state.Slot) {
	var sum uint32
	for _, s := range slots {
		if s != noSlot {
			sum += b.slots.at(uint32(s)).flags
		}
	}
	b.touched = sum
}

// Warm loads the first word of every cell, as touchSlots does of slots.
func (b *Backend) Warm(slots []state.Slot, id state.ID) {
	var sum byte
	for _, s := range slots {
		if r := *b.slots.cell(uint32(s), id); r != 0 {
			sum += b.mem.cell(r)[0]
		}
	}
	b.touched = uint32(sum)
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
	return int(rec.keyBytes) == len(key) && bytes.Equal(rec.keyIn(b.mem.chunks), key)
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
	*rec = slotRecord{hash: hash, keyBytes: uint32(len(key)), flags: flagUsed}
	if len(key) > inlineKey {
		r := b.mem.take(len(key))
		copy(b.mem.cell(r), key)
		binary.LittleEndian.PutUint32(rec.key[:], uint32(r))
	} else {
		copy(rec.key[:], key)
	}
	b.index.insert(&b.slots, hash, s)
	b.stats.Keys++
	b.stats.StateBytes += int64(len(key))
	if b.tier != nil {
		rec.flags |= flagFresh | flagUsedLate
		b.tier.fresh = append(b.tier.fresh, state.Slot(s))
	}
	b.queueIfEmpty(s, rec)
	return state.Slot(s)
}

// Key gives back the key of a slot.
func (b *Backend) Key(s state.Slot) ([]byte, uint64) {
	rec := b.slots.at(uint32(s))
	return rec.keyIn(b.mem.chunks), rec.hash
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
			b.count(rec)
			continue
		}
		if b.tier != nil && rec.flags&flagFiled != 0 && rec.changed > b.tier.merged {
			b.discount(rec)
			b.waiting = append(b.waiting, s)
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
		b.discount(rec)
		b.giveSlot(s, rec)
	}
}

// giveSlot makes a slot free, after the release of a generation that may still
// show its key.
func (b *Backend) giveSlot(s uint32, rec *slotRecord) {
	if n := len(b.frozen); n > 0 && rec.changed >= b.frozen[0].generation.number {
		rec.flags = 0
		b.frozen[n-1].slotsGone = append(b.frozen[n-1].slotsGone, s)
		return
	}
	b.freeSlot(s, rec)
}

func (b *Backend) freeSlot(s uint32, rec *slotRecord) {
	if rec.keyBytes > inlineKey {
		b.mem.give(rec.longKey())
	}
	*rec = slotRecord{}
	b.slots.free = append(b.slots.free, s)
}
