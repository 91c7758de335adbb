// Package runtime runs the tasks of a job: a mailbox loop around a chain of
// operators, exchange between tasks, barriers, watermarks. It must not know
// the catalog, checkpoints' coordination, nor where snapshots are written.
package runtime

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Limits of a task.
const (
	// MaxControl is how many commands may wait for a task; the coordinator has
	// one checkpoint in flight, so more than a few is a bug.
	MaxControl = 16
	// TickEvery bounds how late processing time reaches operators that wait for it.
	TickEvery = 10 * time.Millisecond
	// restoreStep is for how long a task loads what has been read ahead of its
	// state, each TickEvery/2 while there is work, and each restorePause without.
	restoreStep  = 2 * time.Millisecond
	restorePause = time.Millisecond
)

// TaskID names a task within an attempt.
type TaskID struct {
	Stage jobgraph.StageID
	Index int
}

func (id TaskID) String() string { return fmt.Sprintf("%d.%d", id.Stage, id.Index) }

// Job is what the tasks of one attempt have in common.
type Job struct {
	Pipeline    string // name, for people
	PipelineUID string
	Attempt     uint64
	Doubt       connector.Doubt // about output of the checkpoint that it starts from
}

// TaskSnapshot is a task's part of a checkpoint.
type TaskSnapshot struct {
	Task      TaskID
	Barrier   element.Barrier
	Operators []snapshot.OperatorSnapshot
	// AlignTook is the time between the first barrier and the last.
	AlignTook time.Duration
	// FreezeTook is how long the task stood still for the snapshot, without the
	// time that sending the barrier on has waited for receivers.
	FreezeTook time.Duration
}

// Events is what a task tells its worker, from goroutines of the task.
type Events interface {
	// Opened: state is restored and the operators are open.
	Opened(TaskID)
	Snapshot(TaskSnapshot)
	// Ended: every input has ended and been handled; the task still takes part
	// in checkpoints.
	Ended(TaskID)
	Failed(TaskID, error)
	Published(id TaskID, operator string, checkpoint uint64)
}

// Services is what the worker lends to its tasks.
type Services struct {
	Log   *slog.Logger
	Clock func() time.Time
	// NewOperator makes an operator of a kind.
	NewOperator func(kind string) (operator.Operator, error)
	// NewState opens a backend and restores it from the job's checkpoint.
	NewState func(op *jobgraph.Operator, groups Groups) (state.Backend, error)
	// Items gives the operator's items of the checkpoint that fall to a task,
	// and the id of that checkpoint.
	Items func(op *jobgraph.Operator, task, parallelism int) ([]snapshot.Item, uint64, error)
}

// Groups is a range of key groups, both ends inclusive.
type Groups struct{ First, Last int }

// KeyGroups is the number of key groups.
const KeyGroups = 256

// GroupsOf gives the key groups of a task. The ranges are contiguous, so that
// a rescale moves as few as possible.
func GroupsOf(task, parallelism int) Groups {
	first := (task*KeyGroups + parallelism - 1) / parallelism
	last := ((task+1)*KeyGroups+parallelism-1)/parallelism - 1
	return Groups{First: first, Last: last}
}

// TaskOf gives the task that owns a key group.
func TaskOf(group, parallelism int) int { return group * parallelism / KeyGroups }
