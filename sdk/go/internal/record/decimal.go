package record

import "math/bits"

// Decimal has the layout of weir.Decimal: a 128-bit two's complement number and where its point stands.
type Decimal struct {
	Low   uint64
	High  int64
	Scale uint8
}

// Headers has the layout of weir.Headers.
type Headers map[string][]byte

// Rescale moves the point to another scale; false if digits would be lost or the number does not fit.
func (d Decimal) Rescale(scale uint8) (Decimal, bool) {
	negative := d.High < 0
	hi, lo := uint64(d.High), d.Low
	if negative {
		hi, lo = negate(hi, lo)
	}
	for s := d.Scale; s < scale; s++ {
		carry, low := bits.Mul64(lo, 10)
		over, high := bits.Mul64(hi, 10)
		high, c := bits.Add64(high, carry, 0)
		if over != 0 || c != 0 || high>>63 != 0 {
			return d, false
		}
		hi, lo = high, low
	}
	for s := d.Scale; s > scale; s-- {
		q, r := hi/10, hi%10
		low, rest := bits.Div64(r, lo, 10)
		if rest != 0 {
			return d, false
		}
		hi, lo = q, low
	}
	if negative {
		hi, lo = negate(hi, lo)
	}
	return Decimal{Low: lo, High: int64(hi), Scale: scale}, true
}

func negate(hi, lo uint64) (uint64, uint64) {
	lo, borrow := bits.Sub64(0, lo, 0)
	hi, _ = bits.Sub64(0, hi, borrow)
	return hi, lo
}
