package remote

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
)

// Outlet is the sending end of a channel to a task of another worker.
type Outlet struct {
	link   *Link
	number uint32
	name   Channel
	schema *schema.Schema
	wake   chan struct{}
	waited atomic.Int64
	ended  atomic.Bool

	// The sender's.
	sequence uint16
	encoder  frame.Encoder
	rows     frame.ExchangeRows
	origin   frame.ExchangeOriginRows

	mu  sync.Mutex // guards out
	out credits    // on the way or not handled
}

// Send queues an element, waiting for credit; it takes over the batch's
// reference, also when it fails. An error that wraps ErrLost ends the attempt.
func (o *Outlet) Send(ctx context.Context, e element.Element) error {
	if o.ended.Load() {
		if e.Batch != nil {
			e.Batch.Release()
		}
		return fmt.Errorf("send on channel %s: it has ended", o.name)
	}
	h := frame.ExchangeHeader{}
	switch e.Kind {
	case element.KindBatch:
		defer e.Batch.Release()
		return o.batch(ctx, e.Batch)
	case element.KindWatermark:
		h.Kind, h.Rows, h.Value = frame.ExchangeWatermark, int(e.Watermark.Status), e.Watermark.Time
		return o.control(ctx, &h, nil)
	case element.KindBarrier:
		var body [barrierBytes]byte
		putBarrier(body[:], e.Barrier)
		h.Kind, h.Value = frame.ExchangeBarrier, int64(e.Barrier.ID)
		return o.control(ctx, &h, body[:])
	case element.KindEndOfInput:
		h.Kind = frame.ExchangeEnd
		err := o.control(ctx, &h, nil)
		o.ended.Store(err == nil)
		return err
	}
	return fmt.Errorf("send on channel %s: element of unknown kind %d", o.name, e.Kind)
}

func (o *Outlet) control(ctx context.Context, h *frame.ExchangeHeader, body []byte) error {
	if err := o.acquire(ctx, abi.ExchangeHeaderSize+len(body)); err != nil {
		return err
	}
	o.stamp(h)
	b := small(h, len(body))
	copy(b.Bytes[abi.ExchangeHeaderSize:], body)
	return o.link.send(b)
}

func (o *Outlet) stamp(h *frame.ExchangeHeader) {
	h.Channel, h.Attempt, h.Sequence = o.number, o.link.attempt.Attempt, o.sequence
	o.sequence++
}

// batch sends rows, which the caller keeps.
func (o *Outlet) batch(ctx context.Context, b *batch.Batch) error {
	if b.Schema != o.schema && b.Schema.Fingerprint() != o.schema.Fingerprint() {
		if err := frame.Check(o.schema, b.Columns, b.Physical()); err != nil {
			return fmt.Errorf("send on channel %s: %w", o.name, err)
		}
	}
	b.Frame(&o.rows, &o.origin)
	size := o.encoder.BatchSize(o.schema, &o.rows)
	if size > MaxPieceBytes && b.Len() > 1 {
		return o.pieces(ctx, b)
	}
	if size > abi.ExchangeHeaderSize+abi.MaxExchangeBytes {
		return fmt.Errorf("send on channel %s: a row of %d bytes, the limit is %d", o.name, size, abi.MaxExchangeBytes)
	}
	if err := o.acquire(ctx, size); err != nil {
		return err
	}
	var h frame.ExchangeHeader
	o.stamp(&h)
	buf := batch.NewBuffer(size)
	o.encoder.PutBatch(buf.Bytes, &h, o.schema, &o.rows)
	return o.link.send(buf)
}

// pieces sends a large batch as its halves, each of which may be cut again.
func (o *Outlet) pieces(ctx context.Context, b *batch.Batch) error {
	half := b.Len() / 2
	for _, span := range [][2]int{{0, half}, {half, b.Len()}} {
		part := b.Retain().View()
		sel := part.Select(span[1] - span[0])
		for i := range sel {
			sel[i] = int32(b.Row(span[0] + i))
		}
		err := o.batch(ctx, part)
		part.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// acquire waits until another element of so many bytes may set off.
func (o *Outlet) acquire(ctx context.Context, bytes int) error {
	if o.tryAcquire(bytes) {
		return nil
	}
	start := time.Now()
	defer func() { o.waited.Add(int64(time.Since(start))) }()
	for {
		select {
		case <-o.wake:
			if o.tryAcquire(bytes) {
				return nil
			}
		case <-o.link.down:
			return o.link.failure()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (o *Outlet) tryAcquire(bytes int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.out.room(bytes) {
		return false
	}
	o.out.elements++
	o.out.bytes += bytes
	return true
}

// credit takes back what the receiver has handled.
func (o *Outlet) credit(elements int, bytes int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if elements > o.out.elements || bytes < 0 || bytes > int64(o.out.bytes) {
		return fmt.Errorf("%w: credit of %d elements and %d bytes on channel %s, which has %d and %d on the way", ErrProtocol, elements, bytes, o.name, o.out.elements, o.out.bytes)
	}
	o.out.elements -= elements
	o.out.bytes -= int(bytes)
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return nil
}

// Waited is the time spent waiting for credit: the backpressure on the sender.
func (o *Outlet) Waited() time.Duration { return time.Duration(o.waited.Load()) }

// Queued is the number of elements that the receiver has not handled.
func (o *Outlet) Queued() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.out.elements
}
