package barrier

import (
	"fmt"

	"github.com/weirstream/weir/platform/element"
)

// Log is the decision about an element of a cycle that belongs to a snapshot
// which has been taken: handle it now, and write it into the snapshot too.
const Log Decision = Complete + 1

// Loop follows the channels by which a task's own output comes back to it, by way
// of tasks that may be itself. A task cannot wait for their barriers before its
// snapshot, since they come because of it. So a snapshot is cut twice: the task's
// state when the barriers from outside are in, and of each channel of the cycle
// what comes before its own barrier. It is a pure core.
type Loop struct {
	ahead   []uint64 // per channel: the barrier it is past, before the task's own snapshot of it; 0: none
	awaited []bool   // per channel: its barrier has not come yet, and the snapshot has been taken
	waiting int
	current element.Barrier
}

// NewLoop follows n channels.
func NewLoop(n int) *Loop { return &Loop{ahead: make([]uint64, n), awaited: make([]bool, n)} }

// OnElement decides about a batch: Hold it if it is behind a barrier that the
// task has not taken its snapshot for, Log it if its channel's barrier is
// awaited, Process it otherwise.
func (l *Loop) OnElement(channel int) Decision {
	switch {
	case l.ahead[channel] != 0:
		return Hold
	case l.awaited[channel]:
		return Log
	default:
		return Process
	}
}

// OnBarrier notes a channel's barrier: Complete if it was the last one that the
// snapshot awaited, Align otherwise, Hold if the channel is past another already.
func (l *Loop) OnBarrier(channel int, b element.Barrier) (Decision, error) {
	switch {
	case l.ahead[channel] != 0:
		return Hold, nil
	case !l.awaited[channel]:
		if l.waiting > 0 {
			return Process, fmt.Errorf("barrier %d on channel %d of a cycle while %d is being collected", b.ID, channel, l.current.ID)
		}
		l.ahead[channel] = b.ID
		return Align, nil
	case b.ID != l.current.ID:
		return Process, fmt.Errorf("barrier %d on channel %d of a cycle while %d is being collected", b.ID, channel, l.current.ID)
	}
	l.awaited[channel] = false
	if l.waiting--; l.waiting > 0 {
		return Align, nil
	}
	return Complete, nil
}

// Snapshot says that the task has taken its snapshot for b. Channels that are
// past b have nothing more to add; it is true if that is so of all.
func (l *Loop) Snapshot(b element.Barrier) (complete bool, err error) {
	if l.waiting > 0 {
		return false, fmt.Errorf("snapshot %d while %d is being collected", b.ID, l.current.ID)
	}
	l.current = b
	for c, id := range l.ahead {
		switch id {
		case 0:
			l.awaited[c] = true
			l.waiting++
		case b.ID:
			l.ahead[c] = 0
		default:
			return false, fmt.Errorf("snapshot %d, and channel %d of a cycle is past barrier %d", b.ID, c, id)
		}
	}
	return l.waiting == 0, nil
}

// Collecting is the snapshot that is not whole yet.
func (l *Loop) Collecting() (element.Barrier, bool) { return l.current, l.waiting > 0 }

// Missing lists the channels whose barrier is awaited.
func (l *Loop) Missing() []int {
	var out []int
	for c, awaited := range l.awaited {
		if awaited {
			out = append(out, c)
		}
	}
	return out
}
