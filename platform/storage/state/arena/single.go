package arena

import (
	"encoding/binary"
	"fmt"

	"github.com/weirstream/weir/platform/storage/state"
)

// A cell of a Single state, little-endian:
//
//	| generation 4 | length 4 | expiry 8, if the state has a time to live | data |
const (
	singleHead  = 8
	expiryBytes = 8
)

func cellGeneration(c []byte) uint32 { return binary.LittleEndian.Uint32(c) }
func cellLength(c []byte) int        { return int(binary.LittleEndian.Uint32(c[4:])) }
func cellExpiry(c []byte, head int) int64 {
	return int64(binary.LittleEndian.Uint64(c[head:]))
}

func setCell(c []byte, generation uint32, length int) {
	binary.LittleEndian.PutUint64(c, uint64(generation)|uint64(length)<<32)
}

func setExpiry(c []byte, head int, micros int64) {
	binary.LittleEndian.PutUint64(c[head:], uint64(micros))
}

// expired says so of a cell whose expiry, if it has one, stands at head.
func (b *Backend) expired(d *stateOf, head int, r ref) bool {
	return d.ttlMicros > 0 && cellExpiry(b.mem.cell(r), head) <= b.clock
}

// Get reads a Single state.
func (b *Backend) Get(s state.Slot, id state.ID) ([]byte, bool) {
	d := &b.states[id]
	r := *b.slots.cell(uint32(s), id)
	if r == 0 {
		return nil, false
	}
	c := b.mem.cell(r)
	if d.ttlMicros > 0 {
		if cellExpiry(c, singleHead) <= b.clock {
			return nil, false
		}
		if d.TTLOn == state.TTLOnReadWrite {
			c = b.touch(uint32(s), id, d, r)
		}
	}
	end := d.headBytes + cellLength(c)
	return c[d.headBytes:end:end], true
}

// touch restarts the time to live of a value that was read.
func (b *Backend) touch(s uint32, id state.ID, d *stateOf, r ref) []byte {
	c := b.mem.cell(r)
	if expiry := b.clock + d.ttlMicros; cellExpiry(c, singleHead) != expiry {
		if cellGeneration(c) != b.stamp {
			to, old := b.writable(s, id, cellLength(c))
			copy(to, c[d.headBytes:d.headBytes+len(to)])
			b.limbo = append(b.limbo, old)
			return b.mem.cell(*b.slots.cell(s, id))
		}
		setExpiry(c, singleHead, expiry)
	}
	return c
}

// Put writes a Single state.
func (b *Backend) Put(s state.Slot, id state.ID, value []byte) error {
	if len(value) > state.MaxValueBytes {
		return tooLarge(b.states[id].Name, len(value))
	}
	to, old := b.writable(uint32(s), id, len(value))
	copy(to, value) // before old is given back: value may be a view of it
	if old != 0 {
		b.drop(old)
	}
	return nil
}

func tooLarge(name string, size int) error {
	return fmt.Errorf("write state %s of %d bytes: %w of %d; keep it in a hosted map or list, of which an entry is small",
		name, size, state.ErrTooLarge, state.MaxValueBytes)
}

// Mutable gives the bytes of a Single state in place.
func (b *Backend) Mutable(s state.Slot, id state.ID, size int) []byte {
	d := &b.states[id]
	r := *b.slots.cell(uint32(s), id)
	keep := r != 0 && cellLength(b.mem.cell(r)) == size && !b.expired(d, singleHead, r)
	to, old := b.writable(uint32(s), id, size)
	switch {
	case !keep:
		clear(to)
	case old != 0:
		copy(to, b.mem.cell(old)[d.headBytes:])
	}
	if old != 0 {
		b.drop(old)
	}
	return to[:size:size]
}

// writable gives size bytes in a cell of the present generation, with the time
// to live restarted. What they hold is what was there, if no old cell is
// returned, and else undefined; the caller drops the old cell.
func (b *Backend) writable(s uint32, id state.ID, size int) (to []byte, old ref) {
	d := &b.states[id]
	p := b.slots.cell(s, id)
	old = *p
	need := d.headBytes + size
	if old != 0 {
		c := b.mem.cell(old)
		b.stats.StateBytes += int64(size - cellLength(c))
		if room := b.mem.capacity(old); cellGeneration(c) == b.now.number && need <= room && room <= 4*need {
			setCell(c, b.now.number, size)
			if d.ttlMicros > 0 {
				setExpiry(c, singleHead, b.clock+d.ttlMicros)
			}
			return c[d.headBytes:need], 0
		}
	} else {
		b.stats.StateBytes += int64(size)
	}
	r := b.mem.take(need)
	c := b.mem.cell(r)
	setCell(c, b.stamp, size)
	if d.ttlMicros > 0 {
		setExpiry(c, singleHead, b.clock+d.ttlMicros)
	}
	*p = r
	b.changed(s).set(id, r)
	return c[d.headBytes:need], old
}

// Clear takes a state away from a key.
func (b *Backend) Clear(s state.Slot, id state.ID) {
	if b.states[id].Form == state.Entries {
		b.clearEntries(uint32(s), id)
		return
	}
	p := b.slots.cell(uint32(s), id)
	old := *p
	if old == 0 {
		return
	}
	b.stats.StateBytes -= int64(cellLength(b.mem.cell(old)))
	*p = 0
	b.changed(uint32(s)).clear(id)
	b.drop(old)
	b.queueIfEmpty(uint32(s), b.slots.at(uint32(s)))
}
