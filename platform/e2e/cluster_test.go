package e2e

import (
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// The short form of task chaos CLUSTER=1. WEIR_CHAOS_SEED replays a failure.
func TestNothingIsLostWhenProcessesOfAClusterFailOneAfterTheOther(t *testing.T) {
	seed := uint64(time.Now().UnixNano() % 1e9)
	if text := os.Getenv("WEIR_CHAOS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d: replay it by WEIR_CHAOS_SEED=%d", seed, seed)
	o := ClusterChaosOptions{
		Seed: seed, Records: 60_000, Keys: 1_000, Partitions: 8, Parallelism: 3, Widths: []int{4, 2, 5}, Controllers: 3, Workers: 3, Slots: 4,
		Faults: 6, Suspended: 4 * time.Second, Interval: 200 * time.Millisecond, Dir: t.TempDir(), Binary: built.binary, Module: built.guest, Out: t.Output(),
	}
	r, err := RunClusterChaos(t.Context(), o)
	t.Logf("%+v", r)
	if err != nil {
		showTails(t, o.Dir)
		t.Fatal(err)
	}
}

// showTails prints the ends of every process's log.
func showTails(t *testing.T, dir string) {
	t.Helper()
	out, err := exec.Command("sh", "-c", "tail -n 40 "+dir+"/*.log").CombinedOutput()
	t.Logf("%s\n%v", out, err)
}
