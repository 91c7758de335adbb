package arena

import (
	"fmt"

	"github.com/weirstream/weir/platform/storage/state"
)

// Load brings in an entry of a segment.
func (b *Backend) Load(e state.Entry) error {
	if b.loaded {
		return fmt.Errorf("load state %s: the backend is in use; load before the first Resolve", e.State)
	}
	if e.State == state.TimerState {
		return b.loadTimer(e)
	}
	id, known := b.named[e.State]
	if !known {
		return nil
	}
	d := &b.states[id]
	if e.Sub != nil && d.Form != state.Entries || e.Sub == nil && !e.Tombstone && d.Form != state.Single {
		return fmt.Errorf("load state %s: it was kept in another form (one value a key, or entries); give the new state another name", e.State)
	}
	if e.Tombstone {
		if s := b.loadSlot(e, findOnly); s != noSlot && e.Sub == nil {
			b.Clear(s, id)
		} else if s != noSlot {
			b.DeleteEntry(s, id, e.Sub)
		}
		return nil
	}
	return b.bring(b.loadSlot(e, orMake), id, e.Sub, e.Value, e.Expires)
}

// bring puts a value or an entry into its slot.
func (b *Backend) bring(s state.Slot, id state.ID, sub, value []byte, expires int64) error {
	d := &b.states[id]
	var c []byte
	head := singleHead
	if d.Form == state.Single {
		if err := b.Put(s, id, value); err != nil {
			return err
		}
		c = b.mem.cell(*b.slots.cell(uint32(s), id))
	} else {
		if err := b.PutEntry(s, id, sub, value); err != nil {
			return err
		}
		item, _ := b.findEntry(uint32(s), d, sub)
		c, head = b.mem.cell(item.cell), entryHead
	}
	if d.ttlMicros > 0 && expires != 0 {
		setExpiry(c, head, expires)
	}
	return nil
}

// LoadLate brings in an entry of a key that is new here, while others are used.
func (b *Backend) LoadLate(e state.Entry) error {
	if !b.loaded {
		return b.Load(e)
	}
	b.loaded = false
	if b.loading == state.LoadUnchanged {
		b.stamp = 0
	}
	err := b.Load(e)
	b.endLoading()
	return err
}

func (b *Backend) loadTimer(e state.Entry) error {
	t, err := state.ParseTimerSub(e.Sub)
	if err != nil {
		return err
	}
	if !e.Tombstone {
		b.SetTimer(b.loadSlot(e, orMake), t)
	} else if s := b.loadSlot(e, findOnly); s != noSlot {
		b.DeleteTimer(s, t)
	}
	return nil
}

type absence uint8

// What to do with a key that is not there.
const (
	findOnly absence = iota
	orMake
)

// loadSlot is quick for entries of the key that came last.
func (b *Backend) loadSlot(e state.Entry, absent absence) state.Slot {
	if b.lastSlot != noSlot && b.lastHash == e.Hash && b.isKey(uint32(b.lastSlot), e.Key) {
		return b.lastSlot
	}
	s := b.find(e.Key, e.Hash)
	if s == noSlot && absent == orMake {
		s = b.newSlot(e.Key, e.Hash)
	}
	b.lastSlot, b.lastHash = s, e.Hash
	return s
}
