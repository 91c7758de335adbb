package element

import (
	"math/rand/v2"
	"testing"
)

func TestAMergerFollowsTheSlowestActiveInput(t *testing.T) {
	type step struct {
		input  int
		w      Watermark
		want   Watermark
		change bool
	}
	a, idle, fin := Active, Idle, Finished
	steps := []step{
		{0, Watermark{10, a}, Watermark{MinTime, a}, false}, // input 1 has said nothing yet
		{1, Watermark{5, a}, Watermark{5, a}, true},
		{1, Watermark{20, a}, Watermark{10, a}, true},
		{0, Watermark{10, idle}, Watermark{20, a}, true},    // an idle input holds nothing back
		{0, Watermark{12, a}, Watermark{20, a}, false},      // awake again behind the rest: time does not run back
		{1, Watermark{30, idle}, Watermark{20, a}, false},   // only input 0 counts, at 12
		{0, Watermark{12, idle}, Watermark{30, idle}, true}, // all idle: what the furthest reached
		{1, Watermark{30, fin}, Watermark{30, idle}, false},
		{0, Watermark{40, fin}, Watermark{MaxTime, fin}, true},
	}
	m := NewMerger(2)
	for i, s := range steps {
		got, changed := m.Update(s.input, s.w)
		if got != s.want || changed != s.change {
			t.Fatalf("step %d: got %v %v, want %v %v", i, got, changed, s.want, s.change)
		}
	}
}

func TestAMergedWatermarkNeverRunsBackNorPassesAnActiveInputThatNeverSlept(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		n := 1 + r.IntN(5)
		m := NewMerger(n)
		at := make([]int64, n)
		last := MinTime
		for range 300 {
			i := r.IntN(n)
			at[i] += int64(r.IntN(10))
			status := Active
			if i != 0 && r.IntN(4) == 0 {
				status = Idle
			}
			w, _ := m.Update(i, Watermark{at[i], status})
			if w.Time < last {
				t.Fatalf("ran back from %d to %d", last, w.Time)
			}
			if w.Time > at[0] { // input 0 is never idle, so nothing may pass it
				t.Fatalf("watermark %d passed input 0 at %d", w.Time, at[0])
			}
			last = w.Time
		}
	}
}
