package planner

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/abi/manifest"
	connectors "github.com/weirstream/weir/platform/connector/all"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator/dispatch"
	"github.com/weirstream/weir/platform/operator/fetch"
	"github.com/weirstream/weir/platform/operator/ingress"
	"github.com/weirstream/weir/platform/operator/remote"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
	"github.com/weirstream/weir/platform/statefun/endpoint"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// FunctionsStage is the stage of a pipeline's stateful functions, and the name by
// which they are rescaled.
const FunctionsStage = "functions"

// Ids of the operators that a pipeline with functions has besides its types, each
// of which is an operator by its own name. A part of a file has no dot in its name.
const (
	MessagesID     = FunctionsStage + ".messages" // the source of what comes through the API
	DispatchID     = FunctionsStage + ".dispatch"
	parkedID       = FunctionsStage + ".parked"
	outboxID       = FunctionsStage + ".outbox"
	fetchID        = FunctionsStage + ".http"
	remotePrefix   = FunctionsStage + ".remote."
	repliesID      = FunctionsStage + ".replies"
	committedID    = FunctionsStage + ".committed"
	storedID       = FunctionsStage + ".stored"
	ingressPrefix  = FunctionsStage + ".ingress."
	routerPrefix   = FunctionsStage + ".router."
	EgressPrefix   = FunctionsStage + ".egress."
	maxEgressBytes = jobgraph.MaxIDBytes - len(EgressPrefix)
)

// RemoteTypes are the patterns of a remote operator, by the outputs of dispatch that it reads.
func RemoteTypes(g *jobgraph.Graph, o *jobgraph.Operator) []string {
	_, head, ok := g.Operator(DispatchID)
	var c dispatch.Config
	if !ok || json.Unmarshal(head.Config, &c) != nil {
		return nil
	}
	var out []string
	for _, up := range o.Upstream {
		if up.Output < len(c.Types) {
			out = append(out, c.Types[up.Output])
		}
	}
	return out
}

// IngressID is the operator id of an ingress's source.
func IngressID(name string) string { return ingressPrefix + name }

// messagesSuffix is the longer one of those of a pipeline's own topics. A name that
// it does not fit behind is refused: a shortened one could be another's.
const messagesSuffix = "-messages"

// MessagesTopic is the topic of messages that come to a pipeline's functions through the API.
func MessagesTopic(pipeline string) string { return pipeline + messagesSuffix }

// RepliesTopic is the topic of answers to calls that want what is committed.
func RepliesTopic(pipeline string) string { return pipeline + "-replies" }

// application is a pipeline's stateful functions whose names are resolved.
type application struct {
	*pipelinefile.Functions
	types       []statefulType
	parallelism int
	letters     bool
}

// statefulType is a type and the function that it is.
type statefulType struct {
	name     string
	module   Module
	function *manifest.Function
	config   json.RawMessage
}

// typeNames lists the types in the order of the graph: those of modules, then the
// patterns of remotes.
func (a *application) typeNames() []string {
	names := make([]string, len(a.types))
	for i := range a.types {
		names[i] = a.types[i].name
	}
	if a.Functions == nil {
		return names
	}
	for i := range a.Remote {
		for _, t := range a.Remote[i].Types {
			names = append(names, t.Value)
		}
	}
	return names
}

// application resolves the functions block of the file.
func (l *logical) application() {
	f := l.file.Functions
	a := &application{Functions: f, parallelism: f.Parallelism, letters: l.deadLetters(f.Errors)}
	if a.parallelism == 0 {
		a.parallelism = l.width()
	}
	if n := l.scale[FunctionsStage]; n > 0 {
		a.parallelism = n
	}
	for _, n := range l.nodes {
		if n.name == FunctionsStage {
			l.problem(n.pos, "choose another", "the name %s is that of the pipeline's functions", n.name)
		}
	}
	if most := pipelinefile.MaxNameBytes - len(messagesSuffix); len(l.file.Name.Value) > most {
		l.problem(l.file.Name.Pos, "choose a shorter one", "the name of a pipeline with functions has at most %d bytes, since its topics are called after it: %q has %d", most, l.file.Name.Value, len(l.file.Name.Value))
	}
	modules := f.Modules
	if len(modules) == 0 && l.file.Module.Value != "" {
		modules = []pipelinefile.Text{l.file.Module}
	}
	if len(modules) == 0 && len(f.Remote) == 0 {
		l.problem(f.Pos, "add modules: [NAME] to functions, or module: NAME to the pipeline", "functions names no module")
	}
	complete := len(l.problems) == 0
	for _, name := range modules {
		complete = l.typesOf(a, name) && complete
	}
	for i := range f.Remote {
		complete = l.remote(a, i) && complete
	}
	if complete {
		l.chooseTypes(a)
		l.typeConfigs(a)
		for i := range f.Ingress {
			l.ingress(a, &f.Ingress[i])
		}
	}
	for i := range f.Egress {
		l.egress(&f.Egress[i])
	}
	l.functions = a
}

