// Package statefunfile makes a pipeline file of the module.yaml of a StateFun
// application: several documents, each a kind and its spec. What has no
// counterpart here is refused by name, never left out in silence. It must not
// know which topics exist, nor who applies the result.
package statefunfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

// Limits of a file.
const (
	MaxFileBytes = 256 << 10
	MaxDocuments = 256
)

// The kinds that are known. Those of Kafka and Kinesis are known to be refused.
const (
	kindEndpoint1 = "io.statefun.endpoints.v1/http"
	kindEndpoint2 = "io.statefun.endpoints.v2/http"
	kindPlayIn    = "io.statefun.playground.v1/ingress"
	kindPlayOut   = "io.statefun.playground.v1/egress"
	kindTopicIn   = "io.weir.topic.v1/ingress"
	kindTopicOut  = "io.weir.topic.v1/egress"
)

// PlaygroundEgress is the egress by whose name StateFun's playground examples give
// records, each with a topic of its own: topic t is the egress
// io.statefun.playground/t here.
const PlaygroundEgress = "io.statefun.playground"

// Converted is what a file comes to.
type Converted struct {
	Text     string   // of a pipeline file
	Topics   []string // that the playground makes by itself
	Warnings []pipelinefile.Problem
}

// Convert makes the file of a pipeline. Either there is a result or there are problems.
func Convert(text []byte, pipeline string) (*Converted, []pipelinefile.Problem) {
	c := &converter{out: &Converted{}}
	if len(text) > MaxFileBytes {
		c.problem(nil, "split the application", "a file of %d bytes, the limit is %d", len(text), MaxFileBytes)
		return nil, c.problems
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for n := 0; ; n++ {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.problem(nil, "", "read YAML: %v", err)
			break
		}
		if n == MaxDocuments {
			c.problem(&doc, "split the application", "more than %d documents", MaxDocuments)
			break
		}
		if len(doc.Content) > 0 {
			c.document(doc.Content[0])
		}
	}
	if len(c.problems) == 0 && len(c.file.Functions.Remote) == 0 {
		c.problem(nil, "add a document of the kind "+kindEndpoint2, "the file has no endpoint of functions")
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	c.file.Pipeline = pipeline
	b, err := yaml.Marshal(&c.file)
	if err != nil {
		c.problem(nil, "", "write the pipeline's file: %v", err)
		return nil, c.problems
	}
	c.out.Text = string(b)
	return c.out, nil
}

// file is the part of a pipeline file that this writes.
type file struct {
	Pipeline  string `yaml:"pipeline"`
	Functions struct {
		Remote  []remote  `yaml:"remote"`
		Ingress []ingress `yaml:"ingress,omitempty"`
		Egress  []egress  `yaml:"egress,omitempty"`
	} `yaml:"functions"`
}

type remote struct {
	Types          []string `yaml:"types,flow"`
	URL            string   `yaml:"url"`
	MaxBatch       int      `yaml:"max_batch,omitempty"`
	CallTimeout    string   `yaml:"call_timeout,omitempty"`
	ConnectTimeout string   `yaml:"connect_timeout,omitempty"`
	ReadTimeout    string   `yaml:"read_timeout,omitempty"`
}

type ingress struct {
	Name     string            `yaml:"name,omitempty"`
	Topic    string            `yaml:"topic"`
	To       []string          `yaml:"to,flow"`
	ID       map[string]string `yaml:"id,omitempty,flow"`
	Typename string            `yaml:"typename"`
	Wrap     bool              `yaml:"wrap,omitempty"`
}

type egress struct {
	ID    string `yaml:"id"`
	Topic string `yaml:"topic"`
}

type converter struct {
	file     file
	out      *Converted
	problems []pipelinefile.Problem
}

func (c *converter) problem(n *yaml.Node, hint, format string, args ...any) {
	c.problems = append(c.problems, pipelinefile.Problem{Pos: posOf(n), Message: fmt.Sprintf(format, args...), Hint: hint})
}

func (c *converter) warn(n *yaml.Node, hint, format string, args ...any) {
	c.out.Warnings = append(c.out.Warnings, pipelinefile.Problem{Pos: posOf(n), Message: fmt.Sprintf(format, args...), Hint: hint})
}

func posOf(n *yaml.Node) pipelinefile.Pos {
	if n == nil {
		return pipelinefile.Pos{}
	}
	return pipelinefile.Pos{Line: n.Line, Column: n.Column}
}

func (c *converter) document(n *yaml.Node) {
	var kind, spec *yaml.Node
	if n.Kind != yaml.MappingNode {
		c.problem(n, "each document has the fields kind and spec", "a document that is no mapping")
		return
	}
	c.fields(n, "a document", true, table{"kind": func(v *yaml.Node) { kind = v }, "spec": func(v *yaml.Node) { spec = v }})
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "module" || n.Content[i].Value == "version" {
			c.problem(n.Content[i], "write it anew as documents of kind and spec, as StateFun has it since 3.1", "a module of StateFun 3.0 or earlier")
			return
		}
	}
	if kind == nil || spec == nil {
		c.problem(n, "each document has both", "a document without kind or spec")
		return
	}
	read := map[string]func(*yaml.Node){
		kindEndpoint1: c.endpoint, kindEndpoint2: c.endpoint, kindPlayIn: c.playIn, kindPlayOut: c.playOut, kindTopicIn: c.topicIn, kindTopicOut: c.topicOut,
	}[kind.Value]
	switch {
	case read != nil:
		read(spec)
	case strings.HasPrefix(kind.Value, "io.statefun.kafka.") || strings.HasPrefix(kind.Value, "io.statefun.kinesis."):
		c.problem(kind, fmt.Sprintf("bring its records into a topic of Weir, and write %s or %s for it", kindTopicIn, kindTopicOut), "%s: there is no connector for it yet", kind.Value)
	default:
		hint := pipelinefile.Suggest(kind.Value, []string{kindEndpoint1, kindEndpoint2, kindPlayIn, kindPlayOut, kindTopicIn, kindTopicOut})
		c.problem(kind, hint, "unknown kind %q", kind.Value)
	}
}

