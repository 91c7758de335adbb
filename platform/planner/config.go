package planner

import (
	"encoding/json"
	"fmt"

	"github.com/weirstream/weir/platform/connector"
	connectors "github.com/weirstream/weir/platform/connector/all"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/operator/sink"
	"github.com/weirstream/weir/platform/operator/source"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

// Kinds of operators and of connectors that the planner names.
const (
	kindSource = source.Kind
	kindSink   = sink.Kind
)

// formatColumns is the format of frames of typed columns, in which nothing is decoded.
const formatColumns = "columns"

func (p *physical) sourceConfig(n *node) source.Config {
	s := n.source
	c := source.Config{
		EventTime:   s.EventTime.Column.Value,
		LatenessMs:  s.EventTime.Lateness.Milliseconds(),
		IdleMs:      s.EventTime.Idle.Milliseconds(),
		MaxDriftMs:  s.EventTime.MaxDrift.Milliseconds(),
		DeadLetters: n.letters,
	}
	var options map[string]any
	c.Connector, options = p.sourceOptions(s)
	if s.Topic.Value != "" {
		p.plan.Reads = append(p.plan.Reads, s.Topic.Value)
	}
	c.Options = encode(options)
	return c
}

// sourceOptions are what a source's connector is told.
func (l *logical) sourceOptions(s *pipelinefile.Source) (kind string, options map[string]any) {
	options = optionsOf(s.Options)
	if s.Format.Value != formatColumns {
		set(options, "format", s.Format.Value)
	}
	if s.Topic.Value == "" {
		set(options, "path", s.File.Value)
		return connectors.File, l.qualify(options)
	}
	set(options, "topic", l.topicName(s.Topic.Value))
	set(options, "start", s.Start.Value)
	if s.Bounded {
		options["bounded"] = true
	}
	return connectors.Topic, l.qualify(options)
}

// sinkOptions are what a sink's connector is told.
func (l *logical) sinkOptions(s *pipelinefile.Sink) (kind string, options map[string]any) {
	options = optionsOf(s.Options)
	set(options, "format", s.Format.Value)
	if s.Topic.Value == "" {
		set(options, "path", s.File.Value)
		return connectors.File, l.qualify(options)
	}
	set(options, "topic", l.topicName(s.Topic.Value))
	set(options, "key", s.Key.Value)
	return connectors.Topic, l.qualify(options)
}

// checkOptions holds options against what the connector says of itself.
func (l *logical) checkOptions(pos pipelinefile.Pos, spec connector.Spec, err error, options map[string]any) {
	if err == nil {
		_, err = spec.Read(encode(options))
	}
	if err != nil {
		l.problem(pos, "", "%v", err)
	}
	l.checkSecrets(pos, spec, options)
}

func (p *physical) sinkConfig(n *node) sink.Config {
	s := n.sink
	c := sink.Config{Guarantee: connector.Guarantee(s.Guarantee.Value)}
	if c.Guarantee == "" {
		c.Guarantee = connector.ExactlyOnce
	}
	if c.Guarantee == connector.ExactlyOnce {
		p.plan.Guarantee = connector.ExactlyOnce
	}
	var options map[string]any
	c.Connector, options = p.sinkOptions(s)
	if s.Topic.Value != "" {
		p.plan.Writes = append(p.plan.Writes, s.Topic.Value)
	}
	c.Options = encode(options)
	return c
}

// deadLetterConfig writes dead letters as columns, so that a record's bytes stay as they were.
func (p *physical) deadLetterConfig() sink.Config {
	return sink.Config{
		Connector: connectors.Topic,
		Guarantee: p.plan.Guarantee,
		Options:   encode(map[string]any{"topic": p.topicName(p.plan.DeadLetters), "format": formatColumns}),
	}
}

// topicName names a topic with its namespace, so that it needs no context.
func (l *logical) topicName(topic string) string {
	return l.namespace() + "/" + topic
}

func (l *logical) namespace() string {
	if ns := l.file.Namespace.Value; ns != "" {
		return ns
	}
	return jetstream.DefaultNamespace
}

func optionsOf(raw json.RawMessage) map[string]any {
	out := map[string]any{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			out["options"] = raw // refused by the connector, with its own words
		}
	}
	return out
}

func set(options map[string]any, name, value string) {
	if value != "" {
		options[name] = value
	}
}

func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("planner: options are plain data: %v", err))
	}
	return b
}
