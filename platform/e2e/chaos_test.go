package e2e

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

// The short form of platform/chaos. WEIR_CHAOS_SEED replays a failure.
func TestNothingIsLostDoubledOrReorderedWhenTheServerIsKilledAgainAndAgain(t *testing.T) {
	seed := uint64(time.Now().UnixNano() % 1e9)
	if text := os.Getenv("WEIR_CHAOS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d: replay it by WEIR_CHAOS_SEED=%d", seed, seed)
	o := ChaosOptions{
		Seed: seed, Records: 120_000, Keys: 2_000, Partitions: 8, Parallelism: 2, Widths: []int{5, 3, 2}, Kills: 8, Interval: 200 * time.Millisecond,
		State: []string{pipelinefile.Memory, pipelinefile.Disk}[seed%2],
		Dir:   t.TempDir(), Binary: built.binary, Module: built.guest, Out: t.Output(),
	}
	r, err := RunChaos(t.Context(), o)
	t.Logf("%+v", r)
	if err != nil {
		(&world{setup: Setup{Dir: o.Dir}}).showLog(t)
		t.Fatal(err)
	}
	if r.Rescales == 0 {
		t.Errorf("nothing was rescaled: %+v", r)
	}
	if r.Reached == 0 || r.Random == 0 || r.Plain == 0 {
		t.Errorf("a run without deaths of both kinds or without a neighbour proves little: %+v", r)
	}
}
