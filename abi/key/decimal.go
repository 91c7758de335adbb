package key

import (
	"errors"
	"math/bits"
)

const (
	decimalNegative = 0
	decimalZero     = 1
	decimalPositive = 2
	decimalBias     = 128
	maxDigits       = 39 // of 2^127
)

// AppendDecimal appends the decimal (hi<<64|lo) * 10^-scale. Equal values of different scales have equal bytes.
func AppendDecimal(dst []byte, hi int64, lo uint64, scale int) []byte {
	dst = append(dst, tagValue)
	if hi == 0 && lo == 0 {
		return append(dst, decimalZero)
	}
	h := uint64(hi)
	flip := byte(0)
	if hi < 0 {
		flip = 0xff
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		h, _ = bits.Sub64(0, h, borrow)
		dst = append(dst, decimalNegative)
	} else {
		dst = append(dst, decimalPositive)
	}
	var digits [maxDigits + 1]byte
	n := 0 // digits, the least significant first
	for h != 0 || lo != 0 {
		h, lo, digits[n] = divmod10(h, lo)
		n++
	}
	zeros := 0
	for digits[zeros] == 0 {
		zeros++
	}
	dst = append(dst, byte(n-scale+decimalBias)^flip)
	for i := n - 1; i >= zeros; i -= 2 {
		pair := 10 * digits[i]
		if i > zeros {
			pair += digits[i-1]
		}
		dst = append(dst, (1+pair)^flip)
	}
	return append(dst, flip)
}

func divmod10(hi, lo uint64) (qh, ql uint64, digit byte) {
	qh, r := hi/10, hi%10
	ql, r = bits.Div64(r, lo, 10)
	return qh, ql, byte(r)
}

var (
	errTruncated   = errors.New("the bytes end early")
	errDecimal     = errors.New("no canonical decimal")
	errDecimalSize = errors.New("decimal does not fit the column's type")
)

// takeDecimal reads a decimal after its tag, as an unscaled value of the scale.
func takeDecimal(b []byte, scale int) (hi int64, lo uint64, rest []byte, err error) {
	if len(b) == 0 {
		return 0, 0, nil, errTruncated
	}
	sign := b[0]
	b = b[1:]
	if sign == decimalZero {
		return 0, 0, b, nil
	}
	flip := byte(0)
	if sign == decimalNegative {
		flip = 0xff
	} else if sign != decimalPositive {
		return 0, 0, nil, errDecimal
	}
	if len(b) == 0 {
		return 0, 0, nil, errTruncated
	}
	exponent := int(b[0]^flip) - decimalBias
	b = b[1:]
	var h, l uint64
	digits := 0
	var last byte
	for {
		if len(b) == 0 {
			return 0, 0, nil, errTruncated
		}
		c := b[0] ^ flip
		b = b[1:]
		if c == 0 {
			break
		}
		if c > 100 || digits == 0 && c-1 < 10 || digits > maxDigits {
			return 0, 0, nil, errDecimal
		}
		last = c - 1
		factor, add, n := uint64(100), uint64(last), 2
		if last%10 == 0 && len(b) > 0 && b[0] == flip {
			// The last digit is padding: with it 39 digits would not fit 128 bits.
			factor, add, n = 10, uint64(last/10), 1
		}
		if h, l, err = mulAdd(h, l, factor, add); err != nil {
			return 0, 0, nil, err
		}
		digits += n
	}
	if digits == 0 || last == 0 {
		return 0, 0, nil, errDecimal
	}
	return rescale(h, l, exponent-digits+scale, sign == decimalNegative, b)
}

// rescale multiplies by 10^shift, or divides where that is exact.
func rescale(h, l uint64, shift int, negative bool, rest []byte) (int64, uint64, []byte, error) {
	var err error
	for ; shift > 0; shift-- {
		if h, l, err = mulAdd(h, l, 10, 0); err != nil {
			return 0, 0, nil, err
		}
	}
	for ; shift < 0; shift++ {
		var r byte
		if h, l, r = divmod10(h, l); r != 0 {
			return 0, 0, nil, errDecimalSize
		}
	}
	if negative {
		if h > 1<<63 || h == 1<<63 && l != 0 {
			return 0, 0, nil, errDecimalSize
		}
		var borrow uint64
		l, borrow = bits.Sub64(0, l, 0)
		h, _ = bits.Sub64(0, h, borrow)
	} else if h >= 1<<63 {
		return 0, 0, nil, errDecimalSize
	}
	return int64(h), l, rest, nil
}

func mulAdd(h, l, m, add uint64) (uint64, uint64, error) {
	carry, lo := bits.Mul64(l, m)
	over, hi := bits.Mul64(h, m)
	hi, c := bits.Add64(hi, carry, 0)
	if over != 0 || c != 0 {
		return 0, 0, errDecimalSize
	}
	lo, c = bits.Add64(lo, add, 0)
	if hi, c = bits.Add64(hi, 0, c); c != 0 {
		return 0, 0, errDecimalSize
	}
	return hi, lo, nil
}
