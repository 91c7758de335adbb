package pipelinefile

import (
	"encoding/json"
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"
)

// Functions are the stateful functions of a pipeline: the types that its modules
// have, the topics that messages to them come from, and those that they write to.
type Functions struct {
	Modules     []Text // empty: the pipeline's
	Types       []Text // empty: all that the modules have
	Parallelism int    // 0: the pipeline's
	Errors      Policy
	CallTimeout time.Duration // of one call of a function; 0: the default
	MemoryMiB   int           // of an instance; 0: the default
	Config      []TypeConfig
	Ingress     []Ingress
	Egress      []Egress
	HTTP        HTTP
	Remote      []Remote
	Pos         Pos
}

// Remote is a server of functions that speaks StateFun's protocol.
type Remote struct {
	Types       []Text // each a type, or namespace/*
	URL         Text
	MaxBatch    int           // messages of a request; 0: the default
	MaxInFlight int           // requests under way in a task; 0: the default
	CallTimeout time.Duration // of a call with all its attempts; 0: the default
	// How long an attempt may stand still in each of its parts; 0: the defaults.
	ConnectTimeout, WriteTimeout, ReadTimeout time.Duration
	H2C                                       bool
	TLS                                       ClientTLS
	Pos                                       Pos
}

// ClientTLS names files of a client of TLS.
type ClientTLS struct {
	CAFile, CertFile, KeyFile, ServerName Text
	Insecure                              bool // whoever answers is believed
}

// HTTP says which servers functions may ask the host to call.
type HTTP struct {
	Allow       []Text
	MaxInFlight int // requests under way in a task; 0: the default
}

// TypeConfig is what a module is told for the functions of one type.
type TypeConfig struct {
	Type   Text
	Config json.RawMessage
}

// Ingress makes messages of a topic's records.
type Ingress struct {
	Name     Text // the topic's if left out
	Topic    Text
	To       []Text // types
	Field    Text   // of the record's JSON that is the id; empty: the record's key
	Typename Text
	Wrap     bool
	Start    Text
	Errors   Policy
	Options  json.RawMessage // of the connector
	Pos      Pos
}

// Egress writes what functions give to it to a topic.
type Egress struct {
	ID        Text // namespace/name
	Topic     Text
	Guarantee Text
	Options   json.RawMessage
	Pos       Pos
}

func (r *reader) functions(n *yaml.Node) *Functions {
	f := &Functions{Pos: posOf(n)}
	r.fields(n, "functions", table{
		"modules":      func(n *yaml.Node) { f.Modules = r.texts(n) },
		"types":        func(n *yaml.Node) { f.Types = r.texts(n) },
		"parallelism":  func(n *yaml.Node) { f.Parallelism = r.count(n, 1, 256) },
		"errors":       func(n *yaml.Node) { f.Errors = r.policy(n) },
		"call_timeout": func(n *yaml.Node) { f.CallTimeout = r.duration(n) },
		"memory_mib":   func(n *yaml.Node) { f.MemoryMiB = r.count(n, 1, 1024) },
		"config":       func(n *yaml.Node) { f.Config = r.typeConfigs(n) },
		"ingress": func(n *yaml.Node) {
			r.list(n, "ingress", func(n *yaml.Node) { f.Ingress = append(f.Ingress, r.ingress(n)) })
		},
		"egress": func(n *yaml.Node) {
			r.list(n, "egress", func(n *yaml.Node) { f.Egress = append(f.Egress, r.egress(n)) })
		},
		"remote": func(n *yaml.Node) {
			r.list(n, "remote", func(n *yaml.Node) { f.Remote = append(f.Remote, r.remote(n)) })
		},
		"http": func(n *yaml.Node) {
			r.fields(n, "http", table{
				"allow":         func(n *yaml.Node) { f.HTTP.Allow = r.texts(n) },
				"max_in_flight": func(n *yaml.Node) { f.HTTP.MaxInFlight = r.count(n, 1, 1024) },
			})
		},
	})
	r.uniqueIngress(f)
	return f
}

func (r *reader) remote(n *yaml.Node) Remote {
	out := Remote{Pos: posOf(n)}
	r.fields(n, "a remote", table{
		"types":           func(n *yaml.Node) { out.Types = r.texts(n) },
		"url":             func(n *yaml.Node) { out.URL = r.text(n) },
		"max_batch":       func(n *yaml.Node) { out.MaxBatch = r.count(n, 1, 100_000) },
		"max_in_flight":   func(n *yaml.Node) { out.MaxInFlight = r.count(n, 1, 4096) },
		"call_timeout":    func(n *yaml.Node) { out.CallTimeout = r.duration(n) },
		"connect_timeout": func(n *yaml.Node) { out.ConnectTimeout = r.duration(n) },
		"write_timeout":   func(n *yaml.Node) { out.WriteTimeout = r.duration(n) },
		"read_timeout":    func(n *yaml.Node) { out.ReadTimeout = r.duration(n) },
		"h2c":             func(n *yaml.Node) { out.H2C = r.flag(n) },
		"tls": func(n *yaml.Node) {
			r.fields(n, "tls", table{
				"ca_file":     func(n *yaml.Node) { out.TLS.CAFile = r.text(n) },
				"cert_file":   func(n *yaml.Node) { out.TLS.CertFile = r.text(n) },
				"key_file":    func(n *yaml.Node) { out.TLS.KeyFile = r.text(n) },
				"server_name": func(n *yaml.Node) { out.TLS.ServerName = r.text(n) },
				// The name says what it means, so that nobody writes it by chance.
				"insecure_skip_verify": func(n *yaml.Node) { out.TLS.Insecure = r.flag(n) },
			})
		},
	})
	if len(out.Types) == 0 {
		r.add(n, "a remote has no types", "add types: NAMESPACE/*, or a list of types")
	}
	if out.URL.Value == "" {
		r.add(n, "a remote has no url", "add url: http://HOST:PORT/PATH of the server of functions")
	}
	return out
}

