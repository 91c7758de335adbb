// Package agent makes a worker do what the leader says that it holds: it starts
// and stops attempts as they come and go, tells of commits, and turns the
// worker's words into reports. It must not know what tasks do, nor where the
// leader is.
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

	"github.com/weirstream/weir/platform/cluster"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/operator/quota"
	"github.com/weirstream/weir/platform/operator/source"
	"github.com/weirstream/weir/platform/server/controller"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/worker"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
	"github.com/weirstream/weir/scheduler"
)

// Options is what an agent needs.
type Options struct {
	WorkerID string
	Blobs    blob.Store
	Log      *slog.Logger
	// Quotas hold the guests of namespaces to their limits; nil: nothing does.
	Quotas *quota.Accounts
}

// Leader takes what happened; a cluster.Session is one.
type Leader interface {
	Tell(scheduler.Event)
	Measured(cluster.Measure)
	Epoch() uint64
	Wake()
}

// Agent makes true what the leader says that a worker holds. It is the worker's
// Reporter and the session's Host.
type Agent struct {
	options Options
	worker  *worker.Worker
	leader  Leader
	ctx     context.Context // of everything that runs for the leader; ends with Close
	cancel  context.CancelFunc

	mu      sync.Mutex // guards what follows
	lanes   map[string]*lane
	driving sync.WaitGroup
	jobs    map[string]*job
	stuck   map[string]string // uid -> why its checkpoint cannot be written
}

// lane brings one pipeline from what it was to what it should be, one step at a
// time: only the newest wish counts, and pipelines do not wait for each other.
type lane struct {
	want  *wish // nil: nothing of it runs here
	fresh bool
	busy  bool
}

type wish struct {
	epoch uint64
	cluster.Assigned
}

// job is what the agent has started and heard of an attempt.
type job struct {
	name      string
	attempt   uint64
	regions   []uint64
	graph     *jobgraph.Graph
	ready     bool
	ended     bool
	published uint64
	last      uint64 // checkpoint that the worker knows as committed
	failed    bool
	failure   scheduler.TaskFailed     // said again to every leader, once failed
	kind      scheduler.CheckpointKind // of the last checkpoint that was triggered
}

// New makes an agent. Connect it before anything is assigned.
func New(o Options) *Agent {
	ctx, cancel := context.WithCancel(context.Background())
	return &Agent{options: o, ctx: ctx, cancel: cancel, lanes: map[string]*lane{}, jobs: map[string]*job{}, stuck: map[string]string{}}
}

// Connect says which worker to drive and whom to report to.
func (a *Agent) Connect(w *worker.Worker, l Leader) { a.worker, a.leader = w, l }

// Worker is the worker that is driven.
func (a *Agent) Worker() *worker.Worker { return a.worker }

// Close stops every task and gives up what was being started.
func (a *Agent) Close() {
	a.cancel()
	a.StopAll("the worker stops")
}

