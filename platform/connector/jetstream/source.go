package jetstream

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/format"
)

// StartKind says where a split without a position begins.
type StartKind string

// The starts.
const (
	Earliest   StartKind = "earliest"
	Latest     StartKind = "latest"
	AtSequence StartKind = "sequence"
	AtTime     StartKind = "time"
)

// Start is where a split without a position begins.
type Start struct {
	Kind     StartKind
	Sequence uint64    // with AtSequence: the first one to read
	Time     time.Time // with AtTime: the earliest one to read
}

// DefaultCheckInterval is how often a reader checks that the stream still holds
// what its position says.
const DefaultCheckInterval = 3 * time.Second

// SourceConfig says what a source reads and how.
type SourceConfig struct {
	Topic Topic
	// Schema is that of the rows to give; nil: a plain byte stream.
	Schema *schema.Schema
	// NewDecoder makes the decoder of values; nil: only frames of typed columns
	// and, with the schema of a plain byte stream, everything.
	NewDecoder    func() format.Decoder
	Start         Start
	Bound         connector.Bound
	OnDataLost    connector.LostPolicy
	CheckInterval time.Duration
	Log           *slog.Logger
}

func (c SourceConfig) normalize() SourceConfig {
	c.Topic = c.Topic.Normalize()
	if c.Schema == nil {
		c.Schema = schema.Raw()
	}
	if c.Start.Kind == "" {
		c.Start.Kind = Earliest
	}
	if c.Bound == "" {
		c.Bound = connector.Unbounded
	}
	if c.OnDataLost == "" {
		c.OnDataLost = connector.FailOnLoss
	}
	if c.CheckInterval == 0 {
		c.CheckInterval = DefaultCheckInterval
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate says what is wrong with a normalized configuration.
func (c SourceConfig) Validate() error {
	if err := c.Topic.Validate(); err != nil {
		return err
	}
	switch c.Start.Kind {
	case Earliest, Latest:
	case AtSequence:
		if c.Start.Sequence == 0 {
			return fmt.Errorf("source of topic %s: start at sequence 0: sequences begin with 1", c.Topic.Name)
		}
	case AtTime:
		if c.Start.Time.IsZero() {
			return fmt.Errorf("source of topic %s: start at a time, but which: set it", c.Topic.Name)
		}
	default:
		return fmt.Errorf("source of topic %s: start %q: choose %s, %s, %s or %s", c.Topic.Name, c.Start.Kind, Earliest, Latest, AtSequence, AtTime)
	}
	if c.Bound != connector.Unbounded && c.Bound != connector.UntilEnd {
		return fmt.Errorf("source of topic %s: bound %q: choose %s or %s", c.Topic.Name, c.Bound, connector.Unbounded, connector.UntilEnd)
	}
	if c.OnDataLost != connector.FailOnLoss && c.OnDataLost != connector.SkipLoss {
		return fmt.Errorf("source of topic %s: on data lost %q: choose %s or %s", c.Topic.Name, c.OnDataLost, connector.FailOnLoss, connector.SkipLoss)
	}
	return nil
}

// Source reads a topic: a split is a partition.
type Source struct {
	cfg SourceConfig
	nc  *nats.Conn
}

// NewSource makes a source of a topic on a connection, which it does not close.
func NewSource(nc *nats.Conn, cfg SourceConfig) (*Source, error) {
	cfg = cfg.normalize()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Source{cfg: cfg, nc: nc}, nil
}

// Schema is the schema of the rows that come.
func (s *Source) Schema() *schema.Schema { return s.cfg.Schema }

// Splits lists the partitions by their numbers.
func (s *Source) Splits(context.Context) ([]connector.Split, error) {
	splits := make([]connector.Split, s.cfg.Topic.Partitions)
	for i := range splits {
		splits[i].ID = strconv.Itoa(i)
	}
	return splits, nil
}

// Open starts to read a partition.
func (s *Source) Open(ctx context.Context, split connector.Split, after connector.Position) (connector.Reader, error) {
	partition, err := strconv.Atoi(split.ID)
	if err != nil || partition < 0 || partition >= s.cfg.Topic.Partitions {
		return nil, fmt.Errorf("open split %q of topic %s: it has partitions 0 to %d", split.ID, s.cfg.Topic.Name, s.cfg.Topic.Partitions-1)
	}
	r, err := openReader(ctx, s, partition, after)
	if err != nil {
		return nil, fmt.Errorf("open split %s of topic %s: %w", split.ID, s.cfg.Topic.Name, err)
	}
	return r, nil
}

// Close ends the source; its connection stays.
func (s *Source) Close() error { return nil }
