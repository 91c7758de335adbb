// Package element has what flows through a job besides rows: watermarks,
// barriers and the end of an input. It must not know who sends them or why.
package element

import (
	"math"

	"github.com/weirstream/weir/platform/batch"
)

// Kind tells the elements of a stream apart.
type Kind uint8

// The kinds of elements.
const (
	KindBatch Kind = iota + 1
	KindWatermark
	KindBarrier
	KindEndOfInput
)

// Times that no record has: before all and after all event time.
const (
	MinTime int64 = math.MinInt64
	MaxTime int64 = math.MaxInt64
)

// Status says how an input stands; it travels with watermarks.
type Status uint8

// An input is active, idle (drained: it holds no watermark back) or finished.
const (
	Active Status = iota
	Idle
	Finished
)

func (s Status) String() string { return [...]string{"active", "idle", "finished"}[s] }

// Watermark says that no record at or before Time will follow, unless late.
// An idle input's watermark does not hold others back.
type Watermark struct {
	Time   int64 // microseconds
	Status Status
}

// Action is what a barrier asks for; actions combine.
type Action uint32

// The actions of a barrier.
const (
	Checkpoint Action = 1 << iota
	Savepoint
	Drain   // sources stop after it: the last checkpoint of a job that stops
	Swap    // reserved: code changes at it
	Rescale // reserved: routing changes at it
)

// Barrier is the boundary of a checkpoint in a stream.
type Barrier struct {
	ID      uint64
	Attempt uint64
	Actions Action
}

// Element is one thing in a stream: exactly one field besides Kind is meant.
type Element struct {
	Kind      Kind
	Batch     *batch.Batch
	Watermark Watermark
	Barrier   Barrier
}
