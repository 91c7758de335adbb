// Package worker runs the tasks that are assigned to this process, writes their
// snapshots and reports to whoever leads. It must not know the catalog, Raft or
// how a checkpoint is decided.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// ErrUnknownJob says that no job of that attempt runs here.
var ErrUnknownJob = errors.New("no such job on this worker")

// Options is what a worker needs.
type Options struct {
	ID          string
	Log         *slog.Logger
	Blobs       blob.Store
	Clock       func() time.Time
	NewOperator func(kind string) (operator.Operator, error)
	NewState    func(jobgraph.Backend, state.Options) (state.Backend, error)
	Reporter    Reporter
	// EagerBytes is up to which size, in the store, an operator's state is loaded
	// before its task reads; more of it is loaded while it is used.
	EagerBytes int64
	// Exchange reaches tasks on other workers; nil: all tasks of a job must be here.
	Exchange Exchange
}

// Reporter takes what a worker has to say. Its methods do not block for long
// and may be called from any goroutine.
type Reporter interface {
	// Running: every task of the attempt on this worker is open.
	Running(uid string, attempt uint64)
	Acknowledged(Ack)
	// Stuck says why a part cannot be written; an empty text takes it back.
	Stuck(uid string, attempt, checkpoint uint64, text string)
	// Published: every sink on this worker has made the checkpoint's output visible.
	Published(uid string, attempt, checkpoint uint64)
	// Ended: every task has seen the end of its inputs.
	Ended(uid string, attempt uint64)
	Failed(Failure)
}

// Ack is a worker's part of a checkpoint.
type Ack struct {
	UID        string
	Attempt    uint64
	Checkpoint uint64
	Part       *snapshot.Part
	Prepared   bool          // it holds sink transactions
	AlignTook  time.Duration // the longest of the tasks
	FreezeTook time.Duration // the longest of the tasks
	WriteTook  time.Duration
}

// Failure is why an attempt cannot go on.
type Failure struct {
	UID     string
	Attempt uint64
	Task    runtime.TaskID
	Err     error
}

// Start is everything that an attempt needs.
type Start struct {
	Pipeline string // name
	UID      string
	Attempt  uint64
	Graph    *jobgraph.Graph
	Manifest *snapshot.Manifest // nil: a first start
	// Newest gives the newest manifest of this attempt, or the one that it started
	// from: files of Manifest may be swept while state is still read from them. Nil:
	// they stay.
	Newest func(context.Context) (*snapshot.Manifest, error)
	// RestoredFrom is the manifest's checkpoint id.
	RestoredFrom uint64
	// Foreign: the manifest is of another's state, a savepoint's. All that is loaded
	// counts as changed, so that the first checkpoint holds it and names no file of the other.
	Foreign bool
	// Published: that checkpoint's output is visible already, so its
	// transactions need not, and must not, be looked at again.
	Published bool
	// Doubt is what the user decided about output of that checkpoint that is in doubt.
	Doubt connector.Doubt
	// Slots says who holds each slot: slot i is the i-th task of every stage that
	// is wide enough. None: all are here.
	Slots []Peer
	Self  uint64 // this worker among them
}

// Peer is a worker that holds a slot of a job.
type Peer struct {
	Epoch   uint64
	Address string
}

// here says whether a task is this worker's.
func (s *Start) here(task int) bool {
	return len(s.Slots) == 0 || task < len(s.Slots) && s.Slots[task].Epoch == s.Self
}

// Worker runs jobs.
type Worker struct {
	options Options

	mu   sync.Mutex // guards jobs
	jobs map[string]*Job
}

// New makes a worker.
func New(o Options) *Worker { return &Worker{options: o, jobs: map[string]*Job{}} }

// Start runs an attempt's tasks. An older attempt of the same pipeline is stopped first.
func (w *Worker) Start(s Start) error {
	if old := w.job(s.UID); old != nil {
		if old.start.Attempt >= s.Attempt {
			return fmt.Errorf("start attempt %d of pipeline %s: attempt %d runs here", s.Attempt, s.Pipeline, old.start.Attempt)
		}
		w.Stop(s.UID)
	}
	j, err := newJob(w.options, s)
	if err != nil {
		return fmt.Errorf("start attempt %d of pipeline %s: %w", s.Attempt, s.Pipeline, err)
	}
	w.mu.Lock()
	w.jobs[s.UID] = j
	w.mu.Unlock()
	j.run()
	return nil
}

// Stop ends a pipeline's tasks at once and waits for them; what they did after
// the last checkpoint is done again by the next attempt.
func (w *Worker) Stop(uid string) {
	w.mu.Lock()
	j := w.jobs[uid]
	delete(w.jobs, uid)
	w.mu.Unlock()
	if j != nil {
		j.stop()
	}
}

// Close stops every job.
func (w *Worker) Close() {
	w.mu.Lock()
	jobs := w.jobs
	w.jobs = map[string]*Job{}
	w.mu.Unlock()
	var all sync.WaitGroup
	for _, j := range jobs {
		all.Go(j.stop)
	}
	all.Wait()
}

// Trigger starts a checkpoint.
func (w *Worker) Trigger(uid string, b element.Barrier) error {
	j := w.job(uid)
	if j == nil || j.start.Attempt != b.Attempt {
		return fmt.Errorf("trigger checkpoint %d of %s, attempt %d: %w", b.ID, uid, b.Attempt, ErrUnknownJob)
	}
	return j.trigger(b)
}

// Committed says that a checkpoint is in the catalog: its output may be shown.
func (w *Worker) Committed(uid string, attempt, checkpoint uint64) {
	if j := w.job(uid); j != nil && j.start.Attempt == attempt {
		j.committed(checkpoint)
	}
}

// Job gives a running job, for status and metrics; nil if there is none.
func (w *Worker) Job(uid string) *Job { return w.job(uid) }

// Held is the checkpoint that the job has under way, or has done its part of
// without having heard of the commit; 0 if there is none.
func (j *Job) Held() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.latest.ID > j.lastCommit {
		return j.latest.ID
	}
	return 0
}

// Jobs lists the uids of what runs here.
func (w *Worker) Jobs() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]string, 0, len(w.jobs))
	for uid := range w.jobs {
		out = append(out, uid)
	}
	return out
}

func (w *Worker) job(uid string) *Job {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.jobs[uid]
}

// Job is an attempt's tasks on this worker.
type Job struct {
	options Options
	start   Start
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	tasks   []*runtime.Task
	inboxes []dropper
	links   []*uplink // to other workers
	// unexchange ends what other workers send to tasks here; nil without an exchange.
	unexchange func()

	mu         sync.Mutex // guards what follows
	opened     int
	ended      int
	committers int
	pending    *pending
	early      []runtime.TaskSnapshot // of a checkpoint whose trigger has not come yet
	latest     element.Barrier        // of the last checkpoint that was triggered
	acked      *Ack                   // of the last one that was acknowledged
	lastCommit uint64
	published  map[uint64]int // checkpoint -> committers that have shown it
	failed     bool
}

type dropper interface{ Drop() }

// Tasks are the job's tasks here.
func (j *Job) Tasks() []*runtime.Task { return j.tasks }

// Attempt is the attempt that runs.
func (j *Job) Attempt() uint64 { return j.start.Attempt }

// Pipeline is the name of what the job runs.
func (j *Job) Pipeline() string { return j.start.Pipeline }
