package pipelinefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Parse reads a file. It finds as many problems as it can, not only the first.
func Parse(text []byte) (*File, []Problem) {
	if len(text) > MaxFileBytes {
		return nil, []Problem{{Message: fmt.Sprintf("the file has %d bytes, the limit is %d", len(text), MaxFileBytes), Hint: "split the pipeline at a topic"}}
	}
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, []Problem{{Pos: Pos{1, 1}, Message: "the file is empty", Hint: "start with: pipeline: NAME"}}
		}
		return nil, []Problem{syntaxProblem(err)}
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, []Problem{{Message: "the file holds more than one document", Hint: "keep one pipeline a file"}}
	}
	r := &reader{}
	f := &File{}
	r.fields(doc.Content[0], "a pipeline", table{
		"pipeline":     func(n *yaml.Node) { f.Name = r.name(n, "a pipeline's name") },
		"namespace":    func(n *yaml.Node) { f.Namespace = r.name(n, "a namespace") },
		"module":       func(n *yaml.Node) { f.Module = r.text(n) },
		"parallelism":  func(n *yaml.Node) { f.Parallelism = r.count(n, 1, 256) },
		"errors":       func(n *yaml.Node) { f.Errors = r.policy(n) },
		"dead_letters": func(n *yaml.Node) { f.DeadLetters = r.text(n) },
		"checkpoint":   func(n *yaml.Node) { r.checkpoint(n, &f.Checkpoint) },
		"state":        func(n *yaml.Node) { r.state(n, &f.State) },
		"max_restarts": func(n *yaml.Node) { f.MaxRestarts = r.count(n, 0, 1<<20) },
		"sources": func(n *yaml.Node) {
			r.each(n, "sources", func(name Text, n *yaml.Node) { f.Sources = append(f.Sources, r.source(name, n)) })
		},
		"operators": func(n *yaml.Node) {
			r.each(n, "operators", func(name Text, n *yaml.Node) { f.Operators = append(f.Operators, r.operator(name, n)) })
		},
		"sinks": func(n *yaml.Node) {
			r.each(n, "sinks", func(name Text, n *yaml.Node) { f.Sinks = append(f.Sinks, r.sink(name, n)) })
		},
		"functions": func(n *yaml.Node) { f.Functions = r.functions(n) },
	})
	if f.Name.Value == "" && len(r.problems) == 0 {
		r.add(doc.Content[0], "the field pipeline is missing", "start with: pipeline: NAME")
	}
	n := len(f.Sources) + len(f.Operators) + len(f.Sinks)
	if f.Functions != nil {
		n += len(f.Functions.Ingress) + len(f.Functions.Egress)
	}
	if n > MaxParts {
		r.add(doc.Content[0], fmt.Sprintf("%d sources, operators, sinks, ingresses and egresses, the limit is %d", n, MaxParts), "split the pipeline at a topic")
	}
	r.uniqueNames(f)
	return f, r.problems
}

// reader turns nodes into values and collects problems.
type reader struct {
	problems []Problem
}

type table map[string]func(*yaml.Node)

func (r *reader) add(n *yaml.Node, message, hint string) {
	r.problems = append(r.problems, Problem{Pos: posOf(n), Message: message, Hint: hint})
}

func posOf(n *yaml.Node) Pos { return Pos{Line: n.Line, Column: n.Column} }

func fmtPos(p Pos) string { return fmt.Sprintf("line %d, column %d", p.Line, p.Column) }

// fields reads a mapping of known fields; an unknown one is refused with the nearest name.
func (r *reader) fields(n *yaml.Node, what string, known table) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		r.add(n, fmt.Sprintf("%s is a mapping of fields, found %s", what, kindName(n)), "")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, ok := known[key.Value]
		switch {
		case !ok:
			r.add(key, fmt.Sprintf("unknown field %q in %s", key.Value, what), Suggest(key.Value, keysOf(known)))
		case seen[key.Value]:
			r.add(key, fmt.Sprintf("field %q stands twice in %s", key.Value, what), "keep one")
		default:
			seen[key.Value] = true
			read(value)
		}
	}
}

