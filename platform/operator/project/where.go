package project

import (
	"cmp"
	"encoding/json"
	"strings"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/operator/native"
)

// outcome is what a comparison comes to; a predicate is the set of those that it wants.
type outcome uint8

const (
	less outcome = 1 << iota
	equal
	greater
	unordered // one of them is NaN
)

var comparisons = map[string]outcome{
	"=": equal, "!=": less | greater | unordered,
	"<": less, "<=": less | equal, ">": greater, ">=": greater | equal,
}

const (
	isNull  = "is_null"
	notNull = "not_null"
)

// predicate is a Predicate whose constant has the type of its column.
type predicate struct {
	column int
	kind   schema.Kind
	nulls  string // isNull or notNull; empty: a comparison
	wants  outcome
	integer,
	high int64 // of a decimal
	low   uint64
	float float64
	text  string
	truth bool
}

func compile(where []Predicate, in *schema.Schema) ([]predicate, error) {
	if len(where) > MaxPredicates {
		return nil, native.Refuse("use two operators", "there are %d predicates, the limit is %d", len(where), MaxPredicates)
	}
	var out []predicate
	for _, w := range where {
		at := in.Index(w.Column)
		if at < 0 {
			return nil, native.Refuse("its columns are "+strings.Join(in.Names(), ", "), "where: the input has no column %q", w.Column)
		}
		t := in.Fields[at].Type
		p := predicate{column: at, kind: t.Kind, wants: comparisons[w.Op]}
		switch {
		case w.Op == isNull || w.Op == notNull:
			if len(w.Value) > 0 {
				return nil, native.Refuse("leave the value out", "where: %s of column %s compares with nothing", w.Op, w.Column)
			}
			p.nulls = w.Op
		case p.wants == 0:
			return nil, native.Refuse("the operators are =, !=, <, <=, >, >=, is_null, not_null", "where: the operator %q is unknown", w.Op)
		case len(w.Value) == 0 || string(w.Value) == "null":
			return nil, native.Refuse("to find nulls say is_null or not_null", "where: %s %s compares with no value, which is never true", w.Column, w.Op)
		case t.Kind.Nested():
			return nil, native.Refuse("compare it in a function", "where: column %s is %s, which has no order", w.Column, t)
		case t.Kind == schema.Bool && p.wants != equal && w.Op != "!=":
			return nil, native.Refuse("say = or !=", "where: column %s is bool, which has no order", w.Column)
		default:
			if problem := p.constant(t, w.Value); problem != "" {
				return nil, native.Refuse("", "where: column %s is %s, and %s %s", w.Column, t, w.Value, problem)
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// filter keeps the rows for which the predicate is true, in place.
func (p *predicate) filter(c *frame.Column, sel []int32) []int32 {
	if p.nulls != "" {
		return keep(sel, func(r int32) bool { return c.Null(int(r)) == (p.nulls == isNull) })
	}
	if c.Validity != nil {
		sel = keep(sel, func(r int32) bool { return !c.Null(int(r)) })
	}
	wants := p.wants
	switch p.kind {
	case schema.Int64, schema.Timestamp:
		values, than := c.Int64s(), p.integer
		return keep(sel, func(r int32) bool { return order(values[r], than)&wants != 0 })
	case schema.Float64, schema.Float32:
		than := p.float
		return keep(sel, func(r int32) bool { return orderFloats(c.FloatAt(int(r)), than)&wants != 0 })
	case schema.Decimal:
		return keep(sel, func(r int32) bool {
			hi, lo := c.Decimal(int(r))
			if hi != p.high {
				return order(hi, p.high)&wants != 0
			}
			return order(lo, p.low)&wants != 0
		})
	case schema.Bool:
		return keep(sel, func(r int32) bool { return (c.Bool(int(r)) == p.truth) == (wants == equal) })
	case schema.Utf8, schema.Binary:
		than := p.text
		return keep(sel, func(r int32) bool { return order(c.StringAt(int(r)), than)&wants != 0 })
	}
	than := p.integer
	return keep(sel, func(r int32) bool { return order(c.IntAt(int(r)), than)&wants != 0 })
}

func keep(sel []int32, wanted func(int32) bool) []int32 {
	n := 0
	for _, r := range sel {
		sel[n] = r
		if wanted(r) {
			n++
		}
	}
	return sel[:n]
}

func order[T cmp.Ordered](a, b T) outcome {
	switch {
	case a < b:
		return less
	case a > b:
		return greater
	}
	return equal
}

func orderFloats(a, b float64) outcome {
	if a != a || b != b {
		return unordered
	}
	return order(a, b)
}

// text of a JSON string; false if it is none.
func textOf(v json.RawMessage) (string, bool) {
	var s string
	return s, json.Unmarshal(v, &s) == nil
}
