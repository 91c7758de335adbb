package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/schema"
)

// ExchangeKind says what an exchange frame carries.
type ExchangeKind uint8

// The kinds of exchange frame.
const (
	ExchangeBatch ExchangeKind = 1 + iota
	ExchangeWatermark
	ExchangeBarrier
	ExchangeEnd
	ExchangeCredit
	ExchangeOpen
	ExchangeRefusal
	ExchangePing
)

// Flags of a batch between workers.
const (
	ExchangeTimes  = 1
	ExchangeKinds  = 2
	ExchangeHashes = 4
	ExchangeOrigin = 8

	exchangeFlags = ExchangeTimes | ExchangeKinds | ExchangeHashes | ExchangeOrigin
)

// MaxExchangeTopic bounds the name of the topic in an origin.
const MaxExchangeTopic = 1 << 10

// originHead is the partition and the size of the topic's name.
const originHead = 8

// ErrExchange is wrapped by every refusal of an exchange frame.
var ErrExchange = errors.New("bad exchange frame")

// ExchangeHeader is the fixed part of a frame between workers. Size counts the bytes after it. Sequence counts the
// elements of a channel and wraps. Rows is a watermark's status, and the number of elements of a credit.
type ExchangeHeader struct {
	Size     int
	Kind     ExchangeKind
	Flags    uint8
	Sequence uint16
	Channel  uint32
	Rows     int
	Attempt  uint64
	Value    int64
}

// AppendTo appends the header.
func (h *ExchangeHeader) AppendTo(dst []byte) []byte {
	var b [abi.ExchangeHeaderSize]byte
	h.Put(b[:])
	return append(dst, b[:]...)
}

// Put writes the header to the beginning of b.
func (h *ExchangeHeader) Put(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(h.Size))
	b[4], b[5] = byte(h.Kind), h.Flags
	le.PutUint16(b[6:], h.Sequence)
	le.PutUint32(b[8:], h.Channel)
	le.PutUint32(b[12:], uint32(h.Rows))
	le.PutUint64(b[16:], h.Attempt)
	le.PutUint64(b[24:], uint64(h.Value))
}

// ReadExchangeHeader reads and checks the header at the beginning of b.
func ReadExchangeHeader(b []byte) (ExchangeHeader, error) {
	if len(b) < abi.ExchangeHeaderSize {
		return ExchangeHeader{}, fmt.Errorf("%w: %d bytes, the header has %d", ErrExchange, len(b), abi.ExchangeHeaderSize)
	}
	le := binary.LittleEndian
	h := ExchangeHeader{
		Size: int(le.Uint32(b)), Kind: ExchangeKind(b[4]), Flags: b[5], Sequence: le.Uint16(b[6:]), Channel: le.Uint32(b[8:]),
		Rows: int(le.Uint32(b[12:])), Attempt: le.Uint64(b[16:]), Value: int64(le.Uint64(b[24:])),
	}
	switch {
	case h.Kind < ExchangeBatch || h.Kind > ExchangePing:
		return h, fmt.Errorf("%w: kind %d", ErrExchange, h.Kind)
	case h.Size > abi.MaxExchangeBytes:
		return h, fmt.Errorf("%w: %d bytes, the limit is %d", ErrExchange, h.Size, abi.MaxExchangeBytes)
	case h.Rows > MaxRows:
		return h, fmt.Errorf("%w: %d rows, the limit is %d", ErrExchange, h.Rows, MaxRows)
	case h.Flags&^exchangeFlags != 0 || h.Kind != ExchangeBatch && h.Flags != 0:
		return h, fmt.Errorf("%w: unknown flags %02x", ErrExchange, h.Flags)
	case h.Size != 0 && (h.Kind == ExchangeWatermark || h.Kind == ExchangeEnd || h.Kind == ExchangeCredit || h.Kind == ExchangePing):
		return h, fmt.Errorf("%w: kind %d with a body of %d bytes", ErrExchange, h.Kind, h.Size)
	}
	return h, nil
}

// ExchangeRows is the body of a batch. Times, Kinds and Hashes are nil where it has none. To encode, Selection may pick
// the rows of all of them.
type ExchangeRows struct {
	Rows      int
	Columns   []Column
	Times     []int64
	Kinds     []byte
	Hashes    []uint64
	Origin    *ExchangeOriginRows // nil: not known
	Selection []int32
}

// ExchangeOriginRows says where the rows were read.
type ExchangeOriginRows struct {
	Topic     string
	Partition int32
	Sequences []uint64
	Rows      []int32
}

func (r *ExchangeRows) count() int {
	if r.Selection != nil {
		return len(r.Selection)
	}
	return r.Rows
}

// BatchSize is the size of a whole batch frame.
func (e *Encoder) BatchSize(s *schema.Schema, r *ExchangeRows) int {
	n := r.count()
	size := abi.ExchangeHeaderSize + e.Size(s, r.Columns, r.Selection, n)
	if r.Times != nil {
		size += 8 * n
	}
	if r.Kinds != nil {
		size += align8(n)
	}
	if r.Hashes != nil {
		size += 8 * n
	}
	if r.Origin != nil {
		size += originHead + align8(len(r.Origin.Topic)) + 8*n + align8(4*n)
	}
	return size
}

