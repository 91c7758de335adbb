package sim_test

import (
	"flag"
	"log/slog"
	"os"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/platform/sim"
)

var (
	seed  = flag.Uint64("seed", 0, "the seed to run, or the first of -seeds")
	seeds = flag.Int("seeds", 0, "how many seeds to run, one after the other")
	loud  = flag.Bool("log", false, "print every process's log")
)

// inCI is how many seeds every test run takes.
const inCI = 200

func TestNothingIsLostDoubledOrReorderedWhateverGoesWrong(t *testing.T) {
	first, count := *seed, *seeds
	switch {
	case count == 0 && first != 0:
		count = 1
	case count == 0:
		first, count = 1, inCI
		if testing.Short() {
			count = 10
		}
	}
	for s := first; s < first+uint64(count) && !t.Failed(); s++ {
		one(t, s)
		if count > inCI && (s-first+1)%inCI == 0 {
			t.Logf("%d seeds held", s-first+1)
		}
	}
}

func one(t *testing.T, seed uint64) {
	dir, err := os.MkdirTemp("", "weir-sim-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	synctest.Test(t, func(t *testing.T) {
		o := sim.Defaults(seed, dir)
		if *loud {
			o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
		}
		if err := sim.Run(t.Context(), o); err != nil {
			t.Errorf("%v\nreplay: go test ./platform/sim -args -seed %d -log", err, seed)
		}
	})
}