// each reads a mapping from names to parts, in the order of the file.
func (r *reader) each(n *yaml.Node, what string, part func(Text, *yaml.Node)) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		r.add(n, fmt.Sprintf("%s is a mapping from names, found %s", what, kindName(n)), "")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		part(r.name(n.Content[i], "a name in "+what), n.Content[i+1])
	}
}

func (r *reader) text(n *yaml.Node) Text {
	n = resolve(n)
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.add(n, "a text is wanted here, found "+kindName(n), "")
		return Text{Pos: posOf(n)}
	}
	return Text{Value: n.Value, Pos: posOf(n)}
}

func (r *reader) name(n *yaml.Node, what string) Text {
	t := r.text(n)
	if t.Value != "" && !ValidName(t.Value) {
		r.add(n, fmt.Sprintf("%q cannot be %s", t.Value, what), fmt.Sprintf("use letters, digits, _ and -, beginning with a letter, at most %d", MaxNameBytes))
	}
	return t
}

// ValidName says whether s can name a pipeline or a part of one.
func ValidName(s string) bool {
	if s == "" || len(s) > MaxNameBytes {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '_' || c == '-')) {
			return false
		}
	}
	return true
}

func (r *reader) count(n *yaml.Node, least, most int) int {
	t := r.text(n)
	v, err := strconv.Atoi(t.Value)
	if err != nil || v < least || v > most {
		r.add(n, fmt.Sprintf("%q is not a whole number of %d to %d", t.Value, least, most), "")
		return least
	}
	return v
}

func (r *reader) flag(n *yaml.Node) bool {
	t := r.text(n)
	v, err := strconv.ParseBool(t.Value)
	if err != nil {
		r.add(n, fmt.Sprintf("%q is neither true nor false", t.Value), "")
	}
	return v
}

func (r *reader) duration(n *yaml.Node) time.Duration {
	t := r.text(n)
	d, err := time.ParseDuration(t.Value)
	if err != nil || d < 0 {
		r.add(n, fmt.Sprintf("%q is not a duration", t.Value), "write it like 500ms, 10s or 5m")
	}
	return d
}

func (r *reader) policy(n *yaml.Node) Policy {
	t := r.text(n)
	r.oneOf(n, t.Value, string(DeadLetter), string(Fail))
	return Policy(t.Value)
}

func (r *reader) choice(n *yaml.Node, allowed ...string) Text {
	t := r.text(n)
	r.oneOf(n, t.Value, allowed...)
	return t
}

func (r *reader) oneOf(n *yaml.Node, got string, allowed ...string) {
	for _, a := range allowed {
		if a == got {
			return
		}
	}
	hint := Suggest(got, allowed)
	if hint == "" {
		hint = "choose one of " + strings.Join(allowed, ", ")
	}
	r.add(n, fmt.Sprintf("%q is not one of %s", got, strings.Join(allowed, ", ")), hint)
}

// json keeps a part of the file that somebody else reads.
func (r *reader) json(n *yaml.Node) json.RawMessage {
	var v any
	if err := n.Decode(&v); err != nil {
		r.add(n, err.Error(), "")
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		r.add(n, "it cannot be written as JSON: "+err.Error(), "use text keys only")
	}
	return b
}

func (r *reader) texts(n *yaml.Node) []Text {
	if n = resolve(n); n.Kind != yaml.SequenceNode {
		return []Text{r.text(n)}
	}
	var out []Text
	for _, c := range n.Content {
		out = append(out, r.text(c))
	}
	return out
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func kindName(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	default:
		return strconv.Quote(n.Value)
	}
}

// syntaxProblem takes the line out of the YAML library's message.
func syntaxProblem(err error) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	p := Problem{Message: text, Hint: "the file is not well-formed YAML"}
	var line int
	if _, scan := fmt.Sscanf(text, "line %d:", &line); scan == nil {
		_, p.Message, _ = strings.Cut(text, ": ")
		p.Pos = Pos{Line: line, Column: 1}
	}
	return p
}