// typesOf adds the stateful functions of a module; false if they cannot be known.
func (l *logical) typesOf(a *application, name pipelinefile.Text) bool {
	m, ok := l.module(name)
	if !ok {
		return false
	}
	found := false
	for i := range m.Manifest.Functions {
		f := &m.Manifest.Functions[i]
		if f.Type == "" {
			continue
		}
		found = true
		if at := slices.IndexFunc(a.types, func(t statefulType) bool { return t.name == f.Type }); at >= 0 {
			l.problem(name.Pos, "leave one of the modules out, or give one of the types another name", "modules %s and %s both have the type %s", a.types[at].module.Name, m.Name, f.Type)
			continue
		}
		a.types = append(a.types, statefulType{name: f.Type, module: m, function: f})
	}
	if !found {
		l.problem(name.Pos, "its functions are for operators:", "module %s has no stateful function", m.Name)
	}
	return found
}

// chooseTypes keeps the types that the file takes. The order is that of their
// names, so that neither the order of modules nor of their functions matters.
func (l *logical) chooseTypes(a *application) {
	slices.SortFunc(a.types, func(x, y statefulType) int { return strings.Compare(x.name, y.name) })
	if len(a.Types) == 0 {
		return
	}
	all := a.types
	a.types = nil
	for _, t := range all {
		if slices.ContainsFunc(a.Types, func(wanted pipelinefile.Text) bool { return wanted.Value == t.name }) {
			a.types = append(a.types, t)
		}
	}
	for _, wanted := range a.Types {
		if !slices.ContainsFunc(all, func(t statefulType) bool { return t.name == wanted.Value }) {
			names := (&application{types: all}).typeNames()
			l.problem(wanted.Pos, pipelinefile.Suggest(wanted.Value, names), "no module of the functions has the type %q", wanted.Value)
		}
	}
}

func (l *logical) typeConfigs(a *application) {
	for _, c := range a.Config {
		if at, ok := l.findType(a, c.Type); ok && at < len(a.types) {
			a.types[at].config = c.Config
		} else if ok {
			l.problem(c.Type.Pos, "configure its server", "type %s is remote, and takes no config from here", c.Type.Value)
		}
	}
	for _, server := range a.HTTP.Allow {
		if err := fetch.CheckServer(server.Value); err != nil {
			l.problem(server.Pos, "write host, host:port or http://host:port", "%v", err)
		}
	}
	for i := range a.types {
		t := &a.types[i]
		for k := range t.function.Outputs {
			if t.function.Outputs[k].Name == functions.RequestsName && len(a.HTTP.Allow) == 0 {
				l.warnings = append(l.warnings, pipelinefile.Problem{
					Pos: a.Pos, Hint: "add http: {allow: [HOST]} to functions",
					Message: fmt.Sprintf("function %s asks for calls over HTTP, and no server is allowed: each is answered with an error", t.name),
				})
			}
		}
	}
}

