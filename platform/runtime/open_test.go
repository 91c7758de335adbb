package runtime_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/platform/runtime/runtimetest"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/arena"
	"github.com/weirstream/weir/platform/worker/workertest"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// refusing is an operator that does not open.
type refusing struct {
	timed
	closes *int
}

func (*refusing) Open(*operator.Context) error { return errors.New("no such thing") }
func (o *refusing) Close() error               { *o.closes++; return nil }

func TestAnOperatorThatDoesNotOpenFailsTheAttemptAndIsClosed(t *testing.T) {
	w := runtimetest.NewWorld(1, 10)
	closes := 0
	bubble(t, w, "own", func() operator.Operator { return &refusing{closes: &closes} }, func(t *testing.T, run *workertest.Run) {
		synctest.Wait()
		h := run.Heard()
		if len(h.Failures) != 1 || h.Failures[0].Err.Error() != "operator middle: no such thing" || h.Running {
			t.Fatalf("%+v", h)
		}
		if closes != 1 {
			t.Errorf("closed %d times", closes)
		}
	})
}

func TestADirectRunThatDoesNotOpenClosesWhatItOpened(t *testing.T) {
	w := runtimetest.NewWorld(1, 10)
	closes := 0
	_, err := runtime.NewDirect(t.Context(), runtime.Job{Pipeline: "p", Attempt: 1}, line("own", 1), direct(w, func() operator.Operator { return &refusing{closes: &closes} }))
	if err == nil || !strings.Contains(err.Error(), "operator middle: no such thing") {
		t.Fatalf("%v", err)
	}
	if closes != 1 {
		t.Errorf("closed %d times", closes)
	}
}

// direct is what a run in one goroutine needs.
func direct(w *runtimetest.World, own func() operator.Operator) runtime.Services {
	return runtime.Services{
		Log: slog.New(slog.DiscardHandler), Clock: time.Now,
		NewOperator: func(kind string) (operator.Operator, error) {
			if kind == "own" {
				return own(), nil
			}
			return w.NewOperator(kind)
		},
		NewState: func(op *jobgraph.Operator, _ runtime.Groups) (state.Backend, error) {
			d, err := runtime.Descriptors(op)
			if err != nil {
				return nil, err
			}
			return arena.Open(state.Options{Descriptors: d})
		},
		Items: func(*jobgraph.Operator, int, int) ([]snapshot.Item, uint64, error) { return nil, 0, nil },
	}
}

func TestKeyGroupsAreDealtOutWithoutGapOrOverlap(t *testing.T) {
	for parallelism := 1; parallelism <= runtime.KeyGroups; parallelism++ {
		next := 0
		for task := range parallelism {
			g := runtime.GroupsOf(task, parallelism)
			if g.First != next || g.Last < g.First {
				t.Fatalf("%d tasks: task %d has %d to %d, want them from %d", parallelism, task, g.First, g.Last, next)
			}
			for group := g.First; group <= g.Last; group++ {
				if owner := runtime.TaskOf(group, parallelism); owner != task {
					t.Fatalf("%d tasks: group %d is sent to %d, task %d owns it", parallelism, group, owner, task)
				}
			}
			next = g.Last + 1
		}
		if next != runtime.KeyGroups {
			t.Fatalf("%d tasks: the groups end at %d", parallelism, next)
		}
	}
}
