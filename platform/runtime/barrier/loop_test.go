package barrier

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weirstream/weir/platform/element"
)

func TestWhatACycleBringsBetweenSnapshotAndBarrierIsLogged(t *testing.T) {
	l := NewLoop(2)
	if d, _ := l.OnBarrier(0, bar(3)); d != Align { // channel 0 is ahead of the task
		t.Fatal(d)
	}
	if d := l.OnElement(0); d != Hold {
		t.Fatal(d)
	}
	if d := l.OnElement(1); d != Process {
		t.Fatal(d)
	}
	if whole, err := l.Snapshot(bar(3)); whole || err != nil {
		t.Fatal(whole, err)
	}
	if d := l.OnElement(0); d != Process { // its barrier had come: this belongs to the next epoch
		t.Fatal(d)
	}
	if d := l.OnElement(1); d != Log {
		t.Fatal(d)
	}
	if got := l.Missing(); !slices.Equal(got, []int{1}) {
		t.Fatal(got)
	}
	if d, _ := l.OnBarrier(1, bar(3)); d != Complete {
		t.Fatal(d)
	}
	if d := l.OnElement(1); d != Process {
		t.Fatal(d)
	}
	if _, err := l.Snapshot(bar(4)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Snapshot(bar(5)); err == nil {
		t.Fatal("a second snapshot while the first is being collected")
	}
	if _, err := l.OnBarrier(0, bar(5)); err == nil {
		t.Fatal("another barrier while the first is being collected")
	}
}

// Tasks send numbered tokens round; a model of the cut says that of every channel
// a token is counted by its sender's snapshot exactly if it is counted by the
// receiver's, as handled before it or as logged.
func TestACutOfACycleHasEveryTokenOnce(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		n := 1 + r.IntN(4)
		type token struct{ from, number int }
		type item struct {
			barrier uint64
			token   token
		}
		queues := make([][][]item, n) // to, from
		for i := range queues {
			queues[i] = make([][]item, n)
		}
		loops := make([]*Loop, n)
		for i := range loops {
			loops[i] = NewLoop(n)
		}
		sent := make([]int, n)
		sentAt := make([]int, n) // at the snapshot
		have := make([]map[token]bool, n)
		held := make([][][]item, n)
		for i := range have {
			have[i], held[i] = map[token]bool{}, make([][]item, n)
		}
		snapped, whole := make([]bool, n), 0
		var take func(to, from int, it item)
		take = func(to, from int, it item) {
			if it.barrier != 0 {
				d, err := loops[to].OnBarrier(from, element.Barrier{ID: it.barrier})
				if err != nil {
					t.Fatal(err)
				}
				if d == Complete {
					whole++
				}
				return
			}
			switch loops[to].OnElement(from) {
			case Hold:
				held[to][from] = append(held[to][from], it)
			case Log:
				have[to][it.token] = true
			case Process:
				if !snapped[to] {
					have[to][it.token] = true
				}
			}
		}
		for steps := 0; whole < n; steps++ {
			if steps > 100000 {
				t.Fatal("the cut does not end")
			}
			i := r.IntN(n)
			switch r.IntN(4) {
			case 0, 1:
				to := r.IntN(n)
				queues[to][i] = append(queues[to][i], item{token: token{i, sent[i]}})
				sent[i]++
			case 2:
				from := r.IntN(n)
				if q := queues[i][from]; len(q) > 0 {
					queues[i][from] = q[1:]
					take(i, from, q[0])
				}
			case 3:
				if snapped[i] || r.IntN(5) > 0 {
					continue
				}
				snapped[i], sentAt[i] = true, sent[i]
				done, err := loops[i].Snapshot(element.Barrier{ID: 1})
				if err != nil {
					t.Fatal(err)
				}
				if done {
					whole++
				}
				for to := range n {
					queues[to][i] = append(queues[to][i], item{barrier: 1})
				}
				for from, q := range held[i] {
					held[i][from] = nil
					for _, it := range q {
						take(i, from, it)
					}
				}
			}
		}
		for from, upTo := range sentAt {
			total := 0
			for to := range n {
				for tok := range have[to] {
					if tok.from == from {
						if tok.number >= upTo {
							t.Fatalf("token %v is in the cut of %d and was sent after its sender's snapshot", tok, to)
						}
						total++
					}
				}
			}
			if total != upTo {
				t.Fatalf("%d of %d tokens of %d are in the cut", total, upTo, from)
			}
		}
	}
}
