package remote

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
)

// Sizes of the bodies that have one, besides batches and refusals.
const (
	openBytes    = 24
	barrierBytes = 16
)

// unwrapped gives the connection below the remains of a handshake: one that can
// write several buffers at once. The remains are for readers only.
func unwrapped(c net.Conn) net.Conn {
	if w, ok := c.(interface{ NetConn() net.Conn }); ok {
		return w.NetConn()
	}
	return c
}

// cut closes a connection at once: TLS would say farewell first, and wait for a
// peer that may be dead.
func cut(c net.Conn) {
	for {
		w, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = w.NetConn()
	}
	_ = c.Close() // whoever reads or writes it learns that it is over
}

// lively reads from a peer that must not be silent for longer than DeadAfter.
type lively struct {
	net.Conn
	until time.Time
}

func (l *lively) Read(b []byte) (int, error) {
	// Moving the deadline costs as much as a small read, so it moves in steps.
	if now := time.Now(); l.until.Sub(now) < DeadAfter*7/8 {
		l.until = now.Add(DeadAfter)
		if err := l.SetReadDeadline(l.until); err != nil {
			return 0, err
		}
	}
	return l.Conn.Read(b)
}

// frames reads one frame after the other.
type frames struct {
	r      *bufio.Reader
	header [abi.ExchangeHeaderSize]byte
}

func newFrames(c net.Conn) *frames {
	return &frames{r: bufio.NewReaderSize(&lively{Conn: c}, readAhead)}
}

// next reads a header; io.EOF means that the peer closed between frames.
func (f *frames) next() (frame.ExchangeHeader, error) {
	if _, err := io.ReadFull(f.r, f.header[:]); err != nil {
		return frame.ExchangeHeader{}, err
	}
	h, err := frame.ReadExchangeHeader(f.header[:])
	if err != nil {
		return h, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return h, nil
}

// body reads the body of a frame that has a small one.
func (f *frames) body(h *frame.ExchangeHeader, limit int) ([]byte, error) {
	if h.Size > limit {
		return nil, fmt.Errorf("%w: a body of %d bytes for kind %d, the limit is %d", ErrProtocol, h.Size, h.Kind, limit)
	}
	b := make([]byte, h.Size)
	_, err := io.ReadFull(f.r, b)
	return b, err
}

// opening is the body of a frame that opens a channel.
type opening struct {
	channel     Channel
	fingerprint uint64
}

func (o *opening) put(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(o.channel.Stage))
	le.PutUint32(b[4:], uint32(o.channel.Task))
	le.PutUint32(b[8:], uint32(o.channel.Number))
	le.PutUint32(b[12:], 0)
	le.PutUint64(b[16:], o.fingerprint)
}

func readOpening(b []byte) (opening, error) {
	le := binary.LittleEndian
	if len(b) != openBytes || le.Uint32(b) > 1<<16-1 || le.Uint32(b[12:]) != 0 {
		return opening{}, fmt.Errorf("%w: an opening of %d bytes: %x", ErrProtocol, len(b), b)
	}
	return opening{
		channel:     Channel{Stage: uint16(le.Uint32(b)), Task: int(le.Uint32(b[4:])), Number: int(le.Uint32(b[8:]))},
		fingerprint: le.Uint64(b[16:]),
	}, nil
}

func putBarrier(b []byte, v element.Barrier) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(v.Actions))
	le.PutUint32(b[4:], 0)
	le.PutUint64(b[8:], v.Attempt)
}

func readBarrier(h *frame.ExchangeHeader, b []byte) (element.Barrier, error) {
	le := binary.LittleEndian
	if len(b) != barrierBytes || le.Uint32(b[4:]) != 0 {
		return element.Barrier{}, fmt.Errorf("%w: a barrier of %d bytes: %x", ErrProtocol, len(b), b)
	}
	return element.Barrier{ID: uint64(h.Value), Attempt: le.Uint64(b[8:]), Actions: element.Action(le.Uint32(b))}, nil
}

// small makes a frame whose body is not a batch.
func small(h *frame.ExchangeHeader, body int) *batch.Buffer {
	b := batch.NewBuffer(abi.ExchangeHeaderSize + body)
	h.Size = body
	h.Put(b.Bytes)
	return b
}

// ping makes the frame of an idle end.
func ping(a Attempt) (b [abi.ExchangeHeaderSize]byte) {
	h := frame.ExchangeHeader{Kind: frame.ExchangePing, Attempt: a.Attempt}
	h.Put(b[:])
	return b
}

// flusher writes frames, small ones together, and never more at once than a slow
// network takes within DeadAfter.
type flusher struct {
	conn    net.Conn
	vec     net.Buffers
	rest    net.Buffers // what is left of vec while it is written
	size    int
	scratch []byte
	open    bool // the last of vec is the end of scratch
}

func newFlusher(c net.Conn) *flusher {
	return &flusher{conn: c, scratch: make([]byte, 0, scratchBytes)}
}

// add takes bytes that must not change before the next flush.
func (f *flusher) add(b []byte) error {
	if len(b) <= coalesceBytes {
		if len(f.scratch)+len(b) > cap(f.scratch) {
			if err := f.flush(); err != nil {
				return err
			}
		}
		from := len(f.scratch)
		f.scratch = append(f.scratch, b...)
		if f.open {
			last := f.vec[len(f.vec)-1]
			f.vec[len(f.vec)-1] = last[:len(last)+len(b)]
		} else {
			f.vec, f.open = append(f.vec, f.scratch[from:]), true
		}
		return f.grown(len(b))
	}
	f.open = false
	for len(b) > 0 {
		n := min(len(b), MaxFlushBytes-f.size)
		f.vec = append(f.vec, b[:n:n])
		b = b[n:]
		if err := f.grown(n); err != nil {
			return err
		}
	}
	return nil
}

func (f *flusher) grown(n int) error {
	if f.size += n; f.size >= MaxFlushBytes {
		return f.flush()
	}
	return nil
}

func (f *flusher) flush() error {
	if f.size == 0 {
		return nil
	}
	err := f.conn.SetWriteDeadline(time.Now().Add(DeadAfter))
	if err == nil {
		f.rest = f.vec
		_, err = f.rest.WriteTo(f.conn)
	}
	clear(f.vec)
	f.vec, f.size, f.scratch, f.open = f.vec[:0], 0, f.scratch[:0], false
	return err
}

// credits is what a channel may still have on the way.
type credits struct {
	elements int
	bytes    int
}

// room tells whether another element may set off.
func (c credits) room(bytes int) bool {
	return c.elements == 0 || c.elements < local.Credits && c.bytes+bytes <= WindowBytes
}
