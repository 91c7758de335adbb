package weir

import (
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/weirstream/weir/sdk/go/internal/record"
)

// Null is a value that may be absent, without the cost of a pointer.
type Null[T any] struct {
	V     T
	Valid bool
}

// Some is a value that is there.
func Some[T any](v T) Null[T] { return Null[T]{v, true} }

// None is an absent value.
func None[T any]() Null[T] { return Null[T]{} }

// Or is the value, or other if it is absent.
func (n Null[T]) Or(other T) T {
	if n.Valid {
		return n.V
	}
	return other
}

// Date is a day: days since 1 January 1970.
type Date int32

// DateOf is the day of a time in UTC.
func DateOf(t time.Time) Date {
	s := t.Unix()
	if s < 0 {
		s -= 86399
	}
	return Date(s / 86400)
}

// Time is the day's beginning in UTC.
func (d Date) Time() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

// String is the day as 2006-01-02.
func (d Date) String() string { return d.Time().Format(time.DateOnly) }

// Headers are the headers of a raw record.
type Headers map[string][]byte

// Raw is a record as it stands in a topic, undecoded.
type Raw struct {
	Key     []byte    `weir:"key,null"`
	Value   []byte    `weir:"value,null"`
	Time    time.Time `weir:"ts"`
	Headers Headers   `weir:"headers"`
}

// Decimal is a number with a fixed count of digits after the point. Its column's precision and scale stand in the field's tag:
// `weir:"price,decimal(10,2)"`; without, they are 38 and 9.
type Decimal struct {
	low   uint64
	high  int64
	scale uint8
}

// NewDecimal is unscaled / 10^scale.
func NewDecimal(unscaled int64, scale uint8) Decimal {
	return Decimal{low: uint64(unscaled), high: unscaled >> 63, scale: scale}
}

// Scale is the count of digits after the point.
func (d Decimal) Scale() uint8 { return d.scale }

// Unscaled is the number without its point; false if it does not fit 64 bits.
func (d Decimal) Unscaled() (int64, bool) {
	v := int64(d.low)
	return v, v>>63 == d.high
}

// Rescale moves to another scale; false if digits would be lost.
func (d Decimal) Rescale(scale uint8) (Decimal, bool) {
	r, ok := record.Decimal{Low: d.low, High: d.high, Scale: d.scale}.Rescale(scale)
	return Decimal{r.Low, r.High, r.Scale}, ok
}

// Add is d + e, in the larger of the two scales; false if it does not fit.
func (d Decimal) Add(e Decimal) (Decimal, bool) {
	scale := max(d.scale, e.scale)
	d, ok1 := d.Rescale(scale)
	e, ok2 := e.Rescale(scale)
	low, carry := bits.Add64(d.low, e.low, 0)
	high := d.high + e.high + int64(carry)
	overflow := (d.high < 0) == (e.high < 0) && (high < 0) != (d.high < 0)
	return Decimal{low, high, scale}, ok1 && ok2 && !overflow
}

// Float is the nearest float64.
func (d Decimal) Float() float64 {
	f, _ := strconv.ParseFloat(d.String(), 64)
	return f
}

// String is the number with all digits of its scale.
func (d Decimal) String() string {
	hi, lo := uint64(d.high), d.low
	sign := ""
	if d.high < 0 {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
		sign = "-"
	}
	var digits [40]byte
	at := len(digits)
	for hi != 0 || lo != 0 {
		q, r := hi/10, hi%10
		low, rest := bits.Div64(r, lo, 10)
		hi, lo = q, low
		at--
		digits[at] = '0' + byte(rest)
	}
	text := string(digits[at:])
	scale := int(d.scale)
	if len(text) <= scale {
		text = strings.Repeat("0", scale+1-len(text)) + text
	}
	if scale == 0 {
		return sign + text
	}
	return sign + text[:len(text)-scale] + "." + text[len(text)-scale:]
}
