// Package agent makes a worker do what the catalog says: it registers the
// worker, starts and stops attempts as they appear, tells of commits, and turns
// the worker's words into reports for the leader. It must not know what tasks do.
package agent

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/server/controller"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/worker"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
	"github.com/weirstream/weir/scheduler"
)

// heartbeat is how often the leader hears of progress: often enough that a
// checkpoint is not late by it, and far below the lease.
const heartbeat = 50 * time.Millisecond

// idleHeartbeat is that of a worker without jobs.
const idleHeartbeat = time.Second

// Leader takes reports.
type Leader interface {
	Tell(scheduler.Event)
	Measured(uid string, checkpoint uint64, align, freeze time.Duration)
}

// Options is what an agent needs.
type Options struct {
	WorkerID string
	Address  string
	Slots    int
	Version  string
	Node     *raftmeta.Node
	Blobs    blob.Store
	Leader   Leader
	Log      *slog.Logger
}

// Agent ties one worker to the catalog. It is the worker's Reporter.
type Agent struct {
	options Options
	worker  *worker.Worker
	epoch   atomic.Uint64
	done    chan struct{} // closed when Run has returned
	started chan struct{} // an attempt began: the next heartbeat is due

	mu    sync.Mutex // guards jobs
	jobs  map[string]*job
	stuck map[string]string // uid -> why its checkpoint cannot be written
}

// job is what the agent has started and heard of an attempt.
type job struct {
	attempt   uint64
	regions   []uint64
	graph     *jobgraph.Graph
	ready     bool
	ended     bool
	published uint64
	last      uint64 // checkpoint that the worker knows as committed
	failed    bool
}

// New makes an agent.
func New(o Options) *Agent {
	return &Agent{options: o, done: make(chan struct{}), started: make(chan struct{}, 1), jobs: map[string]*job{}, stuck: map[string]string{}}
}

// SetWorker says which worker to drive, before Run.
func (a *Agent) SetWorker(w *worker.Worker) { a.worker = w }

// Worker is the worker that is driven.
func (a *Agent) Worker() *worker.Worker { return a.worker }

// Epoch is the worker's registration.
func (a *Agent) Epoch() uint64 { return a.epoch.Load() }

// Register enters the worker into the catalog.
func (a *Agent) Register(ctx context.Context) error {
	r, err := a.options.Node.Propose(ctx, &catalog.RegisterWorker{
		At: time.Now().UnixMicro(), ID: a.options.WorkerID, Address: a.options.Address, Slots: a.options.Slots, Version: a.options.Version,
	})
	if err != nil {
		return fmt.Errorf("register worker %s: %w", a.options.WorkerID, err)
	}
	a.epoch.Store(r.Number)
	return nil
}

// Run follows the catalog until ctx ends, then stops every task.
func (a *Agent) Run(ctx context.Context) {
	defer close(a.done)
	defer a.worker.Close()
	a.options.Leader.Tell(scheduler.WorkerConnected{Worker: a.Epoch()})
	var beat sync.WaitGroup
	beat.Go(func() { a.beat(ctx) })
	defer beat.Wait()
	for u := range a.options.Node.Watch(ctx, 0) {
		a.follow(ctx, u)
	}
}

// beat tells the leader that the worker lives and what moved.
func (a *Agent) beat(ctx context.Context) {
	tick := time.NewTimer(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-a.started:
			tick.Reset(heartbeat)
			continue
		}
		a.comeBack(ctx)
		seen := scheduler.WorkerSeen{Worker: a.Epoch()}
		for _, uid := range a.worker.Jobs() {
			if j := a.worker.Job(uid); j != nil {
				seen.Progress = append(seen.Progress, scheduler.Progress{UID: uid, Attempt: j.Attempt(), Count: progress(j)})
			}
		}
		a.options.Leader.Tell(seen)
		if len(seen.Progress) > 0 {
			tick.Reset(heartbeat)
		} else {
			tick.Reset(idleHeartbeat)
		}
	}
}

