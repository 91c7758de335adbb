package aggregate

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/operator/operatortest"
)

type row = operatortest.Row

var columns = schema.MustParse("k:utf8,v:int64?,i:int16,f:float64?,d:decimal(12,2)?,s:utf8?")

// everything is every function over every kind of column, and how the model
// computes it from all values that are there and not null.
var everything = []struct {
	text  string
	at    int // column; -1: the row itself
	model func(values []any) any
}{
	{`{"fn":"count","as":"n"}`, -1, count},
	{`{"fn":"count","column":"s","as":"n_s"}`, 5, count},
	{`{"fn":"sum","column":"v","as":"sum_v"}`, 1, sumInts},
	{`{"fn":"sum","column":"i","as":"sum_i"}`, 2, sumInts},
	{`{"fn":"avg","column":"v","as":"avg_v"}`, 1, avgInts},
	{`{"fn":"min","column":"v","as":"min_v"}`, 1, least},
	{`{"fn":"max","column":"i","as":"max_i"}`, 2, greatest},
	{`{"fn":"sum","column":"f","as":"sum_f"}`, 3, sumFloats},
	{`{"fn":"avg","column":"f","as":"avg_f"}`, 3, avgFloats},
	{`{"fn":"min","column":"f","as":"min_f"}`, 3, least},
	{`{"fn":"max","column":"f","as":"max_f"}`, 3, greatest},
	{`{"fn":"sum","column":"d","as":"sum_d"}`, 4, sumDecimals},
	{`{"fn":"avg","column":"d","as":"avg_d"}`, 4, avgDecimals},
	{`{"fn":"max","column":"d","as":"max_d"}`, 4, greatest},
	{`{"fn":"min","column":"s","as":"min_s"}`, 5, least},
	{`{"fn":"max","column":"s","as":"max_s"}`, 5, greatest},
}

func count(values []any) any { return int64(len(values)) }

func sumInts(values []any) any {
	sum := int64(0)
	for _, v := range values {
		sum += v.(int64)
	}
	return orNull(values, sum)
}

func avgInts(values []any) any {
	sum := int64(0)
	for _, v := range values {
		sum += v.(int64)
	}
	return orNull(values, float64(sum)/float64(len(values)))
}

// floatSum is exact for values with few bits, which is how the histories are
// made that are not retracted; big.Float is wide enough for all of them.
func floatSum(values []any) float64 {
	sum := new(big.Float).SetPrec(2200)
	for _, v := range values {
		f := v.(float64)
		sum.Add(sum, new(big.Float).SetFloat64(f))
	}
	out, _ := sum.Float64()
	return out
}

func sumFloats(values []any) any { return orNull(values, floatSum(values)) }
func avgFloats(values []any) any { return orNull(values, floatSum(values)/float64(len(values))) }

func bigSum(values []any) *big.Int {
	sum := new(big.Int)
	for _, v := range values {
		sum.Add(sum, big.NewInt(int64(v.(operatortest.Decimal).Lo)))
	}
	return sum
}

func sumDecimals(values []any) any {
	return orNull(values, operatortest.DecimalOf(bigSum(values).Int64()))
}

// avgDecimals has six fractional digits, rounded half away from zero.
func avgDecimals(values []any) any {
	if len(values) == 0 {
		return nil
	}
	n := big.NewInt(int64(len(values)))
	q, rest := new(big.Int).QuoRem(new(big.Int).Mul(bigSum(values), big.NewInt(10_000)), n, new(big.Int))
	if rest.Abs(rest).Lsh(rest, 1).Cmp(n) >= 0 {
		q.Add(q, big.NewInt(int64(bigSum(values).Sign())))
	}
	return operatortest.DecimalOf(q.Int64())
}

func orNull(values []any, v any) any {
	if len(values) == 0 {
		return nil
	}
	return v
}

