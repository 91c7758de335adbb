package arena

import (
	"encoding/binary"

	"github.com/tidwall/btree"

	"github.com/weirstream/weir/platform/storage/state"
)

// A slot with timers has a head cell, which no view shows, with 16 bytes for
// each kind, little-endian:
//
//	| number of timers 4 | name of the earliest 2 | 2 | time of the earliest 8 |
//
// The earliest timer of each key and kind stands in timers.first, ordered by
// time over all keys; the others wait in timers.rest, ordered by key. So what
// is due next is found at once, and a key with many timers costs the others
// nothing. Most keys have one timer, and nothing in rest.
const (
	timerHeadBytes = 2 * timerKindBytes
	timerKindBytes = 16
)

type timers struct {
	first [2]*btree.BTreeG[firstTimer]
	rest  *btree.BTreeG[restTimer]
	fired []firstTimer // Due's
}

// origin says in which generation a timer was set, and where it stands there.
type origin struct{ generation, change uint32 }

type firstTimer struct {
	time int64
	hash uint64
	slot uint32
	name uint16
	origin
}

type restTimer struct {
	time int64
	slot uint32
	name uint16
	kind state.TimerKind
	origin
}

func lessFirst(x, y firstTimer) bool {
	switch {
	case x.time != y.time:
		return x.time < y.time
	case x.hash != y.hash:
		return x.hash < y.hash
	case x.name != y.name:
		return x.name < y.name
	}
	return x.slot < y.slot
}

func lessRest(x, y restTimer) bool {
	switch {
	case x.slot != y.slot:
		return x.slot < y.slot
	case x.kind != y.kind:
		return x.kind < y.kind
	case x.time != y.time:
		return x.time < y.time
	}
	return x.name < y.name
}

func (t *timers) init() {
	opts := btree.Options{NoLocks: true}
	t.first[0] = btree.NewBTreeGOptions(lessFirst, opts)
	t.first[1] = btree.NewBTreeGOptions(lessFirst, opts)
	t.rest = btree.NewBTreeGOptions(lessRest, opts)
}

func (t *timers) of(kind state.TimerKind) *btree.BTreeG[firstTimer] {
	return t.first[kind-state.EventTime]
}

// timerHead is a kind's part of a slot's head cell.
type timerHead []byte

func (b *Backend) timerHead(rec *slotRecord, kind state.TimerKind) timerHead {
	at := int(kind-state.EventTime) * timerKindBytes
	return timerHead(b.mem.cell(rec.timers)[at : at+timerKindBytes])
}

func (h timerHead) count() uint32 { return binary.LittleEndian.Uint32(h) }
func (h timerHead) name() uint16  { return binary.LittleEndian.Uint16(h[4:]) }
func (h timerHead) time() int64   { return int64(binary.LittleEndian.Uint64(h[8:])) }

func (h timerHead) add(n int) { binary.LittleEndian.PutUint32(h, h.count()+uint32(n)) }

func (h timerHead) setFirst(time int64, name uint16) {
	binary.LittleEndian.PutUint16(h[4:], name)
	binary.LittleEndian.PutUint64(h[8:], uint64(time))
}

func before(time1 int64, name1 uint16, time2 int64, name2 uint16) bool {
	return time1 < time2 || time1 == time2 && name1 < name2
}

// SetTimer sets a timer that may be set already.
func (b *Backend) SetTimer(s state.Slot, t state.Timer) {
	rec := b.slots.at(uint32(s))
	if rec.timers == 0 {
		rec.timers = b.mem.take(timerHeadBytes)
		clear(b.mem.cell(rec.timers)[:timerHeadBytes])
	}
	h := b.timerHead(rec, t.Kind)
	switch {
	case h.count() == 0:
		b.addFirst(uint32(s), rec, h, t, b.recordTimer(uint32(s), t))
	case h.time() == t.Time && h.name() == t.Name:
		return
	case before(t.Time, t.Name, h.time(), h.name()):
		was := b.removeFirst(uint32(s), rec, h, t.Kind)
		b.timers.rest.Set(restTimer{time: was.time, slot: uint32(s), name: was.name, kind: t.Kind, origin: was.origin})
		b.addFirst(uint32(s), rec, h, t, b.recordTimer(uint32(s), t))
	default:
		item := restTimer{time: t.Time, slot: uint32(s), name: t.Name, kind: t.Kind}
		if _, set := b.timers.rest.Get(item); set {
			return
		}
		item.origin = b.recordTimer(uint32(s), t)
		b.timers.rest.Set(item)
	}
	h.add(1)
	b.stats.Timers++
}

