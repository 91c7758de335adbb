package record

import (
	"time"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// A flat row has only integers, bools and times, none of them null: the counters and sums of most functions. All of a call's values are then read, and written, in one loop
// without calls, which in WebAssembly cost more than the work.

type flatField struct {
	tag  byte
	kind wire.Kind
	off  uintptr
}

// Flat says whether DecodeAll and AppendAll serve the row.
func (r *Row) Flat() bool { return len(r.flat) > 0 }

func (r *Row) flatten() {
	for _, f := range r.fields {
		if f.null != notNull || f.tag >= 0x80 || wireOf(f.shape.Kind) != abi.WireVarint {
			r.flat = nil
			return
		}
		r.flat = append(r.flat, flatField{byte(f.tag), f.shape.Kind, f.off})
	}
}

// DecodeAll decodes the values of a state column into the zeroed structs at dst, stride bytes apart, and sets the bits of present in the flags of those it found, loaded in the flags of
// those it could read. It leaves what is not plain (another order, unknown fields, damage) to Decode.
func (r *Row) DecodeAll(dst unsafe.Pointer, stride uintptr, col *wire.Column, flags []uint8, loaded, present uint8) {
	if col.Length == 0 {
		return
	}
	offsets := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(col.Values))), len(flags)+1)
	bytes := col.Bytes
	base := unsafe.Pointer(unsafe.SliceData(bytes))
	flat := r.flat
	start := offsets[0]
rows:
	for i, end := range offsets[1:] {
		at := start
		start = end
		row := dst
		dst = unsafe.Add(dst, stride)
		if col.Valid != nil && col.Valid[i>>3]>>(i&7)&1 == 0 {
			flags[i] = loaded
			continue
		}
		if end < at || uint64(end) > uint64(len(bytes)) {
			continue
		}
		// Pointers, because each index of a slice would be checked; pos < stop <= len(bytes) is what they need.
		pos, stop := uintptr(at), uintptr(end)
		for f := range flat {
			field := &flat[f]
			if pos+1 >= stop || *(*byte)(unsafe.Add(base, pos)) != field.tag {
				continue rows
			}
			u := uint64(*(*byte)(unsafe.Add(base, pos+1)))
			pos += 2
			if u >= 0x80 {
				u &= 0x7f
				for shift := 7; ; shift += 7 {
					if pos >= stop || shift > 63 {
						continue rows
					}
					c := *(*byte)(unsafe.Add(base, pos))
					pos++
					u |= uint64(c&0x7f) << (shift & 63)
					if c < 0x80 {
						if shift == 63 && c > 1 {
							continue rows // more than 64 bits
						}
						break
					}
				}
			}
			v := int64(u>>1) ^ -int64(u&1)
			p := unsafe.Add(row, field.off)
			if field.kind == wire.Int64 {
				*(*int64)(p) = v
				continue
			}
			switch field.kind {
			case wire.Int32, wire.Date32:
				if int64(int32(v)) != v {
					continue rows
				}
				*(*int32)(p) = int32(v)
			case wire.Timestamp:
				*(*time.Time)(p) = time.UnixMicro(v).UTC()
			case wire.Bool:
				*(*bool)(p) = v != 0
			case wire.Int16:
				if int64(int16(v)) != v {
					continue rows
				}
				*(*int16)(p) = int16(v)
			default:
				if int64(int8(v)) != v {
					continue rows
				}
				*(*int8)(p) = int8(v)
			}
		}
		if pos == stop {
			flags[i] = loaded | present
		}
	}
}

// Write names a slot that was written, and the cause that wrote it last.
type Write struct{ Cause, Slot uint32 }

// AppendAll encodes the values of the written slots into buf, which has room for Fixed bytes each, and notes in ends where each ends. A slot without the bit present in its flags
// has no value. It returns the length.
func (r *Row) AppendAll(buf []byte, rows unsafe.Pointer, stride uintptr, writes []Write, flags []uint8, present uint8, ends []uint32) int {
	flat := r.flat
	at := 0
	out := unsafe.Pointer(unsafe.SliceData(buf))
	for i := range writes {
		slot := writes[i].Slot
		if flags[slot]&present != 0 {
			row := unsafe.Add(rows, uintptr(slot)*stride)
			for f := range flat {
				field := &flat[f]
				p := unsafe.Add(row, field.off)
				v := int64(0)
				if field.kind == wire.Int64 {
					v = *(*int64)(p)
				} else {
					v = narrow(p, field.kind)
				}
				*(*byte)(unsafe.Add(out, at)) = field.tag
				at++
				u := uint64(v)<<1 ^ uint64(v>>63)
				for u >= 0x80 {
					*(*byte)(unsafe.Add(out, at)) = byte(u) | 0x80
					at++
					u >>= 7
				}
				*(*byte)(unsafe.Add(out, at)) = byte(u)
				at++
			}
		}
		ends[i] = uint32(at)
	}
	return at
}

// narrow reads what is no int64.
func narrow(p unsafe.Pointer, k wire.Kind) int64 {
	switch k {
	case wire.Int32, wire.Date32:
		return int64(*(*int32)(p))
	case wire.Timestamp:
		return (*time.Time)(p).UnixMicro()
	case wire.Bool:
		if *(*bool)(p) {
			return 1
		}
		return 0
	case wire.Int16:
		return int64(*(*int16)(p))
	}
	return int64(*(*int8)(p))
}
