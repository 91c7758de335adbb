// Package all is the table of connectors. It must not know how any of them
// works, nor who reads or writes through it.
package all

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/connector/replies"
)

// Environment is what connectors need from their server.
type Environment struct {
	NATS *nats.Conn
	// Namespace is the pipeline's, whose topics need no namespace in front.
	Namespace string
	// Topic finds a topic in the catalog.
	Topic func(ctx context.Context, namespace, name string) (jetstream.Topic, error)
	// Secret gives the value of a secret that options refer to; nil: there are none.
	Secret func(ctx context.Context, namespace, name string) (string, error)
	Stdin  io.Reader // nil: the process's
	Stdout io.Writer // nil: the process's
	Log    *slog.Logger
}

// The kinds of connectors.
const (
	Topic = "topic"
	File  = "file"
	// Replies answers calls of functions; only the planner places it.
	Replies = "replies"
)

// entry is a connector; a nil function says that it has no such direction.
type entry struct {
	kind   string
	source connector.Spec
	sink   connector.Spec
	// bounded tells whether a source with these options ends by itself.
	bounded    func(connector.Values) bool
	openSource func(context.Context, Environment, connector.Values, *schema.Schema) (connector.Source, error)
	openSink   func(context.Context, Environment, connector.Values, *schema.Schema, connector.Guarantee) (connector.Sink, error)
}

var connectors = []entry{
	{Topic, topicSource, topicSink, func(v connector.Values) bool { return v.Flag("bounded") }, openTopicSource, openTopicSink},
	{File, fileSource, fileSink, func(connector.Values) bool { return true }, openFileSource, openFileSink},
	{kind: Replies, sink: connector.Spec{Kind: "replies", Doc: "Answers calls of functions where their callers wait."}, openSink: openReplies},
}

func openReplies(_ context.Context, env Environment, _ connector.Values, rows *schema.Schema, g connector.Guarantee) (connector.Sink, error) {
	if g != connector.AtLeastOnce {
		return nil, mistake{fmt.Errorf("answers come at once: the guarantee is %s", connector.AtLeastOnce)}
	}
	s, err := replies.New(env.NATS, rows)
	if err != nil {
		return nil, mistake{err}
	}
	return s, nil
}

// Kinds lists the connectors.
func Kinds() []string {
	kinds := make([]string, len(connectors))
	for i, c := range connectors {
		kinds[i] = c.kind
	}
	return kinds
}

func find(kind string) (*entry, error) {
	for i := range connectors {
		if connectors[i].kind == kind {
			return &connectors[i], nil
		}
	}
	if near := connector.Nearest(kind, Kinds()); near != "" {
		return nil, fmt.Errorf("unknown connector %q: did you mean %q?", kind, near)
	}
	return nil, fmt.Errorf("unknown connector %q: have %s", kind, strings.Join(Kinds(), ", "))
}

// SourceSpec describes the options of a connector's sources.
func SourceSpec(kind string) (connector.Spec, error) {
	e, err := find(kind)
	if err == nil && e.openSource == nil {
		err = fmt.Errorf("connector %q has no source", kind)
	}
	if err != nil {
		return connector.Spec{}, err
	}
	return e.source, nil
}

// SinkSpec describes the options of a connector's sinks.
func SinkSpec(kind string) (connector.Spec, error) {
	e, err := find(kind)
	if err != nil {
		return connector.Spec{}, err
	}
	return e.sink, nil
}

// Bounded tells whether a source ends by itself; its options must be right.
func Bounded(kind string, options json.RawMessage) (bool, error) {
	e, err := find(kind)
	if err == nil && e.bounded == nil {
		err = fmt.Errorf("connector %q has no source", kind)
	}
	if err != nil {
		return false, err
	}
	v, err := e.source.Read(options)
	if err != nil {
		return false, err
	}
	return e.bounded(v), nil
}

// mistake is an error of options: only who wrote them can mend it.
type mistake struct{ error }

// Is tells whoever decides about restarts that another one does not help.
func (mistake) Is(target error) bool { return target == connector.ErrPermanent }

func (m mistake) Unwrap() error { return m.error }

// OpenSource makes a source that gives rows of that schema. What only another
// pipeline file can mend is refused with connector.ErrPermanent.
func OpenSource(ctx context.Context, env Environment, kind string, options json.RawMessage, rows *schema.Schema) (connector.Source, error) {
	e, err := find(kind)
	if err == nil && e.openSource == nil {
		err = fmt.Errorf("connector %q has no source", kind)
	}
	if err != nil {
		return nil, mistake{err}
	}
	if options, err = env.reveal(ctx, options); err != nil {
		return nil, err
	}
	v, err := e.source.Read(options)
	if err != nil {
		return nil, mistake{err}
	}
	return e.openSource(ctx, env, v, rows)
}

// OpenSink makes a sink that takes rows of that schema. What only another
// pipeline file can mend is refused with connector.ErrPermanent.
func OpenSink(ctx context.Context, env Environment, kind string, options json.RawMessage, rows *schema.Schema, g connector.Guarantee) (connector.Sink, error) {
	e, err := find(kind)
	if err != nil {
		return nil, mistake{err}
	}
	if options, err = env.reveal(ctx, options); err != nil {
		return nil, err
	}
	v, err := e.sink.Read(options)
	if err != nil {
		return nil, mistake{err}
	}
	return e.openSink(ctx, env, v, rows, g)
}
