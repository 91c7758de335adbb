package topics

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	nats_js "github.com/nats-io/nats.go/jetstream"

	"github.com/weirstream/weir/platform/connector/jetstream"
)

// Waits of a scan.
const (
	scanCheck    = 2 * time.Second  // how often a quiet scan with an end asks whether it is over
	scanIdle     = 30 * time.Second // when the server forgets a scan whose reader is gone
	scanPrefetch = 64               // messages on their way at a time: 4 MiB of full frames
)

// Range says what a scan reads.
type Range struct {
	From     uint64    // the stream's sequence to begin with; 0: its first
	Latest   bool      // instead of From: only what comes from now on
	Since    time.Time // instead of From: what was stored from then on
	UntilEnd bool      // stop behind what was last when the scan began
	// Partitions to read; none means all.
	Partitions []int
}

// Message is one stored message.
type Message struct {
	Subject  string
	Header   nats.Header
	Data     []byte
	Sequence uint64
	Time     time.Time // when it was stored
	Pending  uint64    // messages that wait behind it
}

// errStop ends a scan early.
var errStop = errors.New("enough")

// Scan gives messages in the order of each partition until the range ends, ctx
// ends or take returns an error.
func (s *Service) Scan(ctx context.Context, t jetstream.Topic, r Range, take func(Message) error) error {
	t = t.Normalize()
	if err := jetstream.Verify(ctx, s.options.Conn, t); err != nil {
		return s.explain(err)
	}
	js, err := nats_js.New(s.options.Conn)
	if err != nil {
		return err
	}
	stream, err := js.Stream(ctx, t.Stream)
	if err != nil {
		return fmt.Errorf("open stream %s: %w", t.Stream, err)
	}
	end := stream.CachedInfo().State.LastSeq
	consumer, err := js.OrderedConsumer(ctx, t.Stream, scanConfig(t, r))
	if err != nil {
		return fmt.Errorf("open stream %s: %w", t.Stream, err)
	}
	if r.UntilEnd && (r.Latest || consumer.CachedInfo().NumPending == 0) {
		return nil
	}
	messages, err := consumer.Messages(nats_js.PullMaxMessages(scanPrefetch))
	if err != nil {
		return fmt.Errorf("read stream %s: %w", t.Stream, err)
	}
	defer messages.Stop()
	for {
		m, err := next(ctx, messages)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			// Nothing came. What was to come may have passed its age meanwhile.
			if info, err := consumer.Info(ctx); r.UntilEnd && err == nil && info.NumPending == 0 {
				return nil
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("read stream %s: %w", t.Stream, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read stream %s: %w", t.Stream, err)
		}
		if r.UntilEnd && meta.Sequence.Stream > end {
			return nil
		}
		err = take(Message{
			Subject: m.Subject(), Header: m.Headers(), Data: m.Data(),
			Sequence: meta.Sequence.Stream, Time: meta.Timestamp, Pending: meta.NumPending,
		})
		if errors.Is(err, errStop) {
			return nil
		}
		if err != nil {
			return err
		}
		if r.UntilEnd && (meta.NumPending == 0 || meta.Sequence.Stream >= end) {
			return nil
		}
	}
}

func next(ctx context.Context, messages nats_js.MessagesContext) (nats_js.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, scanCheck)
	defer cancel()
	return messages.Next(nats_js.NextContext(ctx))
}

func scanConfig(t jetstream.Topic, r Range) nats_js.OrderedConsumerConfig {
	c := nats_js.OrderedConsumerConfig{DeliverPolicy: nats_js.DeliverAllPolicy, InactiveThreshold: scanIdle}
	switch {
	case r.Latest:
		c.DeliverPolicy = nats_js.DeliverNewPolicy
	case !r.Since.IsZero():
		c.DeliverPolicy, c.OptStartTime = nats_js.DeliverByStartTimePolicy, &r.Since
	case r.From > 0:
		c.DeliverPolicy, c.OptStartSeq = nats_js.DeliverByStartSequencePolicy, r.From
	}
	partitions := r.Partitions
	if len(partitions) == 0 {
		for p := range t.Partitions {
			partitions = append(partitions, p)
		}
	}
	for _, p := range partitions {
		c.FilterSubjects = append(c.FilterSubjects, t.PartitionFilter(p))
	}
	return c
}
