package batch

import (
	"testing"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
)

var numbers = schema.MustParse("n:int64")

func column(b *Batch, values ...int64) {
	buf := NewBuffer(len(values) * 8)
	col := frame.Fixed(&numbers.Fields[0].Type, values, nil)
	copy(buf.Bytes, col.Values)
	col.Values = buf.Bytes
	b.SetColumns([]frame.Column{col}, len(values))
	b.Keep(buf)
}

func TestAViewKeepsItsParentsRowsUntilBothAreReleased(t *testing.T) {
	before := Live()
	b := New(numbers)
	column(b, 10, 11, 12, 13)
	v := b.Retain().View()
	copy(v.Select(2), []int32{3, 1})
	b.Release()
	if v.Len() != 2 || v.Physical() != 4 {
		t.Fatalf("len %d, physical %d", v.Len(), v.Physical())
	}
	got := []int64{v.Columns[0].Int64s()[v.Row(0)], v.Columns[0].Int64s()[v.Row(1)]}
	if got[0] != 13 || got[1] != 11 {
		t.Fatalf("rows %v", got)
	}
	v.Release()
	if Live() != before {
		t.Fatalf("%d batches or buffers are still alive", Live()-before)
	}
}

func TestAViewOfAViewSelectsAmongPhysicalRows(t *testing.T) {
	before := Live()
	b := New(numbers)
	column(b, 10, 11, 12, 13)
	v := b.View()
	copy(v.Select(3), []int32{0, 2, 3})
	w := v.View()
	if w.Len() != 3 {
		t.Fatalf("a view begins with its parent's selection, has %d rows", w.Len())
	}
	copy(w.Select(1), []int32{2})
	if got := w.Columns[0].Int64s()[w.Row(0)]; got != 12 {
		t.Fatalf("row is %d", got)
	}
	w.Release()
	if Live() != before {
		t.Fatalf("%d batches or buffers are still alive", Live()-before)
	}
}

func TestReleasingTooOftenPanics(t *testing.T) {
	b := New(numbers)
	b.Release()
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
	}()
	b.Release()
}

func TestBuffersOfEverySizeAreAlignedAndComeBack(t *testing.T) {
	before := Live()
	for _, n := range []int{0, 1, 1023, 1024, 1025, 64 << 10, 1<<26 + 1} {
		buf := NewBuffer(n)
		if len(buf.Bytes) != n {
			t.Fatalf("%d bytes wanted, %d given", n, len(buf.Bytes))
		}
		buf.Release()
	}
	if Live() != before {
		t.Fatal("buffers are still alive")
	}
}

func BenchmarkViewSelectRelease(b *testing.B) {
	parent := New(numbers)
	column(parent, make([]int64, 1024)...)
	b.ReportAllocs()
	for b.Loop() {
		v := parent.Retain().View()
		sel := v.Select(512)
		for i := range sel {
			sel[i] = int32(i * 2)
		}
		v.Release()
	}
	parent.Release()
}

func TestASelectionOfNoRowsMeansNoRows(t *testing.T) {
	b := NewBuilder(schema.MustParse("n:int64"))
	b.Column(0).AppendInt64(1)
	b.EndRow(0)
	v := b.Finish("", 0).View()
	defer v.Release()
	v.sel = nil // as in a batch that never had a selection
	if v.Select(0); v.Len() != 0 {
		t.Errorf("%d rows are meant", v.Len())
	}
}
