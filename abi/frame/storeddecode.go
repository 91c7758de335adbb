package frame

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/s2"
	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/schema"
)

// StoredHeader is the fixed part of a stored frame.
type StoredHeader struct {
	Codec       Codec
	Fingerprint uint64
	Rows        int
	RawSize     int
	BodySize    int
}

// IsStored tells whether the message begins like a stored frame. The message header decides what a message is; this is
// for files and for people.
func IsStored(msg []byte) bool {
	return len(msg) >= abi.StoredHeaderSize && binary.LittleEndian.Uint32(msg) == abi.MagicStored
}

// ReadStoredHeader checks the fixed part, the length and the checksum of a stored frame.
func ReadStoredHeader(msg []byte) (StoredHeader, error) {
	le := binary.LittleEndian
	if len(msg) < abi.StoredHeaderSize {
		return StoredHeader{}, fmt.Errorf("%w: %d bytes, the header has %d", ErrTruncated, len(msg), abi.StoredHeaderSize)
	}
	if m := le.Uint32(msg); m != abi.MagicStored {
		return StoredHeader{}, fmt.Errorf("%w: it begins with %08x, want %08x (WEIR)", ErrNotStored, m, uint32(abi.MagicStored))
	}
	if msg[4] != abi.StoredVersion {
		return StoredHeader{}, fmt.Errorf("%w %d: this Weir reads version %d, upgrade it", ErrVersion, msg[4], abi.StoredVersion)
	}
	h := StoredHeader{
		Codec: Codec(msg[5]), Fingerprint: le.Uint64(msg[8:]),
		Rows: int(le.Uint32(msg[16:])), RawSize: int(le.Uint32(msg[20:])), BodySize: int(le.Uint32(msg[24:])),
	}
	switch {
	case h.BodySize != len(msg)-abi.StoredHeaderSize:
		return h, fmt.Errorf("%w: body size %d, have %d bytes", ErrTruncated, h.BodySize, len(msg)-abi.StoredHeaderSize)
	case h.RawSize > MaxStoredRaw:
		return h, fmt.Errorf("%w: %d bytes before compression, the limit is %d", ErrTooLarge, h.RawSize, MaxStoredRaw)
	case h.Rows > MaxRows:
		return h, fmt.Errorf("%w: %d rows, the limit is %d", ErrTooLarge, h.Rows, MaxRows)
	}
	if sum := storedChecksum(msg); sum != le.Uint32(msg[28:]) {
		return h, fmt.Errorf("%w: header says %08x, the bytes have %08x: the message is damaged", ErrChecksum, le.Uint32(msg[28:]), sum)
	}
	if h.Codec > CodecZstd {
		return h, fmt.Errorf("%w %d: upgrade Weir", ErrCodec, uint8(h.Codec))
	}
	if msg[6]|msg[7] != 0 {
		return h, fmt.Errorf("%w: flags %04x: upgrade Weir", ErrVersion, le.Uint16(msg[6:]))
	}
	return h, nil
}

// DecodeStored decodes a stored frame. The result views buf, which grows as needed and is returned, or msg itself if the
// frame is not compressed. See StoredDecoder for repeated use.
func DecodeStored(msg, buf []byte) (Stored, []byte, error) {
	var d StoredDecoder
	var f Stored
	buf, err := d.Decode(msg, buf, &f)
	return f, buf, err
}

// StoredDecoder decodes stored frames. Schemas may be shared between decoders, and is set up when nil.
type StoredDecoder struct {
	Schemas *SchemaCache
}

