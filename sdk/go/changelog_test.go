package weir_test

import (
	"errors"
	"slices"
	"testing"

	weir "github.com/weirstream/weir/sdk/go"
	"github.com/weirstream/weir/sdk/go/weirtest"
)

type seat struct {
	Flight string
	Row    int64
}

type taken struct {
	Flight string
	Count  int64
}

var (
	seating = weir.Keyed("seating", "flight").With(weir.Changelog())
	seats   = weir.In[seat](seating, "seats")
	counts  = weir.Out[taken](seating)
	count   = weir.ValueOf[int64](seating, "count")

	plainSeats = weir.Process("plain_seats")
	plainIn    = weir.In[seat](plainSeats, "seats")
	plainOut   = weir.Out[seat](plainSeats)
)

func init() {
	seats.On(func(ctx *weir.Context, s *seat) error {
		if s.Row == 13 {
			counts.EmitKind(ctx, weir.Delete, taken{"never", -1})
			return errors.New("there is no row 13")
		}
		was, _ := count.Get(ctx)
		now := was + 1
		if ctx.Kind().Retracts() {
			now = was - 1
		}
		count.Set(ctx, now)
		switch {
		case was == 0:
			counts.Emit(ctx, taken{s.Flight, now})
		case now == 0:
			counts.EmitKind(ctx, weir.Delete, taken{s.Flight, was})
		default:
			counts.EmitKind(ctx, weir.UpdateBefore, taken{s.Flight, was})
			counts.EmitKind(ctx, weir.UpdateAfter, taken{s.Flight, now})
		}
		return nil
	})
	plainIn.On(func(ctx *weir.Context, s *seat) error {
		plainOut.EmitKind(ctx, weir.Delete, *s)
		return nil
	})
}

func TestAFunctionReadsAndWritesAChangelog(t *testing.T) {
	h := weirtest.New(t, "seating")
	h.Send("seats", seat{"a", 1}, seat{"b", 1})
	h.SendKind("seats", weir.Insert, seat{"a", 2})
	h.Send("seats", seat{"a", 13})
	h.SendKind("seats", weir.Delete, seat{"b", 1})
	h.SendKind("seats", weir.UpdateBefore, seat{"a", 2})
	h.SendKind("seats", weir.UpdateAfter, seat{"a", 3})
	var got []string
	for _, r := range h.Output("out") {
		got = append(got, r.Kind.String()+" "+r.Values[0].(string)+" "+string(rune('0'+r.Values[1].(int64))))
	}
	want := []string{"+I a 1", "+I b 1", "-U a 1", "+U a 2", "-D b 1", "-U a 2", "+U a 1", "-U a 1", "+U a 2"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if f := h.Failures(); len(f) != 1 || f[0].Text != "there is no row 13" {
		t.Errorf("failures %v", f)
	}
}

func TestEmitKindWithoutTheOptionIsNamed(t *testing.T) {
	h := weirtest.New(t, "plain_seats")
	h.Send("seats", seat{"a", 1})
	if f := h.Failures(); len(f) != 1 || !f[0].Trap {
		t.Errorf("failures %v", f)
	}
}
