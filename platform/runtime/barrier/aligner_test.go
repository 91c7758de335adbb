package barrier

import (
	"math/rand/v2"
	"testing"

	"github.com/weirstream/weir/platform/element"
)

func bar(id uint64) element.Barrier { return element.Barrier{ID: id, Attempt: 1} }

func TestElementsBehindABarrierAreHeldUntilItHasComeOnEveryChannel(t *testing.T) {
	a := New(3)
	if d, _ := a.OnBarrier(1, bar(7)); d != Align {
		t.Fatalf("first barrier: %v", d)
	}
	if d := a.OnElement(1); d != Hold {
		t.Fatalf("behind the barrier: %v", d)
	}
	if d := a.OnElement(0); d != Process {
		t.Fatalf("before the barrier: %v", d)
	}
	if got := a.Missing(); len(got) != 2 || got[0] != 0 || got[1] != 2 {
		t.Fatalf("missing %v", got)
	}
	if d, _ := a.OnBarrier(0, bar(7)); d != Align {
		t.Fatalf("second barrier: %v", d)
	}
	if d := a.OnEnd(2); d != Complete { // an ended channel holds nothing back
		t.Fatalf("end of the last channel: %v", d)
	}
	if d := a.OnElement(1); d != Process {
		t.Fatalf("after completion: %v", d)
	}
	if d, _ := a.OnBarrier(0, bar(8)); d != Align {
		t.Fatalf("next barrier: %v", d)
	}
	if d, _ := a.OnBarrier(1, bar(8)); d != Complete {
		t.Fatalf("next barrier complete: %v", d)
	}
}

func TestAnotherBarrierBeforeTheCurrentOneIsCompleteIsAnError(t *testing.T) {
	a := New(2)
	if _, err := a.OnBarrier(0, bar(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.OnBarrier(1, bar(2)); err == nil {
		t.Fatal("no error")
	}
}

// Each channel is a sequence of numbered elements with barriers between them;
// any interleaving must give the same cut: before barrier k exactly what stood
// before it on every channel.
func TestEveryInterleavingCutsTheStreamAtTheBarriers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		n, epochs := 1+r.IntN(4), 1+r.IntN(5)
		type item struct{ epoch, barrier int }
		channels := make([][]item, n)
		for c := range channels {
			for e := range epochs {
				for range r.IntN(5) {
					channels[c] = append(channels[c], item{epoch: e})
				}
				channels[c] = append(channels[c], item{epoch: e, barrier: e + 1})
			}
		}
		a, held := New(n), make([][]item, n)
		epoch := 0
		var feed func(c int, it item)
		drain := func() {
			epoch++
			queued := held
			held = make([][]item, n)
			for c, items := range queued {
				for _, it := range items {
					feed(c, it)
				}
			}
		}
		feed = func(c int, it item) {
			var d Decision
			if it.barrier > 0 {
				var err error
				if d, err = a.OnBarrier(c, bar(uint64(it.barrier))); err != nil {
					t.Fatal(err)
				}
			} else if d = a.OnElement(c); d == Process && it.epoch != epoch {
				t.Fatalf("element of epoch %d processed in epoch %d", it.epoch, epoch)
			}
			switch d {
			case Hold:
				held[c] = append(held[c], it)
			case Complete:
				drain()
			}
		}
		for left := true; left; {
			left = false
			for _, c := range r.Perm(n) {
				if len(channels[c]) > 0 && r.IntN(3) > 0 {
					feed(c, channels[c][0])
					channels[c] = channels[c][1:]
				}
				left = left || len(channels[c]) > 0
			}
		}
		if epoch != epochs {
			t.Fatalf("%d of %d barriers completed", epoch, epochs)
		}
	}
}
