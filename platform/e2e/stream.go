package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirstream/weir/abi/frame"
)

// Message is one message of a topic's stream.
type Message struct {
	Sequence  uint64
	Partition int
	Frame     *frame.Stored // nil: one record
	Key       string        // of a record by a plain client
	Value     []byte        // of a record
}

// Rows is how many records the message holds.
func (m Message) Rows() int {
	if m.Frame == nil {
		return 1
	}
	return m.Frame.Rows
}

// ReadStream yields a topic's messages in the order of the stream, from a
// sequence on and up to the last one at the time of the call.
func ReadStream(ctx context.Context, nc *nats.Conn, stream string, from uint64, visit func(Message) error) (last uint64, err error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return 0, err
	}
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("read stream %s: %w", stream, err)
	}
	last = s.CachedInfo().State.LastSeq
	from = max(from, 1)
	if last < from {
		return from - 1, nil
	}
	c, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from})
	if err != nil {
		return 0, fmt.Errorf("read stream %s: %w", stream, err)
	}
	it, err := c.Messages()
	if err != nil {
		return 0, fmt.Errorf("read stream %s: %w", stream, err)
	}
	defer it.Stop()
	for {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return 0, fmt.Errorf("read stream %s: %w", stream, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return 0, err
		}
		m, err := parseMessage(msg, meta.Sequence.Stream)
		if err == nil {
			err = visit(m)
		}
		if err != nil {
			return 0, fmt.Errorf("message %d of stream %s: %w", meta.Sequence.Stream, stream, err)
		}
		if meta.Sequence.Stream >= last {
			return last, nil
		}
	}
}

// parseMessage reads weir.t.<namespace>.<topic>.<partition>.<k|r|w>[.<key or writer>].
func parseMessage(msg jetstream.Msg, sequence uint64) (Message, error) {
	tokens := strings.Split(msg.Subject(), ".")
	m := Message{Sequence: sequence}
	if len(tokens) < 6 {
		return m, fmt.Errorf("subject %s is none of a topic", msg.Subject())
	}
	var err error
	if m.Partition, err = strconv.Atoi(tokens[4]); err != nil {
		return m, fmt.Errorf("subject %s has no partition", msg.Subject())
	}
	if msg.Headers().Get("Weir-Frame") == "1" {
		f, _, err := frame.DecodeStored(msg.Data(), nil)
		if err != nil {
			return m, err
		}
		m.Frame = &f
		return m, nil
	}
	m.Value = msg.Data()
	m.Key = msg.Headers().Get("Weir-Key")
	if tokens[5] == "k" && m.Key == "" {
		m.Key = strings.Join(tokens[6:], ".")
	}
	return m, nil
}

// Follow reads a topic behind a sequence as it grows until done says that it is
// enough, or nothing has come for as long as patience.
func Follow(ctx context.Context, nc *nats.Conn, stream string, after uint64, patience time.Duration, visit func(Message) error, done func() bool) (last uint64, err error) {
	last = after
	for quiet := time.Now(); ; {
		before := last
		last, err = ReadStream(ctx, nc, stream, last+1, visit)
		if err != nil {
			return before, err
		}
		if done() {
			return last, nil
		}
		if last > before {
			quiet = time.Now()
		} else if time.Since(quiet) > patience {
			return last, fmt.Errorf("stream %s: nothing came for %s and more was expected", stream, patience)
		}
		if err := pause(ctx, pollEvery); err != nil {
			return last, err
		}
	}
}
