package record

import (
	"encoding/binary"
	"math"
	"time"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// Append writes the value at p as a row.
func (r *Row) Append(b []byte, p unsafe.Pointer) []byte { return r.appendFields(b, p) }

func (s *Shape) appendFields(b []byte, p unsafe.Pointer) []byte {
	for i := range s.fields {
		f := &s.fields[i]
		v := unsafe.Add(p, f.off)
		if f.null != notNull {
			if isNull(v, f.null, f.flag) {
				continue
			}
			if f.null == byPointer {
				v = *(*unsafe.Pointer)(v)
			}
		}
		if f.tag < 0x80 {
			b = append(b, byte(f.tag))
		} else {
			b = wire.AppendUvarint(b, f.tag)
		}
		b = f.shape.AppendValue(b, v)
	}
	return b
}

// AppendValue writes the value at p as a wire value without its tag.
func (s *Shape) AppendValue(b []byte, p unsafe.Pointer) []byte {
	switch s.Kind {
	case wire.Bool:
		if *(*bool)(p) {
			return append(b, 2) // zigzag of 1
		}
		return append(b, 0)
	case wire.Int8:
		return wire.AppendZigzag(b, int64(*(*int8)(p)))
	case wire.Int16:
		return wire.AppendZigzag(b, int64(*(*int16)(p)))
	case wire.Int32, wire.Date32:
		return wire.AppendZigzag(b, int64(*(*int32)(p)))
	case wire.Int64:
		return wire.AppendZigzag(b, *(*int64)(p))
	case wire.Timestamp:
		return wire.AppendZigzag(b, (*time.Time)(p).UnixMicro())
	case wire.Float32:
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(*(*float32)(p)))
	case wire.Float64:
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(*(*float64)(p)))
	case wire.Decimal:
		d := (*Decimal)(p)
		b = wire.AppendUvarint(b, uint64(d.Scale))
		b = binary.LittleEndian.AppendUint64(b, d.Low)
		return binary.LittleEndian.AppendUint64(b, uint64(d.High))
	case wire.Utf8, wire.Binary: // a slice begins as a string does
		v := *(*string)(p)
		b = wire.AppendUvarint(b, uint64(len(v)))
		return append(b, v...)
	case wire.Struct:
		return withLength(b, func(b []byte) []byte { return s.appendFields(b, p) })
	case wire.List:
		return withLength(b, func(b []byte) []byte { return s.appendList(b, p) })
	}
	return b
}

type sliceHeader struct {
	data     unsafe.Pointer
	len, cap int
}

func (s *Shape) appendList(b []byte, p unsafe.Pointer) []byte {
	h := (*sliceHeader)(p)
	b = wire.AppendUvarint(b, uint64(h.len))
	size := s.Type.Elem().Size()
	for i := range h.len {
		v := unsafe.Add(h.data, uintptr(i)*size)
		if isNull(v, s.null, s.flag) {
			b = append(b, 0)
			continue
		}
		if s.null == byPointer {
			v = *(*unsafe.Pointer)(v)
		}
		b = s.elem.AppendValue(append(b, 1), v)
	}
	return b
}

// withLength puts the length of what write appends before it.
func withLength(b []byte, write func([]byte) []byte) []byte {
	at := len(b)
	b = write(append(b, 0))
	n := len(b) - at - 1
	if n < 0x80 {
		b[at] = byte(n)
		return b
	}
	var length [10]byte
	l := wire.AppendUvarint(length[:0], uint64(n))
	b = append(b, l[1:]...)
	copy(b[at+len(l):], b[at+1:at+1+n])
	copy(b[at:], l)
	return b
}