// table reads fields by their names.
type table map[string]func(*yaml.Node)

// fields reads a mapping. What StateFun may have and Weir has not is a warning in
// its kinds, and a problem in ours.
func (c *converter) fields(n *yaml.Node, what string, lenient bool, known table) {
	if n.Kind != yaml.MappingNode {
		c.problem(n, "", "%s is a mapping of fields", what)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, ok := known[key.Value]
		switch {
		case ok:
			read(value)
		case key.Value == "module" || key.Value == "version":
		case lenient:
			c.warn(key, "", "field %q of %s has no meaning here and is left out", key.Value, what)
		default:
			names := make([]string, 0, len(known))
			for name := range known {
				names = append(names, name)
			}
			slices.Sort(names)
			c.problem(key, pipelinefile.Suggest(key.Value, names), "unknown field %q in %s", key.Value, what)
		}
	}
}

// endpoint reads a server of functions.
func (c *converter) endpoint(n *yaml.Node) {
	r := remote{}
	timeouts := table{
		"call":    func(v *yaml.Node) { r.CallTimeout = c.duration(v) },
		"connect": func(v *yaml.Node) { r.ConnectTimeout = c.duration(v) },
		"read":    func(v *yaml.Node) { r.ReadTimeout = c.duration(v) },
		"write":   func(v *yaml.Node) { _ = c.duration(v) }, // the time to read covers it
	}
	transport := table{"type": func(*yaml.Node) {}, "timeouts": func(v *yaml.Node) { c.fields(v, "timeouts", true, timeouts) }}
	for name, read := range timeouts {
		transport[name] = read
	}
	c.fields(n, "an endpoint", true, table{
		"functions":           func(v *yaml.Node) { r.Types = []string{c.pattern(v)} },
		"urlPathTemplate":     func(v *yaml.Node) { r.URL = v.Value },
		"url":                 func(v *yaml.Node) { r.URL = v.Value },
		"maxNumBatchRequests": func(v *yaml.Node) { r.MaxBatch = c.count(v) },
		"timeouts":            func(v *yaml.Node) { c.fields(v, "timeouts", true, timeouts) },
		"transport":           func(v *yaml.Node) { c.fields(v, "transport", true, transport) },
	})
	if len(r.Types) == 0 || r.URL == "" {
		c.problem(n, "", "an endpoint without functions or urlPathTemplate")
		return
	}
	c.file.Functions.Remote = append(c.file.Functions.Remote, r)
}

