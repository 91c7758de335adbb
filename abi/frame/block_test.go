package frame

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weirstream/weir/abi/schema"
)

// randomType draws a type of at most depth further levels.
func randomType(r *rand.Rand, depth int) schema.Type {
	kinds := []schema.Kind{schema.Bool, schema.Int8, schema.Int16, schema.Int32, schema.Int64, schema.Float32, schema.Float64,
		schema.Decimal, schema.Utf8, schema.Binary, schema.Date32, schema.Timestamp}
	if depth > 0 {
		kinds = append(kinds, schema.List, schema.Struct, schema.Map, schema.List, schema.Struct, schema.Map)
	}
	t := schema.Of(kinds[r.IntN(len(kinds))])
	switch t.Kind {
	case schema.Decimal:
		t = schema.DecimalOf(38, r.IntN(39))
	case schema.List:
		t = schema.ListOf(randomType(r, depth-1))
	case schema.Struct:
		t = schema.StructOf(randomFields(r, depth-1)...)
	case schema.Map:
		k := randomType(r, 0)
		k.Nullable = false
		t = schema.MapOf(k, randomType(r, depth-1))
	}
	t.Nullable = r.IntN(2) == 0
	return t
}

func randomFields(r *rand.Rand, depth int) []schema.Field {
	fields := make([]schema.Field, 1+r.IntN(4))
	for i := range fields {
		fields[i] = schema.Field{Name: fmt.Sprintf("f%d", i), Type: randomType(r, depth)}
	}
	return fields
}

// model is a value as plain Go data: nil, or its text, or a list of models.
func appendRandom(r *rand.Rand, c *ColumnBuilder) any {
	t := c.Type()
	if t.Nullable && r.IntN(3) == 0 {
		c.AppendNull()
		return nil
	}
	v := r.Int64() >> r.IntN(63)
	switch t.Kind {
	case schema.Bool:
		c.AppendBool(v&1 == 1)
		return v&1 == 1
	case schema.Int8:
		c.AppendInt8(int8(v))
		return int64(int8(v))
	case schema.Int16:
		c.AppendInt16(int16(v))
		return int64(int16(v))
	case schema.Int32, schema.Date32:
		c.AppendInt32(int32(v))
		return int64(int32(v))
	case schema.Int64, schema.Timestamp:
		c.AppendInt64(v)
		return v
	case schema.Float32:
		c.AppendFloat32(float32(v))
		return float64(float32(v))
	case schema.Float64:
		c.AppendFloat64(float64(v))
		return float64(v)
	case schema.Decimal:
		c.AppendDecimal(v, uint64(v)*3)
		return [2]int64{v, v * 3}
	case schema.Utf8, schema.Binary:
		s := fmt.Sprint(v)[:r.IntN(3)%len(fmt.Sprint(v))]
		c.AppendString(s)
		return s
	case schema.List:
		c.AppendList()
		list := []any{}
		for range r.IntN(4) {
			list = append(list, appendRandom(r, c.Child(0)))
		}
		return list
	case schema.Map:
		c.AppendMap()
		list := []any{}
		for range r.IntN(4) {
			c.AppendEntry()
			list = append(list, []any{appendRandom(r, c.MapKey()), appendRandom(r, c.MapValue())})
		}
		return list
	}
	c.AppendStruct()
	list := []any{}
	for i := range t.Fields {
		list = append(list, appendRandom(r, c.Child(i)))
	}
	return list
}

func valueAt(c *Column, i int) any {
	if c.Null(i) {
		return nil
	}
	switch c.Type.Kind {
	case schema.Bool:
		return c.Bool(i)
	case schema.Float32, schema.Float64:
		return c.FloatAt(i)
	case schema.Decimal:
		hi, lo := c.Decimal(i)
		return [2]int64{hi, int64(lo)}
	case schema.Utf8, schema.Binary:
		return c.StringAt(i)
	case schema.List, schema.Map:
		list := []any{}
		from, to := c.Span(i)
		for j := from; j < to; j++ {
			list = append(list, valueAt(&c.Children[0], j))
		}
		return list
	case schema.Struct:
		list := []any{}
		for j := range c.Children {
			list = append(list, valueAt(&c.Children[j], i))
		}
		return list
	}
	return c.IntAt(i)
}

func randomBatch(t testing.TB, r *rand.Rand, depth, rows int) (*schema.Schema, *Builder, [][]any) {
	s, err := schema.New(randomFields(r, depth)...)
	if err != nil {
		t.Fatal(err)
	}
	b := NewBuilder(s)
	model := make([][]any, rows)
	for i := range model {
		for j := range s.Fields {
			model[i] = append(model[i], appendRandom(r, b.Column(j)))
		}
	}
	return s, b, model
}

