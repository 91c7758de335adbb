package snapshot

import (
	"fmt"
	"slices"
	"testing"
)

func ref(name string, g Groups, entries int64) SegmentRef {
	return SegmentRef{Extent: Extent{Object: name, Length: 100}, Groups: g, Entries: entries, TailBytes: footerBytes}
}

func shape(segments []SegmentRef) (out []string) {
	for _, s := range segments {
		out = append(out, s.Object+" "+s.Groups.String())
	}
	return out
}

func TestMergesTakeNeighboursOfLikeSize(t *testing.T) {
	for _, c := range []struct {
		name   string
		sizes  []int64 // oldest first
		inputs int
		bottom bool
	}{
		{"few segments stay", []int64{100, 10, 10}, 0, false},
		{"four of a size", []int64{1000, 10, 10, 10, 10}, 4, false},
		{"a large one below stays", []int64{1_000_000, 10, 10, 10}, 0, false},
		{"all of a size reach the bottom", []int64{10, 10, 10, 10}, 4, true},
		{"what was deleted reaches the bottom", []int64{50, 10, 10, 10}, 4, true},
		{"near the limit the newest four", []int64{9_000_000, 900_000, 90_000, 9_000, 900, 90, 9}, 4, false},
	} {
		o := OperatorState{Operator: "op"}
		for i, n := range c.sizes {
			o.Segments = append(o.Segments, ref(fmt.Sprint(i), AllGroups(), n))
		}
		merges := PlanMerge(&Manifest{Operators: []OperatorState{o}})
		if c.inputs == 0 {
			if len(merges) != 0 {
				t.Errorf("%s: %+v", c.name, merges)
			}
			continue
		}
		if len(merges) != 1 || len(merges[0].Inputs) != c.inputs || merges[0].Bottom != c.bottom ||
			merges[0].Inputs[c.inputs-1].Object != fmt.Sprint(len(c.sizes)-1) {
			t.Errorf("%s: %+v", c.name, merges)
		}
	}
}

// Four equal deltas a step, each merged: the number of live segments stays
// under the limit for ever.
func TestLiveSegmentsStayUnderTheLimitAsLongAsMergesRun(t *testing.T) {
	o := OperatorState{Operator: "op"}
	for i := range 5000 {
		o.Segments = append(o.Segments, ref(fmt.Sprint("delta", i), AllGroups(), 10))
		m := &Manifest{Operators: []OperatorState{o}}
		if n := m.LiveSegments(); n > MaxLiveSegments {
			t.Fatalf("%d live segments after %d deltas", n, i)
		}
		for _, merge := range PlanMerge(m) {
			var sum int64
			for _, s := range merge.Inputs {
				sum += s.Entries
			}
			o.apply(Merged{merge, []SegmentRef{ref(fmt.Sprint("merge", i), merge.Groups, sum)}})
		}
	}
}

func TestAMergeOfARangeLeavesTheRestOfItsInputs(t *testing.T) {
	half, rest := Groups{0, 99}, Groups{100, 255}
	o := OperatorState{Operator: "op", Segments: []SegmentRef{
		ref("base", AllGroups(), 10), ref("a", AllGroups(), 10), ref("low", half, 10), ref("high", rest, 10),
	}}
	merge := Merge{Operator: "op", Groups: half, Inputs: []SegmentRef{o.Segments[0], o.Segments[1], o.Segments[2]}, Bottom: true}
	o.apply(Merged{merge, []SegmentRef{ref("merged", half, 20)}})
	want := []string{"base 100-255", "a 100-255", "merged 0-99", "high 100-255"}
	if got := shape(o.Segments); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	// The same merge again comes too late.
	o.apply(Merged{merge, []SegmentRef{ref("again", half, 20)}})
	if got := shape(o.Segments); !slices.Equal(got, want) {
		t.Errorf("after a late merge %v, want %v", got, want)
	}
	// So does one over a range of which its inputs have lost a part since.
	wide := Merge{Operator: "op", Groups: AllGroups(), Inputs: o.Segments[:2], Bottom: true}
	o.apply(Merged{wide, []SegmentRef{ref("wide", AllGroups(), 20)}})
	if got := shape(o.Segments); !slices.Equal(got, want) {
		t.Errorf("after a merge over too much %v, want %v", got, want)
	}
}

