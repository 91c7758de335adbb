package server

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/connector"
	connectors "github.com/weirstream/weir/platform/connector/all"
	"github.com/weirstream/weir/platform/connector/jetstream"
)

// environment is what connectors may use of this server.
func (s *Server) environment() connectors.Environment {
	return connectors.Environment{NATS: s.conn, Namespace: jetstream.DefaultNamespace, Topic: s.findTopic, Log: s.log()}
}

// findTopic looks a topic up in the catalog.
func (s *Server) findTopic(_ context.Context, namespace, name string) (jetstream.Topic, error) {
	t, ok := s.topics.Topic(namespace, name)
	if !ok {
		return t, fmt.Errorf("there is no topic %s in namespace %s: %w", name, namespace, connector.ErrPermanent)
	}
	return t, nil
}

func (s *Server) openSource(ctx context.Context, kind string, options json.RawMessage, rows *schema.Schema) (connector.Source, error) {
	return connectors.OpenSource(ctx, s.environment(), kind, options, rows)
}

func (s *Server) openSink(ctx context.Context, kind string, options json.RawMessage, rows *schema.Schema, g connector.Guarantee) (connector.Sink, error) {
	return connectors.OpenSink(ctx, s.environment(), kind, options, rows, g)
}