func sameRows(t *testing.T, s *schema.Schema, cols []Column, rows []int32, model [][]any) {
	t.Helper()
	for i, r := range rows {
		for j := range cols {
			got, want := fmt.Sprintf("%#v", valueAt(&cols[j], i)), fmt.Sprintf("%#v", model[r][j])
			if got != want {
				t.Fatalf("%s: row %d (of %d) column %d: have %s, want %s", s, i, r, j, got, want)
			}
		}
	}
}

func allRows(n int) []int32 {
	sel := make([]int32, n)
	for i := range sel {
		sel[i] = int32(i)
	}
	return sel
}

func TestWhatIsBuiltComesBackFromItsBlockAndFromAnySelectionOfIt(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		rows := r.IntN(40)
		s, b, model := randomBatch(t, r, 3, rows)
		block := b.AppendTo(nil)
		if len(block) != b.Size() || len(block)%8 != 0 {
			t.Fatalf("seed %d: size %d, block %d", seed, b.Size(), len(block))
		}
		cols, n, err := Decode(s, block)
		if err != nil || n != rows {
			t.Fatalf("seed %d: %s: %d rows, %v", seed, s, n, err)
		}
		sameRows(t, s, cols, allRows(rows), model)

		sel := []int32{}
		for range r.IntN(60) {
			if rows > 0 {
				sel = append(sel, int32(r.IntN(rows)))
			}
		}
		var e Encoder
		picked := e.Append(nil, s, cols, sel, 0)
		if len(picked) != e.Size(s, cols, sel, 0) {
			t.Fatalf("seed %d: size differs", seed)
		}
		again := NewColumns(s)
		if n, err := DecodeInto(s, picked, again); err != nil || n != len(sel) {
			t.Fatalf("seed %d: %s: %d rows, %v", seed, s, n, err)
		}
		sameRows(t, s, again, sel, model)
		if err := ValidateUTF8(again); err != nil {
			t.Fatal(err)
		}

		// Copying value by value into a builder gives the block of all rows again.
		copied := NewBuilder(s)
		for i := range rows {
			copied.AppendRow(cols, i)
		}
		if !bytes.Equal(copied.AppendTo(nil), block) {
			t.Fatalf("seed %d: %s: a copy row by row gives another block", seed, s)
		}
		if rows > 2 {
			copied.Truncate(rows - 2)
			cut, n, err := Decode(s, copied.AppendTo(nil))
			if err != nil || n != rows-2 {
				t.Fatalf("seed %d: %s: truncated: %d rows, %v", seed, s, n, err)
			}
			sameRows(t, s, cut, allRows(n), model)
		}
	}
}

func TestAResetBuilderBuildsTheSameBlockAgain(t *testing.T) {
	s := schema.MustParse("a:int64?,b:utf8?,c:list<bool?>")
	b := NewBuilder(s)
	build := func() []byte {
		b.Reset()
		for i := range 20 {
			b.Column(0).AppendNull()
			b.Column(1).AppendString("x")
			b.Column(2).AppendList()
			for range i {
				b.Column(2).Child(0).AppendNull()
			}
		}
		return b.AppendTo(nil)
	}
	first := build()
	b.Column(1).AppendNull()
	if !bytes.Equal(first, build()) {
		t.Fatal("blocks differ")
	}
}

func TestEveryTruncatedOrFlippedBlockIsRefusedOrReadWithoutPanic(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 100 {
		s, b, _ := randomBatch(t, r, 2, 9)
		block := b.AppendTo(nil)
		for n := range len(block) {
			if _, _, err := Decode(s, block[:n]); err == nil {
				t.Fatalf("%s: %d of %d bytes are accepted", s, n, len(block))
			}
		}
		for range 200 {
			bad := bytes.Clone(block)
			bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
			touch(s, bad)
		}
	}
}

// touch reads every value of a block if it decodes.
func touch(s *schema.Schema, block []byte) {
	cols, rows, err := Decode(s, block)
	if err != nil {
		return
	}
	_ = ValidateUTF8(cols)
	for i := range cols {
		_ = cols[i].HasNulls()
		for j := range min(rows, 1000) {
			_ = valueAt(&cols[i], j)
		}
	}
	if rows < 1000 {
		_ = Append(nil, s, cols, nil, rows)
	}
}

func FuzzDecodeBlock(f *testing.F) {
	s := schema.MustParse("a:int64?,b:utf8,c:list<struct<x:bool?,y:decimal(9,2)>>?,d:map<utf8,binary?>")
	b := NewBuilder(s)
	r := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		for j := range s.Fields {
			appendRandom(r, b.Column(j))
		}
	}
	f.Add(b.AppendTo(nil))
	b.Reset()
	f.Add(b.AppendTo(nil))
	f.Fuzz(func(t *testing.T, block []byte) { touch(s, block) })
}
