package scalar

import (
	"math"
	"strconv"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
)

// AppendText writes a value that is no list, struct or map as plain text, as CSV
// fields and record keys have it. Null writes nothing.
func AppendText(dst []byte, c *frame.Column, row int) []byte {
	if c.Null(row) {
		return dst
	}
	switch c.Type.Kind {
	case schema.Bool:
		return strconv.AppendBool(dst, c.Bool(row))
	case schema.Int8, schema.Int16, schema.Int32, schema.Int64:
		return strconv.AppendInt(dst, c.IntAt(row), 10)
	case schema.Float32:
		return strconv.AppendFloat(dst, c.FloatAt(row), 'g', -1, 32)
	case schema.Float64:
		return strconv.AppendFloat(dst, c.FloatAt(row), 'g', -1, 64)
	case schema.Decimal:
		hi, lo := c.Decimal(row)
		return AppendDecimal(dst, Int128{hi, lo}, c.Type.Scale)
	case schema.Date32:
		return AppendDate(dst, c.IntAt(row))
	case schema.Timestamp:
		return AppendTime(dst, c.IntAt(row))
	default:
		return append(dst, c.BytesAt(row)...)
	}
}

// ScaleTime turns a count of units into microseconds, given as a number's text;
// scale is format.Unit's. Fractions of a unit are kept to the microsecond.
func ScaleTime(text []byte, scale int) (int64, Problem) {
	if scale < 0 { // nanoseconds: what is below a microsecond is cut
		n, p := ParseInt(text)
		if p != "" {
			return 0, p
		}
		return floorDiv64(n, int64(math.Pow10(-scale))), ""
	}
	v, p := ParseDecimal(text, intDigits, scale)
	if p == Inexact {
		p = "is finer than a microsecond"
	}
	n, ok := v.Int64()
	if p == "" && !ok {
		p = TooLarge
	}
	return n, p
}

func floorDiv64(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
