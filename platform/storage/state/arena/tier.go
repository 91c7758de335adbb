package arena

import (
	"github.com/weirstream/weir/platform/storage/state"
)

// Tier is an arena that holds only the keys in use, each of them whole, for a
// backend that keeps the rest elsewhere: below. Its owner fills a slot that is
// new from below before anyone looks at it, merges every generation into what
// is below, and may then evict keys that have not changed since.
//
// A key whose last change is not below yet stays, even if it holds nothing: what
// is below would say otherwise. So whoever reads below never sees anything old.
type Tier struct{ *Backend }

// tier is what the arena knows of being one.
type tier struct {
	fresh  []state.Slot // made since the last Fresh
	merged uint32       // generations up to this one are below
	hand   uint32       // of the clock: the slot to look at next
}

// OpenTier makes an empty tier.
func OpenTier(descriptors []state.Descriptor) (Tier, error) {
	b, err := Open(state.Options{Descriptors: descriptors})
	if err != nil {
		return Tier{}, err
	}
	b.tier = &tier{}
	b.endLoading()
	return Tier{b}, nil
}

// Fresh gives the slots that were made since it was last called: they are to be
// filled by Bring, then given to Filled. It holds until the next slot is made.
func (t Tier) Fresh() []state.Slot {
	fresh := t.tier.fresh
	t.tier.fresh = t.tier.fresh[:0]
	return fresh
}

// Slot finds or makes the slot of a key.
func (t Tier) Slot(key []byte, hash uint64) state.Slot {
	s := t.slotOf(key, hash)
	t.slots.at(uint32(s)).flags |= flagUsedLate
	return s
}

// Has says whether a key is here, filled or not.
func (t Tier) Has(key []byte, hash uint64) bool { return t.find(key, hash) != noSlot }

// IsFresh says whether a slot waits to be filled.
func (t Tier) IsFresh(s state.Slot) bool { return t.slots.at(uint32(s)).flags&flagFresh != 0 }

// Bring puts a value or an entry from below into a fresh slot: no change.
func (t Tier) Bring(s state.Slot, id state.ID, sub, value []byte, expires int64) error {
	t.loaded, t.stamp = false, 0
	err := t.bring(s, id, sub, value, expires)
	t.endLoading()
	return err
}

// BringTimer is Bring for a timer.
func (t Tier) BringTimer(s state.Slot, timer state.Timer) {
	t.loaded, t.stamp = false, 0
	t.SetTimer(s, timer)
	t.endLoading()
}

// Filled says that a slot has all that is below of it.
func (t Tier) Filled(s state.Slot) { t.slots.at(uint32(s)).flags &^= flagFresh }

// Generation is the number of the present generation: that which Freeze ends.
func (t Tier) Generation() uint32 { return t.now.number }

// Changes is about how much the present generation has to hand over.
func (t Tier) Changes() int { return t.now.changes() }

// HoldsSomething says whether a slot has a state or a timer, expired or not.
func (t Tier) HoldsSomething(s state.Slot) bool {
	return !t.holdsNothing(uint32(s), t.slots.at(uint32(s)))
}

// Merged says that what changed up to a generation is below.
func (t Tier) Merged(generation uint32) {
	t.tier.merged = generation
	t.emptied, t.waiting = append(t.emptied, t.waiting...), t.waiting[:0]
}

// UsedBytes is about how much memory is in use, of which Evict gives back.
func (t Tier) UsedBytes() int64 {
	keys := int64(t.slots.count) - int64(len(t.slots.free))
	return t.mem.usedBytes + keys*(slotRecordBytes+int64(t.slots.extra)*4+indexBytesPerKey)
}

// indexBytesPerKey: eight for an entry, of which three in five are in use.
const indexBytesPerKey = 13

// Evict drops keys that were not asked for since it last came by and whose
// changes are below, until that many bytes are free or that many slots were
// looked at. It tells of each before it goes.
func (t Tier) Evict(bytes int64, slots int, going func(state.Slot)) {
	enough := t.UsedBytes() - bytes
	for range min(slots, int(t.slots.count)) {
		if t.UsedBytes() <= enough {
			break
		}
		s := t.tier.hand
		if t.tier.hand++; t.tier.hand >= t.slots.count {
			t.tier.hand = 0
		}
		rec := t.slots.at(s)
		switch {
		case rec.flags&flagUsed == 0:
		case rec.flags&flagUsedLate != 0:
			rec.flags &^= flagUsedLate
		default:
			if t.mayGo(rec) {
				going(state.Slot(s))
				t.evict(s, rec)
			}
		}
	}
}