// remote checks a server of functions.
func (l *logical) remote(a *application, i int) bool {
	r := &a.Remote[i]
	before := len(l.problems)
	for _, t := range r.Types {
		if err := functions.CheckPattern(t.Value); err != nil {
			l.problem(t.Pos, "write a type, or NAMESPACE/* for all of a namespace", "%v", err)
		} else if len(t.Value) > jobgraph.MaxIDBytes-len(remotePrefix) {
			l.problem(t.Pos, "", "a remote type has %d bytes, the limit is %d", len(t.Value), jobgraph.MaxIDBytes-len(remotePrefix))
		}
		for k := range a.Remote[:i+1] {
			for _, other := range a.Remote[k].Types {
				if other.Pos != t.Pos && other.Value == t.Value {
					l.problem(t.Pos, "take it out of one of them", "type %s is at two remotes", t.Value)
				}
			}
		}
		if slices.ContainsFunc(a.types, func(own statefulType) bool { return own.name == t.Value }) {
			l.problem(t.Pos, "take it out, or leave the function of the module out by types:", "type %s is a module's, too", t.Value)
		}
	}
	if err := remoteConfig(r, false).Endpoint.Check(); err != nil {
		l.problem(r.URL.Pos, "", "remote %s: %v", r.Types[0].Value, err)
	}
	return len(l.problems) == before
}

func remoteConfig(r *pipelinefile.Remote, letters bool) remote.Config {
	return remote.Config{
		MaxBatch: r.MaxBatch, MaxInFlight: r.MaxInFlight, DeadLetters: letters,
		Endpoint: endpoint.Config{
			URL: r.URL.Value, CallTimeoutMs: r.CallTimeout.Milliseconds(), ConnectMs: r.ConnectTimeout.Milliseconds(),
			WriteMs: r.WriteTimeout.Milliseconds(), ReadMs: r.ReadTimeout.Milliseconds(), Insecure: r.TLS.Insecure,
			CAFile: r.TLS.CAFile.Value, CertFile: r.TLS.CertFile.Value, KeyFile: r.TLS.KeyFile.Value, ServerName: r.TLS.ServerName.Value, H2C: r.H2C,
		},
	}
}

func (l *logical) findType(a *application, name pipelinefile.Text) (int, bool) {
	names := a.typeNames()
	at := slices.Index(names, name.Value)
	if at < 0 {
		at = slices.IndexFunc(names, func(p string) bool { return functions.Covers([]string{p}, name.Value) })
	}
	if at < 0 {
		l.problem(name.Pos, pipelinefile.Suggest(name.Value, names), "the pipeline's functions have no type %q", name.Value)
	}
	return at, at >= 0
}

func (l *logical) ingress(a *application, in *pipelinefile.Ingress) {
	l.topic(in.Topic)
	for _, to := range in.To {
		l.findType(a, to)
	}
	if err := ingressConfig(in, false).Check(); err != nil {
		l.problem(in.Pos, "", "ingress %s: %v", in.Name.Value, err)
	}
	kind, options := l.sourceOptions(ingressSource(in))
	spec, err := connectors.SourceSpec(kind)
	l.checkOptions(in.Pos, spec, err, options)
}

func (l *logical) egress(e *pipelinefile.Egress) {
	if err := functions.CheckType(e.ID.Value); err != nil {
		l.problem(e.ID.Pos, "an egress is named like a type: namespace/name", "egress %q: %v", e.ID.Value, err)
	} else if len(e.ID.Value) > maxEgressBytes {
		l.problem(e.ID.Pos, "", "the id of an egress has %d bytes, the limit is %d", len(e.ID.Value), maxEgressBytes)
	}
	l.topic(e.Topic)
	kind, options := l.sinkOptions(egressSink(e))
	spec, err := connectors.SinkSpec(kind)
	l.checkOptions(e.Pos, spec, err, options)
}

// ingressSource is the source of an ingress: records as they are stored.
func ingressSource(in *pipelinefile.Ingress) *pipelinefile.Source {
	return &pipelinefile.Source{Name: in.Name, Topic: in.Topic, Start: in.Start, Options: in.Options, Pos: in.Pos}
}

func egressSink(e *pipelinefile.Egress) *pipelinefile.Sink {
	return &pipelinefile.Sink{Name: e.ID, Topic: e.Topic, Guarantee: e.Guarantee, Options: e.Options, Format: pipelinefile.Text{Value: rawFormat}, Pos: e.Pos}
}

// rawFormat writes records of the columns of schema.Raw as they are.
const rawFormat = "raw"

func ingressConfig(in *pipelinefile.Ingress, letters bool) ingress.Config {
	c := ingress.Config{Field: in.Field.Value, Typename: in.Typename.Value, Wrap: in.Wrap, DeadLetters: letters}
	for _, to := range in.To {
		c.To = append(c.To, to.Value)
	}
	if c.Typename == "" {
		c.Typename = functions.JSONTypename
	}
	return c
}
