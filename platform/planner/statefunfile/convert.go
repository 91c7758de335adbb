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
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

// Limits of a file.
const (
	MaxFileBytes = 256 << 10
	MaxDocuments = 256
)

// The kinds that are known. Those of Kafka and Kinesis are known to be refused.
const (
	kindEndpoint0 = "io.statefun.endpoints/http" // what version 1 is called too
	kindEndpoint1 = "io.statefun.endpoints.v1/http"
	kindEndpoint2 = "io.statefun.endpoints.v2/http"
	kindPlayIn    = "io.statefun.playground.v1/ingress"
	kindPlayOut   = "io.statefun.playground.v1/egress"
	kindTopicIn   = "io.weir.topic.v1/ingress"
	kindTopicOut  = "io.weir.topic.v1/egress"
	kafkaPrefix   = "io.statefun.kafka."
	kinesisPrefix = "io.statefun.kinesis."
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
	c := &converter{out: &Converted{}, seen: map[string]pipelinefile.Pos{}}
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
	// What is left is what only the whole file shows.
	if _, problems := pipelinefile.Parse(b); len(problems) > 0 {
		for _, p := range problems {
			c.problem(nil, p.Hint, "the pipeline's file that comes of it: %s", p.Message)
		}
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
	WriteTimeout   string   `yaml:"write_timeout,omitempty"`
	ReadTimeout    string   `yaml:"read_timeout,omitempty"`
	TLS            files    `yaml:"tls,omitempty,flow"`

	at *yaml.Node // of the URL
}

type files struct {
	CA   string `yaml:"ca_file,omitempty"`
	Cert string `yaml:"cert_file,omitempty"`
	Key  string `yaml:"key_file,omitempty"`
}

type ingress struct {
	Name     string            `yaml:"name,omitempty"`
	Topic    string            `yaml:"topic"`
	To       []string          `yaml:"to,flow"`
	ID       map[string]string `yaml:"id,omitempty,flow"`
	Typename string            `yaml:"typename"`
	Wrap     bool              `yaml:"wrap,omitempty"`
	Start    string            `yaml:"start,omitempty"`
}

type egress struct {
	ID    string `yaml:"id"`
	Topic string `yaml:"topic"`
}

type converter struct {
	file     file
	out      *Converted
	problems []pipelinefile.Problem
	seen     map[string]pipelinefile.Pos // what may stand once: patterns of functions, ids
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
	if n = resolve(n); n.Kind != yaml.MappingNode {
		c.problem(n, "each document has the fields kind and spec", "a document that is no mapping")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "module" || n.Content[i].Value == "version" {
			c.problem(n.Content[i], "write it anew as documents of kind and spec, as StateFun has it since 3.1", "a module of StateFun 3.0 or earlier")
			return
		}
	}
	c.fields(n, "a document", lenient, table{"kind": func(v *yaml.Node) { kind = v }, "spec": func(v *yaml.Node) { spec = v }})
	if kind == nil || spec == nil {
		c.problem(n, "each document has both", "a document without kind or spec")
		return
	}
	name := c.text(kind)
	read := map[string]func(*yaml.Node){
		kindEndpoint0: c.endpoint1, kindEndpoint1: c.endpoint1, kindEndpoint2: c.endpoint2,
		kindPlayIn: c.playIn, kindPlayOut: c.playOut, kindTopicIn: c.topicIn, kindTopicOut: c.topicOut,
	}[name]
	switch {
	case read != nil:
		read(resolve(spec))
	case strings.HasPrefix(name, kafkaPrefix):
		c.elsewhere(kind, resolve(spec), "Kafka", "topic")
	case strings.HasPrefix(name, kinesisPrefix):
		c.elsewhere(kind, resolve(spec), "Kinesis", "stream")
	case name != "":
		hint := pipelinefile.Suggest(name, []string{kindEndpoint1, kindEndpoint2, kindPlayIn, kindPlayOut, kindTopicIn, kindTopicOut})
		c.problem(kind, hint, "unknown kind %q", name)
	}
}