// comeBack registers the worker anew if the catalog has dropped it: a process
// that was suspended for longer than its lease lives on, its attempts do not.
func (a *Agent) comeBack(ctx context.Context) {
	if _, known := a.options.Node.View().Worker(a.Epoch()); known || a.Epoch() == 0 || !a.options.Node.Leads() {
		return
	}
	before := a.Epoch()
	if err := a.Register(ctx); err != nil {
		if ctx.Err() == nil {
			a.options.Log.Warn("the worker was given up and is not back yet", "epoch", before, "error", err)
		}
		return
	}
	a.options.Log.Warn("the worker stood still for longer than its lease, was given up and is back", "epoch", a.Epoch())
	a.options.Leader.Tell(scheduler.WorkerConnected{Worker: a.Epoch()})
}

// progress changes whenever something moved that a checkpoint would keep.
func progress(j *worker.Job) uint64 {
	n := uint64(0)
	for _, t := range j.Tasks() {
		for _, m := range t.Meters() {
			n += m.RecordsIn.Load() + m.RecordsOut.Load() + m.GuestCalls.Load() + m.DeadLetters.Load()
		}
	}
	return n
}

// follow reconciles the jobs that a move of the catalog speaks of.
func (a *Agent) follow(ctx context.Context, u raftmeta.Update) {
	uids := map[string]bool{}
	if u.Resync {
		for p := range u.State.Pipelines("") {
			uids[p.UID] = true
		}
		a.mu.Lock()
		for uid := range a.jobs {
			uids[uid] = true
		}
		a.mu.Unlock()
	}
	for _, c := range u.Changes {
		if c.Kind == catalog.KindPipeline {
			uids[c.Key] = true
		}
	}
	for uid := range uids {
		p, ok := u.State.Pipeline(uid)
		if !ok {
			a.stop(uid)
			continue
		}
		a.reconcile(ctx, p)
	}
}

func (a *Agent) reconcile(ctx context.Context, p *catalog.Pipeline) {
	mine := len(p.Job.Slots.Of(a.Epoch())) > 0 && p.Job.State.HasTasks()
	a.mu.Lock()
	j := a.jobs[p.UID]
	a.mu.Unlock()
	switch {
	case !mine:
		if j != nil {
			a.stop(p.UID)
		}
	case j == nil || j.attempt < p.Job.Attempt:
		a.start(ctx, p)
	default:
		a.committed(p, j)
	}
}

func (a *Agent) committed(p *catalog.Pipeline, j *job) {
	last := p.Job.Last
	a.mu.Lock()
	news := last != nil && last.ID > j.last && last.Attempt == j.attempt
	if news {
		j.last = last.ID
	}
	a.mu.Unlock()
	if news && failpoint.Hit(failpoint.CommitNoticed) == nil {
		a.worker.Committed(p.UID, j.attempt, last.ID)
	}
}

func (a *Agent) stop(uid string) {
	a.worker.Stop(uid)
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.jobs, uid)
	delete(a.stuck, uid)
}

// start begins an attempt. What keeps it from starting is reported like a task's failure.
func (a *Agent) start(ctx context.Context, p *catalog.Pipeline) {
	a.worker.Stop(p.UID)
	j := &job{attempt: p.Job.Attempt, regions: p.Job.Regions}
	if p.Job.Last != nil {
		j.last = p.Job.Last.ID
	}
	a.mu.Lock()
	a.jobs[p.UID] = j
	delete(a.stuck, p.UID) // what the attempt before could not write is given up
	a.mu.Unlock()
	s, err := a.spec(ctx, p)
	if err == nil {
		err = failpoint.Hit(failpoint.AttemptStarting)
	}
	if err == nil {
		a.update(p.UID, j.attempt, func(j *job) { j.graph = s.Graph })
		err = a.worker.Start(s)
	}
	if err != nil {
		a.Failed(worker.Failure{UID: p.UID, Attempt: p.Job.Attempt, Err: err})
	}
	select {
	case a.started <- struct{}{}: // the idle heartbeat would hide its first progress for a second
	default:
	}
}

