package pipelines

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/abi/manifest"
	"github.com/weirstream/weir/abi/row"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	connectors "github.com/weirstream/weir/platform/connector/all"
	"github.com/weirstream/weir/platform/operator/dispatch"
	"github.com/weirstream/weir/platform/operator/outbox"
	"github.com/weirstream/weir/platform/operator/parked"
	"github.com/weirstream/weir/platform/operator/sink"
	"github.com/weirstream/weir/platform/operator/source"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// positions is the state of a source: where it stands in what it reads.
const positions = "positions"

// diff compares the revision that is there with the planned one.
func (p *planned) diff() *weirv1.DiffPipelineResponse {
	out := &weirv1.DiffPipelineResponse{Name: p.File.Name.Value, Exists: p.old != nil}
	from := p.oldGraph
	if from == nil {
		from = &jobgraph.Graph{}
	}
	out.State = append(stateChanges(from, p.Graph), p.unsavedRows()...)
	out.Graph = graphLines(from, p.Graph)
	return out
}

// shape is a state as it is compared.
type shape struct {
	operator, name string
	state          jobgraph.State
	key            [][]string
	input          string // of a source: what its positions are in
}

func (s *shape) String() string {
	if s.name == positions && s.input != "" {
		return s.input
	}
	text := s.state.Kind + " " + s.state.Codec
	if s.state.Value != "" {
		text += "(" + s.state.Value + ")"
	}
	if s.state.Key != "" {
		text += " by " + s.state.Key
	}
	if s.state.Version != 0 {
		text += fmt.Sprintf(" version %d", s.state.Version)
	}
	if len(s.key) > 0 {
		text += " of " + strings.Join(s.key[0], ", ")
	}
	return text
}

// shapes lists the states of a graph in its order.
func shapes(g *jobgraph.Graph) []shape {
	var out []shape
	for i := range g.Stages {
		for j := range g.Stages[i].Operators {
			o := &g.Stages[i].Operators[j]
			if o.Kind == source.Kind {
				out = append(out, shape{operator: o.ID, name: positions, input: endpoint(o)})
			}
			for _, st := range o.State {
				out = append(out, shape{operator: o.ID, name: st.Name, state: st, key: o.Key})
			}
		}
	}
	return out
}

// endpoint is what a source or a sink is connected to, as a person would say it.
func endpoint(o *jobgraph.Operator) string {
	kind, options := connection(o)
	switch kind {
	case connectors.Topic:
		return "topic " + options.Topic
	case connectors.File:
		return "file " + options.Path
	}
	return kind
}

// place is where an operator's connector reads or writes.
type place struct {
	Topic string `json:"topic"` // namespace/name
	Path  string `json:"path"`
}

// connection reads what a source or sink of a graph is connected to; empty for others.
func connection(o *jobgraph.Operator) (kind string, at place) {
	var c struct {
		Connector string          `json:"connector"`
		Options   json.RawMessage `json:"options"`
	}
	if o.Kind != source.Kind && o.Kind != sink.Kind || json.Unmarshal(o.Config, &c) != nil {
		return "", at
	}
	if len(c.Options) > 0 && json.Unmarshal(c.Options, &at) != nil {
		return "", place{}
	}
	return c.Connector, at
}

func stateChanges(from, to *jobgraph.Graph) []*weirv1.StateChange {
	old, now := shapes(from), shapes(to)
	find := func(list []shape, s *shape) *shape {
		for i := range list {
			if list[i].operator == s.operator && list[i].name == s.name {
				return &list[i]
			}
		}
		return nil
	}
	var out []*weirv1.StateChange
	for i := range now {
		n := &now[i]
		c := &weirv1.StateChange{Operator: n.operator, State: n.name, Now: n.String(), Kind: weirv1.StateChange_KIND_NEW}
		if o := find(old, n); o != nil {
			c.Was, c.Kind = o.String(), weirv1.StateChange_KIND_KEPT
			if why := incompatible(o, n); why != "" {
				c.Kind, c.Now = weirv1.StateChange_KIND_INCOMPATIBLE, c.Now+": "+why
			}
		}
		out = append(out, c)
	}
	for i := range old {
		if o := &old[i]; find(now, o) == nil {
			out = append(out, &weirv1.StateChange{Operator: o.operator, State: o.name, Was: o.String(), Kind: weirv1.StateChange_KIND_DROPPED})
		}
	}
	return out
}

