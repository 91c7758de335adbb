package wire

import (
	"encoding/binary"
	"math"
)

// The canonical bytes of a one-column key, which are the keys of hosted maps.

const keyPresent = 2

const signBit = 1 << 63

// AppendKeyInt adds the key of an integer, date or timestamp.
func AppendKeyInt(b []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(append(b, keyPresent), uint64(v)^signBit)
}

// AppendKeyBool adds the key of a bool.
func AppendKeyBool(b []byte, v bool) []byte {
	if v {
		return append(b, keyPresent, 1)
	}
	return append(b, keyPresent, 0)
}

// AppendKeyFloat adds the key of a float: -0 is 0, every NaN is one.
func AppendKeyFloat(b []byte, v float64) []byte {
	bits := math.Float64bits(v)
	switch {
	case v == 0:
		bits = 0
	case v != v:
		bits = 0x7ff8000000000000
	}
	if bits&signBit != 0 {
		bits = ^bits
	} else {
		bits |= signBit
	}
	return binary.BigEndian.AppendUint64(append(b, keyPresent), bits)
}

// AppendKeyString adds the key of utf8 or binary; it is the last column, so the bytes stand as they are.
func AppendKeyString(b []byte, v string) []byte { return append(append(b, keyPresent), v...) }

// KeyInt reads what AppendKeyInt wrote.
func KeyInt(b []byte) (int64, bool) {
	if len(b) != 9 || b[0] != keyPresent {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(b[1:]) ^ signBit), true
}

// KeyBool reads what AppendKeyBool wrote.
func KeyBool(b []byte) (v, ok bool) {
	if len(b) != 2 || b[0] != keyPresent || b[1] > 1 {
		return false, false
	}
	return b[1] == 1, true
}

// KeyFloat reads what AppendKeyFloat wrote.
func KeyFloat(b []byte) (float64, bool) {
	if len(b) != 9 || b[0] != keyPresent {
		return 0, false
	}
	bits := binary.BigEndian.Uint64(b[1:])
	if bits&signBit != 0 {
		bits &^= signBit
	} else {
		bits = ^bits
	}
	return math.Float64frombits(bits), true
}

// KeyString reads what AppendKeyString wrote, as a view.
func KeyString(b []byte) ([]byte, bool) {
	if len(b) < 1 || b[0] != keyPresent {
		return nil, false
	}
	return b[1:], true
}
