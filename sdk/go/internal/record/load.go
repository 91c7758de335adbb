package record

import (
	"encoding/binary"
	"errors"
	"reflect"
	"strconv"
	"time"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// Load turns n rows of a block, from row from, into structs at dst that lie stride bytes apart. Strings and bytes are views of the block.
// It goes column by column, so that a row costs no decision about types.
func (c *Columns) Load(dst unsafe.Pointer, stride uintptr, block *wire.Block, from, n int) error {
	for i := range c.columns {
		col := &c.columns[i]
		src := &block.Columns[col.node]
		if from+n > src.Length {
			return errors.New("column " + strconv.Quote(col.name) + " has " + strconv.Itoa(src.Length) + " values of " + strconv.Itoa(block.Rows) + " rows")
		}
		if col.nested != nil {
			field := unsafe.Add(dst, col.off)
			for row := from; row < from+n; row++ {
				if !col.nested.load(reflect.NewAt(col.nested.typ, field).Elem(), block, col.node, row) {
					return errors.New("column " + strconv.Quote(col.name) + " has wrong offsets")
				}
				field = unsafe.Add(field, stride)
			}
			continue
		}
		at, step := unsafe.Add(dst, col.off), stride
		if col.null == byPointer {
			at, step = col.spare(n), col.elem.Size()
		}
		if !col.loadValues(at, step, block, src, from, n) {
			return errors.New("column " + strconv.Quote(col.name) + " has wrong offsets")
		}
		if col.null != notNull {
			col.loadNulls(unsafe.Add(dst, col.off), stride, at, step, src, from, n)
		}
	}
	return nil
}

// spare is where values behind pointers stand until the next Load.
func (col *column) spare(n int) unsafe.Pointer {
	if !col.spares.IsValid() || col.spares.Len() < n {
		col.spares = reflect.MakeSlice(reflect.SliceOf(col.elem), n, n)
	}
	return col.spares.UnsafePointer()
}

func copyFixed[T any](dst unsafe.Pointer, step uintptr, src *wire.Column, from, n int) {
	values := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(src.Values))), from+n)[from:]
	for _, v := range values {
		*(*T)(dst) = v
		dst = unsafe.Add(dst, step)
	}
}

func (col *column) loadValues(dst unsafe.Pointer, step uintptr, block *wire.Block, src *wire.Column, from, n int) bool {
	switch col.kind {
	case wire.Bool:
		for i := from; i < from+n; i++ {
			*(*bool)(dst) = src.Values[i>>3]>>(i&7)&1 != 0
			dst = unsafe.Add(dst, step)
		}
	case wire.Int8:
		copyFixed[int8](dst, step, src, from, n)
	case wire.Int16:
		copyFixed[int16](dst, step, src, from, n)
	case wire.Int32, wire.Date32:
		copyFixed[int32](dst, step, src, from, n)
	case wire.Float32:
		copyFixed[float32](dst, step, src, from, n)
	case wire.Int64:
		copyFixed[int64](dst, step, src, from, n)
	case wire.Float64:
		copyFixed[float64](dst, step, src, from, n)
	case wire.Timestamp:
		values := unsafe.Slice((*int64)(unsafe.Pointer(unsafe.SliceData(src.Values))), from+n)[from:]
		for _, v := range values {
			*(*time.Time)(dst) = time.UnixMicro(v).UTC()
			dst = unsafe.Add(dst, step)
		}
	case wire.Decimal:
		for i := from; i < from+n; i++ {
			p := src.Values[16*i:]
			*(*Decimal)(dst) = Decimal{Low: binary.LittleEndian.Uint64(p), High: int64(binary.LittleEndian.Uint64(p[8:])), Scale: uint8(col.scale)}
			dst = unsafe.Add(dst, step)
		}
	case wire.Utf8:
		return loadStrings(dst, step, src, from, n)
	case wire.Binary:
		for i := from; i < from+n; i++ {
			p, ok := src.Slice(i)
			if !ok {
				return false
			}
			*(*[]byte)(dst) = p
			dst = unsafe.Add(dst, step)
		}
	case wire.Map:
		return col.loadHeaders(dst, step, block, src, from, n)
	}
	return true
}

func loadStrings(dst unsafe.Pointer, step uintptr, src *wire.Column, from, n int) bool {
	offsets := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(src.Values))), from+n+1)[from:]
	text := unsafe.String(unsafe.SliceData(src.Bytes), len(src.Bytes))
	start := offsets[0]
	for _, end := range offsets[1:] {
		if start > end || uint64(end) > uint64(len(text)) {
			return false
		}
		*(*string)(dst) = text[start:end]
		dst = unsafe.Add(dst, step)
		start = end
	}
	return true
}

// loadHeaders reads a map<utf8,binary>: the entries stand in the two leaf nodes behind it.
func (col *column) loadHeaders(dst unsafe.Pointer, step uintptr, block *wire.Block, src *wire.Column, from, n int) bool {
	keys, values := &block.Columns[col.node+2], &block.Columns[col.node+3]
	for i := from; i < from+n; i++ {
		first, last := binary.LittleEndian.Uint32(src.Values[4*i:]), binary.LittleEndian.Uint32(src.Values[4*i+4:])
		if first > last || int64(last) > int64(keys.Length) || keys.Length != values.Length {
			return false
		}
		headers := make(Headers, last-first)
		for e := int(first); e < int(last); e++ {
			k, ok1 := keys.Slice(e)
			v, ok2 := values.Slice(e)
			if !ok1 || !ok2 {
				return false
			}
			headers[string(k)] = v
		}
		*(*Headers)(dst) = headers
		dst = unsafe.Add(dst, step)
	}
	return true
}

func (col *column) loadNulls(field unsafe.Pointer, stride uintptr, value unsafe.Pointer, step uintptr, src *wire.Column, from, n int) {
	for i := from; i < from+n; i++ {
		null := src.IsNull(i)
		switch col.null {
		case byPointer:
			if null {
				*(*unsafe.Pointer)(field) = nil
			} else {
				*(*unsafe.Pointer)(field) = value
			}
		case byFlag:
			*(*bool)(unsafe.Add(field, col.flag)) = !null
			if null {
				zero(value, col.kind)
			}
		case byNil:
			if null && col.headers {
				*(*Headers)(field) = nil
			} else if null {
				*(*[]byte)(field) = nil
			}
		}
		field, value = unsafe.Add(field, stride), unsafe.Add(value, step)
	}
}

// zero clears what stood under a null, of which the contract says nothing.
func zero(p unsafe.Pointer, k wire.Kind) {
	switch k {
	case wire.Bool:
		*(*bool)(p) = false
	case wire.Int8:
		*(*int8)(p) = 0
	case wire.Int16:
		*(*int16)(p) = 0
	case wire.Int32, wire.Date32:
		*(*int32)(p) = 0
	case wire.Int64:
		*(*int64)(p) = 0
	case wire.Float32:
		*(*float32)(p) = 0
	case wire.Float64:
		*(*float64)(p) = 0
	case wire.Timestamp:
		*(*time.Time)(p) = time.Time{}
	case wire.Decimal:
		*(*Decimal)(p) = Decimal{}
	case wire.Utf8:
		*(*string)(p) = ""
	case wire.Binary:
		*(*[]byte)(p) = nil
	}
}