// PutBatch writes the frame that the last call of BatchSize measured into dst, which has that size and begins at an
// address divisible by 8; channel, sequence and attempt come from h, which gets its other fields set.
func (e *Encoder) PutBatch(dst []byte, h *ExchangeHeader, s *schema.Schema, r *ExchangeRows) {
	n := r.count()
	h.Kind, h.Flags, h.Rows, h.Size = ExchangeBatch, 0, n, len(dst)-abi.ExchangeHeaderSize
	le := binary.LittleEndian
	rest := dst[abi.ExchangeHeaderSize:]
	rest = rest[e.Put(rest, s, r.Columns, r.Selection, n):]
	take := func(n int) []byte {
		b := rest[:n]
		clear(rest[n:align8(n)])
		rest = rest[align8(n):]
		return b
	}
	if r.Times != nil {
		h.Flags |= ExchangeTimes
		putTimes(take(8*n), r.Times, r.Selection, n)
	}
	if r.Kinds != nil {
		h.Flags |= ExchangeKinds
		putKinds(take(n), r.Kinds, r.Selection, n)
	}
	if r.Hashes != nil {
		h.Flags |= ExchangeHashes
		putFixed(take(8*n), r.Hashes, r.Selection)
	}
	if o := r.Origin; o != nil {
		h.Flags |= ExchangeOrigin
		head := take(originHead)
		le.PutUint32(head, uint32(o.Partition))
		le.PutUint32(head[4:], uint32(len(o.Topic)))
		copy(take(len(o.Topic)), o.Topic)
		putFixed(take(8*n), o.Sequences, r.Selection)
		putFixed(take(4*n), o.Rows, r.Selection)
	}
	h.Put(dst)
}

// putFixed writes the picked values into dst, which is aligned.
func putFixed[T fixed](dst []byte, src []T, sel []int32) {
	if len(dst) == 0 {
		return
	}
	if sel == nil {
		copy(dst, bytesOf(src))
		return
	}
	gather[T](dst, bytesOf(src), sel)
}

// AppendBatch appends a whole batch frame; channel, sequence and attempt come from h, which gets its other fields set. The
// position in dst should be divisible by 8.
func (e *Encoder) AppendBatch(dst []byte, h *ExchangeHeader, s *schema.Schema, r *ExchangeRows) []byte {
	start, n := len(dst), e.BatchSize(s, r)
	dst = slices.Grow(dst, n)[:start+n]
	e.PutBatch(dst[start:], h, s, r)
	return dst
}

// DecodeBatch views the body of a batch frame, the h.Size bytes after its header, as rows of the schema. r's columns are
// reused when they are of the schema, and so is its origin.
func DecodeBatch(h *ExchangeHeader, body []byte, s *schema.Schema, r *ExchangeRows) error {
	if h.Kind != ExchangeBatch || len(body) != h.Size {
		return fmt.Errorf("%w: kind %d with %d bytes, want a batch of %d", ErrExchange, h.Kind, len(body), h.Size)
	}
	if !aligned(body) {
		body = alignedCopy(body)
	}
	if len(body) < abi.BlockHeaderSize {
		return fmt.Errorf("%w: body of %d bytes has no block", ErrExchange, len(body))
	}
	size := int(binary.LittleEndian.Uint32(body[8:]))
	if size > len(body) {
		return fmt.Errorf("%w: block of %d bytes in a body of %d", ErrExchange, size, len(body))
	}
	if len(r.Columns) != len(s.Fields) {
		r.Columns = NewColumns(s)
	}
	rows, err := DecodeInto(s, body[:size], r.Columns)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrExchange, err)
	}
	if rows != h.Rows {
		return fmt.Errorf("%w: header says %d rows, the block has %d", ErrExchange, h.Rows, rows)
	}
	origin := r.Origin
	*r = ExchangeRows{Rows: rows, Columns: r.Columns}
	rest := body[size:]
	take := func(n int) ([]byte, error) {
		if len(rest) < align8(n) {
			return nil, fmt.Errorf("%w: the body ends early: %d bytes left, want %d", ErrExchange, len(rest), align8(n))
		}
		b := rest[:n:n]
		rest = rest[align8(n):]
		return b, nil
	}
	if h.Flags&ExchangeTimes != 0 {
		b, err := take(8 * rows)
		if err != nil {
			return err
		}
		r.Times = view[int64](b, rows)
	}
	if h.Flags&ExchangeKinds != 0 {
		b, err := take(rows)
		if err != nil {
			return err
		}
		if r.Kinds, err = kindsOf(b, rows); err != nil {
			return fmt.Errorf("%w: %w", ErrExchange, err)
		}
	}
	if h.Flags&ExchangeHashes != 0 {
		b, err := take(8 * rows)
		if err != nil {
			return err
		}
		r.Hashes = view[uint64](b, rows)
	}
	if h.Flags&ExchangeOrigin != 0 {
		if origin == nil {
			origin = new(ExchangeOriginRows)
		}
		head, err := take(originHead)
		if err != nil {
			return err
		}
		topic := binary.LittleEndian.Uint32(head[4:])
		if topic > MaxExchangeTopic {
			return fmt.Errorf("%w: a topic's name of %d bytes, the limit is %d", ErrExchange, topic, MaxExchangeTopic)
		}
		name, err := take(int(topic))
		if err != nil {
			return err
		}
		sequences, err := take(8 * rows)
		if err != nil {
			return err
		}
		within, err := take(4 * rows)
		if err != nil {
			return err
		}
		if origin.Topic != string(name) { // comparing does not allocate, and the next batch is mostly of the same topic
			origin.Topic = string(name)
		}
		origin.Partition = int32(binary.LittleEndian.Uint32(head))
		origin.Sequences, origin.Rows = view[uint64](sequences, rows), view[int32](within, rows)
		r.Origin = origin
	}
	if len(rest) != 0 {
		return fmt.Errorf("%w: %d bytes after the body", ErrExchange, len(rest))
	}
	return nil
}