// incompatible says why stored bytes of one shape cannot be read as another; empty if they can.
func incompatible(old, now *shape) string {
	a, b := &old.state, &now.state
	switch {
	case old.input != now.input:
		return "positions in one do not hold in the other"
	case a.Kind != b.Kind:
		return "it is of another kind"
	case a.Codec != b.Codec:
		return "it is written by another codec"
	case a.Key != b.Key:
		return "its entries have another key"
	case jobgraph.Rekeyed(old.key, now.key):
		return "the operator has another key"
	case a.Value == b.Value && a.Version == b.Version:
		return ""
	case a.Codec != manifest.CodecRow:
		return "only its module could read the old form"
	}
	was, err := row.Parse(a.Value)
	if err != nil {
		return err.Error()
	}
	is, err := row.Parse(b.Value)
	if err != nil {
		return err.Error()
	}
	if err := row.Compatible(was, is); err != nil {
		return err.Error()
	}
	return ""
}

// graphLines tells the difference of two graphs in lines: + added, - removed, ~ changed.
func graphLines(from, to *jobgraph.Graph) []string {
	var lines []string
	for _, c := range jobgraph.Diff(from, to) {
		if c.State != "" || follows(to, c.Operator) || follows(from, c.Operator) {
			continue
		}
		switch c.Fate {
		case jobgraph.New:
			lines = append(lines, "+ "+describe(to, c.Operator))
		case jobgraph.Dropped:
			lines = append(lines, "- "+describe(from, c.Operator))
		case jobgraph.Changed:
			lines = append(lines, "~ "+describe(to, c.Operator)+": "+c.Why)
		}
	}
	for i := range to.Stages {
		for j := range to.Stages[i].Operators {
			o := &to.Stages[i].Operators[j]
			if at, _, ok := from.Operator(o.ID); ok && from.Stages[at].Parallelism != to.Stages[i].Parallelism {
				lines = append(lines, fmt.Sprintf("~ operator %s: parallelism was %d, is %d", o.ID, from.Stages[at].Parallelism, to.Stages[i].Parallelism))
			}
		}
	}
	lines = append(lines, moved(from, to)...)
	old, now := wires(from), wires(to)
	for _, w := range now {
		if !slices.Contains(old, w) {
			lines = append(lines, "+ "+w)
		}
	}
	for _, w := range old {
		if !slices.Contains(now, w) {
			lines = append(lines, "- "+w)
		}
	}
	return lines
}

// follows tells whether an operator is what it is because of the types that it
// stands beside: it changes with each of them, and says nothing more.
func follows(g *jobgraph.Graph, id string) bool {
	_, o, ok := g.Operator(id)
	return ok && (o.Kind == dispatch.Kind || o.Kind == parked.Kind || o.Kind == outbox.Kind)
}

// moved tells whose state is kept elsewhere from now on.
func moved(from, to *jobgraph.Graph) (lines []string) {
	where := map[jobgraph.Backend]string{jobgraph.InMemory: "in memory", jobgraph.OnDisk: "on disk"}
	for i := range to.Stages {
		for j := range to.Stages[i].Operators {
			o := &to.Stages[i].Operators[j]
			if _, was, ok := from.Operator(o.ID); ok && was.Backend != o.Backend {
				lines = append(lines, fmt.Sprintf("~ operator %s: state was %s, is %s", o.ID, where[was.Backend], where[o.Backend]))
			}
		}
	}
	return lines
}

func describe(g *jobgraph.Graph, id string) string {
	_, o, _ := g.Operator(id)
	if slices.Contains(typesOf(g), id) {
		return "type " + id
	}
	if at := endpoint(o); at != "" {
		return fmt.Sprintf("%s %s (%s)", o.Kind, id, at)
	}
	return fmt.Sprintf("operator %s (%s)", id, o.Kind)
}

// wires lists who reads from whom, whether through a channel or within a stage.
func wires(g *jobgraph.Graph) []string {
	var out []string
	for _, e := range g.Edges {
		from := g.Stages[e.From].Operators[e.Operator].ID
		if follows(g, from) {
			continue
		}
		for i := range g.Stages[e.To].Operators {
			o := &g.Stages[e.To].Operators[i]
			if slices.Contains(o.Upstream, jobgraph.Port{Operator: -1, Output: e.Input}) {
				line := wire(from, e.Output, o.ID) + ", " + string(e.Partitioning)
				if len(e.Key) > 0 {
					line += " by " + strings.Join(e.Key, ", ")
				}
				out = append(out, line)
			}
		}
	}
	for i := range g.Stages {
		s := &g.Stages[i]
		for j := range s.Operators {
			for _, up := range s.Operators[j].Upstream {
				if up.Operator >= 0 && !follows(g, s.Operators[j].ID) && !follows(g, s.Operators[up.Operator].ID) {
					out = append(out, wire(s.Operators[up.Operator].ID, up.Output, s.Operators[j].ID))
				}
			}
		}
	}
	return out
}

func wire(from string, output int, to string) string {
	if output > 0 {
		from = fmt.Sprintf("%s.%d", from, output)
	}
	return from + " -> " + to
}
