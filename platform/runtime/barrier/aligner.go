// Package barrier aligns barriers over the channels of a task: elements in,
// decisions out. It is a pure core and must not know goroutines, queues or time.
package barrier

import (
	"fmt"

	"github.com/weirstream/weir/platform/element"
)

// Decision says what the task does with an element that has arrived.
type Decision uint8

// The decisions.
const (
	Process  Decision = iota // handle it now
	Hold                     // set it aside until the barrier is complete: its channel is past the barrier
	Align                    // a barrier that others are still awaited for: nothing to do
	Complete                 // the last barrier: snapshot, send it on, then handle what was held
)

// Aligner tracks which channels have passed the current barrier. A channel that
// has ended counts as passed for every barrier.
type Aligner struct {
	passed  []bool
	ended   []bool
	current element.Barrier
	waiting int // channels that the current barrier is awaited from; 0: none in progress
	active  bool
}

// New aligns n channels.
func New(n int) *Aligner {
	return &Aligner{passed: make([]bool, n), ended: make([]bool, n)}
}

// OnElement decides about a batch or a watermark from a channel.
func (a *Aligner) OnElement(channel int) Decision {
	if a.active && a.passed[channel] {
		return Hold
	}
	return Process
}

// OnBarrier decides about a barrier from a channel. Barriers of one attempt
// reach every channel, in order of their ids: a checkpoint in progress is never
// given up but with its attempt, since what changed in its epoch is in no other.
func (a *Aligner) OnBarrier(channel int, b element.Barrier) (Decision, error) {
	switch {
	case a.ended[channel]:
		return Process, fmt.Errorf("barrier %d on channel %d after its end", b.ID, channel)
	case a.active && a.passed[channel]:
		return Hold, nil
	case a.active && b.ID != a.current.ID:
		return Process, fmt.Errorf("barrier %d on channel %d while %d is being aligned", b.ID, channel, a.current.ID)
	}
	if !a.active {
		a.begin(b)
	}
	return a.pass(channel), nil
}

// OnEnd notes that a channel has ended. The end of a channel that is past the
// barrier is held like any element of it.
func (a *Aligner) OnEnd(channel int) Decision {
	if a.active && a.passed[channel] {
		return Hold
	}
	a.ended[channel] = true
	if !a.active {
		return Process
	}
	return a.pass(channel)
}

// Current is the barrier in progress.
func (a *Aligner) Current() (element.Barrier, bool) { return a.current, a.active }

// Missing lists the channels that hold the current barrier up.
func (a *Aligner) Missing() []int {
	if !a.active {
		return nil
	}
	var out []int
	for i := range a.passed {
		if !a.passed[i] && !a.ended[i] {
			out = append(out, i)
		}
	}
	return out
}

func (a *Aligner) begin(b element.Barrier) {
	a.current, a.active = b, true
	a.waiting = 0
	for i := range a.passed {
		a.passed[i] = false
		if !a.ended[i] {
			a.waiting++
		}
	}
}

func (a *Aligner) pass(channel int) Decision {
	if !a.passed[channel] {
		a.passed[channel] = true
		a.waiting--
	}
	if a.waiting > 0 {
		return Align
	}
	a.finish()
	return Complete
}

func (a *Aligner) finish() {
	a.active = false
	clear(a.passed)
}
