package jobgraph

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// ErrInvalid is wrapped by every Problem.
var ErrInvalid = errors.New("job graph is invalid")

// MaxProblems bounds what Validate reports at once.
const MaxProblems = 20

// Problem is one reason why a graph is refused.
type Problem struct {
	Where string // such as `stage 2 operator "count"`
	Text  string
	Hint  string
}

func (p *Problem) Error() string {
	s := p.Where + ": " + p.Text
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

func (p *Problem) Unwrap() error { return ErrInvalid }

var (
	stateKinds    = []string{"value", "reducing", "aggregating", "list", "map", "timers", "broadcast"}
	stateForms    = []string{"framed", "hosted"}
	ttlUpdates    = []string{"", "write", "read_write"}
	partitionings = []Partitioning{Forward, Hash, Broadcast, Rebalance}
)

// Validate checks the graph's shape: indexes, limits, names, cycles. It knows
// nothing of what an operator's kind or schema means. The error joins up to
// MaxProblems *Problem values; every one wraps ErrInvalid.
func (g *Graph) Validate() error {
	v := &validator{g: g}
	v.limits()
	if len(v.problems) == 0 {
		v.stages()
		v.edges()
	}
	if len(v.problems) == 0 {
		v.wiring()
		v.cycles()
	}
	return errors.Join(v.problems...)
}

type validator struct {
	g        *Graph
	problems []error
}

func (v *validator) add(where, text, hint string) {
	if len(v.problems) < MaxProblems {
		v.problems = append(v.problems, &Problem{Where: where, Text: text, Hint: hint})
	}
}

func (v *validator) limits() {
	g := v.g
	if g.Version != FormatVersion {
		v.add("graph", fmt.Sprintf("has version %d, want %d", g.Version, FormatVersion), "set Version to FormatVersion, or upgrade this process")
	}
	if len(g.Stages) == 0 {
		v.add("graph", "has no stage", "give it a source and a sink")
	}
	if len(g.Stages) > MaxStages {
		v.add("graph", fmt.Sprintf("has %d stages, the limit is %d", len(g.Stages), MaxStages), "split it at a topic into two pipelines")
	}
	if len(g.Edges) > MaxEdges {
		v.add("graph", fmt.Sprintf("has %d edges, the limit is %d", len(g.Edges), MaxEdges), "split it at a topic into two pipelines")
	}
}

func (v *validator) stages() {
	names := make(map[string]int)
	operators := make(map[string]string)
	for i := range v.g.Stages {
		s := &v.g.Stages[i]
		where := fmt.Sprintf("stage %d", i)
		if int(s.ID) != i {
			v.add(where, fmt.Sprintf("has id %d", s.ID), "a stage's id is its index")
		}
		v.id(where, "name", s.Name)
		if first, ok := names[s.Name]; ok {
			v.add(where, fmt.Sprintf("has the name %q of stage %d", s.Name, first), "names of stages are unique")
		}
		names[s.Name] = i
		if s.Parallelism < 1 || s.Parallelism > MaxParallelism {
			v.add(where, fmt.Sprintf("has parallelism %d", s.Parallelism), fmt.Sprintf("choose 1 to %d, the number of key groups", MaxParallelism))
		}
		if len(s.Operators) == 0 || len(s.Operators) > MaxOperatorsPerStage {
			v.add(where, fmt.Sprintf("has %d operators", len(s.Operators)), fmt.Sprintf("a stage has 1 to %d", MaxOperatorsPerStage))
		}
		for j := range s.Operators {
			v.operator(s, j, operators)
		}
	}
}

func (v *validator) operator(s *Stage, j int, seen map[string]string) {
	o := &s.Operators[j]
	where := fmt.Sprintf("stage %q operator %q", s.Name, o.ID)
	v.id(where, "id", o.ID)
	if other, ok := seen[o.ID]; ok {
		v.add(where, fmt.Sprintf("has the id of an operator of stage %q", other), "state belongs to the id: give each operator its own")
	}
	seen[o.ID] = s.Name
	if o.Kind == "" {
		v.add(where, "has no kind", "name an operator of the runtime's table")
	}
	if len(o.Config) > MaxConfigBytes {
		v.add(where, fmt.Sprintf("has a config of %d bytes, the limit is %d", len(o.Config), MaxConfigBytes), "put large things into a module's assets")
	} else if len(o.Config) > 0 && !json.Valid(o.Config) {
		v.add(where, "has a config that is no JSON", "")
	}
	if len(o.Upstream) != len(o.Inputs) {
		v.add(where, fmt.Sprintf("has %d inputs and %d upstream ports", len(o.Inputs), len(o.Upstream)), "each input has one port; operator -1 is the stage's own input")
	}
	for n, p := range o.Upstream {
		switch {
		case p.Output < 0 || p.Operator < -1:
			v.add(where, fmt.Sprintf("input %d has a negative port", n), "")
		case p.Operator >= j:
			v.add(where, fmt.Sprintf("input %d reads operator %d, which does not stand before it", n, p.Operator), "order a chain from its head")
		case p.Operator >= 0 && p.Output >= len(s.Operators[p.Operator].Outputs):
			v.add(where, fmt.Sprintf("input %d reads output %d of operator %q, which has %d", n, p.Output, s.Operators[p.Operator].ID, len(s.Operators[p.Operator].Outputs)), "")
		}
	}
	if len(o.Key) != 0 && len(o.Key) != len(o.Inputs) {
		v.add(where, fmt.Sprintf("has keys for %d of %d inputs", len(o.Key), len(o.Inputs)), "name the key columns of every input")
	}
	if o.Backend != InMemory && o.Backend != OnDisk {
		v.add(where, fmt.Sprintf("keeps its state in %q", clip(string(o.Backend))), fmt.Sprintf("say %q, or nothing for memory", OnDisk))
	}
	v.states(where, o)
}

func (v *validator) states(where string, o *Operator) {
	names := make(map[string]bool)
	for i := range o.State {
		st := &o.State[i]
		v.id(where, "name of a state", st.Name)
		if names[st.Name] {
			v.add(where, fmt.Sprintf("has two states %q", st.Name), "names of states are unique within an operator")
		}
		names[st.Name] = true
		if !slices.Contains(stateKinds, st.Kind) {
			v.add(where, fmt.Sprintf("state %q has kind %q", st.Name, st.Kind), fmt.Sprintf("kinds are %q", stateKinds))
		}
		if st.Form != "" && !slices.Contains(stateForms, st.Form) {
			v.add(where, fmt.Sprintf("state %q has form %q", st.Name, st.Form), fmt.Sprintf("forms are %q", stateForms))
		}
		if !slices.Contains(ttlUpdates, st.TTLOn) {
			v.add(where, fmt.Sprintf("state %q renews its TTL on %q", st.Name, st.TTLOn), "say write or read_write")
		}
		if st.TTLMs < 0 || st.MaxBytes < 0 || st.Version < 0 {
			v.add(where, fmt.Sprintf("state %q has a negative number", st.Name), "")
		}
		if len(o.Key) == 0 && st.Kind != "broadcast" {
			v.add(where, fmt.Sprintf("has keyed state %q and no key", st.Name), "name the key columns of its inputs")
		}
	}
}

func (v *validator) edges() {
	seen := make(map[string]bool)
	for i := range v.g.Edges {
		e := &v.g.Edges[i]
		where := fmt.Sprintf("edge %d", i)
		if int(e.From) >= len(v.g.Stages) || int(e.To) >= len(v.g.Stages) {
			v.add(where, fmt.Sprintf("goes from stage %d to stage %d of %d", e.From, e.To, len(v.g.Stages)), "")
			continue
		}
		from, to := &v.g.Stages[e.From], &v.g.Stages[e.To]
		where = fmt.Sprintf("edge %d from %q to %q", i, from.Name, to.Name)
		switch {
		case e.Operator < 0 || e.Operator >= len(from.Operators):
			v.add(where, fmt.Sprintf("leaves operator %d of %d", e.Operator, len(from.Operators)), "")
			continue
		case e.Output < 0 || e.Output >= len(from.Operators[e.Operator].Outputs):
			v.add(where, fmt.Sprintf("leaves output %d of %d", e.Output, len(from.Operators[e.Operator].Outputs)), "")
			continue
		case e.Input < 0 || e.Input >= MaxEdges:
			v.add(where, fmt.Sprintf("enters input %d", e.Input), "")
			continue
		}
		if out := from.Operators[e.Operator].Outputs[e.Output]; e.Schema != out {
			v.add(where, fmt.Sprintf("carries %q, its output gives %q", clip(e.Schema), clip(out)), "an edge carries what its output gives")
		}
		if !slices.Contains(partitionings, e.Partitioning) {
			v.add(where, fmt.Sprintf("has partitioning %q", e.Partitioning), fmt.Sprintf("choose one of %q", partitionings))
		}
		if (e.Partitioning == Hash) != (len(e.Key) > 0) {
			v.add(where, fmt.Sprintf("has partitioning %q and %d key columns", e.Partitioning, len(e.Key)), "hash needs a key, nothing else has one")
		}
		if e.Partitioning == Forward && from.Parallelism != to.Parallelism {
			v.add(where, fmt.Sprintf("forwards %d tasks to %d", from.Parallelism, to.Parallelism), "use rebalance, or one parallelism")
		}
		if e.Feedback && (e.From != e.To || e.Partitioning != Hash) {
			v.add(where, fmt.Sprintf("is a feedback edge from stage %d to %d by %s", e.From, e.To, e.Partitioning), "it leads by hash to its own stage")
		}
		if e.Feedback && e.Durable {
			v.add(where, "is a feedback edge and durable", "what goes through a topic closes no cycle")
		}
		key := fmt.Sprint(e.From, e.Operator, e.Output, e.To, e.Input)
		if seen[key] {
			v.add(where, "stands twice", "")
		}
		seen[key] = true
	}
}

// wiring checks that edges and the stages' own inputs meet.
func (v *validator) wiring() {
	for i := range v.g.Stages {
		s := &v.g.Stages[i]
		fed := make(map[int]bool)
		outside, feedback := false, false
		for j := range v.g.Edges {
			if e := &v.g.Edges[j]; int(e.To) == i {
				fed[e.Input] = true
				outside, feedback = outside || !e.Feedback, feedback || e.Feedback
			}
		}
		if feedback && !outside {
			v.add(fmt.Sprintf("stage %q", s.Name), "is fed by feedback edges alone", "nothing would ever come in, and no barrier: give it an input from outside")
		}
		read := make(map[int]bool)
		for j := range s.Operators {
			for _, p := range s.Operators[j].Upstream {
				if p.Operator == -1 {
					read[p.Output] = true
				}
			}
		}
		for n := range max(v.g.Inputs(s.ID), len(read)) {
			if fed[n] != read[n] {
				v.add(fmt.Sprintf("stage %q", s.Name), fmt.Sprintf("input %d is fed by an edge: %t, read by an operator: %t", n, fed[n], read[n]), "inputs are numbered from 0 without a gap")
			}
		}
		for n := range read {
			if !fed[n] && n >= max(v.g.Inputs(s.ID), len(read)) {
				v.add(fmt.Sprintf("stage %q", s.Name), fmt.Sprintf("reads input %d, which no edge feeds", n), "inputs are numbered from 0 without a gap")
			}
		}
	}
}

// cycles refuses a cycle that no feedback edge closes: its barriers would wait for each other.
func (v *validator) cycles() {
	waiting := make([]int, len(v.g.Stages))
	for i := range v.g.Edges {
		if e := &v.g.Edges[i]; !e.Feedback {
			waiting[e.To]++
		}
	}
	var ready []int
	for i, n := range waiting {
		if n == 0 {
			ready = append(ready, i)
		}
	}
	done := 0
	for ; done < len(ready); done++ {
		for i := range v.g.Edges {
			if e := &v.g.Edges[i]; int(e.From) == ready[done] && !e.Feedback {
				if waiting[e.To]--; waiting[e.To] == 0 {
					ready = append(ready, int(e.To))
				}
			}
		}
	}
	if done < len(v.g.Stages) {
		for i, n := range waiting {
			if n > 0 {
				v.add(fmt.Sprintf("stage %q", v.g.Stages[i].Name), "is on, or behind, a cycle", "mark the edge that closes it as feedback")
				return
			}
		}
	}
}

func (v *validator) id(where, what, id string) {
	if id == "" || len(id) > MaxIDBytes {
		v.add(where, fmt.Sprintf("has a %s of %d bytes", what, len(id)), fmt.Sprintf("1 to %d bytes", MaxIDBytes))
	}
}
