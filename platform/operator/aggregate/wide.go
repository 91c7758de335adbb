package aggregate

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// wide is a two's complement integer of 128 bits, as decimals are.
type wide struct {
	hi int64
	lo uint64
}

const wideBytes = 16

func loadWide(b []byte) wide {
	return wide{lo: binary.LittleEndian.Uint64(b), hi: int64(binary.LittleEndian.Uint64(b[8:]))}
}

func storeWide(b []byte, v wide) {
	binary.LittleEndian.PutUint64(b, v.lo)
	binary.LittleEndian.PutUint64(b[8:], uint64(v.hi))
}

func wideOf(v int64) wide { return wide{hi: v >> 63, lo: uint64(v)} }

func (a wide) add(b wide) wide {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, _ := bits.Add64(uint64(a.hi), uint64(b.hi), carry)
	return wide{int64(hi), lo}
}

func (a wide) negate() wide {
	lo, carry := bits.Add64(^a.lo, 0, 1)
	hi, _ := bits.Add64(^uint64(a.hi), 0, carry)
	return wide{int64(hi), lo}
}

func (a wide) less(b wide) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

func (a wide) abs() (v wide, negative bool) {
	if a.hi < 0 {
		return a.negate(), true
	}
	return a, false
}

// float rounds to a float64; what fits 64 bits is rounded once.
func (a wide) float() float64 {
	if a.hi == int64(a.lo)>>63 {
		return float64(int64(a.lo))
	}
	v, negative := a.abs()
	f := math.Ldexp(float64(v.hi), 64) + float64(v.lo)
	if negative {
		return -f
	}
	return f
}

// maxDecimal is 10^38, beyond every decimal.
var maxDecimal = func() wide {
	v := wide{lo: 1}
	for range 38 {
		v, _ = v.scale(10)
	}
	return v
}()

// fitsDecimal says whether the value has at most 38 digits.
func (a wide) fitsDecimal() bool {
	v, _ := a.abs()
	return v.hi >= 0 && v.less(maxDecimal)
}

// scale multiplies a value that is not negative; false if it leaves 127 bits.
func (a wide) scale(by uint64) (wide, bool) {
	over, lo := bits.Mul64(a.lo, by)
	top, hi := bits.Mul64(uint64(a.hi), by)
	hi, carry := bits.Add64(hi, over, 0)
	return wide{int64(hi), lo}, top+carry == 0 && int64(hi) >= 0
}

// mean is sum * by / n, rounded half away from zero; false if it is no decimal.
func (a wide) mean(by, n uint64) (wide, bool) {
	v, negative := a.abs()
	over, w0 := bits.Mul64(v.lo, by)
	w2, w1 := bits.Mul64(uint64(v.hi), by)
	w1, carry := bits.Add64(w1, over, 0)
	w2 += carry
	q2, rest := bits.Div64(0, w2, n)
	q1, rest := bits.Div64(rest, w1, n)
	q0, rest := bits.Div64(rest, w0, n)
	if rest >= n-rest {
		q0, carry = bits.Add64(q0, 1, 0)
		q1, carry = bits.Add64(q1, 0, carry)
		q2 += carry
	}
	out := wide{int64(q1), q0}
	if q2 != 0 || out.hi < 0 || !out.fitsDecimal() {
		return wide{}, false
	}
	if negative {
		out = out.negate()
	}
	return out, true
}
