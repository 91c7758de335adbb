package lazy

import (
	"cmp"
	"math"
	"slices"

	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
)

const (
	// aheadMicros is how long before its time a piece with a timer is asked for.
	aheadMicros = 1_000_000
	// maxUrgent is how many of those are asked for at once.
	maxUrgent = 32
)

// dueQueue is the pieces that have timers of a kind, by the earliest.
type dueQueue struct {
	pieces []duePiece
	at     int // those before are loaded
	asked  int // those before were asked for
}

type duePiece struct {
	time   int64
	number int32
}

// queueTimers asks every piece for its timers, if there are any at all.
func (b *Backend) queueTimers() {
	reader := b.reader.Load()
	if reader.NextTimers(b.first, b.last) == (snapshot.NextTimers{Event: snapshot.NoTimer, Processing: snapshot.NoTimer}) {
		return
	}
	for n := range b.loaded {
		next := reader.NextTimers(b.hashes(n))
		for kind, at := range []int64{next.Event, next.Processing} {
			if at != snapshot.NoTimer {
				b.due[kind].pieces = append(b.due[kind].pieces, duePiece{at, int32(n)})
			}
		}
	}
	for kind := range b.due {
		slices.SortFunc(b.due[kind].pieces, func(x, y duePiece) int {
			return cmp.Or(cmp.Compare(x.time, y.time), cmp.Compare(x.number, y.number))
		})
	}
}

// next is when a piece that is not loaded may have a timer due.
func (b *Backend) nextUnloaded(kind state.TimerKind) (int64, bool) {
	q := &b.due[kind-state.EventTime]
	for ; q.at < len(q.pieces); q.at++ {
		if p := q.pieces[q.at]; !b.loaded[p.number].Load() {
			return p.time, true
		}
	}
	return 0, false
}

// NextTimer counts also what is not loaded: then it may be early, never late.
func (b *Backend) NextTimer(kind state.TimerKind) (int64, bool) {
	at, any := b.LateLoader.NextTimer(kind)
	if b.left == 0 {
		return at, any
	}
	if other, some := b.nextUnloaded(kind); some && (!any || other < at) {
		return other, true
	}
	return at, any
}

// Due loads every piece in which a timer may be due, for timers fire in order.
func (b *Backend) Due(kind state.TimerKind, upTo int64, limit int, out []state.Firing) []state.Firing {
	if b.left > 0 {
		b.clock[kind-state.EventTime] = max(b.clock[kind-state.EventTime], upTo)
		if upTo == math.MaxInt64 {
			b.loadAll() // the end of time, where NoTimer stands
		}
		q := &b.due[kind-state.EventTime]
		b.wanted = b.wanted[:0]
		for ; q.at < len(q.pieces) && q.pieces[q.at].time <= upTo; q.at++ {
			if n := int(q.pieces[q.at].number); !b.loaded[n].Load() {
				b.wanted = append(b.wanted, n)
			}
		}
		b.load(b.wanted)
	}
	return b.LateLoader.Due(kind, upTo, limit, out)
}

// lookAhead asks for pieces in which a timer is due soon, so that it is there in
// time. What is not taken now is asked for again.
func (b *Backend) lookAhead() {
	var soon []int
	for kind := range b.due {
		q := &b.due[kind]
		q.asked = max(q.asked, q.at)
		for ; q.asked < len(q.pieces) && len(soon) < maxUrgent; q.asked++ {
			p := q.pieces[q.asked]
			if p.time > b.clock[kind] && p.time-aheadMicros > b.clock[kind] {
				break
			}
			if !b.loaded[p.number].Load() {
				soon = append(soon, int(p.number))
			}
		}
	}
	if len(soon) == 0 {
		return
	}
	select {
	case b.urgent <- soon:
	default: // they come in their turn, or when they are due
	}
}
