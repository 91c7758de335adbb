package jetstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/format"
)

// SinkConfig says what a sink writes and how.
type SinkConfig struct {
	Topic     Topic
	Schema    *schema.Schema // of the rows that come
	Guarantee connector.Guarantee
	// Key is the column whose bytes are the record's key; empty: none, records go
	// round robin. A number's or time's key is its text.
	Key string
	// NewEncoder makes the encoder of values; nil writes typed columns, which only
	// topics of layout frames hold.
	NewEncoder func() format.Encoder
	// Raw passes rows of the schema of a plain byte stream on as they are.
	Raw   bool
	Codec frame.Codec
}

// Validate says what is wrong with the configuration.
func (c SinkConfig) Validate() error {
	if err := c.Topic.Validate(); err != nil {
		return err
	}
	if err := c.Guarantee.Validate(); err != nil {
		return err
	}
	if c.Schema == nil {
		return fmt.Errorf("sink of topic %s: no schema", c.Topic.Name)
	}
	if c.Topic.Layout == Records && c.NewEncoder == nil && !c.Raw {
		return fmt.Errorf("sink of topic %s: its layout is records, which hold no typed columns: choose format json, csv or raw", c.Topic.Name)
	}
	if c.Raw && !c.Schema.Equal(schema.Raw()) {
		return fmt.Errorf("sink of topic %s: format raw needs the columns %s, have %s", c.Topic.Name, schema.Raw(), c.Schema)
	}
	if c.Key != "" {
		i := c.Schema.Index(c.Key)
		if i < 0 {
			return fmt.Errorf("sink of topic %s: key %q is not one of its columns %v", c.Topic.Name, c.Key, c.Schema.Names())
		}
		if !c.Schema.Fields[i].Type.Kind.Keyable() {
			return fmt.Errorf("sink of topic %s: column %s is %s, which is no key", c.Topic.Name, c.Key, c.Schema.Fields[i].Type)
		}
	}
	return nil
}

// Sink writes to a topic.
type Sink struct {
	cfg SinkConfig
	nc  *nats.Conn
	pub *publisher
}

// NewSink makes a sink of a topic on a connection, which it does not close.
func NewSink(nc *nats.Conn, cfg SinkConfig) (*Sink, error) {
	cfg.Topic = cfg.Topic.Normalize()
	if cfg.Guarantee == "" {
		cfg.Guarantee = connector.ExactlyOnce
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Sink{cfg: cfg, nc: nc, pub: &publisher{nc: nc, topic: cfg.Topic, known: make(map[string]knownEnd)}}, nil
}

// Open starts a writer once the topic's stream proves fit.
func (s *Sink) Open(ctx context.Context, id connector.WriterID) (connector.Writer, error) {
	if err := Verify(ctx, s.nc, s.cfg.Topic); err != nil {
		return nil, fmt.Errorf("open writer %s: %w", id, err)
	}
	w := &writer{sink: s, id: id, scatter: newScatter(s.cfg)}
	if s.cfg.Guarantee == connector.AtLeastOnce {
		f, err := newFlight(s.nc)
		if err != nil {
			return nil, fmt.Errorf("open writer %s: %w", id, err)
		}
		w.flight = f
	}
	return w, nil
}

// Publish makes a committed transaction visible; see publisher.
func (s *Sink) Publish(ctx context.Context, t connector.Transaction) error {
	return s.pub.publish(ctx, t)
}

// Close ends the sink; its connection stays.
func (s *Sink) Close() error { return nil }

// errClosed is what a writer says after Close.
var errClosed = errors.New("writer is closed")
