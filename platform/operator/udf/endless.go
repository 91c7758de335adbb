package udf

import (
	"fmt"

	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/storage/state"
)

// How many firings a timer may cause by setting itself, or others, again.
//
// A timer that is set for a time that is reached already fires in the next call.
// One that does so each time would keep its task in here for ever: with a time
// that does not move on, at any watermark; with any time at all, once event time
// is at its end and no time is later. So the firings are counted that bring time
// no further, at the end of time all of them. What stood there and a fair number of chains is let through.
const (
	MaxChainedFirings       = 100_000
	MaxChainedFiringsPerKey = 100
)

// endless counts firings of one advance of time.
type endless struct {
	fired   int
	last    int64 // the latest time that fired
	allowed int   // 0: not said yet
}

// suspects counts a round, and says whether there were too many.
func (w *endless) suspects(due []state.Firing, upTo int64) bool {
	latest := due[len(due)-1].Timer.Time
	if latest > w.last && upTo != element.MaxTime {
		w.fired, w.allowed = 0, 0
	}
	w.last = max(w.last, latest)
	w.fired += len(due)
	return w.fired > max(w.allowed, MaxChainedFirings)
}

// certain allows what stands now, the first time that it is asked; after that it is sure.
func (w *endless) certain(now state.Stats) bool {
	if w.allowed > 0 {
		return true
	}
	w.allowed = w.fired + now.Timers + MaxChainedFirings + MaxChainedFiringsPerKey*now.Keys
	return false
}

func (o *Operator) neverEnds(kind state.TimerKind, f state.Firing, fired int, upTo int64) error {
	what, hint := "event time has come no further", "set it later than the watermark"
	switch {
	case kind == state.ProcessingTime:
		what, hint = "the clock has come no further", "set it later than the call's time"
	case upTo == element.MaxTime:
		what, hint = "event time has come to its end", "do not set it again once the watermark has reached the new time"
	}
	return &UserError{Text: fmt.Sprintf("timer %s of function %s never ends: %s, and it still fires after %d firings (at most %d, and %d a key, may follow from others): %s",
		o.sig.Timers[f.Timer.Name].Name, o.config.Function, what, fired, MaxChainedFirings, MaxChainedFiringsPerKey, hint)}
}