// Progress counts, per job, whatever a checkpoint would keep.
func (a *Agent) Progress() []scheduler.Progress {
	var out []scheduler.Progress
	for _, uid := range a.worker.Jobs() {
		if j := a.worker.Job(uid); j != nil {
			out = append(out, scheduler.Progress{UID: uid, Attempt: j.Attempt(), Count: progress(j)})
		}
	}
	return out
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

// Assign takes what the leader says that this worker holds.
func (a *Agent) Assign(epoch uint64, u cluster.Update) {
	if a.options.Quotas != nil {
		for _, p := range u.Assigned {
			a.options.Quotas.Of(p.Pipeline.Namespace).Limit(quota.Limits{Share: p.Guests.Share, MemoryBytes: p.Guests.MemoryBytes})
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if u.Resync {
		named := map[string]bool{}
		for _, p := range u.Assigned {
			named[p.Pipeline.UID] = true
		}
		for uid, l := range a.lanes {
			if l.want != nil && !named[uid] {
				a.wish(uid, nil)
			}
		}
	}
	for _, uid := range u.Gone {
		a.wish(uid, nil)
	}
	for _, p := range u.Assigned {
		a.wish(p.Pipeline.UID, &wish{epoch, p})
	}
}

// wish sets what should be, and drives there unless something does already.
func (a *Agent) wish(uid string, w *wish) {
	l := a.lanes[uid]
	if l == nil {
		if w == nil {
			return
		}
		l = &lane{}
		a.lanes[uid] = l
	}
	l.want, l.fresh = w, true
	if !l.busy {
		l.busy = true
		a.driving.Go(func() { a.drive(uid, l) })
	}
}

func (a *Agent) drive(uid string, l *lane) {
	for {
		a.mu.Lock()
		if !l.fresh {
			l.busy = false
			if l.want == nil {
				delete(a.lanes, uid)
			}
			a.mu.Unlock()
			return
		}
		l.fresh = false
		w, j := l.want, a.jobs[uid]
		a.mu.Unlock()
		switch {
		case w == nil:
			a.stop(uid)
		case j == nil || j.attempt < w.Pipeline.Job.Attempt:
			a.start(a.ctx, w)
		default:
			a.committed(w.Pipeline, j)
		}
	}
}

// StopAll ends every task: the registration is over, or the process ends.
func (a *Agent) StopAll(string) {
	a.mu.Lock()
	for uid := range a.lanes {
		a.wish(uid, nil)
	}
	a.mu.Unlock()
	a.worker.Close() // all at once; the lanes only tidy up behind it
	a.driving.Wait()
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
func (a *Agent) start(ctx context.Context, w *wish) {
	p := w.Pipeline
	a.worker.Stop(p.UID)
	j := &job{name: catalog.Key(p.Namespace, p.Name), attempt: p.Job.Attempt, regions: p.Job.Regions}
	if p.Job.Last != nil {
		j.last = p.Job.Last.ID
	}
	a.mu.Lock()
	a.jobs[p.UID] = j
	delete(a.stuck, p.UID) // what the attempt before could not write is given up
	a.mu.Unlock()
	s, err := a.spec(ctx, w)
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
	a.leader.Wake() // the idle heartbeat would hide its first progress for a second
}

// spec reads what an attempt needs: its graph and the checkpoint it starts from.
func (a *Agent) spec(ctx context.Context, w *wish) (worker.Start, error) {
	p := w.Pipeline
	s := worker.Start{Pipeline: catalog.Key(p.Namespace, p.Name), UID: p.UID, Attempt: p.Job.Attempt, Self: w.epoch}
	for i := range p.Job.Slots.Len() {
		epoch := p.Job.Slots.Worker(i)
		s.Slots = append(s.Slots, worker.Peer{Epoch: epoch, Address: w.Workers[epoch]})
	}
	// The catalog has the newest revision's graph only. An attempt of an older one that
	// has not begun here yet, while others run it already, would be wired otherwise.
	if p.Job.Revision != p.Current.Number {
		return s, fmt.Errorf("start attempt %d of revision %d: revision %d has come meanwhile", p.Job.Attempt, p.Job.Revision, p.Current.Number)
	}
	b, err := ReadDigest(ctx, a.options.Blobs, GraphName(p.Current.Graph), p.Current.Graph)
	if err != nil {
		return s, fmt.Errorf("read graph: %w", err)
	}
	s.Graph = &jobgraph.Graph{}
	if err := json.Unmarshal(b, s.Graph); err != nil {
		return s, fmt.Errorf("read graph: %w", err)
	}
	if last := p.Job.Last; last != nil {
		s.RestoredFrom, s.Published, s.Doubt = last.ID, !p.Job.Unpublished(), doubtOf(p.Job.Doubt)
		s.Manifest, err = snapshot.ReadManifest(ctx, a.options.Blobs, controller.ManifestName(p.UID, *last), snapshot.Digest(last.Manifest))
		if err != nil {
			return s, fmt.Errorf("read checkpoint %d: %w", last.ID, err)
		}
		s.Newest = func(ctx context.Context) (*snapshot.Manifest, error) { return a.newest(ctx, p.UID, p.Job.Attempt) }
		return s, nil
	}
	return s, a.based(ctx, p.Job.Base, &s)
}

// based starts from another's state.
func (a *Agent) based(ctx context.Context, base *catalog.Base, s *worker.Start) error {
	if base == nil {
		return nil
	}
	digest := snapshot.Digest(base.Manifest)
	m, err := snapshot.ReadManifest(ctx, a.options.Blobs, snapshot.SavepointName(base.UID, base.Checkpoint, digest), digest)
	if err != nil {
		return fmt.Errorf("read savepoint %s: %w", base.Savepoint, err)
	}
	if base.Positions != catalog.PositionsKeep {
		m = m.WithoutItems(snapshot.KindSplit)
		if err := source.StartAt(s.Graph, base.Positions == catalog.PositionsEnd); err != nil {
			return fmt.Errorf("start from savepoint %s: %w", base.Savepoint, err)
		}
	}
	s.Manifest, s.Foreign, s.Published = m, true, true
	return nil
}

// doubtOf gives the connectors' word for what the catalog holds.
func doubtOf(d catalog.Doubt) connector.Doubt {
	switch d {
	case catalog.AssumePublished:
		return connector.AssumePublished
	case catalog.PublishAgain:
		return connector.PublishAgain
	}
	return connector.Undecided
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
	a.update(t.UID, t.Attempt, func(j *job) { j.kind = t.Kind })
	b := element.Barrier{ID: t.ID, Attempt: t.Attempt, Actions: element.Checkpoint}
	switch t.Kind {
	case scheduler.FinalStop:
		b.Actions |= element.Drain
	case scheduler.ForSavepoint:
		b.Actions |= element.Savepoint
	}
	if err := a.worker.Trigger(t.UID, b); err != nil && !errors.Is(err, worker.ErrUnknownJob) {
		a.leader.Tell(scheduler.Decline{Worker: a.leader.Epoch(), UID: t.UID, Attempt: t.Attempt, ID: t.ID, Reason: err.Error()})
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

// Holding says what still holds, to a leader that begins with nothing.
func (a *Agent) Holding(epoch uint64) []scheduler.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []scheduler.Event
	for uid, j := range a.jobs {
		if j.failed {
			again := j.failure
			again.Worker = epoch
			out = append(out, again)
			continue
		}
		if running := a.worker.Job(uid); running != nil && running.Attempt() == j.attempt {
			if id := running.Held(); id != 0 {
				out = append(out, scheduler.CheckpointHeld{Worker: epoch, UID: uid, Attempt: j.attempt, ID: id, Kind: j.kind})
			}
		}
		if j.ready {
			out = append(out, scheduler.TasksReady{Worker: epoch, UID: uid, Attempt: j.attempt})
		}
		if j.ended {
			out = append(out, scheduler.SourcesEnded{Worker: epoch, UID: uid, Attempt: j.attempt})
		}
		if j.published > 0 {
			out = append(out, scheduler.OutputPublished{Worker: epoch, UID: uid, Attempt: j.attempt, ID: j.published})
		}
	}
	return out
}
