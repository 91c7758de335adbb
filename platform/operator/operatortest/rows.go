package operatortest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
)

// Row is a row as a test writes it. Values are nil, bool, int64 (all integers and
// times), float64 (both floats), string (text and bytes) or Decimal.
type Row struct {
	Kind   batch.Kind
	Time   int64
	Values []any
}

// Decimal is an unscaled decimal value.
type Decimal struct {
	Hi int64
	Lo uint64
}

// DecimalOf is a small decimal.
func DecimalOf(unscaled int64) Decimal { return Decimal{unscaled >> 63, uint64(unscaled)} }

// Of makes an inserted row.
func Of(time int64, values ...any) Row { return Row{Time: time, Values: values} }

// As is the row with another kind.
func (r Row) As(kind batch.Kind) Row { r.Kind = kind; return r }

// Text is the row without kind and time: what identifies it in a changelog.
func (r Row) Text() string {
	var b strings.Builder
	for i, v := range r.Values {
		if i > 0 {
			b.WriteString(", ")
		}
		if f, ok := v.(float64); ok && f != f {
			v = "NaN"
		}
		fmt.Fprintf(&b, "%T:%v", v, v)
	}
	return b.String()
}

func (r Row) String() string {
	time := "-"
	if r.Time != batch.NoTime {
		time = fmt.Sprint(r.Time)
	}
	return fmt.Sprintf("%s@%s(%s)", [...]string{"+I", "-U", "+U", "-D"}[r.Kind], time, r.Text())
}

// retracts says whether the row takes an earlier one back.
func (r Row) retracts() bool { return r.Kind == batch.UpdateBefore || r.Kind == batch.Delete }

// Materialise plays a changelog: the rows that hold at its end, as sorted texts.
// Taking back what does not hold fails the test.
func Materialise(t testing.TB, rows []Row) []string {
	t.Helper()
	held := map[string]int{}
	for i, r := range rows {
		text := r.Text()
		if !r.retracts() {
			held[text]++
			continue
		}
		if held[text]--; held[text] < 0 {
			t.Fatalf("row %d, %s, takes back what does not hold", i, r)
		}
	}
	var out []string
	for text, n := range held {
		for range n {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return out
}

// Batch builds a batch. With r, rows that are not meant stand between the others
// and must change nothing.
func Batch(r *rand.Rand, s *schema.Schema, rows []Row) *batch.Batch {
	builder := batch.NewBuilder(s)
	kinds := slices.ContainsFunc(rows, func(row Row) bool { return row.Kind != batch.Insert })
	var sel []int32
	n := int32(0)
	add := func(row Row) {
		for i, v := range row.Values {
			appendValue(builder.Column(i), v)
		}
		if kinds {
			builder.EndChange(row.Time, row.Kind)
		} else {
			builder.EndRow(row.Time)
		}
		n++
	}
	for _, row := range rows {
		for r != nil && r.IntN(4) == 0 {
			decoy := rows[r.IntN(len(rows))]
			decoy.Kind = batch.Kind(r.IntN(4))
			add(decoy)
		}
		sel = append(sel, n)
		add(row)
	}
	b := builder.Finish("", 0)
	if int(n) > len(rows) {
		copy(b.Select(len(sel)), sel)
	}
	return b
}

func appendValue(c *frame.ColumnBuilder, v any) {
	switch v := v.(type) {
	case nil:
		c.AppendNull()
	case bool:
		c.AppendBool(v)
	case int64:
		if !c.AppendInt(v) {
			panic(fmt.Sprintf("operatortest: %d does not fit %s", v, c.Type()))
		}
	case float64:
		if c.Type().Kind == schema.Float32 {
			c.AppendFloat32(float32(v))
			return
		}
		c.AppendFloat64(v)
	case string:
		c.AppendString(v)
	case Decimal:
		c.AppendDecimal(v.Hi, v.Lo)
	default:
		panic(fmt.Sprintf("operatortest: a value of type %T: use int64, float64, string, bool, Decimal or nil", v))
	}
}

// RowsOf copies the rows that are meant out of a batch.
func RowsOf(b *batch.Batch) []Row {
	var out []Row
	for i := range b.Len() {
		row := b.Row(i)
		r := Row{Kind: b.Kind(row), Time: b.Time(row)}
		for c := range b.Columns {
			r.Values = append(r.Values, valueOf(&b.Schema.Fields[c].Type, &b.Columns[c], row))
		}
		out = append(out, r)
	}
	return out
}

func valueOf(t *schema.Type, c *frame.Column, row int) any {
	if c.Null(row) {
		if !t.Nullable {
			panic("operatortest: a null in a column of " + t.String())
		}
		return nil
	}
	switch t.Kind {
	case schema.Bool:
		return c.Bool(row)
	case schema.Float32, schema.Float64:
		return c.FloatAt(row)
	case schema.Utf8, schema.Binary:
		return strings.Clone(c.StringAt(row))
	case schema.Decimal:
		hi, lo := c.Decimal(row)
		return Decimal{hi, lo}
	}
	return c.IntAt(row)
}
