package project

import (
	"encoding/json"
	"math"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/format/scalar"
)

// constant gives the predicate its value in the column's type. Numbers may
// stand as JSON numbers or strings, times as RFC 3339 or microseconds, dates as
// 2006-01-02 or days since 1970.
func (p *predicate) constant(t schema.Type, value json.RawMessage) scalar.Problem {
	number, isText := textOf(value)
	if !isText {
		number = string(value)
	}
	var problem scalar.Problem
	switch t.Kind {
	case schema.Bool:
		if json.Unmarshal(value, &p.truth) != nil {
			return "is neither true nor false"
		}
	case schema.Utf8, schema.Binary:
		if !isText {
			return "is no string"
		}
		p.text = number
	case schema.Decimal:
		var d scalar.Int128
		d, problem = scalar.ParseDecimal([]byte(number), t.Precision, t.Scale)
		p.high, p.low = d.Hi, d.Lo
	case schema.Float32, schema.Float64:
		if json.Unmarshal([]byte(number), &p.float) != nil || math.IsNaN(p.float) {
			return scalar.NotANumber
		}
	case schema.Timestamp:
		if isText {
			p.integer, problem = scalar.ParseTime([]byte(number))
			break
		}
		p.integer, problem = scalar.ParseInt([]byte(number))
	case schema.Date32:
		if isText {
			var days int32
			days, problem = scalar.ParseDate([]byte(number))
			p.integer = int64(days)
			break
		}
		p.integer, problem = scalar.ParseInt([]byte(number))
	default:
		p.integer, problem = scalar.ParseInt([]byte(number))
	}
	return problem
}
