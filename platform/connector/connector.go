// Package connector is the contract between Weir and where records come from
// and go to. A connector has a folder of its own and one Spec from which its
// configuration is read, checked and documented. It must not know tasks,
// checkpoints' coordination or Wasm.
package connector

import (
	"context"
	"fmt"

	"github.com/weirstream/weir/platform/batch"
)

// Split is a unit of input that is read in order: a partition, a file.
type Split struct {
	ID string // unique and stable within its source
}

// Position is where a reader stands in its split, after what it has given.
// It is JSON, stays readable by later versions, and is opaque to the runtime.
type Position []byte

// Rejected is a record that cannot be decoded.
type Rejected struct {
	Record   Raw
	Reason   string
	Position string // for people: topic, partition, sequence, row; or file and line
}

// Raw is a record as it stands outside.
type Raw struct {
	Key, Value []byte
	TimeMicros int64
	Headers    map[string][]byte

	Topic     string
	Partition int32
	Sequence  uint64
	Row       int32
}

// Fetch is what a reader gives in one go. The caller owns Batch.
type Fetch struct {
	Batch    *batch.Batch // nil if nothing was decoded; Times hold the source's own times
	Rejected []Rejected
	After    Position
	Bytes    int
	Lag      uint64 // records or messages that are known to wait behind After
	// Drained: nothing waits in the split. Given once with the last rows, and
	// alone when a reader opens on an empty split.
	Drained bool
}

// Source is a configured input.
type Source interface {
	// Splits lists what there is to read, in a stable order.
	Splits(ctx context.Context) ([]Split, error)
	// Open starts to read a split after a position; nil: where the configuration says.
	Open(ctx context.Context, split Split, after Position) (Reader, error)
	Close() error
}

// Reader reads one split. One goroutine uses it at a time.
type Reader interface {
	// Next waits for records. io.EOF ends a bounded split; *DataLost says that
	// records between the position and what is there are gone.
	Next(ctx context.Context) (Fetch, error)
	// Position is where the reader stands: right after Open where it starts, which
	// a checkpoint keeps although nothing was read yet, then After of the last Fetch.
	Position() Position
	Close() error
}

// DataLost says that a split no longer holds what should follow a position:
// the stream was purged, recreated or cut. It is never passed over silently.
type DataLost struct {
	Split    string
	From, To uint64 // first and last sequence that is missing; To 0: unknown
	Reason   string
}

func (e *DataLost) Error() string {
	return fmt.Sprintf("data_lost in split %s: sequences %d to %d: %s", e.Split, e.From, e.To, e.Reason)
}

// WriterID names a sink's writer for ever: its transactions belong to it.
type WriterID struct {
	Pipeline string // uid
	Sink     string // operator id
	Task     int
}

func (w WriterID) String() string { return fmt.Sprintf("%s.%s.%d", w.Pipeline, w.Sink, w.Task) }

// Transaction is the prepared output of one writer in one epoch: a redo log of
// exactly the bytes to publish. After its checkpoint is committed it is only
// rolled forward.
type Transaction struct {
	Writer     WriterID
	Checkpoint uint64
	Meta       []byte   // the connector's own, small
	Chunks     [][]byte // in order
	// Doubt is the user's decision for this attempt; it is no part of what is stored.
	Doubt Doubt
}

// Sink is a configured output.
type Sink interface {
	// Open starts a writer.
	Open(ctx context.Context, id WriterID) (Writer, error)
	// Publish makes a committed transaction visible. It is idempotent, may be
	// called by any task, after any number of crashes, and reports ErrInDoubt
	// if it cannot tell whether the transaction is visible already and t.Doubt
	// does not say what then.
	Publish(ctx context.Context, t Transaction) error
	Close() error
}

// Pusher is a Writer that can send what was written without waiting until it is
// stored, so that a frame need not fill up.
type Pusher interface {
	Push(ctx context.Context) error
}

// Writer encodes rows. One goroutine uses it at a time.
type Writer interface {
	// Write encodes at once and keeps nothing of the batch; the caller releases it.
	Write(b *batch.Batch) error
	// Prepare ends the epoch: what was written since the last one. A writer
	// without output gives a transaction without chunks. Chunks stay valid and
	// unchanged until Recycle.
	Prepare(ctx context.Context, checkpoint uint64) (Transaction, error)
	// Flush publishes at once what was written: the at-least-once guarantee.
	Flush(ctx context.Context) error
	// State is what must be in the snapshot besides the transaction (an open
	// file's unsaved bytes); nil if nothing. It is asked after Prepare. Restore
	// takes it back before Write, several times if several writers became one.
	State() []byte
	Restore(state []byte) error
	// Recycle takes a published transaction's memory back.
	Recycle(t Transaction)
	Close() error
}

// Finisher is a Writer that keeps output back until it is worth a file. Finish
// says that no more rows will come, so the next Prepare gives everything.
type Finisher interface {
	Finish()
}