func compare(a, b any) int {
	switch a := a.(type) {
	case int64:
		return int(max(-1, min(1, a-b.(int64))))
	case float64:
		switch b := b.(float64); {
		case a < b:
			return -1
		case a > b:
			return 1
		}
		return 0
	case string:
		switch b := b.(string); {
		case a < b:
			return -1
		case a > b:
			return 1
		}
		return 0
	case operatortest.Decimal:
		return compare(int64(a.Lo), int64(b.(operatortest.Decimal).Lo))
	}
	panic("no order")
}

func least(values []any) any {
	if len(values) == 0 {
		return nil
	}
	return slices.MinFunc(values, compare)
}

func greatest(values []any) any {
	if len(values) == 0 {
		return nil
	}
	return slices.MaxFunc(values, compare)
}

// model recomputes a key from all of its rows after every row.
func model(emit Emit) operatortest.Model {
	return func(events []operatortest.Event) []row {
		held := map[string][]row{}
		var out []row
		for _, e := range events {
			key := e.Row.Values[0].(string)
			before, had := result(held[key]), len(held[key]) > 0
			if e.Row.Kind == batch.Delete || e.Row.Kind == batch.UpdateBefore {
				at := slices.IndexFunc(held[key], func(r row) bool { return r.Text() == e.Row.Text() })
				held[key] = slices.Delete(slices.Clone(held[key]), at, at+1)
			} else {
				held[key] = append(slices.Clone(held[key]), e.Row)
			}
			after, has := result(held[key]), len(held[key]) > 0
			with := func(kind batch.Kind, values []any) {
				out = append(out, row{Kind: kind, Time: e.Row.Time, Values: append([]any{key}, values...)})
			}
			switch {
			case emit == Updates:
				with(batch.Insert, after)
			case !had:
				with(batch.Insert, after)
			case !has:
				with(batch.Delete, before)
			default:
				with(batch.UpdateBefore, before)
				with(batch.UpdateAfter, after)
			}
		}
		return out
	}
}

func result(rows []row) []any {
	var out []any
	for _, a := range everything {
		values := []any{}
		for _, r := range rows {
			if a.at < 0 {
				values = append(values, true)
			} else if v := r.Values[a.at]; v != nil {
				values = append(values, v)
			}
		}
		out = append(out, a.model(values))
	}
	return out
}

// generate makes rows of few keys and few values, so that extremes come and go.
// With retractions, floats are of all magnitudes.
func generate(input native.Input) func(r *rand.Rand) []operatortest.Event {
	return func(r *rand.Rand) []operatortest.Event {
		var events []operatortest.Event
		var held []row
		orNull := func(v any) any {
			if r.IntN(5) == 0 {
				return nil
			}
			return v
		}
		for i := range 300 {
			time := int64(i / 3)
			if i%50 == 0 {
				time = batch.NoTime
			}
			if input.Changelog && len(held) > 0 && r.IntN(20) < 9 {
				at := r.IntN(len(held))
				taken := held[at].As([]batch.Kind{batch.UpdateBefore, batch.Delete}[r.IntN(2)])
				taken.Time = time
				held = slices.Delete(held, at, at+1)
				events = append(events, operatortest.Event{Row: taken})
				continue
			}
			f := float64(r.IntN(64)-32) / 4
			if input.Changelog {
				f = math.Ldexp(r.Float64()-0.5, []int{-1070, -30, 0, 5, 300, 1000}[r.IntN(6)]) + 0 // a minimum of -0 is 0, as in keys
			}
			next := operatortest.Of(time, string(rune('a'+r.IntN(6))), orNull(int64(r.IntN(20)-10)), int64(r.IntN(100)-50),
				orNull(f), orNull(operatortest.DecimalOf(int64(r.IntN(2000)-1000))), orNull([]string{"", "a", "ab", "b\x00", "b", "zz"}[r.IntN(6)]))
			if input.Changelog && r.IntN(2) == 0 {
				next.Kind = batch.UpdateAfter
			}
			held = append(held, next)
			events = append(events, operatortest.Event{Row: next})
		}
		return events
	}
}