func TestTheSweeperDeletesByItsRuleAlone(t *testing.T) {
	kept := &Manifest{Operators: []OperatorState{{Operator: "op", Segments: []SegmentRef{
		ref(checkpointPrefix("p", 3, 1)+"w/named", AllGroups(), 1),
		{Extent: Extent{Object: "inline", Inline: []byte{1}}},
		{Extent: Extent{Object: "gone", Held: checkpointPrefix("p", 4, 1) + "manifest-held"}},
	}}}}
	roots := Roots{Pipeline: "p", Newest: 10, Kept: []*Manifest{kept}, KeptNames: []string{checkpointPrefix("p", 10, 2) + "manifest-x"},
		Live: []uint64{2}, InFlight: []uint64{8, 11}}
	for _, c := range []struct {
		name   string
		delete bool
		why    string
	}{
		{checkpointPrefix("p", 3, 1) + "w/named", false, "a kept manifest names it"},
		{checkpointPrefix("p", 3, 1) + "w/other", true, "nobody names it"},
		{checkpointPrefix("p", 4, 1) + "manifest-held", false, "a kept manifest holds inline bytes there"},
		{checkpointPrefix("p", 5, 1) + "manifest-old", true, "its checkpoint was dropped"},
		{checkpointPrefix("p", 10, 2) + "manifest-x", false, "it is a kept manifest"},
		{checkpointPrefix("p", 11, 2) + "w/new", false, "it is above the newest committed checkpoint"},
		{checkpointPrefix("p", 11, 1) + "w/new", false, "it is above the newest, though its attempt is over"},
		{checkpointPrefix("p", 8, 2) + "w/merge", false, "a live attempt is at it"},
		{checkpointPrefix("p", 8, 1) + "w/merge", true, "its attempt is over"},
		{checkpointPrefix("p", 9, 2) + "w/late", true, "a live attempt's, but of nothing in flight"},
		{checkpointPrefix("q", 1, 1) + "w/x", false, "it is another pipeline's"},
		{checkpointPrefix("pp", 1, 1) + "w/x", false, "it is another pipeline's, whose name begins alike"},
		{"p/modules/x/y", false, "its name is not understood"},
		{"p", false, "its name is not understood"},
	} {
		if got := len(PlanSweep(roots, []string{c.name})) == 1; got != c.delete {
			t.Errorf("%s: deleted %t, but %s", c.name, got, c.why)
		}
	}
}

func TestTasksOfAnEndedAttemptGoAndOperatorsWithoutReportStay(t *testing.T) {
	part := func(checkpoint, attempt uint64, operator string, tasks ...int) *Part {
		p := &Part{ID: PartID{"p", checkpoint, attempt, "w"}}
		for _, n := range tasks {
			p.Operators = append(p.Operators, PartOperator{Operator: operator, Task: n, Groups: Groups{uint16(n), uint16(n)},
				Items: []ItemRef{{Kind: KindSplit, Key: fmt.Sprint(checkpoint, "/", n)}}})
		}
		return p
	}
	build := func(prev *Manifest, checkpoint uint64, parts ...*Part) *Manifest {
		m, err := BuildManifest(prev, Meta{Pipeline: "p", Checkpoint: checkpoint}, parts)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	keys := func(m *Manifest, operator string) (out []string) {
		for _, i := range m.Items(operator, KindSplit) {
			out = append(out, i.Key)
		}
		return out
	}
	m := build(nil, 1, part(1, 1, "a", 0, 1, 2), part(1, 1, "b", 0))
	m = build(m, 2, part(2, 1, "a", 1))
	if got := keys(m, "a"); !slices.Equal(got, []string{"1/0", "2/1", "1/2"}) {
		t.Errorf("one task reported: %v", got)
	}
	m = build(m, 3, part(3, 2, "a", 0, 1))
	if got := keys(m, "a"); !slices.Equal(got, []string{"3/0", "3/1"}) {
		t.Errorf("a new attempt of two tasks: %v", got)
	}
	if got := keys(m, "b"); !slices.Equal(got, []string{"1/0"}) {
		t.Errorf("an operator without report: %v", got)
	}
	if _, err := BuildManifest(m, Meta{Pipeline: "p", Checkpoint: 3}, nil); err == nil {
		t.Error("a checkpoint was built twice")
	}
	if _, err := BuildManifest(m, Meta{Pipeline: "p", Checkpoint: 4}, []*Part{part(2, 2, "a", 0)}); err == nil {
		t.Error("a part of before the last checkpoint was accepted")
	}
	if _, err := BuildManifest(m, Meta{Pipeline: "q", Checkpoint: 4}, nil); err == nil {
		t.Error("another pipeline's manifest was carried on")
	}
}
