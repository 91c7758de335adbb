package remote

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
)

// errClosed is the end of a link that its own side has closed.
var errClosed = fmt.Errorf("%w: closed here", ErrLost)

// Link is the sending end of a connection to another worker.
type Link struct {
	conn    net.Conn
	attempt Attempt
	to      uint64
	wake    chan struct{}
	down    chan struct{} // closed when err is set
	running sync.WaitGroup

	mu      sync.Mutex      // guards what follows
	queue   []*batch.Buffer // bounded by the credits of the channels
	outlets []*Outlet
	err     error
	closing bool
}

func newLink(conn net.Conn, a Attempt, to uint64) *Link {
	l := &Link{conn: conn, attempt: a, to: to, wake: make(chan struct{}, 1), down: make(chan struct{})}
	l.running.Add(2)
	go l.write()
	go l.read()
	return l
}

// Channel opens a channel. One goroutine sends on it.
func (l *Link) Channel(c Channel, s *schema.Schema) *Outlet {
	o := &Outlet{link: l, name: c, schema: s, wake: make(chan struct{}, 1)}
	l.mu.Lock()
	o.number = uint32(len(l.outlets))
	l.outlets = append(l.outlets, o)
	h := frame.ExchangeHeader{Kind: frame.ExchangeOpen, Channel: o.number, Attempt: l.attempt.Attempt}
	b := small(&h, openBytes)
	body := opening{channel: c, fingerprint: s.Fingerprint()}
	body.put(b.Bytes[len(b.Bytes)-openBytes:])
	l.push(b)
	l.mu.Unlock()
	return o
}

// push queues a frame with the lock held.
func (l *Link) push(b *batch.Buffer) {
	if l.err != nil {
		b.Release()
		return
	}
	l.queue = append(l.queue, b)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// send queues a frame.
func (l *Link) send(b *batch.Buffer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.push(b)
	return l.err
}

// Close ends the connection. If every channel has ended, what is still queued is
// delivered first; otherwise the attempt is over, and nobody wants it.
func (l *Link) Close() {
	l.mu.Lock()
	ended := true
	for _, o := range l.outlets {
		ended = ended && o.ended.Load()
	}
	l.closing = true
	l.mu.Unlock()
	if !ended {
		l.fail(errClosed)
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	cut := time.AfterFunc(DeadAfter, func() { l.fail(errClosed) })
	l.running.Wait()
	cut.Stop()
	l.fail(errClosed)
}

// fail ends the link for everyone who waits for it.
func (l *Link) fail(err error) {
	l.mu.Lock()
	first := l.err == nil
	if first {
		l.err = fmt.Errorf("exchange of %s to worker of epoch %d: %w", l.attempt, l.to, lost(err))
		close(l.down)
	}
	l.mu.Unlock()
	if first {
		cut(l.conn)
	}
}

func (l *Link) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// take waits for frames to write; nothing after a while, and ok false at the end.
func (l *Link) take(into []*batch.Buffer, idle *time.Timer) (frames []*batch.Buffer, ok bool) {
	for {
		l.mu.Lock()
		frames, l.queue = l.queue, into[:0]
		over := l.err != nil || l.closing && len(frames) == 0
		l.mu.Unlock()
		if over || len(frames) > 0 {
			return frames, !over
		}
		into = frames
		idle.Reset(PingEvery)
		select {
		case <-l.wake:
		case <-l.down:
		case <-idle.C:
			return into[:0], true
		}
	}
}

// write writes what is queued until the link ends.
func (l *Link) write() {
	defer l.running.Done()
	raw := unwrapped(l.conn)
	out := newFlusher(raw)
	idle := time.NewTimer(PingEvery)
	defer idle.Stop()
	var frames []*batch.Buffer
	for {
		var ok bool
		frames, ok = l.take(frames, idle)
		var err error
		if ok {
			err = writeAll(out, frames, l.attempt)
		}
		for i, b := range frames {
			b.Release()
			frames[i] = nil
		}
		switch {
		case err != nil:
			l.fail(err)
			l.drop()
			return
		case !ok:
			l.drop()
			if half, can := raw.(interface{ CloseWrite() error }); can && half.CloseWrite() == nil {
				return // the other end closes when it has read everything
			}
			l.fail(errClosed)
			return
		}
	}
}

func writeAll(out *flusher, frames []*batch.Buffer, a Attempt) error {
	if len(frames) == 0 {
		b := ping(a)
		if err := out.add(b[:]); err != nil {
			return err
		}
	}
	for _, b := range frames {
		if err := out.add(b.Bytes); err != nil {
			return err
		}
	}
	return out.flush()
}

// drop releases what will not be written any more.
func (l *Link) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.queue {
		b.Release()
	}
	l.queue = nil
}

// read takes the receiver's credits until the link ends.
func (l *Link) read() {
	defer l.running.Done()
	fr := newFrames(l.conn)
	for {
		h, err := fr.next()
		if err == nil {
			err = l.onFrame(fr, &h)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("closed by the receiver")
			}
			l.fail(err)
			return
		}
	}
}

func (l *Link) onFrame(fr *frames, h *frame.ExchangeHeader) error {
	switch h.Kind {
	case frame.ExchangePing:
		return nil
	case frame.ExchangeCredit:
		l.mu.Lock()
		var o *Outlet
		if int(h.Channel) < len(l.outlets) {
			o = l.outlets[h.Channel]
		}
		l.mu.Unlock()
		if o == nil {
			return fmt.Errorf("%w: credit for channel %d, which is not open", ErrProtocol, h.Channel)
		}
		return o.credit(h.Rows, h.Value)
	case frame.ExchangeRefusal:
		text, err := fr.body(h, maxRefusalBytes)
		if err != nil {
			return err
		}
		return fmt.Errorf("%w: the receiver says: %q", ErrProtocol, text)
	}
	return fmt.Errorf("%w: kind %d from a receiver", ErrProtocol, h.Kind)
}
