package remote

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
)

// intake is the receiving end of a connection: one goroutine puts what arrives
// into inboxes, another tells the sender what has been handled.
type intake struct {
	attempt *attempt
	conn    net.Conn
	from    uint64
	feeds   []*feed // by number; the reader's
	open    int     // that have not ended; the reader's
	wake    chan struct{}

	mu  sync.Mutex // guards due, and the counts of feeds
	due []*feed
}

// feed is the receiving end of a channel.
type feed struct {
	intake   *intake
	number   uint32
	name     Channel
	schema   *schema.Schema
	to       *local.Channel
	sequence uint16
	ended    bool
	rows     frame.ExchangeRows

	held credits // in the inbox, or being handled
	owed credits // handled, and the sender not yet told
	due  bool
}

// run works until the connection ends: without an error if the sender closed it
// and every channel had ended.
func (in *intake) run() error {
	stop := make(chan struct{})
	var teller sync.WaitGroup
	teller.Go(func() { in.tell(stop) })
	err := in.read()
	close(stop)
	if !errors.Is(err, ErrProtocol) {
		cut(in.conn) // and the teller writes no more
	}
	teller.Wait()
	if errors.Is(err, ErrProtocol) {
		in.refuse(err)
		cut(in.conn)
	}
	if in.open == 0 && in.attempt.allTaken() && !errors.Is(err, ErrProtocol) {
		return nil // nothing is missing
	}
	return lost(err)
}

func (in *intake) read() error {
	fr := newFrames(in.conn)
	for {
		h, err := fr.next()
		if err != nil {
			return err
		}
		switch h.Kind {
		case frame.ExchangePing:
			continue
		case frame.ExchangeOpen:
			err = in.onOpen(fr, &h)
		case frame.ExchangeBatch, frame.ExchangeWatermark, frame.ExchangeBarrier, frame.ExchangeEnd:
			err = in.onElement(fr, &h)
		default:
			err = fmt.Errorf("%w: kind %d from a sender", ErrProtocol, h.Kind)
		}
		if err != nil {
			return err
		}
	}
}

func (in *intake) onOpen(fr *frames, h *frame.ExchangeHeader) error {
	body, err := fr.body(h, openBytes)
	if err != nil {
		return err
	}
	o, err := readOpening(body)
	if err != nil {
		return err
	}
	a := in.attempt
	inlet, known := a.inlets[o.channel]
	switch {
	case h.Attempt != a.id.Attempt:
		return fmt.Errorf("%w: attempt %d on a connection of %s", ErrProtocol, h.Attempt, a.id)
	case int(h.Channel) != len(in.feeds) || len(in.feeds) >= MaxChannels:
		return fmt.Errorf("%w: channel %d is opened after %d others", ErrProtocol, h.Channel, len(in.feeds))
	case !known:
		return fmt.Errorf("%w: no channel %s comes from another worker here", ErrProtocol, o.channel)
	case o.fingerprint != inlet.Schema.Fingerprint():
		return fmt.Errorf("%w: channel %s has columns %s (%016x) here, the sender's are %016x", ErrProtocol, o.channel, inlet.Schema, inlet.Schema.Fingerprint(), o.fingerprint)
	}
	if !a.take(o.channel) {
		return fmt.Errorf("%w: channel %s is opened twice", ErrProtocol, o.channel)
	}
	f := &feed{intake: in, number: h.Channel, name: o.channel, schema: inlet.Schema}
	f.to = inlet.Inbox.Feed(o.channel.Number, f.returned)
	in.feeds = append(in.feeds, f)
	in.open++
	return nil
}

func (in *intake) onElement(fr *frames, h *frame.ExchangeHeader) error {
	if int(h.Channel) >= len(in.feeds) {
		return fmt.Errorf("%w: channel %d of %d", ErrProtocol, h.Channel, len(in.feeds))
	}
	f := in.feeds[h.Channel]
	bytes := abi.ExchangeHeaderSize + h.Size
	in.mu.Lock()
	room := f.held.room(bytes)
	if room {
		f.held.elements++
		f.held.bytes += bytes
	}
	in.mu.Unlock()
	switch {
	case h.Attempt != in.attempt.id.Attempt:
		return fmt.Errorf("%w: attempt %d on a connection of %s", ErrProtocol, h.Attempt, in.attempt.id)
	case f.ended:
		return fmt.Errorf("%w: channel %s goes on after its end", ErrProtocol, f.name)
	case h.Sequence != f.sequence:
		return fmt.Errorf("%w: channel %s is at element %d, got %d", ErrProtocol, f.name, f.sequence, h.Sequence)
	case !room:
		return fmt.Errorf("%w: channel %s sends without credit", ErrProtocol, f.name)
	}
	f.sequence++
	e, err := f.element(fr, h)
	if err != nil {
		return err
	}
	if h.Kind == frame.ExchangeEnd {
		f.ended = true
		in.open--
	}
	if !f.to.Put(e, bytes) {
		if e.Batch != nil {
			e.Batch.Release()
		}
		return fmt.Errorf("%w: channel %s sends without credit", ErrProtocol, f.name)
	}
	return nil
}

