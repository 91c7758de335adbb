package planner

import (
	"fmt"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/operator/project"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

// castPrefix begins the ids of the projections that the planner puts in front of functions.
const castPrefix = "cast."

// fit checks that the columns which a function declares come. Where they come
// in narrower types it puts a projection in front that widens them.
func (l *logical) fit(pos pipelinefile.Pos, from port, n *node, input int) port {
	f, out := n.function, from.node.outputs[from.output]
	if out.changelog && !n.module.Manifest.Needs(f, abi.CapabilityChangelog) {
		l.problem(pos, fmt.Sprintf("let %s emit updates, or write the function for changes", portName(from)), "%s gives changes that take back earlier rows, and function %s does not read what kind of change a row is", portName(from), f.Name)
	}
	have, want := out.schema, f.Inputs[input].Schema()
	casts := map[string]string{}
	problems := len(l.problems)
	for i := range want.Fields {
		w := want.Fields[i]
		at := have.Index(w.Name)
		if at < 0 {
			l.problem(pos, pipelinefile.Suggest(w.Name, have.Names()), "input %s of function %s wants the column %s:%s, which %s does not have", f.Inputs[input].Name, f.Name, w.Name, w.Type, portName(from))
			continue
		}
		h := have.Fields[at].Type
		relaxed := h
		relaxed.Nullable = h.Nullable || w.Type.Nullable
		switch {
		case relaxed.Equal(&w.Type): // a view will do
		case project.Widens(h, w.Type):
			casts[w.Name] = w.Type.String()
		default:
			l.problem(pos, fmt.Sprintf("declare the column as %s in the source, or change the function", w.Type), "input %s of function %s wants the column %s as %s, %s has it as %s", f.Inputs[input].Name, f.Name, w.Name, w.Type, portName(from), h)
		}
	}
	if len(casts) == 0 || len(l.problems) > problems {
		return from
	}
	return l.cast(from, n, input, casts)
}

// cast makes a projection that widens the named columns and keeps all others,
// because dead letters show whole rows.
func (l *logical) cast(from port, n *node, input int, casts map[string]string) port {
	out := from.node.outputs[from.output]
	var c project.Config
	for _, name := range out.schema.Names() {
		c.Columns = append(c.Columns, project.Column{Column: name, Cast: casts[name]})
	}
	cast := &node{
		name: fmt.Sprintf("%s%s.%d", castPrefix, n.name, input), pos: n.pos, kind: project.Kind,
		parallelism: from.node.parallelism, inputs: []port{from}, done: true,
	}
	p, err := project.Plan(encode(c), []native.Input{{Name: portName(from), Schema: out.schema, Changelog: out.changelog}}, nil)
	if err != nil {
		l.problem(n.pos, "", "operator %s: %v", n.name, err)
		return from
	}
	cast.native = p
	cast.outputs = []output{{schema: p.Output, changelog: p.Changelog}}
	return port{node: cast}
}