// EvictNow is Evict of one key, however lately it was asked for; false if its
// changes are not below.
func (t Tier) EvictNow(s state.Slot, going func(state.Slot)) bool {
	rec := t.slots.at(uint32(s))
	if !t.mayGo(rec) {
		return false
	}
	going(s)
	t.evict(uint32(s), rec)
	return true
}

// mayGo: what is queued is looked at by dropEmpty, and goes by itself.
func (t Tier) mayGo(rec *slotRecord) bool {
	return rec.flags&(flagUsed|flagFresh|flagQueued) == flagUsed && rec.changed <= t.tier.merged
}

func (t Tier) evict(s uint32, rec *slotRecord) {
	for i := range t.states {
		id, d := state.ID(i), &t.states[i]
		p := t.slots.cell(s, id)
		if *p == 0 {
			continue
		}
		if d.Form == state.Single {
			t.stats.StateBytes -= int64(cellLength(t.mem.cell(*p)))
			t.drop(*p)
		} else {
			t.evictEntries(s, d)
			t.mem.give(*p)
		}
		*p = 0
	}
	if rec.timers != 0 {
		t.evictTimers(s, rec)
	}
	t.index.remove(rec.hash, s)
	t.discount(rec)
	t.lastSlot = noSlot
	t.giveSlot(s, rec)
}

func (t Tier) evictEntries(s uint32, d *stateOf) {
	t.itemsOf(s, d)
	for _, item := range t.items {
		d.entries.Delete(item)
	}
	for _, item := range t.items {
		c := t.mem.cell(item.cell)
		t.stats.StateBytes -= int64(len(entryKey(c)) + cellLength(c))
		t.drop(item.cell)
	}
}

func (t Tier) evictTimers(s uint32, rec *slotRecord) {
	for kind := state.EventTime; kind <= state.ProcessingTime; kind++ {
		h := t.timerHead(rec, kind)
		if h.count() == 0 {
			continue
		}
		t.removeFirst(s, rec, h, kind)
		for range h.count() - 1 {
			t.timers.rest.Delete(t.firstOfRest(s, kind))
		}
		t.stats.Timers -= int(h.count())
	}
	t.mem.give(rec.timers)
	rec.timers = 0
}

// FirstTimer is the earliest timer of a key and kind.
func (t Tier) FirstTimer(s state.Slot, kind state.TimerKind) (state.Timer, bool) {
	rec := t.slots.at(uint32(s))
	if rec.timers == 0 {
		return state.Timer{}, false
	}
	h := t.timerHead(rec, kind)
	return state.Timer{Kind: kind, Name: h.name(), Time: h.time()}, h.count() > 0
}

// IsLive says whether a key holds something that has not expired.
func (t Tier) IsLive(s state.Slot) bool { return t.isLive(uint32(s), t.slots.at(uint32(s))) }

// count and discount are for keys that come to hold something, and nothing.
func (b *Backend) count(rec *slotRecord) {
	if rec.flags&flagUncounted != 0 {
		rec.flags &^= flagUncounted
		b.stats.Keys++
		b.stats.StateBytes += int64(rec.keyBytes)
	}
}

func (b *Backend) discount(rec *slotRecord) {
	if rec.flags&flagUncounted == 0 {
		rec.flags |= flagUncounted
		b.stats.Keys--
		b.stats.StateBytes -= int64(rec.keyBytes)
	}
}

// ExpireSlot takes away what has expired of a key.
func (t Tier) ExpireSlot(s state.Slot) {
	for i := range t.states {
		id, d := state.ID(i), &t.states[i]
		r := *t.slots.cell(uint32(s), id)
		if d.ttlMicros == 0 || r == 0 {
			continue
		}
		if d.Form == state.Single {
			if t.expired(d, singleHead, r) {
				t.Clear(s, id)
			}
			continue
		}
		t.itemsOf(uint32(s), d)
		for _, item := range t.items {
			if t.expired(d, entryHead, item.cell) {
				t.deleteEntry(id, item)
			}
		}
	}
}
