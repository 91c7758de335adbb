package aggregate

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// An exact sum of float64 values is a fixed-point number of 34 words, bit 0
// being 2^-1074 and the top bit the sign, followed by counts of NaN, +Inf and
// -Inf. Adding and taking back the same values, in any order, gives the same
// bits: what a retracting sum has to rest on (Kulisch's long accumulator).
//
//	| 34 words, little-endian, two's complement | NaN 8 | +Inf 8 | -Inf 8 |
const (
	exactWords = 34
	exactNaN   = exactWords * 8
	exactPlus  = exactNaN + 8
	exactMinus = exactPlus + 8
	exactBytes = exactMinus + 8

	mantissaBits = 52
	exponentMask = 1<<11 - 1
)

// exactAdd adds v, or takes it back if sign is -1.
func exactAdd(acc []byte, v float64, sign int64) {
	b := math.Float64bits(v)
	exponent := b >> mantissaBits & exponentMask
	mantissa := b & (1<<mantissaBits - 1)
	negative := b>>63 != 0
	switch {
	case exponent == exponentMask && mantissa != 0:
		bump(acc[exactNaN:], sign)
		return
	case exponent == exponentMask && negative:
		bump(acc[exactMinus:], sign)
		return
	case exponent == exponentMask:
		bump(acc[exactPlus:], sign)
		return
	case exponent == 0:
		exponent = 1 // subnormal: no hidden bit, the exponent of the smallest normal
	default:
		mantissa |= 1 << mantissaBits
	}
	shift := uint(exponent - 1)
	at, off := int(shift>>6)*8, shift&63
	low, high := mantissa<<off, uint64(0)
	if off > 0 {
		high = mantissa >> (64 - off)
	}
	if negative != (sign < 0) {
		subtractWords(acc, at, low, high)
	} else {
		addWords(acc, at, low, high)
	}
}

func addWords(acc []byte, at int, low, high uint64) {
	le := binary.LittleEndian
	s, carry := bits.Add64(le.Uint64(acc[at:]), low, 0)
	le.PutUint64(acc[at:], s)
	for at += 8; at < exactNaN && (high != 0 || carry != 0); at += 8 {
		s, carry = bits.Add64(le.Uint64(acc[at:]), high, carry)
		le.PutUint64(acc[at:], s)
		high = 0
	}
}

func subtractWords(acc []byte, at int, low, high uint64) {
	le := binary.LittleEndian
	s, borrow := bits.Sub64(le.Uint64(acc[at:]), low, 0)
	le.PutUint64(acc[at:], s)
	for at += 8; at < exactNaN && (high != 0 || borrow != 0); at += 8 {
		s, borrow = bits.Sub64(le.Uint64(acc[at:]), high, borrow)
		le.PutUint64(acc[at:], s)
		high = 0
	}
}

// exactValue rounds the sum to the nearest float64, ties to even.
func exactValue(acc []byte) float64 {
	plus, minus := load(acc[exactPlus:]) > 0, load(acc[exactMinus:]) > 0
	switch {
	case load(acc[exactNaN:]) > 0 || plus && minus:
		return math.NaN()
	case plus:
		return math.Inf(1)
	case minus:
		return math.Inf(-1)
	}
	var words [exactWords]uint64
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(acc[i*8:])
	}
	negative := words[exactWords-1]>>63 != 0
	if negative {
		carry := uint64(1)
		for i := range words {
			words[i], carry = bits.Add64(^words[i], 0, carry)
		}
	}
	v := roundWords(&words)
	if negative {
		return -v
	}
	return v
}

func roundWords(words *[exactWords]uint64) float64 {
	top := exactWords - 1
	for top > 0 && words[top] == 0 {
		top--
	}
	highest := top*64 + bits.Len64(words[top]) - 1
	if highest <= mantissaBits {
		return math.Float64frombits(words[0]) // subnormal or of the smallest exponent: no rounding
	}
	shift := highest - mantissaBits
	mantissa := bitsFrom(words, shift)
	half := words[(shift-1)>>6]>>((shift-1)&63)&1 != 0
	if half && (mantissa&1 != 0 || anyBelow(words, shift-1)) {
		mantissa++
		if mantissa>>(mantissaBits+1) != 0 {
			mantissa >>= 1
			shift++
		}
	}
	exponent := uint64(shift + 1)
	if exponent >= exponentMask {
		return math.Inf(1)
	}
	return math.Float64frombits(exponent<<mantissaBits | mantissa&(1<<mantissaBits-1))
}

// bitsFrom is the 53 bits from position shift on.
func bitsFrom(words *[exactWords]uint64, shift int) uint64 {
	at, off := shift>>6, uint(shift&63)
	v := words[at] >> off
	if off > 0 && at+1 < exactWords {
		v |= words[at+1] << (64 - off)
	}
	return v & (1<<(mantissaBits+1) - 1)
}

func anyBelow(words *[exactWords]uint64, bit int) bool {
	at := bit >> 6
	for _, w := range words[:at] {
		if w != 0 {
			return true
		}
	}
	return words[at]&(1<<(bit&63)-1) != 0
}

func load(b []byte) int64     { return int64(binary.LittleEndian.Uint64(b)) }
func store(b []byte, v int64) { binary.LittleEndian.PutUint64(b, uint64(v)) }
func bump(b []byte, by int64) { store(b, load(b)+by) }
