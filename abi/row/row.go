// Package row is the encoding of state values: fields with ids, so that a newer or older version of a function, or one in
// another language, finds what was kept. Absent is null, an unknown id is skipped. The package must not know where the
// values are kept.
package row

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/weirstream/weir/abi"
)

// Wire says how many bytes a value takes, so that unknown fields can be skipped.
type Wire uint8

// The wires.
const (
	WireVarint  Wire = 0 // zigzag: bool, int8 to int64, date32, timestamp
	WireFloat64 Wire = 1
	WireBytes   Wire = 2 // length first: utf8, binary, struct (a row), list, map
	WireDecimal Wire = 3 // uvarint scale, then 16 bytes
	WireFloat32 Wire = 5
)

// MaxID is the largest field id; the smallest is 1.
const MaxID = abi.MaxRowFieldID

// ErrRow is wrapped by every refusal of a row's bytes.
var ErrRow = errors.New("bad row")

func appendTag(dst []byte, id int, w Wire) []byte {
	return binary.AppendUvarint(dst, uint64(id)<<3|uint64(w))
}

func zigzag(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// AppendInt appends an integer, date32 or timestamp field. Fields are appended in ascending order of id.
func AppendInt(dst []byte, id int, v int64) []byte {
	return AppendIntValue(appendTag(dst, id, WireVarint), v)
}

// AppendBool appends a bool field.
func AppendBool(dst []byte, id int, v bool) []byte {
	return AppendBoolValue(appendTag(dst, id, WireVarint), v)
}

// AppendFloat64 appends a float64 field.
func AppendFloat64(dst []byte, id int, v float64) []byte {
	return AppendFloat64Value(appendTag(dst, id, WireFloat64), v)
}

// AppendFloat32 appends a float32 field.
func AppendFloat32(dst []byte, id int, v float32) []byte {
	return AppendFloat32Value(appendTag(dst, id, WireFloat32), v)
}

// AppendDecimal appends a decimal field: the unscaled value hi<<64 | lo and its scale.
func AppendDecimal(dst []byte, id, scale int, hi int64, lo uint64) []byte {
	return AppendDecimalValue(appendTag(dst, id, WireDecimal), scale, hi, lo)
}

// AppendBytes appends a utf8, binary, struct, list or map field; the last three are encoded beforehand.
func AppendBytes[T ~string | ~[]byte](dst []byte, id int, v T) []byte {
	return AppendBytesValue(appendTag(dst, id, WireBytes), v)
}

// AppendCount begins a list or a map: the number of elements or entries. Each element is then AppendAbsent, or
// AppendPresent and a value without tag; each entry of a map a key and a value in the same way, in canonical key order.
func AppendCount(dst []byte, n int) []byte { return binary.AppendUvarint(dst, uint64(n)) }

// AppendAbsent appends a null element.
func AppendAbsent(dst []byte) []byte { return append(dst, 0) }

// AppendPresent precedes an element's value.
func AppendPresent(dst []byte) []byte { return append(dst, 1) }

// AppendIntValue appends an integer without tag.
func AppendIntValue(dst []byte, v int64) []byte { return binary.AppendUvarint(dst, zigzag(v)) }

// AppendBoolValue appends a bool without tag.
func AppendBoolValue(dst []byte, v bool) []byte {
	if v {
		return append(dst, 2)
	}
	return append(dst, 0)
}

// AppendFloat64Value appends a float64 without tag.
func AppendFloat64Value(dst []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
}

// AppendFloat32Value appends a float32 without tag.
func AppendFloat32Value(dst []byte, v float32) []byte {
	return binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
}

// AppendDecimalValue appends a decimal without tag.
func AppendDecimalValue(dst []byte, scale int, hi int64, lo uint64) []byte {
	dst = binary.AppendUvarint(dst, uint64(scale))
	dst = binary.LittleEndian.AppendUint64(dst, lo)
	return binary.LittleEndian.AppendUint64(dst, uint64(hi))
}

// AppendBytesValue appends bytes with their length, without tag.
func AppendBytesValue[T ~string | ~[]byte](dst []byte, v T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
}

// Reader reads a row field by field:
//
//	r := row.NewReader(b)
//	for {
//		id, wire, ok := r.Next()
//		if !ok { break }
//		if id == 1 { count = r.Int() }   // a field not asked for is skipped
//	}
//	return r.Err()
type Reader struct {
	b     []byte
	pos   int
	id    int
	wire  Wire
	value []byte // of the field read last: without tag and length
	num   uint64 // its varint, or a decimal's scale
	err   error
}

// NewReader reads the row b.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Err is what stopped Next, nil at the end of the row.
func (r *Reader) Err() error { return r.err }

// Next goes to the next field; ok is false at the end and after damage, which Err tells.
func (r *Reader) Next() (id int, wire Wire, ok bool) {
	if r.err != nil || r.pos == len(r.b) {
		return 0, 0, false
	}
	tag, ok := r.uvarint()
	if !ok {
		return 0, 0, false
	}
	next := tag >> 3
	if next == 0 || next > MaxID || int(next) <= r.id {
		return r.fail(fmt.Sprintf("field id %d after %d: ids ascend, from 1 to %d", next, r.id, MaxID))
	}
	r.id, r.wire = int(next), Wire(tag&7)
	if !r.take(r.wire) {
		return 0, 0, false
	}
	return r.id, r.wire, true
}

func (r *Reader) fail(reason string) (int, Wire, bool) {
	r.err = fmt.Errorf("%w at byte %d: %s", ErrRow, r.pos, reason)
	return 0, 0, false
}

func (r *Reader) uvarint() (uint64, bool) {
	v, n := binary.Uvarint(r.b[r.pos:])
	if n <= 0 {
		r.fail("no varint")
		return 0, false
	}
	r.pos += n
	return v, true
}

// take reads a value of the wire into value and num.
func (r *Reader) take(w Wire) bool {
	size := uint64(0)
	ok := true
	r.value, r.num = nil, 0
	switch w {
	case WireVarint:
		r.num, ok = r.uvarint()
		return ok
	case WireFloat64:
		size = 8
	case WireFloat32:
		size = 4
	case WireDecimal:
		r.num, ok = r.uvarint()
		size = 16
	case WireBytes:
		size, ok = r.uvarint()
	default:
		r.fail(fmt.Sprintf("unknown wire %d", w))
		return false
	}
	if !ok {
		return false
	}
	if size > uint64(len(r.b)-r.pos) {
		r.fail(fmt.Sprintf("value of %d bytes, %d are left", size, len(r.b)-r.pos))
		return false
	}
	r.value = r.b[r.pos : r.pos+int(size) : r.pos+int(size)]
	r.pos += int(size)
	return true
}

// Int is the field as an integer; 0 if it is of another wire.
func (r *Reader) Int() int64 { return unzigzag(r.num) }

// Bool is the field as a bool.
func (r *Reader) Bool() bool { return r.num != 0 }

// Float64 is a float32 or float64 field, widened; 0 if it is of another wire.
func (r *Reader) Float64() float64 {
	switch len(r.value) {
	case 8:
		return math.Float64frombits(binary.LittleEndian.Uint64(r.value))
	case 4:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(r.value)))
	}
	return 0
}

