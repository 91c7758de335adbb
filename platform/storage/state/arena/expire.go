package arena

import "github.com/weirstream/weir/platform/storage/state"

// expiryStep is how many slots, and entries of each state, an Advance looks at.
const expiryStep = 64

// expiryCursor is where the search for what has expired stands. It goes round
// for ever, so that what nobody reads goes away too.
type expiryCursor struct {
	slot    uint32
	entries []entryCursor // by state
}

type entryCursor struct {
	slot uint32
	key  []byte
}

func (b *Backend) expire() {
	singles := false
	for i := range b.states {
		if d := &b.states[i]; d.ttlMicros > 0 {
			if d.Form == state.Entries {
				b.expireEntries(state.ID(i), d)
			} else {
				singles = true
			}
		}
	}
	if !singles {
		return
	}
	for range min(expiryStep, b.slots.count) {
		s := b.cursor.slot
		if b.cursor.slot++; b.cursor.slot >= b.slots.count {
			b.cursor.slot = 0
		}
		if b.slots.at(s).flags&flagUsed == 0 {
			continue
		}
		for i := range b.states {
			id, d := state.ID(i), &b.states[i]
			if d.Form != state.Single {
				continue
			}
			if r := *b.slots.cell(s, id); r != 0 && b.expired(d, singleHead, r) {
				b.Clear(state.Slot(s), id)
			}
		}
	}
}

func (b *Backend) expireEntries(id state.ID, d *stateOf) {
	if b.cursor.entries == nil {
		b.cursor.entries = make([]entryCursor, len(b.states))
	}
	at := &b.cursor.entries[id]
	seen := 0
	b.items, b.probed = b.items[:0], at.key
	var last entryItem
	d.entries.Ascend(entryItem{slot: at.slot, cell: probeCell}, func(item entryItem) bool {
		if seen == expiryStep {
			return false
		}
		seen++
		last = item
		if b.expired(d, entryHead, item.cell) {
			b.items = append(b.items, item)
		}
		return true
	})
	if seen < expiryStep {
		at.slot, at.key = 0, at.key[:0]
	} else {
		at.slot, at.key = last.slot, append(at.key[:0], b.itemKey(last.cell)...)
	}
	for _, item := range b.items {
		b.deleteEntry(id, item)
	}
}
