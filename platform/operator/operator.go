// Package operator is the contract of one transformation in a chain. An
// operator is used by its task's goroutine alone. It must not know how batches
// travel between tasks, nor how checkpoints are coordinated.
package operator

import (
	"encoding/json"
	"log/slog"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
)

// Operator transforms batches. The task calls Open once, then the rest in the
// order of the stream, Close at the end whatever happened.
type Operator interface {
	Open(ctx *Context) error
	// Process takes over the caller's reference to b.
	Process(input int, b *batch.Batch) error
	// Watermark comes per input; an operator with several merges them itself
	// (see Watermarks). It passes on what it concludes by Output.Watermark.
	Watermark(input int, w element.Watermark) error
	// Timers fires what is due by the processing-time clock.
	Timers(clockMicros int64) error
	// Barrier ends an epoch: everything since the last barrier is in the result.
	Barrier(b element.Barrier) (Snapshot, error)
	EndOfInput(input int) error
	Close() error
}

// Source is an operator at the head of a chain that brings rows by itself.
type Source interface {
	Operator
	// Poll emits what is there without waiting; false if nothing was. It calls
	// Context.Wake, from any goroutine, when Poll is worth calling again.
	Poll() (bool, error)
	// Done is true once every split has ended and been emitted.
	Done() bool
}

// Committer is an operator with effects that become visible on commit.
type Committer interface {
	// Committed says that a checkpoint is in the catalog; from any goroutine,
	// any number of times, never before Barrier has returned for it. The
	// operator calls Context.Published(id) once its part of it is visible.
	Committed(checkpoint uint64)
}

// Waker is an operator that also works when nothing has come in: it waits for
// something outside, and calls Context.Wake when that is there.
type Waker interface {
	// Woken is called after Context.Wake, at least once for the last call.
	Woken() error
}

// Brake is an operator that can have too much at hand. While Braking is true its
// task takes no more from outside, but what is on its way round a cycle. It calls
// Context.Wake when it has become false.
type Brake interface{ Braking() bool }

// Gatherer is an operator that keeps rows back, so as to make fewer and larger
// batches of them: scattering makes batches ever smaller. Its task calls Flush
// when nothing else has come in, and before it looks at timers.
type Gatherer interface{ Flush() error }

// Output takes an operator's results.
type Output interface {
	// Emit passes a batch on and takes over the caller's reference.
	Emit(output int, b *batch.Batch) error
	// Watermark goes to every output.
	Watermark(w element.Watermark) error
}

// Snapshot is an operator's part of a checkpoint.
type Snapshot struct {
	Keyed state.Frozen // nil without keyed state
	Items []snapshot.Item
	// Ready, if not nil, is closed when the snapshot may be acknowledged: a sink
	// holds epoch N+1 back until N is published.
	Ready <-chan struct{}
}

// Identity says which operator of which task this is.
type Identity struct {
	Pipeline    string // name, for people
	PipelineUID string
	Operator    string // stable id
	Task        int
	Parallelism int
	Attempt     uint64
	FirstGroup  int // key groups that the task owns, both inclusive
	LastGroup   int
}

// Context is what an operator is given at Open.
type Context struct {
	Identity
	Config  json.RawMessage
	Inputs  []*schema.Schema
	Outputs []*schema.Schema
	Key     [][]string // key columns per input

	State    state.Backend   // nil without keyed state; already restored
	Restored []snapshot.Item // the operator's items of the checkpoint that fall to this task
	// RestoredFrom is the checkpoint the job was restored from; 0: a first start.
	RestoredFrom uint64
	// Doubt is what the user decided about output of that checkpoint that is in doubt.
	Doubt connector.Doubt

	Output    Output
	Log       *slog.Logger
	Clock     func() int64    // processing time in microseconds
	Wake      func()          // asks the task for a call of Poll; any goroutine
	Fail      func(error)     // ends the task from another goroutine
	Ending    <-chan struct{} // closed when the task is to end: who waits gives up with context.Canceled
	Published func(checkpoint uint64)
	// Crowded is true while more is on its way round the task's cycle than it
	// takes: who makes messages of its own accord waits for the next call of Timers.
	Crowded func() bool
	Meter   *Meter
}
