package arena

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/tidwall/btree"

	"github.com/weirstream/weir/platform/storage/state"
)

// A cell of an entry, little-endian:
//
//	| generation 4 | value length 4 | change 4 | key length 2 | flags 2 |
//	| expiry 8, if the state has a time to live | key | value |
//
// change is its place in generation.entries, valid in its own generation.
const entryHead = 16

// entryBorn says that nothing older of this entry can stand in files, save
// under a tombstone.
const entryBorn = 1

// A slot with entries has a head cell, which no view shows:
//
//	| number of entries 8 | key of the next entry of a list 8 |
const entriesHeadBytes = 16

// entryItem is an entry in a state's tree, ordered by slot, then key. With the
// cell probeCell it stands for the key in Backend.probed.
type entryItem struct {
	slot uint32
	cell ref
}

const (
	probeCell ref = 0
	lastCell  ref = ^ref(0) // after every entry of the slot
)

type entryTree = *btree.BTreeG[entryItem]

func newEntryTree(b *Backend) entryTree {
	return btree.NewBTreeGOptions(b.lessEntry, btree.Options{NoLocks: true})
}

// lessEntry needs no state: whether an expiry precedes the key stands in flags.
func (b *Backend) lessEntry(x, y entryItem) bool {
	if x.slot != y.slot {
		return x.slot < y.slot
	}
	if x.cell == lastCell || y.cell == lastCell {
		return x.cell != lastCell
	}
	return bytes.Compare(b.itemKey(x.cell), b.itemKey(y.cell)) < 0
}

// entryTTL in the flags says that an expiry precedes the key.
const entryTTL = 2

func (b *Backend) itemKey(r ref) []byte {
	if r == probeCell {
		return b.probed
	}
	return entryKey(b.mem.cell(r))
}

func entryFlags(c []byte) uint16 { return binary.LittleEndian.Uint16(c[14:]) }

func entryKey(c []byte) []byte {
	at := entryHead
	if entryFlags(c)&entryTTL != 0 {
		at += expiryBytes
	}
	end := at + int(binary.LittleEndian.Uint16(c[12:]))
	return c[at:end:end]
}

func entryValue(c []byte) []byte {
	at := entryHead + int(binary.LittleEndian.Uint16(c[12:]))
	if entryFlags(c)&entryTTL != 0 {
		at += expiryBytes
	}
	end := at + cellLength(c)
	return c[at:end:end]
}

func entryChangeOf(c []byte) uint32 { return binary.LittleEndian.Uint32(c[8:]) }

func (b *Backend) findEntry(s uint32, d *stateOf, key []byte) (entryItem, bool) {
	b.probed = key
	return d.entries.Get(entryItem{slot: s, cell: probeCell})
}

// GetEntry reads an entry.
func (b *Backend) GetEntry(s state.Slot, id state.ID, key []byte) ([]byte, bool) {
	d := &b.states[id]
	if *b.slots.cell(uint32(s), id) == 0 {
		return nil, false
	}
	item, ok := b.findEntry(uint32(s), d, key)
	if !ok || b.expired(d, entryHead, item.cell) {
		return nil, false
	}
	c := b.mem.cell(item.cell)
	if d.TTLOn == state.TTLOnReadWrite && d.ttlMicros > 0 && cellExpiry(c, entryHead) != b.clock+d.ttlMicros {
		to, old := b.replaceEntry(uint32(s), id, item, entryValue(c))
		if old != 0 {
			b.limbo = append(b.limbo, old)
		}
		c = b.mem.cell(to)
	}
	return entryValue(c), true
}

// PutEntry writes an entry.
func (b *Backend) PutEntry(s state.Slot, id state.ID, key, value []byte) error {
	d := &b.states[id]
	if len(value) > state.MaxValueBytes {
		return fmt.Errorf("write an entry of state %s of %d bytes: %w of %d; split the value over several entries",
			d.Name, len(value), state.ErrTooLarge, state.MaxValueBytes)
	}
	if len(key) > state.MaxEntryKeyBytes {
		return fmt.Errorf("write an entry of state %s with a key of %d bytes: %w of %d; use a shorter key, for instance a digest",
			d.Name, len(key), state.ErrTooLarge, state.MaxEntryKeyBytes)
	}
	head := b.entriesHead(uint32(s), id)
	if item, ok := b.findEntry(uint32(s), d, key); ok {
		if _, old := b.replaceEntry(uint32(s), id, item, value); old != 0 {
			b.drop(old)
		}
		return nil
	}
	r := b.newEntry(d, key, value, entryBorn)
	b.recordEntry(uint32(s), id, r)
	d.entries.Set(entryItem{uint32(s), r})
	b.stats.StateBytes += int64(len(key) + len(value))
	binary.LittleEndian.PutUint64(head, binary.LittleEndian.Uint64(head)+1)
	if len(key) == 8 {
		next := binary.LittleEndian.Uint64(head[8:])
		binary.LittleEndian.PutUint64(head[8:], max(next, binary.BigEndian.Uint64(key)+1))
	}
	return nil
}

