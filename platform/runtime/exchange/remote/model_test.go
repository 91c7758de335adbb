package remote

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
)

// randomType draws a type of at most depth further levels.
func randomType(r *rand.Rand, depth int) schema.Type {
	kinds := []schema.Kind{schema.Bool, schema.Int8, schema.Int32, schema.Int64, schema.Float64, schema.Decimal, schema.Utf8, schema.Binary, schema.Timestamp}
	if depth > 0 {
		kinds = append(kinds, schema.List, schema.Struct, schema.Map, schema.List, schema.Struct, schema.Map)
	}
	t := schema.Of(kinds[r.IntN(len(kinds))])
	switch t.Kind {
	case schema.Decimal:
		t = schema.DecimalOf(38, 2)
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

// appendRandom appends a value and gives its text.
func appendRandom(r *rand.Rand, c *frame.ColumnBuilder) string {
	t := c.Type()
	if t.Nullable && r.IntN(3) == 0 {
		c.AppendNull()
		return "null"
	}
	v := r.Int64() >> r.IntN(63)
	switch t.Kind {
	case schema.Bool:
		c.AppendBool(v&1 == 1)
		return fmt.Sprint(v&1 == 1)
	case schema.Int8:
		c.AppendInt8(int8(v))
		return fmt.Sprint(int8(v))
	case schema.Int32:
		c.AppendInt32(int32(v))
		return fmt.Sprint(int32(v))
	case schema.Int64, schema.Timestamp:
		c.AppendInt64(v)
		return fmt.Sprint(v)
	case schema.Float64:
		c.AppendFloat64(float64(v))
		return fmt.Sprint(float64(v))
	case schema.Decimal:
		c.AppendDecimal(v, uint64(v))
		return fmt.Sprint(v, uint64(v))
	case schema.Utf8, schema.Binary:
		s := strings.Repeat("é", r.IntN(9))
		c.AppendString(s)
		return s
	case schema.Struct:
		c.AppendStruct()
		var parts []string
		for i := range t.Children() {
			parts = append(parts, appendRandom(r, c.Child(i)))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	var parts []string
	c.AppendList()
	for range r.IntN(4) {
		if t.Kind == schema.List {
			parts = append(parts, appendRandom(r, c.Child(0)))
			continue
		}
		c.AppendEntry()
		parts = append(parts, "{"+appendRandom(r, c.MapKey())+","+appendRandom(r, c.MapValue())+"}")
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// show is the text of a value that arrived.
func show(c *frame.Column, i int) string {
	if c.Null(i) {
		return "null"
	}
	var parts []string
	switch c.Type.Kind {
	case schema.Bool:
		return fmt.Sprint(c.Bool(i))
	case schema.Float64:
		return fmt.Sprint(c.FloatAt(i))
	case schema.Decimal:
		hi, lo := c.Decimal(i)
		return fmt.Sprint(hi, lo)
	case schema.Utf8, schema.Binary:
		return string(c.BytesAt(i))
	case schema.Struct:
		for j := range c.Children {
			parts = append(parts, show(&c.Children[j], i))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case schema.List, schema.Map:
		from, to := c.Span(i)
		for j := from; j < to; j++ {
			parts = append(parts, show(&c.Children[0], j))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	return fmt.Sprint(c.IntAt(i))
}

// record is what the model knows of a row.
type record struct {
	columns  []string
	time     int64
	kind     batch.Kind
	hash     uint64
	sequence uint64
	row      int32
}

// randomBatch makes a batch, some of whose rows are selected, and the records that these are.
func randomBatch(r *rand.Rand, b *batch.Builder, rows int) (*batch.Batch, []record) {
	changelog, read, hashed, selected := r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(3) > 0
	var all []record
	for range rows {
		v := record{time: r.Int64N(1000)}
		for i := range b.Schema().Fields {
			v.columns = append(v.columns, appendRandom(r, b.Column(i)))
		}
		switch {
		case changelog:
			v.kind = batch.Kind(r.IntN(4))
			b.EndChange(v.time, v.kind)
		case read:
			v.sequence, v.row = r.Uint64(), r.Int32()
			b.EndRead(v.time, v.sequence, v.row)
		default:
			b.EndRow(v.time)
		}
		all = append(all, v)
	}
	out := b.Finish("flights", 5)
	if hashed {
		for i, h := range out.MakeHashes() {
			out.Hashes[i] = h ^ r.Uint64() // whatever stood there
			all[i].hash = out.Hashes[i]
		}
	}
	if !selected {
		return out, all
	}
	out = out.View()
	var picked []record
	sel := out.Select(r.IntN(rows + 1))
	for i := range sel {
		sel[i] = int32(r.IntN(rows))
		picked = append(picked, all[sel[i]])
	}
	return out, picked
}

func TestRandomBatchesArriveAsTheyWereSent(t *testing.T) {
	balanced(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	g := newRig(t, nil, nil)
	const batches = 20
	for round := range 25 {
		s, err := schema.New(randomFields(r, 3)...)
		if err != nil {
			t.Fatal(err)
		}
		in := local.NewInbox(1)
		a := Attempt{UID: "model", Attempt: uint64(round + 1)}
		end := g.open(a, inlets(in, 1, s))
		l := g.dial(a)
		b := batch.NewBuilder(s)
		sent := make(chan []record, batches)
		go func() {
			o := l.Channel(at(0), s)
			for range batches {
				rows, model := randomBatch(r, b, r.IntN(60))
				sent <- model
				if err := o.Send(g.context(), element.Element{Kind: element.KindBatch, Batch: rows}); err != nil {
					t.Error(err)
				}
			}
			close(sent)
		}()
		for want := range sent {
			m := next(t, in)
			same(t, m.Element.Batch, want)
			m.Element.Batch.Release()
			in.Done(m)
		}
		l.Close()
		end()
	}
}

func same(t *testing.T, b *batch.Batch, want []record) {
	t.Helper()
	if b.Len() != len(want) {
		t.Fatalf("%d rows, want %d", b.Len(), len(want))
	}
	for i, w := range want {
		got := record{time: b.Time(b.Row(i)), kind: b.Kind(b.Row(i))}
		for c := range b.Columns {
			got.columns = append(got.columns, show(&b.Columns[c], b.Row(i)))
		}
		if b.Hashes != nil {
			got.hash = b.Hashes[b.Row(i)]
		}
		if o := b.Origin; o != nil {
			if o.Topic != "flights" || o.Partition != 5 {
				t.Errorf("read from %s, partition %d", o.Topic, o.Partition)
			}
			got.sequence, got.row = o.Sequences[b.Row(i)], o.Rows[b.Row(i)]
		}
		if fmt.Sprint(got) != fmt.Sprint(w) {
			t.Fatalf("row %d of %s:\n%v, want\n%v", i, b.Schema, got, w)
		}
	}
}
