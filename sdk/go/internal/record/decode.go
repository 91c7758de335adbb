package record

import (
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"strconv"
	"time"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

var errTruncated = errors.New("the row ends in mid-field")

// Decode reads a row into the zero value at p. Strings and bytes are views of b.
func (r *Row) Decode(p unsafe.Pointer, b []byte) error { return r.decodeFields(p, b) }

func (s *Shape) decodeFields(p unsafe.Pointer, b []byte) error {
	next := 0
	last := uint64(0)
	for len(b) > 0 {
		tag, n := wire.Uvarint(b)
		id := tag >> 3
		if n == 0 || id <= last || id > abi.MaxFieldID {
			return errors.New("a damaged field id after field " + strconv.Itoa(int(last)))
		}
		last = id
		b = b[n:]
		for next < len(s.fields) && s.fields[next].id < id {
			next++
		}
		var err error
		if next == len(s.fields) || s.fields[next].id != id {
			b, err = skip(b, tag&7)
		} else {
			b, err = s.fields[next].decode(p, b, tag&7)
			next++
		}
		if err != nil {
			return errors.New("field " + strconv.Itoa(int(id)) + ": " + err.Error())
		}
	}
	return nil
}

func (f *shapeField) decode(p unsafe.Pointer, b []byte, w uint64) ([]byte, error) {
	v := unsafe.Add(p, f.off)
	if f.null != notNull {
		v = present(v, f.null, f.flag, f.shape.Type)
	}
	return f.shape.decodeValue(v, b, w)
}

// present makes room for a value that may be null and returns where it goes.
func present(p unsafe.Pointer, mode nullMode, flag uintptr, t reflect.Type) unsafe.Pointer {
	switch mode {
	case byPointer:
		v := reflect.New(t).UnsafePointer()
		*(*unsafe.Pointer)(p) = v
		return v
	case byFlag:
		*(*bool)(unsafe.Add(p, flag)) = true
	}
	return p
}

// DecodeValue reads a wire value without its tag and returns what follows it.
func (s *Shape) DecodeValue(p unsafe.Pointer, b []byte) ([]byte, error) {
	return s.decodeValue(p, b, wireOf(s.Kind))
}

func (s *Shape) decodeValue(p unsafe.Pointer, b []byte, w uint64) ([]byte, error) {
	switch w {
	case abi.WireVarint:
		u, n := wire.Uvarint(b)
		if n == 0 {
			return nil, errTruncated
		}
		return b[n:], s.setInteger(p, wire.Unzigzag(u))
	case abi.WireBytes:
		u, n := wire.Uvarint(b)
		if n == 0 || u > uint64(len(b)-n) {
			return nil, errTruncated
		}
		body := b[n : n+int(u) : n+int(u)]
		return b[n+int(u):], s.setBytes(p, body)
	case abi.WireFloat64:
		if len(b) < 8 {
			return nil, errTruncated
		}
		if s.Kind != wire.Float64 {
			return nil, s.mismatch("float64")
		}
		*(*float64)(p) = math.Float64frombits(binary.LittleEndian.Uint64(b))
		return b[8:], nil
	case abi.WireFloat32:
		if len(b) < 4 {
			return nil, errTruncated
		}
		v := math.Float32frombits(binary.LittleEndian.Uint32(b))
		switch s.Kind {
		case wire.Float32:
			*(*float32)(p) = v
		case wire.Float64:
			*(*float64)(p) = float64(v)
		default:
			return nil, s.mismatch("float32")
		}
		return b[4:], nil
	case abi.WireDecimal:
		u, n := wire.Uvarint(b)
		if n == 0 || len(b) < n+16 {
			return nil, errTruncated
		}
		if s.Kind != wire.Decimal || u > 38 {
			return nil, s.mismatch("a decimal of scale " + strconv.Itoa(int(u)))
		}
		*(*Decimal)(p) = Decimal{Low: binary.LittleEndian.Uint64(b[n:]), High: int64(binary.LittleEndian.Uint64(b[n+8:])), Scale: uint8(u)}
		return b[n+16:], nil
	}
	return nil, errors.New("unknown wire type " + strconv.Itoa(int(w)))
}

func (s *Shape) mismatch(stored string) error {
	return errors.New("it holds " + stored + ", the function reads " + s.TypeText())
}

func (s *Shape) setInteger(p unsafe.Pointer, v int64) error {
	fits := true
	switch s.Kind {
	case wire.Bool:
		*(*bool)(p) = v != 0
		fits = v == 0 || v == 1
	case wire.Int8:
		*(*int8)(p) = int8(v)
		fits = int64(int8(v)) == v
	case wire.Int16:
		*(*int16)(p) = int16(v)
		fits = int64(int16(v)) == v
	case wire.Int32, wire.Date32:
		*(*int32)(p) = int32(v)
		fits = int64(int32(v)) == v
	case wire.Int64:
		*(*int64)(p) = v
	case wire.Timestamp:
		*(*time.Time)(p) = time.UnixMicro(v).UTC()
	default:
		return s.mismatch("an integer")
	}
	if !fits {
		return errors.New(strconv.FormatInt(v, 10) + " does not fit " + s.TypeText())
	}
	return nil
}

func (s *Shape) setBytes(p unsafe.Pointer, body []byte) error {
	switch s.Kind {
	case wire.Utf8:
		*(*string)(p) = unsafe.String(unsafe.SliceData(body), len(body))
	case wire.Binary:
		*(*[]byte)(p) = body
	case wire.Struct:
		return s.decodeFields(p, body)
	case wire.List:
		return s.decodeList(p, body)
	default:
		return s.mismatch("bytes")
	}
	return nil
}

func (s *Shape) decodeList(p unsafe.Pointer, b []byte) error {
	count, n := wire.Uvarint(b)
	if n == 0 || count > uint64(len(b)-n) { // each element has one byte at least
		return errTruncated
	}
	b = b[n:]
	list := reflect.MakeSlice(s.Type, int(count), int(count))
	data, size := list.UnsafePointer(), s.Type.Elem().Size()
	for i := range int(count) {
		if len(b) == 0 {
			return errTruncated
		}
		here := b[0] != 0
		b = b[1:]
		if !here {
			continue
		}
		var err error
		v := present(unsafe.Add(data, uintptr(i)*size), s.null, s.flag, s.elem.Type)
		if b, err = s.elem.DecodeValue(v, b); err != nil {
			return errors.New("element " + strconv.Itoa(i) + ": " + err.Error())
		}
	}
	if len(b) > 0 {
		return errors.New("bytes follow the last element")
	}
	*(*sliceHeader)(p) = sliceHeader{data, int(count), int(count)}
	return nil
}

func skip(b []byte, w uint64) ([]byte, error) {
	u, n := wire.Uvarint(b)
	switch w {
	case abi.WireVarint:
	case abi.WireBytes:
		if n == 0 || u > uint64(len(b)-n) {
			return nil, errTruncated
		}
		n += int(u)
	case abi.WireFloat64:
		n = 8
	case abi.WireFloat32:
		n = 4
	case abi.WireDecimal:
		if n > 0 {
			n += 16
		}
	default:
		return nil, errors.New("unknown wire type " + strconv.Itoa(int(w)))
	}
	if n == 0 || len(b) < n {
		return nil, errTruncated
	}
	return b[n:], nil
}
