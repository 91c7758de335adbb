package udf

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/wasmhost"
)

// strikesOut is how often a cause has to kill a fresh instance, alone, before
// it counts as the cause's fault: once may be the host's.
const strikesOut = 2

// maxBarrenCalls bounds the calls in a row that bring no progress. Every death in
// company at least halves the next call, so that far fewer are needed for any
// number of causes: reaching it is a fault of the host's.
const maxBarrenCalls = 64

// firstAfterRefusal is how many causes a call takes, at least, after one that was
// refused. Where many are bad, sending all the rest along each time would cost more than the rest.
const firstAfterRefusal = 16

// hunt finds the cause that instances die of. It is pure: what calls came to in,
// how many causes the next one takes out.
type hunt struct {
	culprit int // the suspected cause; behind the present one: nobody
	strikes int // times it died alone on a fresh instance
	barren  int // calls in a row that died
	reach   int // how many causes the next call takes at most; 0: any number
}

// next is how many of n causes the next call takes.
func (h *hunt) next(from, n int) int {
	if h.reach > 0 {
		n = min(n, h.reach)
	}
	switch {
	case h.culprit > from:
		return min(n, h.culprit-from)
	case h.culprit == from:
		return 1
	}
	h.culprit, h.strikes = -1, 0
	return n
}

// died takes the death of a call of n causes and says whether its only one is to blame.
func (h *hunt) died(from, n int, at uint32, fresh bool) (guilty bool, err error) {
	h.barren++
	if h.barren > maxBarrenCalls {
		return false, fmt.Errorf("%d calls without progress at %d causes", h.barren, n)
	}
	if n > 1 {
		h.culprit = from + n/2 // without a word of the guest: halve until one is left
		if at != abi.NoCause && int(at) < n && (h.barren == 1 || int(at) < n/2) {
			h.culprit = from + int(at)
		}
		return false, nil
	}
	h.culprit = from
	if fresh {
		h.strikes++
	}
	return h.strikes >= strikesOut, nil
}

// progress takes a call that did something.
func (h *hunt) progress(consumed int, refused bool) {
	h.barren = 0
	switch {
	case refused:
		h.reach = max(firstAfterRefusal, 2*consumed)
	case h.reach > 0:
		if h.reach *= 2; h.reach > MaxRowsPerCall {
			h.reach = 0
		}
	}
}

// maxOutsideRefusals is how many causes in a row may fail outside of any handler,
// with the same text, before the function itself counts as broken.
//
// A record may be refused by the function's handler for whatever reason, a
// thousand times in a row: that is what dead letters are for, and only the
// handler knows. But a guest that cannot read calls, that dies before it touches
// a cause, or that answers what the contract forbids, says nothing about the
// record. The first such causes are isolated like any other, since one odd record
// may be behind them; where not one succeeds in between, the module was built against
// another contract, or is damaged, and would turn the whole stream into
// dead letters. The job fails instead, and nothing is lost: what was refused
// stands in the dead letters and can be replayed. Failures that come with the
// size of a record (memory, output, time, recursion) are never counted.
const maxOutsideRefusals = 16

// broken counts causes that failed outside of any handler.
type broken struct {
	text string
	n    int
}

// trust fails the job when the function, not its records, is at fault.
func (o *Operator) trust(r result) error {
	if r.consumed > 0 || r.refused == nil || !r.refused.outside {
		o.broken.n = 0
	}
	if r.refused == nil || !r.refused.outside {
		return nil
	}
	if r.refused.reason != o.broken.text {
		o.broken = broken{text: r.refused.reason}
	}
	if o.broken.n++; o.broken.n < maxOutsideRefusals {
		return nil
	}
	return &UserError{Text: fmt.Sprintf("function %s is broken, not its records: the last %d failed before or after their handlers, all with the same text: %s; "+
		"build the module with the SDK of this version of Weir, apply the pipeline again, and replay the dead letters", o.config.Function, o.broken.n, o.broken.text)}
}

// unreadable recognises the text with which an SDK that has no other way says that it cannot read a call.
func unreadable(text string) bool { return strings.HasPrefix(text, "cannot read the call") }

// ofSize tells the deaths that a large record can be the reason of.
func ofSize(kind error) bool {
	for _, k := range []error{wasmhost.ErrMemory, wasmhost.ErrDeadline, wasmhost.ErrStack, wasmhost.ErrOutputTooLarge} {
		if errors.Is(kind, k) {
			return true
		}
	}
	return false
}