func (r *reader) typeConfigs(n *yaml.Node) (out []TypeConfig) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		r.add(n, "config is a mapping from types, found "+kindName(n), "")
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		out = append(out, TypeConfig{Type: r.text(n.Content[i]), Config: r.json(n.Content[i+1])})
	}
	return out
}

func (r *reader) ingress(n *yaml.Node) Ingress {
	in := Ingress{Pos: posOf(n)}
	r.fields(n, "an ingress", table{
		"name":     func(n *yaml.Node) { in.Name = r.name(n, "an ingress's name") },
		"topic":    func(n *yaml.Node) { in.Topic = r.text(n) },
		"to":       func(n *yaml.Node) { in.To = r.texts(n) },
		"id":       func(n *yaml.Node) { in.Field = r.idField(n) },
		"typename": func(n *yaml.Node) { in.Typename = r.text(n) },
		"wrap":     func(n *yaml.Node) { in.Wrap = r.flag(n) },
		"start":    func(n *yaml.Node) { in.Start = r.choice(n, "earliest", "latest") },
		"errors":   func(n *yaml.Node) { in.Errors = r.policy(n) },
		"options":  func(n *yaml.Node) { in.Options = r.json(n) },
	})
	if in.Topic.Value == "" {
		r.add(n, "an ingress has no topic", "add topic: NAME")
	}
	if len(in.To) == 0 {
		r.add(n, "an ingress has no type to send to", "add to: NAMESPACE/NAME of a function")
	}
	if in.Name.Value == "" {
		in.Name = in.Topic
	}
	return in
}

// idField reads `key`, which is no field, or {field: NAME}.
func (r *reader) idField(n *yaml.Node) (field Text) {
	if n := resolve(n); n.Kind == yaml.MappingNode {
		r.fields(n, "id", table{"field": func(n *yaml.Node) { field = r.text(n) }})
		if field.Value == "" {
			r.add(n, "id names no field", "write id: key, or id: {field: NAME}")
		}
		return field
	}
	if t := r.text(n); t.Value != "key" {
		r.add(n, fmt.Sprintf("%q is not where an id can come from", t.Value), "write id: key for the record's key, or id: {field: NAME} for a field of its JSON")
	}
	return Text{}
}

func (r *reader) egress(n *yaml.Node) Egress {
	e := Egress{Pos: posOf(n)}
	r.fields(n, "an egress", table{
		"id":        func(n *yaml.Node) { e.ID = r.text(n) },
		"topic":     func(n *yaml.Node) { e.Topic = r.text(n) },
		"guarantee": func(n *yaml.Node) { e.Guarantee = r.choice(n, "exactly_once", "at_least_once") },
		"options":   func(n *yaml.Node) { e.Options = r.json(n) },
	})
	if e.ID.Value == "" {
		r.add(n, "an egress has no id", "add id: NAMESPACE/NAME, by which functions name it")
	}
	if e.Topic.Value == "" {
		r.add(n, "an egress has no topic", "add topic: NAME")
	}
	return e
}

// list reads a list of parts.
func (r *reader) list(n *yaml.Node, what string, part func(*yaml.Node)) {
	n = resolve(n)
	if n.Kind != yaml.SequenceNode {
		r.add(n, fmt.Sprintf("%s is a list, found %s", what, kindName(n)), "begin each with a dash")
		return
	}
	for _, c := range n.Content {
		part(resolve(c))
	}
}

// uniqueIngress refuses two ingresses of one name, since state belongs to names,
// and two egresses of one id.
func (r *reader) uniqueIngress(f *Functions) {
	seen := map[string]bool{}
	for _, in := range f.Ingress {
		if in.Name.Value != "" && seen[in.Name.Value] {
			r.problems = append(r.problems, Problem{Pos: in.Name.Pos, Message: fmt.Sprintf("the ingress %q stands twice", in.Name.Value), Hint: "give one of them another name: NAME; positions belong to it"})
		}
		seen[in.Name.Value] = true
	}
	ids := map[string]bool{}
	for _, e := range f.Egress {
		if e.ID.Value != "" && ids[e.ID.Value] {
			r.problems = append(r.problems, Problem{Pos: e.ID.Pos, Message: fmt.Sprintf("the egress %q stands twice", e.ID.Value), Hint: "choose another id"})
		}
		ids[e.ID.Value] = true
	}
}
