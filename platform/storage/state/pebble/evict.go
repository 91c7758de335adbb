package pebble

import (
	"github.com/weirstream/weir/platform/storage/state"
)

// What the tier holds beside its cells and slots for a change: its place in the
// generation's lists, and in the order in which they are written.
const changeBytes = 72

const (
	// spillShare is how much of its memory a backend lets a generation have
	// before it is spilled.
	spillShare = 3
	// overShare is by how much a tier may be over its limit before the task waits
	// for what is being merged: a fifth.
	overShare = 5
	// evictSlots are looked at in an Advance, and as many more for each key that
	// was brought to memory since the last.
	evictSlots     = 256
	evictPerFilled = 4
)

// makeRoom keeps the tier within its share of memory.
func (b *Backend) makeRoom() {
	limit := b.store.share()
	filled := b.filled
	b.filled = 0
	if b.usedBytes() <= limit {
		return
	}
	if b.dirtyBytes() > limit/spillShare && b.unmerged < maxUnmerged {
		b.spill()
	}
	b.evict(limit, evictSlots+evictPerFilled*filled)
	for b.usedBytes() > limit+limit/overShare {
		if b.unmerged == 0 {
			if b.hot.Changes() == 0 {
				return // a few keys that are larger than all the memory
			}
			b.spill()
		}
		b.settle(wait)
		b.hot.Advance(b.clock) // gives back what the generation held
		b.evict(limit, 2*int(b.hot.Stats().Keys)+evictSlots)
	}
}

func (b *Backend) usedBytes() int64 {
	return b.hot.UsedBytes() + int64(b.hot.Changes())*changeBytes
}

// dirtyBytes is about what the present generation holds.
func (b *Backend) dirtyBytes() int64 {
	st := b.hot.Stats()
	return b.hot.UsedBytes()*int64(st.DirtyKeys)/int64(max(1, st.Keys)) + int64(b.hot.Changes())*changeBytes
}

// spill freezes a generation before its barrier.
func (b *Backend) spill() {
	r := newRun()
	b.freeze(1, r)
	b.runs = append(b.runs, r)
}

func (b *Backend) evict(limit int64, slots int) {
	if over := b.usedBytes() - limit; over > 0 {
		before := b.hot.Stats()
		b.hot.Evict(over, slots, b.going)
		b.toCold(before)
	}
}

// toCold moves what left the tier to the disk's account.
func (b *Backend) toCold(before state.Stats) {
	now := b.hot.Stats()
	b.cold.keys += before.Keys - now.Keys
	b.cold.bytes += before.StateBytes - now.StateBytes
	b.cold.timers += before.Timers - now.Timers
	b.timers.commit()
}

// going keeps the earliest timers of a key that leaves the tier.
func (b *Backend) going(s state.Slot) {
	for kind := state.EventTime; kind <= state.ProcessingTime; kind++ {
		if t, any := b.hot.FirstTimer(s, kind); any {
			key, hash := b.hot.Key(s)
			b.timers.add(b.db, coldTimer{kind, t.Time, hash, t.Name, string(key)})
		}
	}
}
