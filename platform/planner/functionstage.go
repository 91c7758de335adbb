package planner

import (
	"slices"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/connector"
	connectors "github.com/weirstream/weir/platform/connector/all"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator/deadletter"
	"github.com/weirstream/weir/platform/operator/dispatch"
	"github.com/weirstream/weir/platform/operator/fetch"
	"github.com/weirstream/weir/platform/operator/ingress"
	"github.com/weirstream/weir/platform/operator/outbox"
	"github.com/weirstream/weir/platform/operator/parked"
	"github.com/weirstream/weir/platform/operator/project"
	"github.com/weirstream/weir/platform/operator/remote"
	"github.com/weirstream/weir/platform/operator/sink"
	"github.com/weirstream/weir/platform/operator/source"
	"github.com/weirstream/weir/platform/operator/udf"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Inputs of the stage.
const (
	fromOutside = 0
	fromItself  = 1
)

// callerColumn is the key of what functions send: the id of who sends.
const callerColumn = "caller_id"

// functionStage places the stateful functions, and what feeds them:
//
//	source ── ingress ──┐ hash by id
//	source of the API ──┴─► dispatch ─ types, parked ─ outbox ─ sinks
//	                           ▲ hash by id, feedback  │
//	                           └───────────────────────┘
func (p *physical) functionStage() {
	a := p.functions
	if a == nil {
		return
	}
	p.plan.Messages, p.plan.Replies = MessagesTopic(p.file.Name.Value), RepliesTopic(p.file.Name.Value)
	b := &stageBuilder{physical: p, app: a}
	for i := range a.Ingress {
		b.ingress(&a.Ingress[i])
	}
	b.messages()
	b.stage = jobgraph.StageID(len(p.plan.Graph.Stages))
	p.plan.Graph.Stages = append(p.plan.Graph.Stages, jobgraph.Stage{ID: b.stage, Name: FunctionsStage, Parallelism: a.parallelism})
	b.types()
	b.outbox()
	for _, at := range b.entries {
		b.enter(at)
	}
}

// stageBuilder adds operators to the stage of functions.
type stageBuilder struct {
	*physical
	app     *application
	entries []place // where messages come from outside
	stage   jobgraph.StageID
	sends   []jobgraph.Port // what goes to the outbox
	sent    []string        // their schemas
	asks    []jobgraph.Port // requests over HTTP
}

var message = functions.Message.String()

// add places an operator in the stage and gives its index.
func (b *stageBuilder) add(op jobgraph.Operator, config any) int {
	op.Config = encode(config)
	s := &b.plan.Graph.Stages[b.stage]
	s.Operators = append(s.Operators, op)
	return len(s.Operators) - 1
}

// types places dispatch, the functions and what keeps messages to types that are not here.
func (b *stageBuilder) types() {
	names := b.app.typeNames()
	head := b.add(jobgraph.Operator{
		ID: DispatchID, Kind: dispatch.Kind, Inputs: []string{message, message},
		Outputs:  slices.Repeat([]string{message}, len(names)+1),
		Upstream: []jobgraph.Port{{Operator: -1, Output: fromOutside}, {Operator: -1, Output: fromItself}},
	}, dispatch.Config{Types: names})
	for i := range b.app.types {
		b.function(&b.app.types[i], jobgraph.Port{Operator: head, Output: i})
	}
	port := len(b.app.types)
	for i := range b.app.Remote {
		b.remote(&b.app.Remote[i], head, port)
		port += len(b.app.Remote[i].Types)
	}
	b.http()
	at := b.add(jobgraph.Operator{
		ID: parkedID, Kind: parked.Kind, Inputs: []string{message}, Outputs: []string{message}, Key: [][]string{{functions.KeyColumn}},
		State: parked.States(), Upstream: []jobgraph.Port{{Operator: head, Output: len(names)}},
	}, parked.Config{Types: names})
	b.toOutbox(at, 0, functions.Message)
}

// remote places what calls a server of functions: an input for each of its patterns.
func (b *stageBuilder) remote(r *pipelinefile.Remote, head, port int) {
	op := jobgraph.Operator{
		ID: remotePrefix + r.Types[0].Value, Kind: remote.Kind, State: remote.States(),
		Inputs: slices.Repeat([]string{message}, len(r.Types)), Key: slices.Repeat([][]string{{functions.KeyColumn}}, len(r.Types)),
		Outputs: []string{functions.Sent.String(), functions.Egress.String()},
	}
	for i := range r.Types {
		op.Upstream = append(op.Upstream, jobgraph.Port{Operator: head, Output: port + i})
	}
	if b.app.letters {
		op.Outputs = append(op.Outputs, deadletter.Schema.String())
	}
	at := b.add(op, remoteConfig(r, b.app.letters))
	b.toOutbox(at, 0, functions.Sent)
	b.toOutbox(at, 1, functions.Egress)
	if b.app.letters {
		b.letter(place{b.stage, at}, 2)
	}
}

// http places what makes requests for functions, if one makes any.
func (b *stageBuilder) http() {
	if len(b.asks) == 0 {
		return
	}
	config := fetch.Config{MaxInFlight: b.app.HTTP.MaxInFlight}
	for _, server := range b.app.HTTP.Allow {
		config.Allow = append(config.Allow, server.Value)
	}
	at := b.add(jobgraph.Operator{
		ID: fetchID, Kind: fetch.Kind, Outputs: []string{message}, State: fetch.States(), Upstream: b.asks,
		Inputs: slices.Repeat([]string{functions.Request.String()}, len(b.asks)),
		Key:    slices.Repeat([][]string{{callerColumn}}, len(b.asks)),
	}, config)
	b.toOutbox(at, 0, functions.Message)
}

func (b *stageBuilder) toOutbox(operator, output int, s *schema.Schema) {
	b.sends = append(b.sends, jobgraph.Port{Operator: operator, Output: output})
	b.sent = append(b.sent, s.String())
}

// function places a type. Its operator's id is the type, to which its state belongs.
func (b *stageBuilder) function(t *statefulType, from jobgraph.Port) {
	op := jobgraph.Operator{
		ID: t.name, Kind: udf.Kind, Inputs: []string{message}, Key: [][]string{{functions.KeyColumn}},
		State: statesOf(t.function), Upstream: []jobgraph.Port{from},
	}
	var sent []*schema.Schema
	for i := range t.function.Outputs {
		s := functions.Sent
		switch name := t.function.Outputs[i].Name; {
		case i == 0:
		case name == functions.EgressOutput:
			s = functions.Egress
		case name == functions.RequestsName:
			s = functions.Request
		}
		sent = append(sent, s)
		op.Outputs = append(op.Outputs, s.String())
	}
	if b.app.letters {
		op.Outputs = append(op.Outputs, deadletter.Schema.String())
	}
	at := b.add(op, udf.Config{
		Module: t.module.Digest, Function: t.function.Name, Config: t.config, Address: t.name, DeadLetters: b.app.letters,
		CallTimeoutMs: b.app.CallTimeout.Milliseconds(), MemoryPages: uint32(b.app.MemoryMiB) * pagesPerMiB,
	})
	for i, s := range sent {
		if s == functions.Request {
			b.asks = append(b.asks, jobgraph.Port{Operator: at, Output: i})
		} else {
			b.toOutbox(at, i, s)
		}
	}
	if b.app.letters {
		b.letter(place{b.stage, at}, len(sent))
	}
	if !slices.Contains(b.plan.Modules, t.module.Digest) {
		b.plan.Modules = append(b.plan.Modules, t.module.Digest)
	}
}

// outbox places the outbox, the edge back to dispatch, and the sinks.
func (b *stageBuilder) outbox() {
	var egress []string
	for _, e := range b.app.Egress {
		egress = append(egress, e.ID.Value)
	}
	slices.Sort(egress)
	raw, replies := schema.Raw().String(), 1+len(egress)
	op := jobgraph.Operator{
		ID: outboxID, Kind: outbox.Kind, Inputs: b.sent, Upstream: b.sends, State: outbox.States(),
		Key:     slices.Repeat([][]string{{callerColumn}}, len(b.sent)),
		Outputs: append(append([]string{message}, slices.Repeat([]string{raw}, len(egress))...), message),
	}
	if b.app.letters {
		op.Outputs = append(op.Outputs, deadletter.Schema.String())
	}
	at := b.add(op, outbox.Config{Egress: egress, DeadLetters: b.app.letters})
	if b.app.letters {
		b.letter(place{b.stage, at}, replies+1)
	}
	b.plan.Graph.Edges = append(b.plan.Graph.Edges, jobgraph.Edge{
		From: b.stage, Operator: at, To: b.stage, Input: fromItself, Partitioning: jobgraph.Hash, Key: []string{functions.KeyColumn}, Schema: message, Feedback: true,
	})
	for i := range b.app.Egress {
		e := &b.app.Egress[i]
		n := &node{sink: egressSink(e)}
		b.add(jobgraph.Operator{
			ID: EgressPrefix + e.ID.Value, Kind: kindSink, Inputs: []string{raw},
			Upstream: []jobgraph.Port{{Operator: at, Output: 1 + slices.Index(egress, e.ID.Value)}},
		}, b.sinkConfig(n))
	}
	b.replies(jobgraph.Port{Operator: at, Output: replies})
}

// replies places the two ways of answers to calls: at once to whoever waits, and,
// of those that a caller may come back for, to a topic once they are committed.
func (b *stageBuilder) replies(from jobgraph.Port) {
	b.add(jobgraph.Operator{ID: repliesID, Kind: kindSink, Inputs: []string{message}, Upstream: []jobgraph.Port{from}},
		sinkOf(connectors.Replies, connector.AtLeastOnce, map[string]any{}))
	filter := b.add(jobgraph.Operator{ID: storedID, Kind: project.Kind, Inputs: []string{message}, Outputs: []string{message}, Upstream: []jobgraph.Port{from}},
		project.Config{Where: []project.Predicate{{Column: functions.KeyColumn, Op: "<", Value: encode(functions.StoredBelow)}}})
	b.add(jobgraph.Operator{ID: committedID, Kind: kindSink, Inputs: []string{message}, Upstream: []jobgraph.Port{{Operator: filter}}},
		sinkOf(connectors.Topic, connector.ExactlyOnce, map[string]any{"topic": b.topicName(b.plan.Replies), "format": formatColumns}))
	b.plan.Guarantee = connector.ExactlyOnce
}

// ingress places a source of records and the operator that makes messages of them.
func (b *stageBuilder) ingress(in *pipelinefile.Ingress) {
	policy := in.Errors
	if policy == "" {
		policy = b.app.Errors
	}
	n := &node{source: ingressSource(in), letters: b.logical.deadLetters(policy)}
	n.source.Format.Value = rawFormat
	id, width := IngressID(in.Name.Value), b.width()
	if n := b.scale[id]; n > 0 {
		width = n
	}
	at := b.source(id, width, schema.Raw(), n.letters, b.physical.sourceConfig(n))
	router := jobgraph.Operator{
		ID: routerPrefix + in.Name.Value, Kind: ingress.Kind, Inputs: []string{schema.Raw().String()}, Outputs: []string{message},
		Upstream: []jobgraph.Port{{Operator: at.operator}}, Config: encode(ingressConfig(in, n.letters)),
	}
	if n.letters {
		router.Outputs = append(router.Outputs, deadletter.Schema.String())
	}
	s := &b.plan.Graph.Stages[at.stage]
	s.Operators = append(s.Operators, router)
	at.operator = len(s.Operators) - 1
	if n.letters {
		b.letter(at, ingress.DeadLetters)
	}
	b.entries = append(b.entries, at)
}

// messages places the source of what comes through the API. Its topic has one partition.
func (b *stageBuilder) messages() {
	letters := b.app.letters
	b.entries = append(b.entries, b.source(MessagesID, 1, functions.Message, letters, source.Config{
		Connector: connectors.Topic, DeadLetters: letters, Options: encode(map[string]any{"topic": b.topicName(b.plan.Messages)}),
	}))
}

func (b *stageBuilder) source(id string, parallelism int, rows *schema.Schema, letters bool, config source.Config) place {
	op := jobgraph.Operator{ID: id, Kind: kindSource, Config: encode(config), Outputs: []string{rows.String()}}
	if letters {
		op.Outputs = append(op.Outputs, deadletter.Schema.String())
	}
	at := b.physical.stage(id, parallelism, op)
	if letters {
		b.letter(at, 1)
	}
	return at
}

// enter leads messages from outside into the stage.
func (b *stageBuilder) enter(at place) {
	b.plan.Graph.Edges = append(b.plan.Graph.Edges, jobgraph.Edge{
		From: at.stage, Operator: at.operator, To: b.stage, Input: fromOutside, Partitioning: jobgraph.Hash, Key: []string{functions.KeyColumn}, Schema: message,
	})
}

// letter leads dead letters of an operator to their sink.
func (b *stageBuilder) letter(at place, output int) {
	b.letters = append(b.letters, letterOutput{at, output})
}

func sinkOf(kind string, g connector.Guarantee, options map[string]any) sink.Config {
	return sink.Config{Connector: kind, Guarantee: g, Options: encode(options)}
}