// element reads what follows a header.
func (f *feed) element(fr *frames, h *frame.ExchangeHeader) (element.Element, error) {
	switch h.Kind {
	case frame.ExchangeWatermark:
		if h.Rows > int(element.Finished) {
			return element.Element{}, fmt.Errorf("%w: status %d of a watermark", ErrProtocol, h.Rows)
		}
		return element.Element{Kind: element.KindWatermark, Watermark: element.Watermark{Time: h.Value, Status: element.Status(h.Rows)}}, nil
	case frame.ExchangeBarrier:
		body, err := fr.body(h, barrierBytes)
		if err != nil {
			return element.Element{}, err
		}
		b, err := readBarrier(h, body)
		return element.Element{Kind: element.KindBarrier, Barrier: b}, err
	case frame.ExchangeEnd:
		return element.Element{Kind: element.KindEndOfInput}, nil
	}
	body := batch.NewBuffer(h.Size)
	if _, err := io.ReadFull(fr.r, body.Bytes); err != nil {
		body.Release()
		return element.Element{}, err
	}
	b := batch.New(f.schema)
	if err := b.DecodeFrame(h, body, &f.rows); err != nil {
		b.Release()
		return element.Element{}, fmt.Errorf("%w: channel %s: %w", ErrProtocol, f.name, err)
	}
	return element.Element{Kind: element.KindBatch, Batch: b}, nil
}

// returned notes that an element has been handled. The sender is told at half of
// what it may have, and when nothing is left here: so it never waits for a credit
// that is only not worth a frame.
func (f *feed) returned(bytes int) {
	in := f.intake
	in.mu.Lock()
	f.held.elements--
	f.held.bytes -= bytes
	f.owed.elements++
	f.owed.bytes += bytes
	tell := !f.due && (f.held.elements == 0 || f.owed.elements >= local.Credits/2 || f.owed.bytes >= WindowBytes/2)
	if tell {
		f.due = true
		in.due = append(in.due, f)
	}
	in.mu.Unlock()
	if tell {
		select {
		case in.wake <- struct{}{}:
		default:
		}
	}
}

// tell writes credits, and pings when there are none.
func (in *intake) tell(stop chan struct{}) {
	out := newFlusher(unwrapped(in.conn))
	timer := time.NewTimer(PingEvery)
	defer timer.Stop()
	var b [abi.ExchangeHeaderSize]byte
	var now []*feed
	for {
		timer.Reset(PingEvery)
		h := frame.ExchangeHeader{Kind: frame.ExchangeCredit, Attempt: in.attempt.id.Attempt}
		var err error
		select {
		case <-stop:
			return
		case <-timer.C:
			b = ping(in.attempt.id)
			err = out.add(b[:])
		case <-in.wake:
			in.mu.Lock()
			now, in.due = in.due, now[:0]
			for _, f := range now {
				h.Channel, h.Rows, h.Value = f.number, f.owed.elements, int64(f.owed.bytes)
				f.owed, f.due = credits{}, false
				h.Put(b[:])
				if err == nil {
					err = out.add(b[:])
				}
			}
			in.mu.Unlock()
		}
		if err == nil {
			err = out.flush()
		}
		if err != nil {
			cut(in.conn) // the reader says that it is lost
			return
		}
	}
}

// refuse tells the sender why the connection ends.
func (in *intake) refuse(err error) {
	text := err.Error()
	text = text[:min(len(text), maxRefusalBytes)]
	h := frame.ExchangeHeader{Kind: frame.ExchangeRefusal, Attempt: in.attempt.id.Attempt}
	b := small(&h, len(text))
	defer b.Release()
	copy(b.Bytes[abi.ExchangeHeaderSize:], text)
	out := newFlusher(unwrapped(in.conn))
	if out.add(b.Bytes) != nil || out.flush() != nil {
		return // the sender learns of the end in any case
	}
	// Closing with something unread resets a TCP connection, and may take the text
	// from the sender before it has read it.
	if in.conn.SetReadDeadline(time.Now().Add(refusalWait)) == nil {
		_, _ = io.Copy(io.Discard, in.conn) // until the sender has hung up
	}
}
