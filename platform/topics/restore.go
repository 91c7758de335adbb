package topics

import (
	"context"
	"errors"
	"fmt"

	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// Stand looks for the stream of a topic that the catalog does not have yet.
func (s *Service) Stand(ctx context.Context, t *catalog.Topic) (jetstream.Standing, bool, error) {
	at, err := jetstream.Stand(ctx, s.options.Conn, Convert(t))
	if errors.Is(err, jetstream.ErrNoTopic) {
		return at, false, nil
	}
	return at, err == nil, err
}

// Ensure makes the stream of a topic that has none, and checks the one that it has.
func (s *Service) Ensure(ctx context.Context, namespace, name string) error {
	t, err := s.find("make the stream of", namespace, name)
	if err != nil {
		return err
	}
	err = jetstream.Verify(ctx, s.options.Conn, Convert(t))
	if errors.Is(err, jetstream.ErrNoTopic) {
		err = jetstream.Create(ctx, s.options.Conn, Convert(t))
	}
	if err != nil {
		return s.explainCreate(t, fmt.Errorf("topic %s: %w", t.Name, err))
	}
	return nil
}

// Lost tells whether reading on at a position would miss records, by the rule of sources.
func (s *Service) Lost(ctx context.Context, t *catalog.Topic, partition int, at connector.Position) error {
	return jetstream.Lost(ctx, s.options.Conn, Convert(t), partition, at)
}

// Replicas is how many copies the stream of a new topic has.
func (s *Service) Replicas() int { return max(s.options.Replicas, 1) }