func (c *converter) pattern(n *yaml.Node) string {
	if err := functions.CheckPattern(n.Value); err != nil {
		c.problem(n, "", "%v", err)
	}
	return n.Value
}

func (c *converter) count(n *yaml.Node) (v int) {
	if err := n.Decode(&v); err != nil || v < 1 {
		c.problem(n, "", "%q is no number from 1", n.Value)
	}
	return v
}

// duration reads what StateFun takes: a number and a unit, with or without a blank.
func (c *converter) duration(n *yaml.Node) string {
	text := strings.ReplaceAll(strings.ToLower(n.Value), " ", "")
	at := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if at <= 0 {
		c.problem(n, "write it like 10s or 2min", "%q is no duration", n.Value)
		return ""
	}
	unit, ok := units[text[at:]]
	if !ok {
		c.problem(n, "write it like 10s or 2min", "%q is no duration", n.Value)
		return ""
	}
	return text[:at] + unit
}

var units = map[string]string{
	"ms": "ms", "milli": "ms", "millis": "ms", "millisecond": "ms", "milliseconds": "ms",
	"s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s",
	"m": "m", "min": "m", "mins": "m", "minute": "m", "minutes": "m", "h": "h", "hour": "h", "hours": "h",
}

// playIn is StateFun's server for messages over HTTP, which Weir has at its own port.
func (c *converter) playIn(n *yaml.Node) {
	c.fields(n, "a playground's ingress", true, table{"port": func(*yaml.Node) {}})
	c.warn(n, "send by: curl -X PUT SERVER/v1/functions/NAMESPACE/NAME/ID with the same content type and body", "no server of its own: messages come to Weir's port")
}

func (c *converter) playOut(n *yaml.Node) {
	c.fields(n, "a playground's egress", true, table{
		"port": func(*yaml.Node) {},
		"topics": func(v *yaml.Node) {
			var topics []string
			if err := v.Decode(&topics); err != nil {
				c.problem(v, "", "topics is a list of names")
			}
			for _, t := range topics {
				c.file.Functions.Egress = append(c.file.Functions.Egress, egress{PlaygroundEgress + "/" + t, t})
				c.out.Topics = append(c.out.Topics, t)
			}
		},
	})
	c.warn(n, "read by: weir topic read NAME", "no server of its own: what functions give is in topics of the same names")
}

func (c *converter) topicIn(n *yaml.Node) {
	in := ingress{}
	c.fields(n, kindTopicIn, false, table{
		"id":        func(v *yaml.Node) { in.Name = strings.NewReplacer("/", "-", ".", "-").Replace(v.Value) },
		"topic":     func(v *yaml.Node) { in.Topic = v.Value },
		"valueType": func(v *yaml.Node) { in.Typename = v.Value },
		"wrap": func(v *yaml.Node) {
			if err := v.Decode(&in.Wrap); err != nil {
				c.problem(v, "", "wrap is true or false")
			}
		},
		"idField": func(v *yaml.Node) { in.ID = map[string]string{"field": v.Value} },
		"targets": func(v *yaml.Node) {
			if err := v.Decode(&in.To); err != nil {
				c.problem(v, "write them like [com.example/greeter]", "targets is a list of types")
			}
		},
	})
	if in.Topic == "" || in.Typename == "" || len(in.To) == 0 {
		c.problem(n, "", "%s needs topic, valueType and targets", kindTopicIn)
		return
	}
	c.file.Functions.Ingress = append(c.file.Functions.Ingress, in)
}

func (c *converter) topicOut(n *yaml.Node) {
	e := egress{}
	c.fields(n, kindTopicOut, false, table{
		"id":    func(v *yaml.Node) { e.ID = v.Value },
		"topic": func(v *yaml.Node) { e.Topic = v.Value },
	})
	if e.ID == "" || e.Topic == "" {
		c.problem(n, "", "%s needs id and topic", kindTopicOut)
		return
	}
	c.file.Functions.Egress = append(c.file.Functions.Egress, e)
}
