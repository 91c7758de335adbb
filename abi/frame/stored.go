package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/schema"
)

// Codec is how the body of a stored frame is compressed.
type Codec uint8

// The codecs; their numbers stand in stored frames for ever.
const (
	CodecNone Codec = 0
	CodecS2   Codec = 1
	CodecZstd Codec = 2
)

// MaxStoredRaw is the most bytes the body of a stored frame has before compression.
const MaxStoredRaw = abi.MaxStoredRawBytes

// Refusals of a stored frame. Each error names the numbers too.
var (
	ErrStored      = errors.New("bad stored frame")
	ErrNotStored   = fmt.Errorf("%w: no magic", ErrStored)
	ErrVersion     = fmt.Errorf("%w: unknown version", ErrStored)
	ErrCodec       = fmt.Errorf("%w: unknown codec", ErrStored)
	ErrTruncated   = fmt.Errorf("%w: length", ErrStored)
	ErrChecksum    = fmt.Errorf("%w: checksum", ErrStored)
	ErrFingerprint = fmt.Errorf("%w: fingerprint", ErrStored)
	ErrTooLarge    = fmt.Errorf("%w: too large", ErrStored)
)

// ParseCodec reads a codec by its name in config: none, s2, zstd.
func ParseCodec(name string) (Codec, error) {
	for c, n := range codecNames {
		if n == name {
			return Codec(c), nil
		}
	}
	return 0, fmt.Errorf("unknown codec %q: have none, s2, zstd", name)
}

var codecNames = [...]string{"none", "s2", "zstd"}

func (c Codec) String() string {
	if int(c) < len(codecNames) {
		return codecNames[c]
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// Stored is what a stored frame holds. Times and Kinds are nil where the frame has none. To encode, Selection may pick
// the rows of Columns, Times and Kinds to write, in its order; Rows counts when it is nil.
type Stored struct {
	Schema    *schema.Schema
	Rows      int
	Columns   []Column
	Times     []int64
	Kinds     []byte
	Selection []int32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// StoredEncoder encodes stored frames and keeps its buffers. The zero value is ready; not for concurrent use.
type StoredEncoder struct {
	blocks Encoder
	layout ContainerWriter
	raw    []byte
}

// AppendStored appends f as a stored frame. See StoredEncoder for repeated use.
func AppendStored(dst []byte, f Stored, codec Codec) ([]byte, error) {
	var e StoredEncoder
	return e.Append(dst, &f, codec)
}

// Append appends f as a stored frame to dst. It refuses a body over MaxStoredRaw with ErrTooLarge: write fewer rows.
func (e *StoredEncoder) Append(dst []byte, f *Stored, codec Codec) ([]byte, error) {
	rows := f.Rows
	if f.Selection != nil {
		rows = len(f.Selection)
	}
	if codec > CodecZstd {
		return dst, fmt.Errorf("encode stored frame: %w %d", ErrCodec, codec)
	}
	size := e.lay(f, rows)
	if size > MaxStoredRaw || rows > MaxRows {
		return dst, fmt.Errorf("encode stored frame: %w: %d rows with %d bytes, the limits are %d and %d: write fewer rows a frame",
			ErrTooLarge, rows, size, MaxRows, MaxStoredRaw)
	}
	start := len(dst)
	var body []byte
	if codec == CodecNone {
		dst = slices.Grow(dst, abi.StoredHeaderSize+size)
		body = dst[start+abi.StoredHeaderSize : start+abi.StoredHeaderSize+size]
	} else {
		e.raw = slices.Grow(e.raw[:0], size)
		body = e.raw[:size]
	}
	e.put(body, f, rows)
	switch codec {
	case CodecNone:
		dst = dst[:start+abi.StoredHeaderSize+size]
	case CodecS2:
		most := s2.MaxEncodedLen(size)
		dst = slices.Grow(dst, abi.StoredHeaderSize+most)[:start+abi.StoredHeaderSize+most]
		n := len(s2.Encode(dst[start+abi.StoredHeaderSize:], body))
		dst = dst[:start+abi.StoredHeaderSize+n]
	case CodecZstd:
		dst = slices.Grow(dst, abi.StoredHeaderSize+size/2)[:start+abi.StoredHeaderSize]
		dst = zstdEncoder().EncodeAll(body, dst)
	}
	putStoredHeader(dst[start:], f.Schema.Fingerprint(), codec, rows, size)
	return dst, nil
}

// lay reserves the sections: 0 rows, then schema, times and kinds where the frame has them.
func (e *StoredEncoder) lay(f *Stored, rows int) int {
	e.layout.Reset(KindStored)
	e.layout.Reserve(abi.StoredSectionRows, 0, abi.SectionMustUnderstand, e.blocks.Size(f.Schema, f.Columns, f.Selection, rows))
	if !f.Schema.Equal(schema.Raw()) {
		e.layout.Reserve(abi.StoredSectionSchema, 0, abi.SectionMustUnderstand, len(f.Schema.String()))
	}
	if f.Times != nil {
		e.layout.Reserve(abi.StoredSectionTimes, 0, 0, 8*rows)
	}
	if f.Kinds != nil {
		e.layout.Reserve(abi.StoredSectionKinds, 0, abi.SectionMustUnderstand, rows)
	}
	return e.layout.Size()
}

func (e *StoredEncoder) put(body []byte, f *Stored, rows int) {
	e.layout.Begin(body)
	e.blocks.Put(e.layout.Body(0), f.Schema, f.Columns, f.Selection, rows)
	next := 1
	if !f.Schema.Equal(schema.Raw()) {
		copy(e.layout.Body(next), f.Schema.String())
		next++
	}
	if f.Times != nil {
		putTimes(e.layout.Body(next), f.Times, f.Selection, rows)
		next++
	}
	if f.Kinds != nil {
		putKinds(e.layout.Body(next), f.Kinds, f.Selection, rows)
	}
}

func putTimes(dst []byte, times []int64, sel []int32, rows int) {
	if sel == nil {
		copy(dst, bytesOf(times[:rows]))
		return
	}
	for i, r := range sel {
		binary.LittleEndian.PutUint64(dst[i*8:], uint64(times[r]))
	}
}

func putKinds(dst, kinds []byte, sel []int32, rows int) {
	if sel == nil {
		copy(dst, kinds[:rows])
		return
	}
	for i, r := range sel {
		dst[i] = kinds[r]
	}
}

func putStoredHeader(h []byte, fingerprint uint64, codec Codec, rows, rawSize int) {
	le := binary.LittleEndian
	le.PutUint32(h, abi.MagicStored)
	h[4], h[5], h[6], h[7] = abi.StoredVersion, byte(codec), 0, 0
	le.PutUint64(h[8:], fingerprint)
	le.PutUint32(h[16:], uint32(rows))
	le.PutUint32(h[20:], uint32(rawSize))
	le.PutUint32(h[24:], uint32(len(h)-abi.StoredHeaderSize))
	le.PutUint32(h[28:], storedChecksum(h))
}

func storedChecksum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:28], castagnoli), castagnoli, frame[abi.StoredHeaderSize:])
}

var zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // the options above are constants
	}
	return e
})

var zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(MaxStoredRaw), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(err) // the options above are constants
	}
	return d
})
