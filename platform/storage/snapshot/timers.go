package snapshot

import (
	"errors"
	"math"
	"slices"

	"github.com/weirstream/weir/platform/storage/state"
)

// maxTimerSpans is how many spans of time describe a block's timers of a kind.
// Timers at the ends of windows stand exactly, as there are few different ones;
// timers strewn over time become a few spans with the widest gaps between them.
const maxTimerSpans = 8

// timerKinds is how many kinds of timers there are.
const timerKinds = int(state.ProcessingTime-state.EventTime) + 1

// span is a stretch of time, both ends inclusive, whose ends are timers.
type span struct{ begin, end int64 }

// timerSpans say when a block's timers are due, by kind, in order of time. They
// tell of what the block sets; a newer segment may have taken it back. Nil is a
// block of version 1, of which the index says nothing.
type timerSpans [timerKinds][]span

// noTimers is what most blocks have.
var noTimers = &timerSpans{}

// next is the earliest time from `from` on at which a timer of the block may be
// due; NoTimer if there is none.
func (t *timerSpans) next(kind state.TimerKind, from int64) int64 {
	if t == nil {
		return from
	}
	for _, s := range t[kind-state.EventTime] {
		if s.end >= from {
			return max(s.begin, from)
		}
	}
	return NoTimer
}

// blockTimers gathers the timers of a block that is being written.
type blockTimers struct {
	times [timerKinds][]int64
	gaps  []uint64
}

func (t *blockTimers) add(sub []byte) error {
	timer, err := state.ParseTimerSub(sub)
	if err != nil {
		return err
	}
	times := &t.times[timer.Kind-state.EventTime]
	*times = append(*times, timer.Time)
	return nil
}

// encodeTo writes the spans and begins the next block.
func (t *blockTimers) encodeTo(e *encoder) {
	for kind := range t.times {
		times := t.times[kind]
		slices.Sort(times)
		times = slices.Compact(times)
		least := t.leastGap(times)
		count := len(e.b) // the number of spans is known at the end, and is one byte
		e.u8(0)
		spans, begin := byte(0), 0
		for i := range times {
			if i+1 < len(times) && (uint64(times[i+1])-uint64(times[i]) < least || spans == maxTimerSpans-1) {
				continue
			}
			if begin == 0 {
				e.varint(times[0])
			} else {
				e.uvarint(uint64(times[begin]) - uint64(times[begin-1]))
			}
			e.uvarint(uint64(times[i]) - uint64(times[begin]))
			spans, begin = spans+1, i+1
		}
		e.b[count] = spans
		t.times[kind] = times[:0]
	}
}

// leastGap is how wide a gap between timers must be to part two spans.
func (t *blockTimers) leastGap(times []int64) uint64 {
	if len(times) <= maxTimerSpans {
		return 0
	}
	t.gaps = t.gaps[:0]
	for i := 1; i < len(times); i++ {
		t.gaps = append(t.gaps, uint64(times[i])-uint64(times[i-1]))
	}
	slices.Sort(t.gaps)
	return t.gaps[len(t.gaps)-(maxTimerSpans-1)]
}

func (d *decoder) timerSpans() *timerSpans {
	t := noTimers
	for kind := range timerKinds {
		n := d.limited("a block's number of spans of timers", maxTimerSpans)
		if n == 0 {
			continue
		}
		spans := make([]span, n)
		end := int64(0)
		for i := range spans {
			begin := int64(0)
			if i == 0 {
				begin = d.varint()
			} else {
				begin = d.later(end, 1)
			}
			end = d.later(begin, 0)
			spans[i] = span{begin, end}
		}
		if t == noTimers {
			t = &timerSpans{}
		}
		t[kind] = spans
	}
	return t
}

// later reads by how much a time is later than another: at least so much.
func (d *decoder) later(than int64, least uint64) int64 {
	by := d.uvarint()
	if by < least || by > uint64(math.MaxInt64)-uint64(than) {
		d.fail(errors.New("a block's spans of timers are out of order"))
		return than
	}
	return int64(uint64(than) + by)
}
