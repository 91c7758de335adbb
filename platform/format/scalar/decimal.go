// Package scalar reads and writes single values as text: integers, decimals,
// times, as JSON, CSV and record keys have them. It allocates nothing, and must
// not know what a value belongs to.
package scalar

import "math/bits"

// Problem says why a text is no value of the type asked for; empty if it is.
type Problem string

// The problems of numbers.
const (
	NotANumber Problem = "is not a number"
	TooLarge   Problem = "is out of range"
	Inexact    Problem = "has more fractional digits than the column"
)

const (
	maxExponent = 1 << 20 // beyond it any number is zero or too large
	maxDigits   = 38      // of a decimal: what 128 bits hold
)

// Int128 is a two's complement integer: Hi<<64 | Lo.
type Int128 struct {
	Hi int64
	Lo uint64
}

// ParseDecimal reads a number with sign, fraction and exponent as value*10^scale,
// exactly: digits that do not fit are a problem, never rounded away. The scale
// may be negative.
func ParseDecimal(text []byte, precision, scale int) (Int128, Problem) {
	i, negative := 0, false
	if i < len(text) && (text[i] == '-' || text[i] == '+') {
		negative = text[i] == '-'
		i++
	}
	var hi, lo uint64
	digits, zeros, exponent := 0, 0, 0 // significant digits so far; zeros after them
	seen, fraction := false, false
	for ; i < len(text); i++ {
		c := text[i]
		if c == '.' && !fraction {
			fraction = true
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		seen = true
		if fraction {
			exponent--
		}
		if c == '0' {
			if digits > 0 {
				zeros++
			}
			continue
		}
		if digits += zeros + 1; digits > maxDigits {
			return Int128{}, tooMany(text[i:], exponent, scale)
		}
		for ; zeros > 0; zeros-- {
			hi, lo = times10(hi, lo)
		}
		hi, lo = times10(hi, lo)
		var carry uint64
		lo, carry = bits.Add64(lo, uint64(c-'0'), 0)
		hi += carry
	}
	if !seen {
		return Int128{}, NotANumber
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		e, ok := parseExponent(text[i+1:])
		if !ok {
			return Int128{}, NotANumber
		}
		exponent += e
	} else if i < len(text) {
		return Int128{}, NotANumber
	}
	if digits == 0 {
		return Int128{}, ""
	}
	shift := exponent + zeros + scale
	if digits+shift > precision {
		return Int128{}, TooLarge
	}
	if shift < 0 {
		return Int128{}, Inexact
	}
	for ; shift > 0; shift-- {
		hi, lo = times10(hi, lo)
	}
	if negative {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	return Int128{int64(hi), lo}, ""
}

// tooMany names the problem of a number with more digits than any decimal: too
// large, or, if they stand behind the point, inexact.
func tooMany(rest []byte, exponent, scale int) Problem {
	if exponent+scale < 0 {
		return Inexact
	}
	for _, c := range rest {
		if c == '.' {
			return Inexact
		}
	}
	return TooLarge
}

func times10(hi, lo uint64) (uint64, uint64) {
	carry, low := bits.Mul64(lo, 10)
	return hi*10 + carry, low
}

func parseExponent(text []byte) (int, bool) {
	i, negative := 0, false
	if i < len(text) && (text[i] == '-' || text[i] == '+') {
		negative = text[i] == '-'
		i++
	}
	if i == len(text) {
		return 0, false
	}
	n := 0
	for ; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
		n = min(n*10+int(text[i]-'0'), maxExponent)
	}
	if negative {
		n = -n
	}
	return n, true
}

// Int64 gives the value if 64 bits hold it.
func (v Int128) Int64() (int64, bool) {
	n := int64(v.Lo)
	return n, v.Hi == n>>63
}

// intDigits is the most digits that an int64 has.
const intDigits = 19

// ParseInt reads an integer; 1.0 and 1e3 are integers too.
func ParseInt(text []byte) (int64, Problem) {
	v, p := ParseDecimal(text, intDigits, 0)
	if p != "" {
		if p == Inexact {
			p = "is not an integer"
		}
		return 0, p
	}
	n, ok := v.Int64()
	if !ok {
		return 0, TooLarge
	}
	return n, ""
}

// AppendDecimal writes value/10^scale with all of its digits.
func AppendDecimal(dst []byte, v Int128, scale int) []byte {
	hi, lo := uint64(v.Hi), v.Lo
	if v.Hi < 0 {
		dst = append(dst, '-')
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	var digits [maxDigits + 2]byte
	n := len(digits)
	for hi != 0 || lo != 0 || len(digits)-n <= scale {
		var rest uint64
		quotient := hi / 10
		lo, rest = bits.Div64(hi%10, lo, 10)
		hi = quotient
		n--
		digits[n] = byte('0' + rest)
	}
	point := len(digits) - scale
	dst = append(dst, digits[n:point]...)
	if scale > 0 {
		dst = append(append(dst, '.'), digits[point:]...)
	}
	return dst
}
