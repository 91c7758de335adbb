package weirtest

import (
	"strings"
	"testing"

	weir "github.com/weirstream/weir/sdk/go"
	"github.com/weirstream/weir/sdk/go/internal/guest"
)

type steadyIn struct {
	Key   int64
	Value int64
	Pad   string
}

type steadyOut struct {
	Key   int64
	Count int64
	Sum   int64
}

type steadyTotal struct{ Count, Sum int64 }

var (
	steady      = weir.Keyed("steady", "key")
	steadyRows  = weir.In[steadyIn](steady, "in")
	steadyOuts  = weir.Out[steadyOut](steady)
	steadyState = weir.ValueOf[steadyTotal](steady, "total")
)

func init() {
	steadyRows.On(func(ctx *weir.Context, r *steadyIn) error {
		s := steadyState.Edit(ctx)
		s.Count++
		s.Sum += r.Value
		steadyOuts.Emit(ctx, steadyOut{r.Key, s.Count, s.Sum})
		return nil
	})
}

const steadyBatch = 1024

// steadyCall is a call of a full frame with a key for each row, all with state.
func steadyCall(t testing.TB) (*Harness, []byte) {
	h := New(t, "steady", Settled())
	var b batch
	for round := range 2 {
		for i := range steadyBatch {
			h.Send("in", steadyIn{int64(i) * 7919, int64(i * round), strings.Repeat("x", 80)})
		}
		b = batch{rows: h.pending}
		h.flush()
	}
	frame, _ := h.encode(&b)
	h.overlay = &overlay{}
	return h, frame
}

func TestACallAllocatesNothingInTheSteadyState(t *testing.T) {
	h, frame := steadyCall(t)
	guest.Enter(imports{h}, func() {
		if n := testing.AllocsPerRun(50, func() { h.instance.Call(h.handle, frame) }); n > 0 {
			t.Errorf("%v allocations a call of %d rows, want none", n, steadyBatch)
		}
	})
}

func BenchmarkCall(b *testing.B) {
	h, frame := steadyCall(b)
	guest.Enter(imports{h}, func() {
		b.ReportAllocs()
		for b.Loop() {
			h.instance.Call(h.handle, frame)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/steadyBatch, "ns/row")
	})
}
