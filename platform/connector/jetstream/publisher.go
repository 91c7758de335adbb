package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
)

// DefaultLinger is how long a publisher waits for a frame to fill.
const DefaultLinger = 5 * time.Millisecond

// PublisherOptions configure a publisher; the zero value is ready.
type PublisherOptions struct {
	Compression Compression
	Linger      time.Duration
}

// Record is one record to publish.
type Record struct {
	Key, Value []byte // nil: none
	TimeMicros int64  // 0: now
	Headers    map[string][]byte
}

// Publisher writes records to a topic in its layout, in order per key, without
// waiting for each acknowledgement. Any number of goroutines may use it. After
// an error nothing more is sent: what came before it may be stored or not.
type Publisher struct {
	topic  Topic
	nc     *nats.Conn
	flight *flight
	opts   PublisherOptions

	mu         sync.Mutex
	partitions []*accumulator
	rotation   int
	encoder    compressor
	buf        []byte
	linger     *time.Timer
	waiting    bool // linger runs
	err        error
	records    uint64
}

// NewPublisher makes a publisher on a connection, which it does not close.
func NewPublisher(ctx context.Context, nc *nats.Conn, topic Topic, opts PublisherOptions) (*Publisher, error) {
	topic = topic.Normalize()
	if err := topic.Validate(); err != nil {
		return nil, err
	}
	if err := Verify(ctx, nc, topic); err != nil {
		return nil, err
	}
	f, err := newFlight(nc)
	if err != nil {
		return nil, err
	}
	if opts.Linger <= 0 {
		opts.Linger = DefaultLinger
	}
	p := &Publisher{topic: topic, nc: nc, flight: f, opts: opts, partitions: make([]*accumulator, topic.Partitions), encoder: compressor{how: opts.Compression}}
	for i := range p.partitions {
		p.partitions[i] = newAccumulator(schema.Raw())
	}
	return p, nil
}

// Publish takes a record; it copies what it keeps. It waits while too much is on its way.
func (p *Publisher) Publish(ctx context.Context, rec Record) error {
	now := rec.TimeMicros
	if now == 0 {
		now = nowMicros()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.publish(ctx, &rec, now)
}

// PublishAll takes records in their order, as Publish would one after the other:
// those without a time have the same.
func (p *Publisher) PublishAll(ctx context.Context, recs []Record) error {
	now := nowMicros()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range recs {
		if err := p.publish(ctx, &recs[i], now); err != nil {
			return err
		}
	}
	return nil
}

// publish takes a record; the lock is held.
func (p *Publisher) publish(ctx context.Context, rec *Record, now int64) error {
	if p.err != nil {
		return p.err
	}
	r := record{key: rec.Key, value: rec.Value, timeMicros: rec.TimeMicros, headers: rec.Headers}
	if r.timeMicros == 0 {
		r.timeMicros = now
	}
	partition := p.rotation
	if r.key != nil {
		partition = Partition(r.key, len(p.partitions))
	}
	p.records++
	if p.topic.Layout == Records {
		p.rotation = (p.rotation + 1) % len(p.partitions)
		return p.send1(ctx, partition, r, rec.TimeMicros != 0)
	}
	a := p.partitions[partition]
	a.addRecord(&r)
	if a.full() {
		return p.close1(ctx, partition)
	}
	if !p.waiting {
		p.lingerOn()
	}
	return nil
}

func (p *Publisher) send1(ctx context.Context, partition int, r record, withTime bool) error {
	h := nats.Header{}
	if err := setRecord(h, r, withTime); err != nil {
		return err
	}
	return p.send(ctx, partition, h, r.value)
}

func (p *Publisher) send(ctx context.Context, partition int, h nats.Header, data []byte) error {
	if limit := p.nc.MaxPayload() - maxHeaderBytes; int64(len(data)) > limit {
		return fmt.Errorf("publish to topic %s: %w", p.topic.Name, tooLarge(len(data), limit))
	}
	if err := p.flight.send(ctx, p.topic.recordSubject(partition), h, data); err != nil {
		p.err = fmt.Errorf("publish to topic %s: %w", p.topic.Name, err)
	}
	return p.err
}

// close1 sends a partition's frame.
func (p *Publisher) close1(ctx context.Context, partition int) error {
	a := p.partitions[partition]
	if a.len() == 0 {
		return nil
	}
	if partition == p.rotation {
		p.rotation = (p.rotation + 1) % len(p.partitions)
	}
	stored := a.stored()
	var err error
	p.buf, err = p.encoder.append(p.buf[:0], &stored, a.bytes)
	a.reset()
	if err != nil {
		return err
	}
	return p.send(ctx, partition, frameHeader(), p.buf)
}

// frameHeader is that of a stored frame which begins at a multiple of 8.
func frameHeader() nats.Header {
	h := nats.Header{headerFrame: {frameVersion1}}
	pad(h)
	return h
}

func (p *Publisher) lingerOn() {
	p.waiting = true
	if p.linger == nil {
		p.linger = time.AfterFunc(p.opts.Linger, p.lingered)
		return
	}
	p.linger.Reset(p.opts.Linger)
}

func (p *Publisher) lingered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = false
	if p.err == nil {
		// An error stays in p.err, where the next caller meets it.
		_ = p.closeAll(context.Background())
	}
}

func (p *Publisher) closeAll(ctx context.Context) error {
	for partition := range p.partitions {
		if err := p.close1(ctx, partition); err != nil {
			p.err = err
			return err
		}
	}
	return nil
}

// PublishFrame stores a ready-made frame in a partition. All its rows must
// belong there.
func (p *Publisher) PublishFrame(ctx context.Context, partition int, stored []byte) (rows int, err error) {
	h, err := frame.ReadStoredHeader(stored)
	if err != nil {
		return 0, fmt.Errorf("publish to topic %s: %w", p.topic.Name, err)
	}
	if partition < 0 || partition >= len(p.partitions) {
		return 0, fmt.Errorf("publish to topic %s: partition %d: it has 0 to %d", p.topic.Name, partition, len(p.partitions)-1)
	}
	if p.topic.Layout != Frames {
		return 0, fmt.Errorf("publish to topic %s: its layout is %s, which holds no frames: publish records", p.topic.Name, p.topic.Layout)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, p.err
	}
	return h.Rows, p.send(ctx, partition, frameHeader(), stored)
}

// Flush waits until everything published is stored.
func (p *Publisher) Flush(ctx context.Context) error {
	p.mu.Lock()
	if p.err == nil {
		_ = p.closeAll(ctx) // the error is in p.err
	}
	err := p.err
	p.mu.Unlock()
	if err != nil {
		return err
	}
	if err := p.flight.flush(ctx); err != nil {
		return fmt.Errorf("publish to topic %s: %w", p.topic.Name, err)
	}
	return nil
}

// Records is how many records were taken.
func (p *Publisher) Records() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.records
}

// Close ends the publisher without waiting for what is on its way: Flush first.
func (p *Publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.linger != nil {
		p.linger.Stop()
	}
	if p.err == nil {
		p.err = errors.New("publisher is closed")
	}
	return p.flight.close()
}