// AppendEntry adds at the end of a list.
func (b *Backend) AppendEntry(s state.Slot, id state.ID, value []byte) error {
	var key [8]byte
	if r := *b.slots.cell(uint32(s), id); r != 0 {
		binary.BigEndian.PutUint64(key[:], binary.LittleEndian.Uint64(b.mem.cell(r)[8:]))
	}
	b.listKey = key
	return b.PutEntry(s, id, b.listKey[:], value)
}

// entriesHead finds or makes the head cell of a slot.
func (b *Backend) entriesHead(s uint32, id state.ID) []byte {
	p := b.slots.cell(s, id)
	if *p == 0 {
		*p = b.mem.take(entriesHeadBytes)
		clear(b.mem.cell(*p)[:entriesHeadBytes])
	}
	return b.mem.cell(*p)[:entriesHeadBytes]
}

func (b *Backend) newEntry(d *stateOf, key, value []byte, flags uint16) ref {
	need := d.headBytes + len(key) + len(value)
	r := b.mem.take(need)
	c := b.mem.cell(r)
	setCell(c, b.stamp, len(value))
	if d.ttlMicros > 0 {
		flags |= entryTTL
		setExpiry(c, entryHead, b.clock+d.ttlMicros)
	}
	binary.LittleEndian.PutUint32(c[8:], 0)
	binary.LittleEndian.PutUint16(c[12:], uint16(len(key)))
	binary.LittleEndian.PutUint16(c[14:], flags)
	copy(c[d.headBytes:], key)
	copy(c[d.headBytes+len(key):], value)
	return r
}

// recordEntry enters a new cell in the present generation.
func (b *Backend) recordEntry(s uint32, id state.ID, r ref) {
	if k := b.changed(s); k.g != nil {
		i := k.g.addEntry(entryChange{key: k.i, cell: r, id: id})
		binary.LittleEndian.PutUint32(b.mem.cell(r)[8:], i)
	}
}

// replaceEntry gives an entry a new value, and returns the cell it no longer needs.
func (b *Backend) replaceEntry(s uint32, id state.ID, item entryItem, value []byte) (to, old ref) {
	d := &b.states[id]
	c := b.mem.cell(item.cell)
	b.stats.StateBytes += int64(len(value) - cellLength(c))
	present := cellGeneration(c) == b.now.number
	keyBytes := len(entryKey(c))
	need, room := d.headBytes+keyBytes+len(value), b.mem.capacity(item.cell)
	if present && need <= room && room <= 4*need {
		copy(c[d.headBytes+keyBytes:need], value)
		setCell(c, b.now.number, len(value))
		if d.ttlMicros > 0 {
			setExpiry(c, entryHead, b.clock+d.ttlMicros)
		}
		return item.cell, 0
	}
	var flags uint16
	if present {
		flags = entryFlags(c) & entryBorn
	}
	r := b.newEntry(d, entryKey(c), value, flags)
	if present {
		i := entryChangeOf(c)
		binary.LittleEndian.PutUint32(b.mem.cell(r)[8:], i)
		b.now.entries.at(i).cell = r
	} else {
		b.recordEntry(s, id, r)
	}
	d.entries.Set(entryItem{s, r})
	return r, item.cell
}

// DeleteEntry takes an entry away.
func (b *Backend) DeleteEntry(s state.Slot, id state.ID, key []byte) {
	if *b.slots.cell(uint32(s), id) == 0 {
		return
	}
	if item, ok := b.findEntry(uint32(s), &b.states[id], key); ok {
		b.deleteEntry(id, item)
	}
}

