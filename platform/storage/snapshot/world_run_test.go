package snapshot

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weirstream/weir/platform/storage/blob/blobfault"
)

func TestRandomCheckpointsMergesFailuresAndSweepsEqualTheModel(t *testing.T) {
	for range 3 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := newWorld(t, seed)
			defer func() { w.close() }()
			for range 250 {
				switch p := w.r.IntN(100); {
				case p < 40:
					w.write(w.r.IntN(150))
				case p < 70:
					w.checkpoint()
				case p < 82:
					w.runMerge()
				case p < 90:
					w.sweep()
				case p < 95:
					w.fail()
				default:
					w.check()
				}
			}
			w.check()
			w.checkSwept()
			w.check()
			t.Logf("%v, at most %d live segments", w.counts, w.mostLive)
			for _, what := range []string{"commits", "checkpoints not committed", "merges", "restores", "parts in objects", "parts inline"} {
				if w.counts[what] == 0 {
					t.Errorf("no %s in the whole run", what)
				}
			}
		})
	}
}

// script is a short history that goes through every kind of access.
func script(w *world) {
	for round := range 6 {
		w.write(50)
		w.checkpoint()
		w.runMerge()
		w.sweep()
		if round == 3 {
			w.fail()
		}
	}
	w.fail()
	w.write(20)
	w.checkpoint()
}

func TestTheNthAccessFailsForEveryNAndNothingIsLostOrLeft(t *testing.T) {
	const seed = 12
	smooth := newWorld(t, seed)
	smooth.keys = 120
	script(smooth)
	accesses := smooth.store.Operations()
	smooth.close()
	if accesses < 30 {
		t.Fatalf("the script has only %d accesses", accesses)
	}
	for kind := blobfault.Fail; kind <= blobfault.Cut; kind++ {
		t.Run(kind.String(), func(t *testing.T) {
			injected := 0
			for n := 1; n <= accesses; n++ {
				w := newWorld(t, seed)
				w.keys = 120
				w.store.Arm(blobfault.Plan{From: n, Count: 1, Kind: kind})
				script(w)
				injected += w.counts["injected"]
				w.check()
				w.checkSwept()
				w.check()
				w.close()
			}
			if injected == 0 {
				t.Error("no access failed")
			}
		})
	}
}