// Bytes is the field as bytes, a view.
func (r *Reader) Bytes() []byte { return r.value }

// Decimal is the field as a decimal; 0 if it is of another wire.
func (r *Reader) Decimal() (scale int, hi int64, lo uint64) {
	if len(r.value) != 16 {
		return 0, 0, 0
	}
	return int(min(r.num, math.MaxInt32)), int64(binary.LittleEndian.Uint64(r.value[8:])), binary.LittleEndian.Uint64(r.value)
}

// List reads the elements of a list or a map from a field's bytes: Next per element, and for a map per key and value.
type List struct {
	r Reader
}

// NewList begins a list of the wire's values; n is the count that stands in front.
func NewList(b []byte) (l List, n int, err error) {
	l.r = NewReader(b)
	count, ok := l.r.uvarint()
	if ok && count > uint64(len(b)) {
		l.r.fail(fmt.Sprintf("%d elements in %d bytes", count, len(b)))
	}
	if l.r.err != nil {
		return l, 0, l.r.err
	}
	return l, int(count), nil
}

// Next reads one element of the wire; null tells that it is absent. The accessors of Reader then give its value.
func (l *List) Next(w Wire) (v *Reader, null bool, err error) {
	if l.r.err == nil && l.r.pos == len(l.r.b) {
		l.r.fail("the list ends early")
	}
	if l.r.err != nil {
		return nil, false, l.r.err
	}
	mark := l.r.b[l.r.pos]
	l.r.pos++
	switch mark {
	case 0:
		l.r.value, l.r.num = nil, 0
		return &l.r, true, nil
	case 1:
		if !l.r.take(w) {
			return nil, false, l.r.err
		}
		return &l.r, false, nil
	}
	l.r.fail(fmt.Sprintf("element mark %d, want 0 (null) or 1", mark))
	return nil, false, l.r.err
}

// End checks that nothing follows the last element.
func (l *List) End() error {
	if l.r.err == nil && l.r.pos != len(l.r.b) {
		l.r.fail("bytes after the last element")
	}
	return l.r.err
}