// spec reads what an attempt needs: its graph and the checkpoint it starts from.
func (a *Agent) spec(ctx context.Context, p *catalog.Pipeline) (worker.Start, error) {
	s := worker.Start{Pipeline: catalog.Key(p.Namespace, p.Name), UID: p.UID, Attempt: p.Job.Attempt}
	b, err := ReadDigest(ctx, a.options.Blobs, GraphName(p.Current.Graph), p.Current.Graph)
	if err != nil {
		return s, fmt.Errorf("read graph: %w", err)
	}
	s.Graph = &jobgraph.Graph{}
	if err := json.Unmarshal(b, s.Graph); err != nil {
		return s, fmt.Errorf("read graph: %w", err)
	}
	if last := p.Job.Last; last != nil {
		s.RestoredFrom, s.Published = last.ID, !p.Job.Unpublished()
		s.Manifest, err = snapshot.ReadManifest(ctx, a.options.Blobs, controller.ManifestName(p.UID, *last), snapshot.Digest(last.Manifest))
		if err != nil {
			return s, fmt.Errorf("read checkpoint %d: %w", last.ID, err)
		}
	}
	return s, nil
}

// GraphName is where a graph is kept.
func GraphName(d catalog.Digest) string { return "graphs/" + d.String() }

// ReadDigest reads an object and holds it against its digest.
func ReadDigest(ctx context.Context, blobs blob.Store, name string, want catalog.Digest) ([]byte, error) {
	r, err := blobs.Get(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(b) != [32]byte(want) {
		return nil, fmt.Errorf("object %s is damaged: its digest is another", name)
	}
	return b, nil
}

// Trigger starts a checkpoint on this worker.
func (a *Agent) Trigger(_ uint64, t scheduler.Trigger) {
	b := element.Barrier{ID: t.ID, Attempt: t.Attempt, Actions: element.Checkpoint}
	switch t.Kind {
	case scheduler.FinalStop:
		b.Actions |= element.Drain
	case scheduler.ForSavepoint:
		b.Actions |= element.Savepoint
	}
	if err := a.worker.Trigger(t.UID, b); err != nil && !errors.Is(err, worker.ErrUnknownJob) {
		a.options.Leader.Tell(scheduler.Decline{Worker: a.Epoch(), UID: t.UID, Attempt: t.Attempt, ID: t.ID, Reason: err.Error()})
	}
}

// Abort ends the attempt: a checkpoint is never given up alone, because what
// changed in its epoch is in no other.
func (a *Agent) Abort(_ uint64, ab scheduler.Abort) {
	a.mu.Lock()
	j := a.jobs[ab.UID]
	live := j != nil && j.attempt == ab.Attempt && !j.failed
	a.mu.Unlock()
	if live {
		a.Failed(worker.Failure{UID: ab.UID, Attempt: ab.Attempt, Err: fmt.Errorf("checkpoint %d: %s", ab.ID, ab.Reason)})
	}
}

// Lead says what still holds to a new leader.
func (a *Agent) Lead() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for uid, j := range a.jobs {
		if j.ready {
			a.options.Leader.Tell(scheduler.TasksReady{Worker: a.Epoch(), UID: uid, Attempt: j.attempt})
		}
		if j.ended {
			a.options.Leader.Tell(scheduler.SourcesEnded{Worker: a.Epoch(), UID: uid, Attempt: j.attempt})
		}
		if j.published > 0 {
			a.options.Leader.Tell(scheduler.OutputPublished{Worker: a.Epoch(), UID: uid, Attempt: j.attempt, ID: j.published})
		}
	}
}