func (b *Backend) deleteEntry(id state.ID, item entryItem) {
	s, d := item.slot, &b.states[id]
	d.entries.Delete(item)
	c := b.mem.cell(item.cell)
	b.stats.StateBytes -= int64(len(entryKey(c)) + cellLength(c))
	switch present := cellGeneration(c) == b.now.number; {
	case present && entryFlags(c)&entryBorn != 0:
		b.now.dropEntry(entryChangeOf(c))
		b.mem.give(item.cell)
	case present:
		b.now.entries.at(entryChangeOf(c)).tomb = true
		b.now.tombs = append(b.now.tombs, item.cell)
	default:
		// The old cell stays, for its key, until this generation is released,
		// which is after the release of one that may still show it.
		if k := b.changed(s); k.g != nil {
			k.g.addEntry(entryChange{key: k.i, cell: item.cell, id: id, tomb: true})
			k.g.tombs = append(k.g.tombs, item.cell)
		} else {
			b.mem.give(item.cell)
		}
	}
	p := b.slots.cell(s, id)
	head := b.mem.cell(*p)
	left := binary.LittleEndian.Uint64(head) - 1
	binary.LittleEndian.PutUint64(head, left)
	if left == 0 {
		b.dropHead(s, p)
	}
}

func (b *Backend) dropHead(s uint32, p *ref) {
	b.mem.give(*p)
	*p = 0
	b.queueIfEmpty(s, b.slots.at(s))
}

func (b *Backend) clearEntries(s uint32, id state.ID) {
	p := b.slots.cell(s, id)
	if *p == 0 {
		return
	}
	d := &b.states[id]
	b.itemsOf(s, d)
	b.changed(s).clear(id)
	for _, item := range b.items {
		d.entries.Delete(item)
	}
	for _, item := range b.items {
		c := b.mem.cell(item.cell)
		b.stats.StateBytes -= int64(len(entryKey(c)) + cellLength(c))
		if cellGeneration(c) == b.now.number {
			b.now.dropEntry(entryChangeOf(c))
			b.mem.give(item.cell)
		} else {
			b.drop(item.cell)
		}
	}
	b.dropHead(s, p)
}

// itemsOf gathers the entries of a slot in Backend.items.
func (b *Backend) itemsOf(s uint32, d *stateOf) {
	b.items, b.probed = b.items[:0], nil
	d.entries.Ascend(entryItem{slot: s, cell: probeCell}, func(item entryItem) bool {
		if item.slot != s {
			return false
		}
		b.items = append(b.items, item)
		return true
	})
}

// pageScan is a ScanPage on its way. Its function is made once: one for each
// scan would be an allocation for each.
type pageScan struct {
	each  func(entryItem) bool
	slot  uint32
	d     *stateOf
	after []byte
	left  int
	page  []state.Element
}

// ScanPage appends entries in order of their keys.
func (b *Backend) ScanPage(s state.Slot, id state.ID, after []byte, limit int, page []state.Element) []state.Element {
	if limit <= 0 || *b.slots.cell(uint32(s), id) == 0 {
		return page
	}
	p := &b.scan
	p.slot, p.d, p.after, p.left, p.page = uint32(s), &b.states[id], after, limit, page
	b.probed = after
	p.d.entries.Ascend(entryItem{slot: p.slot, cell: probeCell}, p.each)
	page, p.page, p.after = p.page, nil, nil
	return page
}

func (b *Backend) toPage(item entryItem) bool {
	p := &b.scan
	if item.slot != p.slot {
		return false
	}
	c := b.mem.cell(item.cell)
	key := entryKey(c)
	if b.expired(p.d, entryHead, item.cell) || p.after != nil && bytes.Equal(key, p.after) {
		return true
	}
	p.page = append(p.page, state.Element{Key: key, Value: entryValue(c)})
	p.left--
	return p.left > 0
}

// Scan yields entries in order of their keys.
func (b *Backend) Scan(s state.Slot, id state.ID, after []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		if *b.slots.cell(uint32(s), id) == 0 {
			return
		}
		d := &b.states[id]
		b.probed = after
		d.entries.Ascend(entryItem{slot: uint32(s), cell: probeCell}, func(item entryItem) bool {
			if item.slot != uint32(s) {
				return false
			}
			c := b.mem.cell(item.cell)
			key := entryKey(c)
			if b.expired(d, entryHead, item.cell) || after != nil && bytes.Equal(key, after) {
				return true
			}
			return yield(key, entryValue(c))
		})
	}
}
