package scheduler

import "github.com/weirstream/weir/raftmeta/catalog"

// Action is what a Core wants done.
type Action interface{ action() }

// Propose proposes a command to the catalog; its answer comes back as Proposed with the same token.
type Propose struct {
	Token   uint64
	Command catalog.Command
}

// CheckpointKind says what a checkpoint is for; the barrier carries it.
type CheckpointKind string

// The kinds. After the barrier of a stop the sources read no further; a drain comes
// when all sources have ended. Either may be triggered again, by a new leader or after a
// failure: tasks that stand still then answer with what they have.
const (
	Periodic       CheckpointKind = "periodic"
	ForSavepoint   CheckpointKind = "savepoint"
	FinalStop      CheckpointKind = "stop"
	FinalDrain     CheckpointKind = "drain"
	InitialOfState CheckpointKind = "initial" // the first of a job: fixes where its sources began
)

// Trigger tells workers to begin a checkpoint.
type Trigger struct {
	UID     string
	Attempt uint64
	ID      uint64
	Kind    CheckpointKind
	Workers []uint64
}

// WriteManifest stores the manifest of a checkpoint that all workers acknowledged.
type WriteManifest struct {
	UID      string
	Attempt  uint64
	ID       uint64
	Kind     CheckpointKind
	Revision uint64
	Previous catalog.Digest // the manifest before, of which unchanged parts are taken over
	Parts    []WorkerPart   // by worker
}

// WriteSavepoint stores a manifest for a savepoint: the checkpoint's, without the
// transactions, which are visible all.
type WriteSavepoint struct {
	UID        string
	Token      uint64
	Checkpoint catalog.Checkpoint
}

// SavepointDone answers SavepointRequested: with the savepoint's id, or why there is none.
type SavepointDone struct {
	UID   string
	Token uint64
	ID    string
	Err   error
}

// WorkerPart is a worker's part of a checkpoint.
type WorkerPart struct {
	Worker uint64
	Part   Part
}

// Abort tells workers that a checkpoint will never be committed: its files and prepared output may go.
type Abort struct {
	UID     string
	Attempt uint64
	ID      uint64
	Reason  string
	Workers []uint64
}

// Level says how loud a Notify is.
type Level string

// The levels.
const (
	Info    Level = "info"
	Warning Level = "warning"
	Problem Level = "problem"
)

// Notify is a line for the pipeline's history.
type Notify struct {
	UID      string
	Level    Level
	Text     string
	Evidence catalog.Digest
}

func (Propose) action()        {}
func (Trigger) action()        {}
func (WriteManifest) action()  {}
func (Abort) action()          {}
func (WriteSavepoint) action() {}
func (SavepointDone) action()  {}
func (Notify) action()         {}
