package snapshot

import (
	"context"
	"fmt"
	"slices"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/state"
)

const (
	// MaxLiveSegments is how many segments a restore should have to merge for a
	// key. PlanMerge keeps below it, as long as merges are run.
	MaxLiveSegments = 8
	// mergeFrom is how many segments of like size are worth a merge. Four to
	// one: an entry is rewritten about log4(state / delta) times.
	mergeFrom = 4
	// likeSize is by how much the next older segment may be larger than all newer
	// ones of a merge together.
	likeSize = 2
)

// Merge is a merge to be done: Inputs, neighbours in age and oldest first,
// become one segment within Groups.
type Merge struct {
	Operator string
	Groups   Groups
	Inputs   []SegmentRef
	Bottom   bool // nothing is older: tombstones end here
}

// PlanMerge says which merges are due. Each range of key groups has at most one;
// a merge is for a worker that owns its groups, or anyone.
func PlanMerge(m *Manifest) []Merge {
	var out []Merge
	for _, o := range m.Operators {
		for _, u := range o.units() {
			if n := chooseRun(u.live, u.groups); n > 0 {
				out = append(out, Merge{Operator: o.Operator, Groups: u.groups, Inputs: u.live[len(u.live)-n:], Bottom: n == len(u.live)})
			}
		}
	}
	return out
}

// unit is a range of key groups in which the same segments are alive.
type unit struct {
	groups Groups
	live   []SegmentRef
}

func (o *OperatorState) units() []unit {
	begins := []uint16{0}
	for _, s := range o.Segments {
		begins = append(begins, s.Groups.First, s.Groups.Last+1)
	}
	slices.Sort(begins)
	begins = slices.Compact(begins)
	var units []unit
	for i, g := range begins {
		if g > MaxGroup {
			break
		}
		last := uint16(MaxGroup)
		if i+1 < len(begins) {
			last = begins[i+1] - 1
		}
		var live []SegmentRef
		for _, s := range o.Segments {
			if s.Groups.First <= g && g <= s.Groups.Last {
				live = append(live, s)
			}
		}
		if n := len(units); n > 0 && sameSegments(units[n-1].live, live) {
			units[n-1].groups.Last = last
		} else {
			units = append(units, unit{Groups{g, last}, live})
		}
	}
	return units
}

func sameSegments(x, y []SegmentRef) bool {
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if !x[i].same(y[i].Extent) {
			return false
		}
	}
	return true
}

// LiveSegments is the most segments that are alive in one key group.
func (m *Manifest) LiveSegments() (n int) {
	for _, o := range m.Operators {
		for _, u := range o.units() {
			n = max(n, len(u.live))
		}
	}
	return n
}

// chooseRun is how many of the newest segments to merge; 0: none. Sizes count
// in entries, for a tombstone ends a value however large.
func chooseRun(live []SegmentRef, g Groups) int {
	size := func(i int) float64 {
		s := live[len(live)-1-i]
		return float64(s.Entries) * float64(g.Last-g.First+1) / float64(s.Groups.Last-s.Groups.First+1)
	}
	if len(live) < mergeFrom {
		return 0
	}
	run, sum := 1, size(0)
	for run < len(live) && size(run) <= likeSize*sum {
		sum += size(run)
		run++
	}
	if run >= mergeFrom {
		return run
	}
	if len(live) >= MaxLiveSegments-1 {
		return mergeFrom
	}
	return 0
}

// RunMerge does merges and writes one object. It holds nothing in memory but
// blocks. The part it gives goes into the next manifest, if the attempt lives
// until then; id.Checkpoint is an id of its own, so that the sweeper can tell an
// unfinished merge from what was dropped.
func RunMerge(ctx context.Context, store blob.Store, id PartID, merges []Merge) (*Part, error) {
	w := newObjectWriter(ctx, store, id.objectName())
	p := &Part{ID: id}
	for _, m := range merges {
		output, err := w.merge(ctx, id, m)
		if err != nil {
			w.abort(err)
			return nil, fmt.Errorf("merge %d segments of operator %s, key groups %s: %w", len(m.Inputs), m.Operator, m.Groups, err)
		}
		p.Merged = append(p.Merged, Merged{Merge: slim(m), Output: output})
	}
	if err := w.finish(p); err != nil {
		return nil, fmt.Errorf("write merge %s: %w", id, err)
	}
	return p, nil
}

// slim leaves out the bytes of inline inputs: their names tell them.
func slim(m Merge) Merge {
	inputs := make([]SegmentRef, len(m.Inputs))
	for i, s := range m.Inputs {
		s.Inline = nil
		inputs[i] = s
	}
	m.Inputs = inputs
	return m
}

func (w *objectWriter) merge(ctx context.Context, id PartID, m Merge) ([]SegmentRef, error) {
	sw, err := w.segment()
	if err != nil {
		return nil, err
	}
	err = mergeSegments(ctx, w.store, m.Operator, m.Inputs, m.Groups, func(e state.Entry) error {
		if e.Tombstone && m.Bottom {
			return nil
		}
		return sw.add(e)
	})
	if err != nil {
		return nil, err
	}
	var checkpoint uint64 // what it holds is as new as its newest input
	for _, s := range m.Inputs {
		checkpoint = max(checkpoint, s.Checkpoint)
	}
	return w.closeSegment(sw, m.Groups, checkpoint)
}
