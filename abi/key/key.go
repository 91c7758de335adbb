// Package key makes the canonical bytes of keys: one form per value, ordered as the columns are. Their hash decides which
// key group, task and file a key's state belongs to, so they outlive every process and never change. The package must not
// know what the keys are for.
package key

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"
	"github.com/weirstream/weir/abi"
)

// MaxBytes is the most bytes a key may have.
const MaxBytes = abi.MaxKeyBytes

// Groups is the number of key groups.
const Groups = abi.KeyGroups

// ErrTooLong is wrapped by the refusal of a key over MaxBytes.
var ErrTooLong = errors.New("key too long")

// TooLongError names the row whose key is over MaxBytes.
type TooLongError struct {
	Row   int // index in the selection
	Bytes int
}

func (e *TooLongError) Error() string {
	return fmt.Sprintf("key of row %d has %d bytes, the limit is %d: key by a shorter column or a hash of it", e.Row, e.Bytes, MaxBytes)
}

// Unwrap makes errors.Is(err, ErrTooLong) true.
func (e *TooLongError) Unwrap() error { return ErrTooLong }

const (
	tagNull  = 1
	tagValue = 2

	canonicalNaN = 0x7ff8000000000000
)

// AppendNull appends a null of any type.
func AppendNull(dst []byte) []byte { return append(dst, tagNull) }

// AppendBool appends a bool.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, tagValue, 1)
	}
	return append(dst, tagValue, 0)
}

// AppendInt appends an int8 to int64, date32 or timestamp.
func AppendInt(dst []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tagValue), uint64(v)^1<<63)
}

// AppendFloat appends a float32 (widened) or float64: -0 as 0 and every NaN as one NaN, the greatest of all.
func AppendFloat(dst []byte, v float64) []byte {
	bits := math.Float64bits(v)
	switch {
	case v != v:
		bits = canonicalNaN
	case v == 0:
		bits = 0
	}
	if bits>>63 != 0 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	return binary.BigEndian.AppendUint64(append(dst, tagValue), bits)
}

// AppendBytes appends a utf8 or binary value. In the last place its bytes stand as they are.
func AppendBytes[T ~string | ~[]byte](dst []byte, v T, place Place) []byte {
	dst = append(dst, tagValue)
	if place == Last {
		return append(dst, v...)
	}
	return append(appendEscaped(dst, v), 0, 1)
}

// appendEscaped writes 00 as 00 ff. Most values have no zero and are copied whole.
func appendEscaped[T ~string | ~[]byte](dst []byte, v T) []byte {
	start := len(dst)
	dst = append(dst, v...)
	zero := bytes.IndexByte(dst[start:], 0)
	if zero < 0 {
		return dst
	}
	dst = dst[:start+zero]
	for i := zero; i < len(v); i++ {
		if dst = append(dst, v[i]); v[i] == 0 {
			dst = append(dst, 0xff)
		}
	}
	return dst
}

// Place says where in the key a column stands.
type Place uint8

// The places. The last column needs no terminator.
const (
	Inner Place = iota
	Last
)

// Hash is XXH64, seed 0, of a key's canonical bytes.
func Hash(key []byte) uint64 { return xxhash.Sum64(key) }

// HashID is the hash of a function address, which has only its id as key.
func HashID(id string) uint64 {
	var buf [64]byte
	return Hash(AppendBytes(buf[:0], id, Last))
}

// Group is the key group of a hash: its top 8 bits.
func Group(hash uint64) uint8 { return uint8(hash >> 56) }

// Partition is the partition of a topic with n partitions for a record key's own bytes (not canonical ones): FNV-1a 32
// modulo n, as NATS's partition() computes for a single token.
func Partition(recordKey []byte, n int) int {
	h := uint32(2166136261)
	for _, b := range recordKey {
		h = (h ^ uint32(b)) * 16777619
	}
	return int(h % uint32(n))
}
