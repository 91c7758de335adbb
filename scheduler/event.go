package scheduler

import "github.com/weirstream/weir/raftmeta/catalog"

// Event is what a Core is told. Workers are named by the epoch of their registration.
type Event interface{ event() }

// BecameLeader begins a leadership. State is whole: the shell has called
// Barrier. Seed feeds the jitter. Workers then report again what they reported
// before: TasksReady, SourcesEnded and OutputPublished of what they run.
type BecameLeader struct {
	Seed  uint64
	State *catalog.State
}

// LostLeadership ends it: nothing more is decided, and no answer to a proposal counts.
type LostLeadership struct{}

// CatalogChanged is a move of the catalog, as raftmeta's Watch tells it.
type CatalogChanged struct {
	State   *catalog.State
	Changes []catalog.Change
	Resync  bool
}

// Tick lets time pass; every 20 to 100 ms is right.
type Tick struct{}

// WorkerConnected: a registered worker opened its connection to the leader.
type WorkerConnected struct{ Worker uint64 }

// WorkerSeen: a worker's heartbeat, with a counter per job of whatever changes a
// checkpoint: records read, timers fired. A counter begins at 0 with each attempt.
type WorkerSeen struct {
	Worker   uint64
	Progress []Progress
}

// Progress is a worker's counter for one job.
type Progress struct {
	UID     string
	Attempt uint64
	Count   uint64
}

// WorkerClosed: the connection closed, which is told from silence: its tasks are given away at once.
type WorkerClosed struct{ Worker uint64 }

// TasksReady: all of a worker's tasks of a job are open and run under its newest
// attempt, those of regions that did not restart included.
type TasksReady struct {
	Worker  uint64
	UID     string
	Attempt uint64
}

// SourcesEnded: all sources of the job on that worker reached their end. A worker without a source says so at once.
type SourcesEnded struct {
	Worker  uint64
	UID     string
	Attempt uint64
}

// TaskFailed: a task ended by an error. Attempt is that of its region.
type TaskFailed struct {
	Worker   uint64
	UID      string
	Attempt  uint64
	Region   int
	Class    catalog.ErrorClass
	Text     string
	Evidence catalog.Digest // a blob with the whole report, if there is one
}

// Ack: a worker has done its part of a checkpoint; all its tasks' segments and prepared output are stored.
type Ack struct {
	Worker  uint64
	UID     string
	Attempt uint64
	ID      uint64
	Part    Part
}

// Part is opaque here: what the shell needs to write a worker's line of a manifest.
type Part struct {
	Inline   []byte // at most MaxPartBytes
	Object   string // or the name of an object with its digest
	Digest   catalog.Digest
	Prepared bool // the part holds sink transactions
}

// Decline: a worker cannot take part, and says why: a full disk, a blob store that is away.
type Decline struct {
	Worker  uint64
	UID     string
	Attempt uint64
	ID      uint64
	Reason  string
}

// Holding: what a worker still waits for in a checkpoint under way; a newer word replaces an older one.
type Holding struct {
	Worker  uint64
	UID     string
	Attempt uint64
	ID      uint64
	Tasks   []string // such as `count[3] input 1`
}

// CheckpointHeld: a worker has a checkpoint of its attempt under way that an
// earlier leader began, or has done its part and not heard of the commit. It is
// said before TasksReady. What changed in that epoch is in no other checkpoint, so
// this leader has to finish that one first.
type CheckpointHeld struct {
	Worker  uint64
	UID     string
	Attempt uint64
	ID      uint64
	Kind    CheckpointKind
}

// ManifestWritten answers WriteManifest.
type ManifestWritten struct {
	UID       string
	Attempt   uint64
	ID        uint64
	Digest    catalog.Digest
	NextTimer int64 // the earliest processing-time timer of the whole manifest
}

// ManifestFailed answers WriteManifest, too.
type ManifestFailed struct {
	UID     string
	Attempt uint64
	ID      uint64
	Reason  string
}

// OutputPublished: the output that a checkpoint prepared is visible, as far as it
// was dealt to that worker. Every worker of the attempt says it, at once if it has no such output.
type OutputPublished struct {
	Worker  uint64
	UID     string
	Attempt uint64
	ID      uint64
}

// Proposed answers Propose. State is the view after the answer.
type Proposed struct {
	Token  uint64
	Result catalog.Result
	Err    error
	State  *catalog.State
}

// CheckpointRequested asks for a checkpoint now, also when nothing moved.
type CheckpointRequested struct{ UID string }

// SavepointRequested asks for a savepoint; SavepointDone answers with the same token.
type SavepointRequested struct {
	UID   string
	Label string
	Token uint64
}

// SavepointWritten answers WriteSavepoint. Reason says why it was not; empty: it was.
type SavepointWritten struct {
	UID    string
	Token  uint64
	Digest catalog.Digest
	Reason string
}

func (BecameLeader) event()        {}
func (LostLeadership) event()      {}
func (CatalogChanged) event()      {}
func (Tick) event()                {}
func (WorkerConnected) event()     {}
func (WorkerSeen) event()          {}
func (WorkerClosed) event()        {}
func (TasksReady) event()          {}
func (SourcesEnded) event()        {}
func (TaskFailed) event()          {}
func (Ack) event()                 {}
func (Decline) event()             {}
func (Holding) event()             {}
func (CheckpointHeld) event()      {}
func (ManifestWritten) event()     {}
func (ManifestFailed) event()      {}
func (OutputPublished) event()     {}
func (Proposed) event()            {}
func (CheckpointRequested) event() {}
func (SavepointRequested) event()  {}
func (SavepointWritten) event()    {}
