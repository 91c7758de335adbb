package key

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
)

// compareValues orders two values of a column as a person would: nulls first, numbers by size, text by bytes.
func compareValues(c *frame.Column, i, j int) int {
	switch {
	case c.Null(i) && c.Null(j):
		return 0
	case c.Null(i):
		return -1
	case c.Null(j):
		return 1
	}
	switch c.Type.Kind {
	case schema.Bool:
		return cmp.Compare(fmt.Sprint(c.Bool(i)), fmt.Sprint(c.Bool(j)))
	case schema.Float32, schema.Float64:
		a, b := c.FloatAt(i), c.FloatAt(j)
		if a != a || b != b { // NaN is the greatest
			return cmp.Compare(fmt.Sprint(a != a), fmt.Sprint(b != b))
		}
		return cmp.Compare(a, b)
	case schema.Decimal:
		return bigAt(c, i).Cmp(bigAt(c, j))
	case schema.Utf8, schema.Binary:
		return bytes.Compare(c.BytesAt(i), c.BytesAt(j))
	}
	return cmp.Compare(c.IntAt(i), c.IntAt(j))
}

func bigAt(c *frame.Column, i int) *big.Int {
	hi, lo := c.Decimal(i)
	v := new(big.Int).Lsh(big.NewInt(hi), 64)
	return v.Add(v, new(big.Int).SetUint64(lo))
}

var edges = []float64{0, math.Copysign(0, -1), 1, -1, math.Inf(1), math.Inf(-1), math.NaN(), -math.NaN(), math.MaxFloat64, math.SmallestNonzeroFloat64}

func appendRandom(r *rand.Rand, c *frame.ColumnBuilder) {
	t := c.Type()
	if t.Nullable && r.IntN(4) == 0 {
		c.AppendNull()
		return
	}
	v := r.Int64() >> r.IntN(64)
	switch t.Kind {
	case schema.Bool:
		c.AppendBool(v&1 == 0)
	case schema.Float64:
		if r.IntN(3) == 0 {
			c.AppendFloat64(edges[r.IntN(len(edges))])
			return
		}
		c.AppendFloat64(math.Float64frombits(r.Uint64()))
	case schema.Float32:
		c.AppendFloat32(math.Float32frombits(r.Uint32()))
	case schema.Decimal:
		hi, lo := v, r.Uint64()
		if r.IntN(2) == 0 {
			hi, lo = v>>63, uint64(v) // a small one
		}
		c.AppendDecimal(hi, lo)
	case schema.Utf8, schema.Binary:
		b := make([]byte, r.IntN(4))
		for i := range b {
			b[i] = []byte{0, 1, 'a', 'b', 0x7f}[r.IntN(5)]
		}
		c.AppendBytes(b)
	default:
		for !c.AppendInt(v) {
			v >>= 8
		}
	}
}

func TestTheOrderOfKeysIsTheOrderOfTheirColumns(t *testing.T) {
	kinds := []schema.Kind{schema.Bool, schema.Int8, schema.Int16, schema.Int32, schema.Int64, schema.Float32, schema.Float64, schema.Utf8, schema.Binary, schema.Date32, schema.Timestamp, schema.Decimal}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 5))
		fields := make([]schema.Field, 1+r.IntN(3))
		for i := range fields {
			typ := schema.Of(kinds[r.IntN(len(kinds))])
			if typ.Kind == schema.Decimal {
				typ = schema.DecimalOf(38, r.IntN(39))
			}
			typ.Nullable = r.IntN(2) == 0
			fields[i] = schema.Field{Name: fmt.Sprintf("k%d", i), Type: typ}
		}
		s := schema.Must(schema.New(fields...))
		b := frame.NewBuilder(s)
		const rows = 40
		for range rows {
			for j := range fields {
				appendRandom(r, b.Column(j))
			}
		}
		cols := b.Columns()
		var keys Keys
		if err := (Encoder{}).Encode(cols, nil, rows, &keys); err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			for j := range rows {
				want := 0
				for c := range cols {
					if want = compareValues(&cols[c], i, j); want != 0 {
						break
					}
				}
				if got := bytes.Compare(keys.Key(i), keys.Key(j)); got != want {
					t.Fatalf("seed %d, %s: rows %d and %d compare as %d, their keys %x and %x as %d", seed, s, i, j, want, keys.Key(i), keys.Key(j), got)
				}
			}
		}
		back := frame.NewBuilder(s)
		if err := DecodeAll(&keys, back); err != nil {
			t.Fatalf("seed %d, %s: %v", seed, s, err)
		}
		var again Keys
		if err := (Encoder{}).Encode(back.Columns(), nil, rows, &again); err != nil || !bytes.Equal(keys.Bytes, again.Bytes) {
			t.Fatalf("seed %d, %s: keys of the decoded rows differ", seed, s)
		}
	}
}
