package cli

import (
	"strings"
	"testing"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func TestTheStatusNamesTheParallelismThatRunsAndThatOfTheFileWhereTheyDiffer(t *testing.T) {
	for want, p := range map[string]*weirv1.Pipeline{
		"4":                                    {Parallelism: 4, RunningParallelism: 4, FileParallelism: 4},
		"5, now 2":                             {Parallelism: 5, RunningParallelism: 2, FileParallelism: 5},
		"5, now 2 (rescaled; the file says 1)": {Parallelism: 5, RunningParallelism: 2, FileParallelism: 1},
		"3 (rescaled; the file says 2)":        {Parallelism: 3, FileParallelism: 2},
	} {
		if got := parallelismLine(p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestTheStepsOfARescaleAreNamed(t *testing.T) {
	running := func(state string, published bool) *weirv1.PipelineStatus {
		return &weirv1.PipelineStatus{Pipeline: &weirv1.Pipeline{State: state, Revision: 2, RunningRevision: 1}, LastCheckpoint: &weirv1.Checkpoint{Id: 7, Published: published}}
	}
	waits := running("stopping", true)
	waits.Warnings = []string{waitsToStart + ": needs 5 slots"}
	after := running("starting", true)
	after.Pipeline.RunningRevision = 2
	for want, s := range map[string]*weirv1.PipelineStatus{
		"last checkpoint": running("stopping", true), "publishing": running("stopping", false), "taking state over": after, "needs 5 slots": waits, "restarting": running("restarting", true),
	} {
		if got := rescaleStep(s, 2); !strings.HasSuffix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
