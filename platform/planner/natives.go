package planner

import (
	"errors"
	"slices"

	"github.com/weirstream/weir/platform/operator/all"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

// native resolves an operator of a kind that Weir itself has.
func (l *logical) native(n *node) {
	o := n.operator
	kind, ok := all.Natives[o.Kind.Value]
	if !ok {
		var kinds []string
		for k := range all.Natives {
			kinds = append(kinds, k)
		}
		slices.Sort(kinds)
		l.problem(o.Kind.Pos, orElse(pipelinefile.Suggest(o.Kind.Value, kinds), "use a function of a module"), "there is no operator kind %q", o.Kind.Value)
		return
	}
	var inputs []native.Input
	for _, in := range o.Inputs {
		if in.Name.Value != "" {
			l.problem(in.Name.Pos, "list them as inputs: [a, b]", "inputs of a %s have no names, only an order", o.Kind.Value)
			return
		}
		from, ok := l.port(in.From)
		if !ok {
			return
		}
		n.inputs = append(n.inputs, from)
		out := from.node.outputs[from.output]
		inputs = append(inputs, native.Input{Name: in.From.Value, Schema: out.schema, Changelog: out.changelog})
	}
	var key []string
	for _, k := range o.Key {
		key = append(key, k.Value)
	}
	p, err := kind.Plan(o.Config, inputs, key)
	if err != nil {
		hint := ""
		var problem *native.Problem
		text := err.Error()
		if errors.As(err, &problem) {
			text, hint = problem.Message, problem.Hint
		}
		l.problem(n.pos, hint, "operator %s: %s", n.name, text)
		return
	}
	n.kind, n.native = o.Kind.Value, p
	n.letters = false // native operators refuse nothing row by row: what they cannot take fails the job
	n.key = p.Key
	n.outputs = []output{{schema: p.Output, changelog: p.Changelog}}
}
