// Package snapshot turns what tasks hold at a barrier into files and back:
// segments of keyed state, one object per worker and checkpoint, manifests that
// say which segments are alive, merging, sweeping and restoring. It must not
// know operators, tasks' life, who coordinates, or what state means.
package snapshot

import (
	"fmt"
	"math"

	"github.com/weirstream/weir/platform/storage/state"
)

// GroupBits is how many top bits of a key hash make its key group.
const GroupBits = 8

// MaxGroup is the last key group.
const MaxGroup = 1<<GroupBits - 1

// Groups is a range of key groups, both ends inclusive.
type Groups struct{ First, Last uint16 }

// AllGroups covers every key.
func AllGroups() Groups { return Groups{0, MaxGroup} }

// Hashes is the range of key hashes that the groups cover, both ends inclusive.
func (g Groups) Hashes() (first, last uint64) {
	const shift = 64 - GroupBits
	return uint64(g.First) << shift, uint64(g.Last)<<shift | (1<<shift - 1)
}

func (g Groups) String() string { return fmt.Sprintf("%d-%d", g.First, g.Last) }

func (g Groups) valid() bool { return g.First <= g.Last && g.Last <= MaxGroup }

func (g Groups) contains(o Groups) bool { return g.First <= o.First && o.Last <= g.Last }

// intersect is the common range; false if there is none.
func (g Groups) intersect(o Groups) (Groups, bool) {
	r := Groups{max(g.First, o.First), min(g.Last, o.Last)}
	return r, r.First <= r.Last
}

// subtract appends what of g lies outside o: none, one or two ranges.
func (g Groups) subtract(dst []Groups, o Groups) []Groups {
	if _, common := g.intersect(o); !common {
		return append(dst, g)
	}
	if g.First < o.First {
		dst = append(dst, Groups{g.First, o.First - 1})
	}
	if g.Last > o.Last {
		dst = append(dst, Groups{o.Last + 1, g.Last})
	}
	return dst
}

// NoTimer says in NextTimers that there is none of a kind.
const NoTimer = math.MaxInt64

// NextTimers are the earliest timers of a task's key groups, so that what is
// not loaded, or asleep, misses none.
type NextTimers struct{ Event, Processing int64 }

// OperatorSnapshot is what one operator of one task holds at a barrier.
type OperatorSnapshot struct {
	Operator string
	Task     int
	Groups   Groups       // that the task owns
	Keyed    state.Frozen // nil without keyed state; the caller releases it
	Timers   *NextTimers  // nil: none
	Items    []Item       // all that the task holds, not what changed
}

// Item is state that belongs to no key: a position of a split, prepared output
// of a sink, an operator's own bytes.
type Item struct {
	Kind string // KindSplit, KindTransaction or an operator's own
	Key  string // the split, the transaction; unique in (operator, task, kind)
	Data [][]byte
}

// The kinds of items that more than one package speaks of.
const (
	KindSplit       = "split"
	KindTransaction = "transaction"
)
