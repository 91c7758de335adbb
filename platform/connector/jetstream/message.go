package jetstream

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// stored is one message as the stream's leader has it.
type stored struct {
	Subject  string    `json:"subject"`
	Sequence uint64    `json:"seq"`
	Header   []byte    `json:"hdrs"`
	Data     []byte    `json:"data"`
	Time     time.Time `json:"time"`
}

func (m stored) headers() nats.Header {
	if len(m.Header) == 0 {
		return nil
	}
	h, err := nats.DecodeHeadersMsg(m.Header)
	if err != nil {
		return nil
	}
	return h
}

type messageQuery struct {
	Sequence uint64 `json:"seq,omitempty"`
	Last     string `json:"last_by_subj,omitempty"`
	Next     string `json:"next_by_subj,omitempty"`
}

// message reads one message from the stream's leader; false if there is none.
// Direct gets, which a follower may answer with old news, are not used.
func (t Topic) message(ctx context.Context, nc *nats.Conn, q messageQuery) (stored, bool, error) {
	var answer struct {
		apiError
		Message *stored `json:"message"`
	}
	if err := request(ctx, nc, "STREAM.MSG.GET."+t.Stream, q, &answer); err != nil {
		return stored{}, false, fmt.Errorf("read message of stream %s: %w", t.Stream, err)
	}
	switch {
	case answer.notFound():
		return stored{}, false, nil
	case answer.Error != nil:
		return stored{}, false, fmt.Errorf("read message of stream %s: %w", t.Stream, answer.Error)
	case answer.Message == nil:
		return stored{}, false, fmt.Errorf("read message of stream %s: the answer holds none", t.Stream)
	}
	return *answer.Message, true, nil
}

// LastSequence is the sequence of a partition's last message, 0 if it has none.
func LastSequence(ctx context.Context, nc *nats.Conn, t Topic, partition int) (uint64, error) {
	m, ok, err := t.message(ctx, nc, messageQuery{Last: t.PartitionFilter(partition)})
	if err != nil || !ok {
		return 0, err
	}
	return m.Sequence, nil
}

// PartitionInfo is how a partition stands.
type PartitionInfo struct {
	Partition    int
	Messages     uint64
	LastSequence uint64
}

// Info is how a topic stands.
type Info struct {
	Messages, Bytes             uint64
	FirstSequence, LastSequence uint64
	Partitions                  []PartitionInfo
}

// Describe asks the stream's leader how a topic stands.
func Describe(ctx context.Context, nc *nats.Conn, t Topic) (Info, error) {
	t = t.Normalize()
	s, err := t.streamInfo(ctx, nc)
	if err != nil {
		return Info{}, err
	}
	info := Info{Messages: s.messages, Bytes: s.bytes, FirstSequence: s.first, LastSequence: s.last}
	for p := range t.Partitions {
		part := PartitionInfo{Partition: p}
		if part.LastSequence, err = LastSequence(ctx, nc, t, p); err != nil {
			return Info{}, err
		}
		if part.Messages, err = t.count(ctx, nc, p); err != nil {
			return Info{}, err
		}
		info.Partitions = append(info.Partitions, part)
	}
	return info, nil
}

// count asks how many messages a partition holds: what would wait for a
// consumer that starts at the beginning.
func (t Topic) count(ctx context.Context, nc *nats.Conn, partition int) (uint64, error) {
	c, err := createConsumer(ctx, nc, t, partition, startAt{})
	if err != nil {
		return 0, err
	}
	c.delete(nc)
	return c.pending, nil
}
