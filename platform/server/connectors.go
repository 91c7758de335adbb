package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/connector"
	connectors "github.com/weirstream/weir/platform/connector/all"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// environment is what connectors may use of this server.
func (s *Server) environment() connectors.Environment {
	return connectors.Environment{NATS: s.conn, Namespace: jetstream.DefaultNamespace, Topic: s.findTopic, Secret: s.findSecret, Log: s.log()}
}

// findTopic looks a topic up in the catalog.
func (s *Server) findTopic(ctx context.Context, namespace, name string) (jetstream.Topic, error) {
	if s.node == nil {
		return s.askTopic(ctx, namespace, name)
	}
	t, ok := s.topics.Topic(namespace, name)
	if !ok {
		return t, fmt.Errorf("there is no topic %s in namespace %s: %w", name, namespace, connector.ErrPermanent)
	}
	return t, nil
}

// askTopic looks a topic up at the controllers.
func (s *Server) askTopic(ctx context.Context, namespace, name string) (jetstream.Topic, error) {
	ctx, cancel := context.WithTimeout(ctx, topicLimit)
	defer cancel()
	t, err := s.client.FindTopic(ctx, namespace, name)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return jetstream.Topic{}, fmt.Errorf("there is no topic %s in namespace %s: %w", name, namespace, connector.ErrPermanent)
	case err != nil:
		return jetstream.Topic{}, fmt.Errorf("look up topic %s: %w", name, err)
	}
	return topics.Convert(t), nil
}

// topicLimit bounds the search for a topic at the controllers.
const topicLimit = 10 * time.Second

func (s *Server) openSource(ctx context.Context, kind string, options json.RawMessage, rows *schema.Schema) (connector.Source, error) {
	return connectors.OpenSource(ctx, s.environment(), kind, options, rows)
}

func (s *Server) openSink(ctx context.Context, kind string, options json.RawMessage, rows *schema.Schema, g connector.Guarantee) (connector.Sink, error) {
	return connectors.OpenSink(ctx, s.environment(), kind, options, rows, g)
}
