package snapshot

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

func compareStrings(a, b string) int { return strings.Compare(a, b) }

// BuildManifest makes the manifest of a checkpoint from the last committed one
// (nil: the first) and what the workers report. Parts of checkpoints that came
// in between and were not committed belong here too: their generations are gone
// from the tasks. What no part speaks of is carried by reference.
func BuildManifest(prev *Manifest, meta Meta, parts []*Part) (*Manifest, error) {
	operators := map[string]*OperatorState{}
	var floor uint64
	if prev != nil {
		if prev.Meta.Pipeline != meta.Pipeline {
			return nil, fmt.Errorf("build manifest of checkpoint %d: the last one is of pipeline %s, not %s", meta.Checkpoint, prev.Meta.Pipeline, meta.Pipeline)
		}
		floor = prev.Meta.Checkpoint
		for _, o := range prev.Operators {
			carried := o.clone()
			carried.extents(func(_ string, x *Extent) { *x = x.carried() })
			operators[o.Operator] = carried
		}
	}
	if meta.Checkpoint <= floor && prev != nil {
		return nil, fmt.Errorf("build manifest of checkpoint %d: the last one is %d", meta.Checkpoint, floor)
	}
	parts = slices.Clone(parts)
	slices.SortStableFunc(parts, func(x, y *Part) int {
		return cmp.Or(cmp.Compare(x.ID.Checkpoint, y.ID.Checkpoint), strings.Compare(x.ID.Worker, y.ID.Worker))
	})
	for _, p := range parts {
		if p.ID.Pipeline != meta.Pipeline || p.ID.Checkpoint > meta.Checkpoint || p.ID.Checkpoint <= floor && prev != nil && len(p.Operators) > 0 {
			return nil, fmt.Errorf("build manifest of pipeline %s, checkpoint %d after %d: part %s does not belong there", meta.Pipeline, meta.Checkpoint, floor, p.ID)
		}
	}
	for _, p := range parts {
		for _, m := range p.Merged {
			if o := operators[m.Operator]; o != nil {
				o.apply(m)
			}
		}
	}
	if err := addParts(operators, parts); err != nil {
		return nil, fmt.Errorf("build manifest of checkpoint %d: %w", meta.Checkpoint, err)
	}
	m := &Manifest{Meta: meta}
	for _, name := range slices.Sorted(maps.Keys(operators)) {
		m.Operators = append(m.Operators, *operators[name])
	}
	return m, nil
}

// addParts appends segments, and puts what tasks report in the place of what
// they reported before.
func addParts(operators map[string]*OperatorState, parts []*Part) error {
	attempts := map[string]uint64{} // newest of each operator
	for _, p := range parts {
		for _, po := range p.Operators {
			attempts[po.Operator] = max(attempts[po.Operator], p.ID.Attempt)
		}
	}
	for name, attempt := range attempts {
		o := operators[name]
		if o == nil {
			o = &OperatorState{Operator: name}
			operators[name] = o
		}
		// Tasks of an attempt that is over hold nothing any more: the tasks of
		// the new one took it over, and report all of it.
		o.Tasks = slices.DeleteFunc(o.Tasks, func(t TaskState) bool { return t.Attempt != attempt })
	}
	type from struct {
		operator   string
		checkpoint uint64
	}
	owned := map[from][]Groups{}
	for _, p := range parts {
		for _, po := range p.Operators {
			o := operators[po.Operator]
			key := from{po.Operator, p.ID.Checkpoint}
			for _, s := range po.Segments {
				for _, g := range owned[key] {
					if _, common := g.intersect(s.Groups); common {
						return fmt.Errorf("operator %s: two tasks report key groups %s and %s", po.Operator, g, s.Groups)
					}
				}
				owned[key] = append(owned[key], s.Groups)
				o.Segments = append(o.Segments, s)
			}
			if p.ID.Attempt == attempts[po.Operator] {
				o.setTask(TaskState{Task: po.Task, Attempt: p.ID.Attempt, Groups: po.Groups, Timers: po.Timers, Items: po.Items})
			}
		}
	}
	return nil
}

func (o *OperatorState) setTask(t TaskState) {
	i, found := slices.BinarySearchFunc(o.Tasks, t.Task, func(t TaskState, task int) int { return cmp.Compare(t.Task, task) })
	if found {
		o.Tasks[i] = t
	} else {
		o.Tasks = slices.Insert(o.Tasks, i, t)
	}
}

// apply puts a merge's output in the place of its inputs, if they still stand
// there as they were; else the merge came too late and is left out.
func (o *OperatorState) apply(m Merged) {
	var over []int // refs that are alive in the merge's groups
	for i, s := range o.Segments {
		if _, common := s.Groups.intersect(m.Groups); common {
			over = append(over, i)
		}
	}
	begin := slices.IndexFunc(over, func(i int) bool { return len(m.Inputs) > 0 && o.Segments[i].same(m.Inputs[0].Extent) })
	if begin < 0 || begin+len(m.Inputs) > len(over) || m.Bottom && begin > 0 {
		return
	}
	replaced := over[begin : begin+len(m.Inputs)]
	for j, i := range replaced {
		if s := o.Segments[i]; !s.same(m.Inputs[j].Extent) || !s.Groups.contains(m.Groups) {
			return
		}
	}
	var segments []SegmentRef
	last := replaced[len(replaced)-1]
	for i, s := range o.Segments {
		if !slices.Contains(replaced, i) {
			segments = append(segments, s)
			continue
		}
		for _, g := range s.Groups.subtract(nil, m.Groups) {
			left := s
			left.Groups = g
			segments = append(segments, left)
		}
		if i == last {
			segments = append(segments, m.Output...)
		}
	}
	o.Segments = segments
}
