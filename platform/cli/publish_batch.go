package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/key"
	"github.com/weirstream/weir/abi/schema"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

// Sizes of what is published. A request holds records that follow each other in
// the input, so that whatever happens it is known up to which line they are stored.
const (
	frameBytes      = 64 << 10 // aim for one stored frame
	maxRequestBytes = 4 << 20  // of all frames of a request
	recordBatch     = 1000     // records of a request in a topic of records
)

// publication is one request and the lines that it came from.
type publication struct {
	frames    []*weirv1.Frame
	records   []*weirv1.Record
	count     uint64
	firstLine uint64
	lastLine  uint64
}

// batcher gathers records for one request. Neither is for concurrent use.
type batcher interface {
	// add takes a record; full says that the request should go.
	add(r textRecord, micros int64) (full bool)
	// cut gives the request and starts the next; nil if there is nothing.
	cut() (*publication, error)
}

// frameBatcher builds a stored frame per partition on this side, which costs
// the server far less than records one by one.
type frameBatcher struct {
	parts   []framePart
	codec   frame.Codec
	encoder frame.StoredEncoder
	turn    int // partition of the next record without a key
	bytes   int
	limit   int
	next    publication
}

type framePart struct {
	rows  *frame.Builder
	bytes int
	ready []*weirv1.Frame
	err   error
}

func newFrameBatcher(partitions int, codec frame.Codec) *frameBatcher {
	b := &frameBatcher{parts: make([]framePart, partitions), codec: codec, limit: min(partitions*frameBytes, maxRequestBytes)}
	for i := range b.parts {
		b.parts[i].rows = frame.NewBuilder(schema.Raw())
	}
	return b
}

func (b *frameBatcher) add(r textRecord, micros int64) bool {
	p := b.turn
	if r.key != nil {
		p = key.Partition(r.key, len(b.parts))
	}
	part := &b.parts[p]
	rows := part.rows
	if r.key == nil {
		rows.Column(0).AppendNull()
	} else {
		rows.Column(0).AppendBytes(r.key)
	}
	rows.Column(1).AppendBytes(r.value)
	rows.Column(2).AppendInt64(micros)
	rows.Column(3).AppendNull()
	n := len(r.key) + len(r.value) + 16
	part.bytes += n
	b.bytes += n
	b.next.note(r)
	if part.bytes >= frameBytes {
		b.seal(p)
		if r.key == nil {
			b.turn = (b.turn + 1) % len(b.parts)
		}
	}
	return b.bytes >= b.limit
}

func (n *publication) note(r textRecord) {
	if n.count == 0 {
		n.firstLine = r.line
	}
	n.lastLine = r.line
	n.count++
}

// seal makes a frame of a partition's rows.
func (b *frameBatcher) seal(p int) {
	part := &b.parts[p]
	rows := part.rows.Rows()
	if rows == 0 {
		return
	}
	data, err := b.encoder.Append(nil, &frame.Stored{Schema: schema.Raw(), Rows: rows, Columns: part.rows.Columns()}, b.codec)
	part.err = errors.Join(part.err, err)
	part.ready = append(part.ready, &weirv1.Frame{Partition: uint32(p), Data: data})
	part.rows.Reset()
	part.bytes = 0
}

func (b *frameBatcher) cut() (*publication, error) {
	if b.next.count == 0 {
		return nil, nil
	}
	out := b.next
	b.next, b.bytes = publication{}, 0
	for p := range b.parts {
		b.seal(p)
		part := &b.parts[p]
		if part.err != nil {
			return nil, fmt.Errorf("encode records of partition %d: %w", p, part.err)
		}
		out.frames = append(out.frames, part.ready...)
		part.ready = nil
	}
	b.turn = (b.turn + 1) % len(b.parts)
	return &out, nil
}

// recordBatcher sends records as they are; the server places them.
type recordBatcher struct {
	bytes int
	next  publication
}

func (b *recordBatcher) add(r textRecord, micros int64) bool {
	rec := &weirv1.Record{Value: append([]byte{}, r.value...), Time: timestamppb.New(time.UnixMicro(micros))}
	if r.key != nil {
		rec.Key = append([]byte{}, r.key...)
	}
	b.next.records = append(b.next.records, rec)
	b.next.note(r)
	b.bytes += len(r.key) + len(r.value)
	return len(b.next.records) >= recordBatch || b.bytes >= maxRequestBytes
}

func (b *recordBatcher) cut() (*publication, error) {
	if b.next.count == 0 {
		return nil, nil
	}
	out := b.next
	b.next, b.bytes = publication{}, 0
	return &out, nil
}

// Retries of a request that did not reach the server.
const (
	publishTries = 6
	firstBackoff = 100 * time.Millisecond
)

// send publishes one request.
func (c *clients) send(ctx context.Context, namespace, topic string, p *publication) error {
	return retry(ctx, func() error { return c.sendOnce(ctx, namespace, topic, p) })
}

// retry calls again only while no connection could be made: then nothing was
// sent, and nothing can be stored twice.
func retry(ctx context.Context, call func() error) error {
	backoff := firstBackoff
	for try := 1; ; try++ {
		err := call()
		if err == nil || !notReached(err) || try == publishTries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(backoff):
			backoff *= 2
		}
	}
}

func (c *clients) sendOnce(ctx context.Context, namespace, topic string, p *publication) error {
	if p.frames != nil {
		_, err := c.topics.PublishFrames(ctx, connect.NewRequest(&weirv1.PublishFramesRequest{Namespace: namespace, Topic: topic, Frames: p.frames}))
		return err
	}
	_, err := c.topics.Publish(ctx, connect.NewRequest(&weirv1.PublishRequest{Namespace: namespace, Topic: topic, Records: p.records}))
	return err
}
