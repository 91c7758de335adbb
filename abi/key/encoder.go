package key

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
)

// Keys is a list of keys in one buffer: key i is Bytes[Offsets[i]:Offsets[i+1]].
type Keys struct {
	Bytes   []byte
	Offsets []int32
}

// Len is the number of keys.
func (k *Keys) Len() int { return max(0, len(k.Offsets)-1) }

// Key is key i, a view.
func (k *Keys) Key(i int) []byte {
	from, to := k.Offsets[i], k.Offsets[i+1]
	return k.Bytes[from:to:to]
}

// Reset forgets the keys and keeps the memory.
func (k *Keys) Reset() {
	k.Bytes, k.Offsets = k.Bytes[:0], append(k.Offsets[:0], 0)
}

// Append adds one key.
func (k *Keys) Append(key []byte) {
	if len(k.Offsets) == 0 {
		k.Offsets = append(k.Offsets, 0)
	}
	k.Bytes = append(k.Bytes, key...)
	k.Offsets = append(k.Offsets, int32(len(k.Bytes)))
}

// Encoder encodes the keys of batches. The zero value is ready; it has no state and may be shared.
type Encoder struct{}

// Check tells whether columns of the schema may be a key.
func Check(s *schema.Schema) error {
	for i := range s.Fields {
		if k := s.Fields[i].Type.Kind; !k.Keyable() {
			return fmt.Errorf("key column %s is a %s: list, struct and map are not keys, key by a scalar column", schema.QuoteName(s.Fields[i].Name), k)
		}
	}
	return nil
}

// Encode replaces dst by the keys of the selected rows, or of rows 0..n-1 if rows is nil. Nothing is allocated once dst
// is large enough. The first key over MaxBytes is a *TooLongError; dst is then not to be used.
func (e Encoder) Encode(cols []frame.Column, rows []int32, n int, dst *Keys) error {
	if rows != nil {
		n = len(rows)
	}
	dst.Reset()
	if len(cols) == 1 && cols[0].Validity == nil {
		switch k := cols[0].Type.Kind; {
		case k == schema.Int64 || k == schema.Timestamp:
			encodeInt64(&cols[0], rows, n, dst)
			return nil
		case k.VarLen():
			return encodeBytes(&cols[0], rows, n, dst)
		}
	}
	dst.Offsets = slices.Grow(dst.Offsets, n)
	for i := range n {
		r := i
		if rows != nil {
			r = int(rows[i])
		}
		start := len(dst.Bytes)
		dst.Bytes = AppendRow(dst.Bytes, cols, r)
		if size := len(dst.Bytes) - start; size > MaxBytes {
			return &TooLongError{Row: i, Bytes: size}
		}
		dst.Offsets = append(dst.Offsets, int32(len(dst.Bytes)))
	}
	return nil
}

// AppendRow appends the key of row r of the columns.
func AppendRow(dst []byte, cols []frame.Column, r int) []byte {
	for j := range cols {
		place := Inner
		if j == len(cols)-1 {
			place = Last
		}
		dst = AppendColumn(dst, &cols[j], r, place)
	}
	return dst
}

// AppendColumn appends value r of one key column.
func AppendColumn(dst []byte, c *frame.Column, r int, place Place) []byte {
	if c.Null(r) {
		return AppendNull(dst)
	}
	switch k := c.Type.Kind; k {
	case schema.Bool:
		return AppendBool(dst, c.Bool(r))
	case schema.Float32, schema.Float64:
		return AppendFloat(dst, c.FloatAt(r))
	case schema.Decimal:
		hi, lo := c.Decimal(r)
		return AppendDecimal(dst, hi, lo, c.Type.Scale)
	case schema.Utf8, schema.Binary:
		return AppendBytes(dst, c.BytesAt(r), place)
	case schema.List, schema.Struct, schema.Map:
		panic("key: a " + k.String() + " is not a key: call Check first")
	default:
		return AppendInt(dst, c.IntAt(r))
	}
}

const intKeySize = 9

func encodeInt64(c *frame.Column, rows []int32, n int, dst *Keys) {
	dst.Bytes = slices.Grow(dst.Bytes, n*intKeySize)[:n*intKeySize]
	dst.Offsets = slices.Grow(dst.Offsets, n)[:n+1]
	values := c.Int64s()
	out := dst.Bytes
	for i := range n {
		r := i
		if rows != nil {
			r = int(rows[i])
		}
		b := out[i*intKeySize : i*intKeySize+intKeySize]
		b[0] = tagValue
		binary.BigEndian.PutUint64(b[1:], uint64(values[r])^1<<63)
		dst.Offsets[i+1] = int32((i + 1) * intKeySize)
	}
}

func encodeBytes(c *frame.Column, rows []int32, n int, dst *Keys) error {
	if n == 0 {
		return nil
	}
	offsets, bytes := c.Offsets(), c.Bytes
	size := n
	for i := range n {
		r := i
		if rows != nil {
			r = int(rows[i])
		}
		l := int(offsets[r+1] - offsets[r])
		if l >= MaxBytes {
			return &TooLongError{Row: i, Bytes: l + 1}
		}
		size += l
	}
	if size > math.MaxInt32 {
		return fmt.Errorf("keys of %d rows have %d bytes, the limit is 2 GiB: take fewer rows", n, size)
	}
	out := slices.Grow(dst.Bytes, size)[:size]
	ends := slices.Grow(dst.Offsets, n)[:n+1]
	end := 0
	for i := range n {
		r := i
		if rows != nil {
			r = int(rows[i])
		}
		out[end] = tagValue
		end += 1 + copy(out[end+1:], bytes[offsets[r]:offsets[r+1]])
		ends[i+1] = int32(end)
	}
	dst.Bytes, dst.Offsets = out, ends
	return nil
}

// HashAll appends the hash of every key to out[:0] and returns it.
func HashAll(keys *Keys, out []uint64) []uint64 {
	n := keys.Len()
	out = slices.Grow(out[:0], n)[:n]
	for i := range n {
		b := keys.Bytes[keys.Offsets[i]:keys.Offsets[i+1]]
		if len(b) == intKeySize {
			out[i] = hash9(b)
			continue
		}
		out[i] = xxhash.Sum64(b)
	}
	return out
}

// Primes of XXH64.
const (
	prime1 uint64 = 0x9E3779B185EBCA87
	prime2 uint64 = 0xC2B2AE3D27D4EB4F
	prime3 uint64 = 0x165667B19E3779F9
	prime4 uint64 = 0x85EBCA77C2B2AE63
	prime5 uint64 = 0x27D4EB2F165667C5
)

// hash9 is XXH64 of 9 bytes, the size of an integer key, without the loops and calls of the general form.
func hash9(b []byte) uint64 {
	_ = b[8]
	k := binary.LittleEndian.Uint64(b) * prime2
	h := prime5 + intKeySize
	h ^= (k<<31 | k>>33) * prime1
	h = (h<<27|h>>37)*prime1 + prime4
	h ^= uint64(b[8]) * prime5
	h = (h<<11 | h>>53) * prime1
	h ^= h >> 33
	h *= prime2
	h ^= h >> 29
	h *= prime3
	return h ^ h>>32
}
