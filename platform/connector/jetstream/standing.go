package jetstream

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/weirstream/weir/platform/connector"
)

// Standing is how a topic's stream stands, whatever the topic's own incarnation is.
type Standing struct {
	Incarnation uint64 // 0: no client of ours made it
	First, Last uint64
	Messages    uint64
}

// Stand looks at a topic's stream: ErrNoTopic if there is none, ErrUnfit if it could not be the topic's.
func Stand(ctx context.Context, nc *nats.Conn, t Topic) (Standing, error) {
	s, err := t.Normalize().streamInfo(ctx, nc)
	if err != nil {
		return Standing{}, err
	}
	return Standing{s.incarnation, s.first, s.last, s.messages}, nil
}

// Lost tells whether a reader that goes on at a position would miss records, by the
// rule that readers have: a *connector.DataLost, or why it could not be found out.
func Lost(ctx context.Context, nc *nats.Conn, t Topic, partition int, at connector.Position) error {
	p, err := parsePosition(at)
	if err != nil {
		return fmt.Errorf("position in partition %d of topic %s: %w", partition, t.Name, err)
	}
	t = t.Normalize()
	r := &reader{nc: nc, cfg: SourceConfig{Topic: t}, partition: partition, pos: p}
	s, err := t.streamInfo(ctx, nc)
	if err != nil {
		return err
	}
	return r.loss(ctx, s)
}