func (b *Backend) addFirst(s uint32, rec *slotRecord, h timerHead, t state.Timer, o origin) {
	b.timers.of(t.Kind).Set(firstTimer{time: t.Time, hash: rec.hash, slot: s, name: t.Name, origin: o})
	h.setFirst(t.Time, t.Name)
}

func (b *Backend) removeFirst(s uint32, rec *slotRecord, h timerHead, kind state.TimerKind) firstTimer {
	was, _ := b.timers.of(kind).Delete(firstTimer{time: h.time(), hash: rec.hash, slot: s, name: h.name()})
	return was
}

// recordTimer enters a new timer in the present generation.
func (b *Backend) recordTimer(s uint32, t state.Timer) origin {
	k := b.changed(s)
	if k.g == nil {
		return origin{}
	}
	return origin{b.stamp, k.g.addTimer(timerChange{key: k.i, name: t.Name, kind: t.Kind, time: t.Time})}
}

// recordGone takes a timer of the present generation off its list, and enters
// a tombstone for an older one.
func (b *Backend) recordGone(s uint32, t state.Timer, o origin) {
	if o.generation == b.now.number {
		b.now.dropTimer(o.change)
		return
	}
	if k := b.changed(s); k.g != nil {
		k.g.addTimer(timerChange{key: k.i, name: t.Name, kind: t.Kind, time: t.Time, tomb: true})
	}
}

// DeleteTimer takes a timer away that need not be set.
func (b *Backend) DeleteTimer(s state.Slot, t state.Timer) {
	rec := b.slots.at(uint32(s))
	if rec.timers == 0 {
		return
	}
	h := b.timerHead(rec, t.Kind)
	if h.count() == 0 {
		return
	}
	if h.time() == t.Time && h.name() == t.Name {
		was := b.removeFirst(uint32(s), rec, h, t.Kind)
		b.recordGone(uint32(s), t, was.origin)
		b.afterFirst(uint32(s), rec, h, t.Kind)
		return
	}
	was, set := b.timers.rest.Delete(restTimer{time: t.Time, slot: uint32(s), name: t.Name, kind: t.Kind})
	if !set {
		return
	}
	b.recordGone(uint32(s), t, was.origin)
	h.add(-1)
	b.stats.Timers--
}

// afterFirst brings up the next timer of a key whose earliest is gone.
func (b *Backend) afterFirst(s uint32, rec *slotRecord, h timerHead, kind state.TimerKind) {
	h.add(-1)
	b.stats.Timers--
	if h.count() > 0 {
		next := b.firstOfRest(s, kind)
		b.timers.rest.Delete(next)
		b.addFirst(s, rec, h, state.Timer{Kind: kind, Name: next.name, Time: next.time}, next.origin)
		return
	}
	if b.timerHead(rec, state.EventTime).count() == 0 && b.timerHead(rec, state.ProcessingTime).count() == 0 {
		b.mem.give(rec.timers)
		rec.timers = 0
		b.queueIfEmpty(s, rec)
	}
}

func (b *Backend) firstOfRest(s uint32, kind state.TimerKind) (next restTimer) {
	b.timers.rest.Ascend(restTimer{slot: s, kind: kind, time: minTime}, func(item restTimer) bool {
		next = item
		return false
	})
	return next
}

const minTime = -1 << 63

// Due yields the earliest due timer of each key. What follows a timer of the
// same key comes up after all of this call are taken, so no key fires twice.
func (b *Backend) Due(kind state.TimerKind, upTo int64, limit int, out []state.Firing) []state.Firing {
	b.endLoading()
	out = out[:0]
	tree := b.timers.of(kind)
	b.timers.fired = b.timers.fired[:0]
	for len(out) < limit {
		t, any := tree.Min()
		if !any || t.time > upTo {
			break
		}
		tree.PopMin()
		b.timers.fired = append(b.timers.fired, t)
		out = append(out, state.Firing{Slot: state.Slot(t.slot), Timer: state.Timer{Kind: kind, Name: t.name, Time: t.time}})
	}
	for i, t := range b.timers.fired {
		rec := b.slots.at(t.slot)
		b.recordGone(t.slot, out[i].Timer, t.origin)
		b.afterFirst(t.slot, rec, b.timerHead(rec, kind), kind)
	}
	return out
}

// NextTimer is the earliest timer of a kind.
func (b *Backend) NextTimer(kind state.TimerKind) (int64, bool) {
	t, any := b.timers.of(kind).Min()
	return t.time, any
}
