package batch

import (
	"testing"

	"github.com/weirstream/weir/abi/schema"
)

var people = schema.MustParse("name:utf8,age:int32?")

func TestABuilderMakesABatchAndStartsOver(t *testing.T) {
	before := Live()
	b := NewBuilder(people)
	add := func(name string, age int32, time int64) {
		b.Column(0).AppendString(name)
		b.Column(1).AppendInt32(age)
		b.EndRead(time, uint64(time), 7)
	}
	add("ann", 30, 1)
	b.Column(0).AppendString("half a row")
	b.Cancel()
	b.Column(0).AppendString("bob")
	b.Column(1).AppendNull()
	b.EndRead(2, 9, 8)
	first := b.Finish("people", 3)
	add("cid", 5, 3)
	second := b.Finish("people", 4)

	if first.Len() != 2 || second.Len() != 1 {
		t.Fatalf("lengths %d and %d", first.Len(), second.Len())
	}
	if got := first.Columns[0].StringAt(1); got != "bob" || !first.Columns[1].Null(1) || first.Columns[1].Int32s()[0] != 30 {
		t.Fatalf("second row is %q", got)
	}
	if first.Time(0) != 1 || first.Origin.Partition != 3 || first.Origin.Sequences[1] != 9 || first.Origin.Rows[1] != 8 {
		t.Fatalf("origin %+v", first.Origin)
	}
	if second.Columns[0].StringAt(0) != "cid" || second.Origin.Partition != 4 {
		t.Fatal("the second batch is wrong")
	}
	v := first.View()
	v.Select(1)[0] = 1
	own := v.Clone()
	v.Release()
	if own.Len() != 1 || own.Columns[0].StringAt(0) != "bob" || own.Time(0) != 2 || own.Origin.Sequences[0] != 9 {
		t.Fatal("the clone is wrong")
	}
	own.Release()
	second.Release()
	if Live() != before {
		t.Fatalf("%d batches or buffers are still alive", Live()-before)
	}
}

func TestBuildingAllocatesNothingInTheSteadyState(t *testing.T) {
	b := NewBuilder(people)
	build := func() {
		for i := range 1000 {
			b.Column(0).AppendString("somebody")
			b.Column(1).AppendInt32(int32(i))
			b.EndRow(int64(i))
		}
		b.Finish("", 0).Release()
	}
	build()
	if n := testing.AllocsPerRun(50, build); n > 1 { // a pool may be emptied by a collection
		t.Fatalf("%v allocations for 1000 rows", n)
	}
}
