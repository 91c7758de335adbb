package planner

import (
	"fmt"
	"path"
	"strings"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/manifest"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/connector"
	connectors "github.com/weirstream/weir/platform/connector/all"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

// node is a source, an operator or a sink of the logical plan.
type node struct {
	name        string
	pos         pipelinefile.Pos
	source      *pipelinefile.Source
	operator    *pipelinefile.Operator
	sink        *pipelinefile.Sink
	parallelism int
	inputs      []port
	key         [][]string // per input; nil: not keyed
	outputs     []output
	letters     bool // it may have dead letters, which are its last output
	module      Module
	function    *manifest.Function
	kind        string // of a native operator
	native      native.Plan
	done, busy  bool // while outputs are resolved
}

// port is an output of a node.
type port struct {
	node   *node
	output int
}

// output is what others may read.
type output struct {
	name   string // of a side output; "" for the main one
	schema *schema.Schema
	// changelog: rows may take back earlier ones.
	changelog bool
}

// logical is a pipeline whose names are resolved.
type logical struct {
	file   *pipelinefile.File
	world  World
	scale  Scale
	nodes  []*node // sources and operators in the order of the file, then sinks
	byName map[string]*node
	// functions are the pipeline's stateful functions; nil: it has none.
	functions *application
	problems  []pipelinefile.Problem
	warnings  []pipelinefile.Problem
}

func (l *logical) problem(pos pipelinefile.Pos, hint, format string, args ...any) {
	l.problems = append(l.problems, pipelinefile.Problem{Pos: pos, Message: fmt.Sprintf(format, args...), Hint: hint})
}

func resolve(f *pipelinefile.File, w World, scale Scale) *logical {
	l := &logical{file: f, world: w, scale: scale, byName: map[string]*node{}}
	width := l.width()
	for i := range f.Sources {
		s := &f.Sources[i]
		l.add(&node{name: s.Name.Value, pos: s.Pos, source: s, parallelism: width, letters: l.deadLetters(s.Errors)})
	}
	for i := range f.Operators {
		o := &f.Operators[i]
		n := &node{name: o.Name.Value, pos: o.Pos, operator: o, parallelism: width, letters: l.deadLetters(o.Errors)}
		if o.Parallelism > 0 {
			n.parallelism = o.Parallelism
		}
		l.add(n)
	}
	for i := range f.Sinks {
		s := &f.Sinks[i]
		n := &node{name: s.Name.Value, pos: s.Pos, sink: s, parallelism: width}
		if s.Parallelism > 0 {
			n.parallelism = s.Parallelism
		}
		l.nodes = append(l.nodes, n)
	}
	for _, n := range l.nodes {
		if width, ok := scale[n.id()]; ok {
			n.parallelism = width
		}
	}
	for _, n := range l.nodes {
		if n.name == deadLetterStage {
			l.problem(n.pos, "choose another", "the name %s is that of the sink of dead letters", n.name)
		}
		l.node(n)
	}
	if f.Functions != nil {
		l.application()
		if len(f.Sources)+len(f.Operators)+len(f.Sinks) == 0 {
			return l // functions are a whole pipeline
		}
	}
	if len(f.Sources) == 0 {
		l.problem(pipelinefile.Pos{Line: 1, Column: 1}, "add sources:", "the pipeline has no source")
	}
	if len(f.Sinks) == 0 {
		l.problem(pipelinefile.Pos{Line: 1, Column: 1}, "add sinks:", "the pipeline has no sink: its results would go nowhere")
	}
	return l
}

// width is the parallelism of whatever has none of its own.
func (l *logical) width() int {
	if l.file.Parallelism == 0 {
		return DefaultParallelism
	}
	return l.file.Parallelism
}

// id is the operator's in the job graph.
func (n *node) id() string {
	if n.sink != nil {
		return SinkID(n.name)
	}
	return n.name
}

// SinkID is the operator id of a sink: an operator and its sink may bear one name.
func SinkID(name string) string { return sinkPrefix + name }

func (l *logical) add(n *node) {
	l.nodes = append(l.nodes, n)
	l.byName[n.name] = n
}

func (l *logical) deadLetters(p pipelinefile.Policy) bool {
	if p == "" {
		p = l.file.Errors
	}
	return p != pipelinefile.Fail
}

// node resolves a node after what it reads from; a cycle is found on the way.
func (l *logical) node(n *node) {
	if n.done {
		return
	}
	if n.busy {
		l.problem(n.pos, "cycles are for functions that send messages; break this one by a topic", "operator %s reads, by way of others, from itself", n.name)
		n.done = true
		return
	}
	n.busy = true
	switch {
	case n.source != nil:
		l.source(n)
	case n.operator != nil:
		l.operator(n)
	default:
		l.sink(n)
	}
	n.busy, n.done = false, true
}

func (l *logical) source(n *node) {
	s := n.source
	columns := schema.Raw()
	format := s.Format.Value
	switch {
	case s.Columns.Value == "" && format != "" && format != "raw":
		l.problem(n.pos, "add columns: name:type,…", "source %s has the format %s and no columns", n.name, format)
	case s.Columns.Value != "":
		parsed, err := schema.Parse(s.Columns.Value)
		if err != nil {
			l.problem(s.Columns.Pos, "write them like name:utf8,size:int64?", "columns of source %s: %v", n.name, err)
			break
		}
		columns = parsed
	}
	if s.Topic.Value != "" {
		l.topic(s.Topic)
	}
	if c := s.EventTime.Column; c.Value != "" {
		i := columns.Index(c.Value)
		switch {
		case i < 0:
			l.problem(c.Pos, pipelinefile.Suggest(c.Value, columns.Names()), "event_time: source %s has no column %q", n.name, c.Value)
		case columns.Fields[i].Type.Kind != schema.Timestamp:
			l.problem(c.Pos, "declare it as timestamp", "event_time: column %s is %s", c.Value, columns.Fields[i].Type)
		}
	}
	n.outputs = []output{{schema: columns}}
	kind, options := l.sourceOptions(s)
	spec, err := connectors.SourceSpec(kind)
	l.checkOptions(n.pos, spec, err, options)
}

func (l *logical) topic(t pipelinefile.Text) {
	if _, ok := l.world.Topic(t.Value); !ok {
		hint := fmt.Sprintf("make it by: weir topic create %s --partitions 8", t.Value)
		if near := pipelinefile.Suggest(t.Value, l.world.TopicNames()); strings.HasPrefix(near, "did you mean") {
			hint = near + " or " + hint
		}
		l.problem(t.Pos, hint, "there is no topic %q", t.Value)
	}
}

func (l *logical) operator(n *node) {
	o := n.operator
	if o.Function.Value == "" {
		l.native(n)
		return
	}
	name := o.Module
	if name.Value == "" {
		name = l.file.Module
	}
	if name.Value == "" {
		l.problem(n.pos, "add module: NAME to it or to the pipeline", "operator %s names a function and no module", n.name)
		return
	}
	m, ok := l.module(name)
	if !ok {
		return
	}
	f := m.Manifest.Function(o.Function.Value)
	if f == nil {
		var names []string
		for i := range m.Manifest.Functions {
			names = append(names, m.Manifest.Functions[i].Name)
		}
		l.problem(o.Function.Pos, pipelinefile.Suggest(o.Function.Value, names), "module %s has no function %q", m.Name, o.Function.Value)
		return
	}
	n.module, n.function = m, f
	for i := range f.Outputs {
		// What a function that handles changes gives out are changes.
		out := output{schema: f.Outputs[i].Schema(), changelog: m.Manifest.Needs(f, abi.CapabilityChangelog)}
		if i > 0 {
			out.name = f.Outputs[i].Name
		}
		n.outputs = append(n.outputs, out)
	}
	if len(o.Key) > 0 {
		l.problem(o.Key[0].Pos, "leave key out; to key by another column, name it so upstream", "function %s says its own key", f.Name)
	}
	l.functionInputs(n, f)
}

func (l *logical) module(name pipelinefile.Text) (Module, bool) {
	m, ok := l.world.Module(ModuleName(name.Value))
	if !ok {
		l.problem(name.Pos, orElse(pipelinefile.Suggest(ModuleName(name.Value), l.world.ModuleNames()), "push it by: weir module push FILE.wasm"), "there is no module %q", ModuleName(name.Value))
	}
	return m, ok
}

// functionInputs wires the function's inputs by name, or its only one without.
func (l *logical) functionInputs(n *node, f *manifest.Function) {
	o := n.operator
	n.inputs = make([]port, len(f.Inputs))
	var names []string
	index := map[string]int{}
	for i := range f.Inputs {
		names = append(names, f.Inputs[i].Name)
		index[f.Inputs[i].Name] = i
	}
	for k, in := range o.Inputs {
		i := k
		if in.Name.Value != "" {
			var ok bool
			if i, ok = index[in.Name.Value]; !ok {
				l.problem(in.Name.Pos, pipelinefile.Suggest(in.Name.Value, names), "function %s has no input %q", f.Name, in.Name.Value)
				continue
			}
		}
		if i >= len(f.Inputs) {
			l.problem(in.From.Pos, "its inputs are "+strings.Join(names, ", "), "function %s takes no more than %d inputs", f.Name, len(f.Inputs))
			continue
		}
		from, ok := l.port(in.From)
		if !ok {
			continue
		}
		n.inputs[i] = l.fit(in.From.Pos, from, n, i)
	}
	for i := range n.inputs {
		if n.inputs[i].node == nil && len(l.problems) == 0 {
			l.problem(n.pos, "add it to inputs", "input %s of function %s is not wired", f.Inputs[i].Name, f.Name)
		}
		if f.Keyed() {
			n.key = append(n.key, f.Inputs[i].Key)
		}
	}
}

func (l *logical) sink(n *node) {
	s := n.sink
	if s.Topic.Value != "" {
		l.topic(s.Topic)
	}
	kind, options := l.sinkOptions(s)
	spec, err := connectors.SinkSpec(kind)
	l.checkOptions(n.pos, spec, err, options)
	l.wholeFiles(s)
	from, ok := l.port(s.Input)
	if !ok {
		return
	}
	n.inputs = []port{from}
	if from.node.outputs[from.output].changelog {
		l.problem(n.pos, "let the operator emit updates, or put one of kind project with kind_column between them", "sink %s would write the changes of %s without saying which of them take back earlier rows", n.name, portName(from))
	}
	columns := from.node.outputs[from.output].schema
	if s.Key.Value != "" && columns.Index(s.Key.Value) < 0 {
		l.problem(s.Key.Pos, pipelinefile.Suggest(s.Key.Value, columns.Names()), "sink %s: %s has no column %q", n.name, portName(from), s.Key.Value)
	}
}

// wholeFiles refuses exactly once where output is written as it comes.
func (l *logical) wholeFiles(s *pipelinefile.Sink) {
	if s.File.Value == "" || strings.HasSuffix(s.File.Value, "/") || connector.Guarantee(s.Guarantee.Value) == connector.AtLeastOnce {
		return
	}
	pos := s.File.Pos
	if s.Guarantee.Value != "" {
		pos = s.Guarantee.Pos
	}
	l.problem(pos, fmt.Sprintf("write guarantee: %s, or a folder, which ends in /", connector.AtLeastOnce),
		"sink %s: %s needs a folder, in which each file appears whole, and %s is written as output comes", s.Name.Value, connector.ExactlyOnce, s.File.Value)
}

// port finds an output by "name" or "name.output".
func (l *logical) port(t pipelinefile.Text) (port, bool) {
	if t.Value == "" {
		return port{}, false
	}
	name, side, _ := strings.Cut(t.Value, ".")
	n, ok := l.byName[name]
	if !ok {
		var names []string
		for known := range l.byName {
			names = append(names, known)
		}
		l.problem(t.Pos, pipelinefile.Suggest(name, names), "there is no source or operator %q", name)
		return port{}, false
	}
	l.node(n)
	if len(n.outputs) == 0 {
		return port{}, false // its own problem is noted already
	}
	if side == "" {
		return port{node: n}, true
	}
	var names []string
	for i, out := range n.outputs {
		if out.name == side && i > 0 {
			return port{node: n, output: i}, true
		}
		if out.name != "" {
			names = append(names, name+"."+out.name)
		}
	}
	l.problem(t.Pos, orElse(pipelinefile.Suggest(t.Value, names), "it has no side outputs"), "%s has no output %q", name, side)
	return port{}, false
}

func portName(p port) string {
	if p.output == 0 {
		return p.node.name
	}
	return p.node.name + "." + p.node.outputs[p.output].name
}

// ModuleName is the name that a module has on the server: that of a file is its
// base name.
func ModuleName(text string) string {
	if strings.HasSuffix(text, ".wasm") {
		return strings.TrimSuffix(path.Base(strings.ReplaceAll(text, "\\", "/")), ".wasm")
	}
	return text
}

func orElse(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}