// Decode decodes msg into f and allocates nothing once f has held a frame of the same schema and buf is large enough.
// f's columns view the returned buffer, or msg if it is not compressed: both must stay as long as f is used. After an
// error f must not be used. Every check of ReadStoredHeader, ReadContainer and Decode is made; utf8 is not validated.
func (d *StoredDecoder) Decode(msg, buf []byte, f *Stored) ([]byte, error) {
	h, err := ReadStoredHeader(msg)
	if err != nil {
		return buf, err
	}
	body, buf, err := inflate(msg[abi.StoredHeaderSize:], buf, h)
	if err != nil {
		return buf, err
	}
	c, err := ReadContainer(body, KindStored)
	if err != nil {
		return buf, fmt.Errorf("%w: %w", ErrStored, err)
	}
	s, err := d.schema(c, h.Fingerprint)
	if err != nil {
		return buf, fmt.Errorf("%w: %w", ErrStored, err)
	}
	block, ok := c.Section(abi.StoredSectionRows, 0)
	if !ok {
		return buf, fmt.Errorf("%w: no rows section", ErrStored)
	}
	if f.Schema != s || len(f.Columns) != len(s.Fields) {
		f.Schema, f.Columns = s, NewColumns(s)
	}
	if f.Rows, err = DecodeInto(s, block, f.Columns); err != nil {
		return buf, fmt.Errorf("%w: %w", ErrStored, err)
	}
	if f.Rows != h.Rows {
		return buf, fmt.Errorf("%w: header says %d rows, the block has %d", ErrStored, h.Rows, f.Rows)
	}
	f.Selection, f.Times, f.Kinds = nil, nil, nil
	if b, ok := c.Section(abi.StoredSectionTimes, 0); ok {
		if f.Times, err = timesOf(b, f.Rows); err != nil {
			return buf, fmt.Errorf("%w: %w", ErrStored, err)
		}
	}
	if b, ok := c.Section(abi.StoredSectionKinds, 0); ok {
		if f.Kinds, err = kindsOf(b, f.Rows); err != nil {
			return buf, fmt.Errorf("%w: %w", ErrStored, err)
		}
	}
	return buf, nil
}

func (d *StoredDecoder) schema(c Container, fingerprint uint64) (*schema.Schema, error) {
	text, ok := c.Section(abi.StoredSectionSchema, 0)
	if !ok {
		if fingerprint != schema.Raw().Fingerprint() {
			return nil, fmt.Errorf("%w: header says %016x and no schema stands in the frame", ErrFingerprint, fingerprint)
		}
		return schema.Raw(), nil
	}
	if d.Schemas == nil {
		d.Schemas = new(SchemaCache)
	}
	return d.Schemas.Get(fingerprint, text)
}

func inflate(stored, buf []byte, h StoredHeader) (body, kept []byte, err error) {
	if h.Codec == CodecNone {
		if h.RawSize != len(stored) {
			return nil, buf, fmt.Errorf("%w: raw size %d, the body has %d", ErrTruncated, h.RawSize, len(stored))
		}
		if aligned(stored) {
			return stored, buf, nil
		}
		buf = room(buf, h.RawSize)
		copy(buf, stored)
		return buf, buf, nil
	}
	buf = room(buf, h.RawSize)
	switch h.Codec {
	case CodecS2:
		// s2.Decode would make a buffer of whatever length the body claims.
		if n, err := s2.DecodedLen(stored); err != nil || n != h.RawSize {
			return nil, buf, fmt.Errorf("%w: raw size %d, the s2 body says %d (%v)", ErrTruncated, h.RawSize, n, err)
		}
		body, err = s2.Decode(buf, stored)
	default:
		body, err = zstdDecoder().DecodeAll(stored, buf[:0])
	}
	if err != nil {
		return nil, buf, fmt.Errorf("%w: %s body: %w", ErrStored, h.Codec, err)
	}
	if len(body) != h.RawSize {
		return nil, buf, fmt.Errorf("%w: raw size %d, the %s body has %d", ErrTruncated, h.RawSize, h.Codec, len(body))
	}
	return body, buf, nil
}

// room makes buf at least n bytes long, beginning at an address divisible by 8.
func room(buf []byte, n int) []byte {
	if cap(buf) < n || !aligned(buf[:cap(buf)]) {
		return bytesOf(make([]uint64, (n+7)/8))[:n]
	}
	return buf[:n]
}

func timesOf(b []byte, rows int) ([]int64, error) {
	if len(b) != 8*rows {
		return nil, fmt.Errorf("times section has %d bytes, want 8 for each of %d rows", len(b), rows)
	}
	if !aligned(b) {
		b = alignedCopy(b)
	}
	if rows == 0 {
		return noTimes, nil
	}
	return view[int64](b, rows), nil
}

var noTimes = []int64{}

func kindsOf(b []byte, rows int) ([]byte, error) {
	if len(b) != rows {
		return nil, fmt.Errorf("kinds section has %d bytes, want one for each of %d rows", len(b), rows)
	}
	for i, k := range b {
		if k > abi.KindDelete {
			return nil, fmt.Errorf("kind of row %d is %d, want 0..%d", i, k, abi.KindDelete)
		}
	}
	return b, nil
}
