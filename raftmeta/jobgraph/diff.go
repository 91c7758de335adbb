package jobgraph

import (
	"fmt"
	"slices"
)

// Fate says what becomes of an operator or a state when a revision replaces another.
type Fate string

// The fates. Changed state has the same name in another shape: whoever knows the
// shapes (field ids, a migrate hook) decides whether it is read or refused.
const (
	Kept    Fate = "kept"
	Changed Fate = "changed"
	Dropped Fate = "dropped"
	New     Fate = "new"
)

// Change is the fate of one operator, or of one state when State is set.
type Change struct {
	Operator string
	State    string
	Fate     Fate
	Why      string // for Changed: the first difference, old and new
}

// Diff compares two graphs by the ids of operators and the names of states; from
// nil means that there was nothing. The order is that of to, then what was dropped in the order of from.
func Diff(from, to *Graph) []Change {
	var changes []Change
	if from == nil {
		from = &Graph{}
	}
	for i := range to.Stages {
		for j := range to.Stages[i].Operators {
			o := &to.Stages[i].Operators[j]
			_, old, ok := from.Operator(o.ID)
			changes = append(changes, diffOperator(old, o, ok)...)
		}
	}
	for i := range from.Stages {
		for j := range from.Stages[i].Operators {
			o := &from.Stages[i].Operators[j]
			if _, _, ok := to.Operator(o.ID); ok {
				continue
			}
			changes = append(changes, Change{Operator: o.ID, Fate: Dropped})
			for k := range o.State {
				changes = append(changes, Change{Operator: o.ID, State: o.State[k].Name, Fate: Dropped})
			}
		}
	}
	return changes
}

func diffOperator(old, o *Operator, existed bool) []Change {
	if !existed {
		changes := []Change{{Operator: o.ID, Fate: New}}
		for k := range o.State {
			changes = append(changes, Change{Operator: o.ID, State: o.State[k].Name, Fate: New})
		}
		return changes
	}
	operator := Change{Operator: o.ID, Fate: Kept}
	oldConfig, errOld := canonical(old.Config)
	newConfig, errNew := canonical(o.Config)
	switch {
	case old.Kind != o.Kind:
		operator.Fate, operator.Why = Changed, fmt.Sprintf("kind was %s, is %s", old.Kind, o.Kind)
	case errOld != nil || errNew != nil || string(oldConfig) != string(newConfig):
		operator.Fate, operator.Why = Changed, "its config differs"
	case !slices.Equal(old.Inputs, o.Inputs) || !slices.Equal(old.Outputs, o.Outputs):
		operator.Fate, operator.Why = Changed, "its schemas differ"
	}
	changes := []Change{operator}
	rekeyed := Rekeyed(old.Key, o.Key)
	for k := range o.State {
		st := &o.State[k]
		change := Change{Operator: o.ID, State: st.Name, Fate: New}
		if at := slices.IndexFunc(old.State, func(s State) bool { return s.Name == st.Name }); at >= 0 {
			change.Why = drift(&old.State[at], st)
			if change.Why == "" && rekeyed {
				change.Why = fmt.Sprintf("key was %v, is %v", old.Key, o.Key)
			}
			change.Fate = Kept
			if change.Why != "" {
				change.Fate = Changed
			}
		}
		changes = append(changes, change)
	}
	for k := range old.State {
		name := old.State[k].Name
		if !slices.ContainsFunc(o.State, func(s State) bool { return s.Name == name }) {
			changes = append(changes, Change{Operator: o.ID, State: name, Fate: Dropped})
		}
	}
	return changes
}

// Rekeyed tells whether an operator's state was kept by another key. Inputs may
// come and go behind the others: what an outbox of stateful functions keeps is by
// its sender, whichever types there are.
func Rekeyed(old, now [][]string) bool {
	n := min(len(old), len(now))
	return (n == 0) != (len(old)+len(now) == 0) || !slices.EqualFunc(old[:n], now[:n], slices.Equal)
}

// drift names the first difference that matters to stored bytes. TTL, form and size limits may change on live state.
func drift(old, now *State) string {
	switch {
	case old.Kind != now.Kind:
		return fmt.Sprintf("kind was %s, is %s", old.Kind, now.Kind)
	case old.Codec != now.Codec:
		return fmt.Sprintf("codec was %s, is %s", old.Codec, now.Codec)
	case old.Key != now.Key:
		return fmt.Sprintf("key was %s, is %s", old.Key, now.Key)
	case old.Value != now.Value:
		return fmt.Sprintf("value was %s, is %s", old.Value, now.Value)
	case old.Version != now.Version:
		return fmt.Sprintf("version was %d, is %d", old.Version, now.Version)
	}
	return ""
}
