package e2e

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weirstream/weir/platform/failpoint"
)

// Death is one way in which a server's life ends.
type Death struct {
	Place string        // a failpoint; empty: none
	Nth   int           // passing of the place
	After time.Duration // then it dies in any case
}

func (d Death) String() string {
	if d.Place == "" {
		return fmt.Sprintf("%s after the start", d.After.Round(time.Millisecond))
	}
	return fmt.Sprintf("%s, passing %d", d.Place, d.Nth)
}

// env arms the failpoint in the server's environment.
func (d Death) env() []string {
	if d.Place == "" {
		return nil
	}
	return []string{fmt.Sprintf("%s=%s:%d:kill", failpoint.EnvVar, d.Place, d.Nth)}
}

// aims are the failpoints of checkpoint, commit and publish, and up to which
// passing each is aimed at: about three checkpoints.
var aims = []struct {
	place string
	most  int
}{
	{failpoint.SinkChunkPublished, 48},
	{failpoint.CheckpointCommit, 3},
	{failpoint.SinkPrepared, 20},
	{failpoint.CheckpointWritten, 3},
	{failpoint.SinkAckLost, 48},
	{failpoint.PublishedNoticed, 3},
	{failpoint.SinkPublished, 12},
	{failpoint.PartWritten, 3},
	{failpoint.CommitNoticed, 3},
	{failpoint.ManifestBuilt, 3},
	{failpoint.SinkBeforePublish, 12},
	{failpoint.PublishedCommit, 3},
	{failpoint.BlobAside, 4},
	{failpoint.AttemptStarting, 1},
	{failpoint.MergeWritten, 1},
	{failpoint.SweepDeleted, 3},
}

const (
	soonest    = 20 * time.Millisecond // in the middle of the start
	latest     = 2500 * time.Millisecond
	aimLimit   = 8 * time.Second  // for a place to be passed; then the death comes at random
	sweepPause = 14 * time.Second // the first sweep comes ten seconds after the start
)

// Deaths plans n of them: every second one is aimed, and no place comes again
// before all others had their turn.
func Deaths(seed uint64, n int) []Death {
	rng := rand.New(rand.NewPCG(seed, 2))
	var order []int
	out := make([]Death, n)
	for i := range out {
		if i%2 == 1 {
			out[i].After = soonest + time.Duration(rng.Int64N(int64(latest-soonest)))
			continue
		}
		if len(order) == 0 {
			order = rng.Perm(len(aims))
		}
		a := aims[order[0]]
		order = order[1:]
		out[i] = Death{Place: a.place, Nth: 1 + rng.IntN(a.most), After: aimLimit}
		if a.place == failpoint.SweepDeleted {
			out[i].After = sweepPause
		}
	}
	return out
}
