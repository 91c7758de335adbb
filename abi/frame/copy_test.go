package frame

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/weirstream/weir/abi/schema"
)

func TestRowsAppendedTogetherAreThoseAppendedOneByOne(t *testing.T) {
	s := schema.MustParse("a:int64,b:int32?,c:utf8,d:bool,e:int16,f:decimal(9,2),g:float32,h:int8,i:int64?")
	rng := rand.New(rand.NewPCG(1, 2))
	const rows = 100
	from := NewBuilder(s)
	for i := range rows {
		from.Column(0).AppendInt64(int64(rng.Uint64()))
		if rng.IntN(3) == 0 {
			from.Column(1).AppendNull()
		} else {
			from.Column(1).AppendInt32(int32(i))
		}
		from.Column(2).AppendBytes(bytes.Repeat([]byte{'x'}, rng.IntN(5)))
		from.Column(3).AppendBool(i%3 == 0)
		from.Column(4).AppendInt16(int16(i))
		from.Column(5).AppendDecimal(-1, rng.Uint64())
		from.Column(6).AppendFloat32(float32(i))
		from.Column(7).AppendInt8(int8(i))
		from.Column(8).AppendInt64(int64(i)) // nullable, without a null
	}
	all := from.Columns()
	for i := range s.Fields {
		one := schema.Schema{Fields: s.Fields[i : i+1]}
		together, oneByOne := NewBuilder(&one), NewBuilder(&one)
		x, y := together.Column(0), oneByOne.Column(0)
		for range 50 {
			var picked []int32
			for range rng.IntN(20) {
				picked = append(picked, int32(rng.IntN(rows)))
			}
			x.AppendRows(&all[i], picked)
			for _, r := range picked {
				y.AppendFrom(&all[i], int(r))
			}
			if rng.IntN(20) == 0 {
				x.AppendNull()
				y.AppendNull()
			}
		}
		got, want := make([]byte, together.Size()), make([]byte, oneByOne.Size())
		together.WriteTo(got)
		oneByOne.WriteTo(want)
		if x.Len() == 0 || !bytes.Equal(got, want) {
			t.Errorf("column %s: %d values, want %d, or others", s.Fields[i].Name, x.Len(), y.Len())
		}
	}
}
