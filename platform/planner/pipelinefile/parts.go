package pipelinefile

import (
	"fmt"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (r *reader) checkpoint(n *yaml.Node, c *Checkpoint) {
	r.fields(n, "checkpoint", table{
		"interval":  func(n *yaml.Node) { c.Interval = r.duration(n) },
		"min_pause": func(n *yaml.Node) { c.MinPause = r.duration(n) },
		"timeout":   func(n *yaml.Node) { c.Timeout = r.duration(n) },
		"retain":    func(n *yaml.Node) { c.Retain = r.count(n, 0, 3) },
	})
}

func (r *reader) state(n *yaml.Node, s *State) {
	r.fields(n, "state", table{
		"backend": func(n *yaml.Node) { s.Backend = r.choice(n, Memory, Disk) },
	})
}

func (r *reader) source(name Text, n *yaml.Node) Source {
	s := Source{Name: name, Pos: posOf(n)}
	r.fields(n, "source "+name.Value, table{
		"topic":      func(n *yaml.Node) { s.Topic = r.text(n) },
		"file":       func(n *yaml.Node) { s.File = r.text(n) },
		"format":     func(n *yaml.Node) { s.Format = r.choice(n, "json", "csv", "raw", "columns") },
		"columns":    func(n *yaml.Node) { s.Columns = r.columns(n) },
		"event_time": func(n *yaml.Node) { r.eventTime(n, &s.EventTime) },
		"start":      func(n *yaml.Node) { s.Start = r.choice(n, "earliest", "latest") },
		"bounded":    func(n *yaml.Node) { s.Bounded = r.flag(n) },
		"errors":     func(n *yaml.Node) { s.Errors = r.policy(n) },
		"options":    func(n *yaml.Node) { s.Options = r.json(n) },
	})
	r.either(n, "source "+name.Value, "topic", s.Topic, "file", s.File)
	return s
}

// columns takes a schema's text, or a mapping from names to types.
func (r *reader) columns(n *yaml.Node) Text {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		return r.text(n)
	}
	var fields []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		fields = append(fields, n.Content[i].Value+":"+r.text(n.Content[i+1]).Value)
	}
	return Text{Value: strings.Join(fields, ","), Pos: posOf(n)}
}

func (r *reader) eventTime(n *yaml.Node, e *EventTime) {
	if n := resolve(n); n.Kind == yaml.ScalarNode {
		e.Column = r.text(n)
		return
	}
	r.fields(n, "event_time", table{
		"column":    func(n *yaml.Node) { e.Column = r.text(n) },
		"lateness":  func(n *yaml.Node) { e.Lateness = r.duration(n) },
		"idle":      func(n *yaml.Node) { e.Idle = r.duration(n) },
		"max_drift": func(n *yaml.Node) { e.MaxDrift = r.duration(n) },
	})
}

func (r *reader) operator(name Text, n *yaml.Node) Operator {
	o := Operator{Name: name, Pos: posOf(n)}
	r.fields(n, "operator "+name.Value, table{
		"module":       func(n *yaml.Node) { o.Module = r.text(n) },
		"function":     func(n *yaml.Node) { o.Function = r.text(n) },
		"kind":         func(n *yaml.Node) { o.Kind = r.text(n) },
		"input":        func(n *yaml.Node) { o.Inputs = append(o.Inputs, Input{From: r.text(n)}) },
		"inputs":       func(n *yaml.Node) { r.inputs(n, &o) },
		"key":          func(n *yaml.Node) { o.Key = r.texts(n) },
		"parallelism":  func(n *yaml.Node) { o.Parallelism = r.count(n, 1, 256) },
		"errors":       func(n *yaml.Node) { o.Errors = r.policy(n) },
		"call_timeout": func(n *yaml.Node) { o.CallTimeout = r.duration(n) },
		"memory_mib":   func(n *yaml.Node) { o.MemoryMiB = r.count(n, 1, 1024) },
		"config":       func(n *yaml.Node) { o.Config = r.json(n) },
	})
	r.either(n, "operator "+name.Value, "function", o.Function, "kind", o.Kind)
	if len(o.Inputs) == 0 {
		r.add(n, fmt.Sprintf("operator %s has no input", name.Value), "add input: NAME of a source or an operator")
	}
	return o
}

func (r *reader) inputs(n *yaml.Node, o *Operator) {
	n = resolve(n)
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			o.Inputs = append(o.Inputs, Input{From: r.text(c)})
		}
		return
	}
	r.each(n, "inputs", func(name Text, n *yaml.Node) {
		o.Inputs = append(o.Inputs, Input{Name: name, From: r.text(n)})
	})
}

func (r *reader) sink(name Text, n *yaml.Node) Sink {
	s := Sink{Name: name, Pos: posOf(n)}
	r.fields(n, "sink "+name.Value, table{
		"topic":       func(n *yaml.Node) { s.Topic = r.text(n) },
		"file":        func(n *yaml.Node) { s.File = r.text(n) },
		"input":       func(n *yaml.Node) { s.Input = r.text(n) },
		"format":      func(n *yaml.Node) { s.Format = r.choice(n, "json", "csv", "raw", "columns") },
		"key":         func(n *yaml.Node) { s.Key = r.text(n) },
		"guarantee":   func(n *yaml.Node) { s.Guarantee = r.choice(n, "exactly_once", "at_least_once") },
		"parallelism": func(n *yaml.Node) { s.Parallelism = r.count(n, 1, 256) },
		"options":     func(n *yaml.Node) { s.Options = r.json(n) },
	})
	r.either(n, "sink "+name.Value, "topic", s.Topic, "file", s.File)
	if s.Input.Value == "" {
		r.add(n, fmt.Sprintf("sink %s has no input", name.Value), "add input: NAME of a source or an operator")
	}
	return s
}

// either wants exactly one of two fields.
func (r *reader) either(n *yaml.Node, what, nameA string, a Text, nameB string, b Text) {
	switch {
	case a.Value == "" && b.Value == "":
		r.add(n, fmt.Sprintf("%s has neither %s nor %s", what, nameA, nameB), "add one of them")
	case a.Value != "" && b.Value != "":
		r.add(n, fmt.Sprintf("%s has both %s and %s", what, nameA, nameB), "keep one of them")
	}
}

// uniqueNames refuses two parts of one name: they could not be told apart as inputs.
func (r *reader) uniqueNames(f *File) {
	seen := map[string]Pos{}
	check := func(t Text) {
		if at, ok := seen[t.Value]; ok {
			r.problems = append(r.problems, Problem{Pos: t.Pos, Message: fmt.Sprintf("the name %q stands twice", t.Value), Hint: "it stands first at " + fmtPos(at) + "; choose another"})
			return
		}
		seen[t.Value] = t.Pos
	}
	for _, s := range f.Sources {
		check(s.Name)
	}
	for _, o := range f.Operators {
		check(o.Name)
	}
	// A sink may be called like what it takes, since nothing reads from a sink.
	sinks := map[string]bool{}
	for _, s := range f.Sinks {
		if sinks[s.Name.Value] {
			r.problems = append(r.problems, Problem{Pos: s.Name.Pos, Message: fmt.Sprintf("the name %q stands twice among sinks", s.Name.Value), Hint: "choose another"})
		}
		sinks[s.Name.Value] = true
	}
}

func keysOf(t table) []string {
	out := make([]string, 0, len(t))
	for k := range t {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
