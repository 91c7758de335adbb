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
)

// Flags of a batch between workers.
const (
	ExchangeTimes  = 1
	ExchangeKinds  = 2
	ExchangeHashes = 4
)

// ErrExchange is wrapped by every refusal of an exchange frame.
var ErrExchange = errors.New("bad exchange frame")

// ExchangeHeader is the fixed part of a frame between workers. Size counts the bytes after it.
type ExchangeHeader struct {
	Size    int
	Kind    ExchangeKind
	Flags   uint8
	Channel uint32
	Rows    int
	Attempt uint64
	Value   int64
}

// AppendTo appends the header.
func (h *ExchangeHeader) AppendTo(dst []byte) []byte {
	var b [abi.ExchangeHeaderSize]byte
	h.put(b[:])
	return append(dst, b[:]...)
}

func (h *ExchangeHeader) put(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(h.Size))
	b[4], b[5], b[6], b[7] = byte(h.Kind), h.Flags, 0, 0
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
		Size: int(le.Uint32(b)), Kind: ExchangeKind(b[4]), Flags: b[5], Channel: le.Uint32(b[8:]),
		Rows: int(le.Uint32(b[12:])), Attempt: le.Uint64(b[16:]), Value: int64(le.Uint64(b[24:])),
	}
	switch {
	case h.Kind < ExchangeBatch || h.Kind > ExchangeCredit:
		return h, fmt.Errorf("%w: kind %d", ErrExchange, h.Kind)
	case h.Size > abi.MaxExchangeBytes:
		return h, fmt.Errorf("%w: %d bytes, the limit is %d", ErrExchange, h.Size, abi.MaxExchangeBytes)
	case h.Rows > MaxRows:
		return h, fmt.Errorf("%w: %d rows, the limit is %d", ErrExchange, h.Rows, MaxRows)
	case h.Flags&^(ExchangeTimes|ExchangeKinds|ExchangeHashes) != 0 || b[6]|b[7] != 0:
		return h, fmt.Errorf("%w: unknown flags %02x", ErrExchange, h.Flags)
	case h.Kind != ExchangeBatch && h.Kind != ExchangeBarrier && h.Size != 0:
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
	Selection []int32
}

// AppendBatch appends a whole batch frame; channel and attempt come from h, which gets its other fields set. The position
// in dst should be divisible by 8.
func (e *Encoder) AppendBatch(dst []byte, h *ExchangeHeader, s *schema.Schema, r *ExchangeRows) []byte {
	h.Kind, h.Flags, h.Rows = ExchangeBatch, 0, r.Rows
	if r.Selection != nil {
		h.Rows = len(r.Selection)
	}
	start := len(dst)
	dst = h.AppendTo(dst)
	dst = e.Append(dst, s, r.Columns, r.Selection, h.Rows)
	if r.Times != nil {
		h.Flags |= ExchangeTimes
		var body []byte
		dst, body = extend(dst, 8*h.Rows)
		putTimes(body, r.Times, r.Selection, h.Rows)
	}
	if r.Kinds != nil {
		h.Flags |= ExchangeKinds
		var body []byte
		dst, body = extend(dst, h.Rows)
		putKinds(body, r.Kinds, r.Selection, h.Rows)
	}
	if r.Hashes != nil {
		h.Flags |= ExchangeHashes
		var body []byte
		dst, body = extend(dst, 8*h.Rows)
		for i := range h.Rows {
			binary.LittleEndian.PutUint64(body[i*8:], r.Hashes[at(r.Selection, i)])
		}
	}
	h.Size = len(dst) - start - abi.ExchangeHeaderSize
	h.put(dst[start:])
	return dst
}

// extend grows dst by n bytes padded to 8 and returns the n bytes; the padding is zero.
func extend(dst []byte, n int) (grown, body []byte) {
	start, size := len(dst), align8(n)
	dst = slices.Grow(dst, size)[:start+size]
	clear(dst[start+n:])
	return dst, dst[start : start+n]
}

// DecodeBatch views the body of a batch frame, the h.Size bytes after its header, as rows of the schema. r's columns are
// reused when they are of the schema.
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
	if len(rest) != 0 {
		return fmt.Errorf("%w: %d bytes after the body", ErrExchange, len(rest))
	}
	return nil
}
