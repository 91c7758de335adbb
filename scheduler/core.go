// Package scheduler decides what should happen next in a cluster: which worker
// gets which slots, when a job starts, restarts, stops and finishes, when a
// checkpoint is taken, committed and given up. It is a pure core: catalog views,
// reports of workers and the time go in as events, commands for the catalog and
// messages for workers come out as actions. Only the leader runs one. The package
// must not know the network, Raft, Wasm, clocks or goroutines.
package scheduler

import (
	"slices"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// Times, in microseconds as everywhere in this package, and limits.
const (
	millisecond = int64(1000)
	second      = 1000 * millisecond

	// Lease is how long a worker may be silent. It counts the same on its own monotonic
	// clock from when it sent, so it has stopped by the time that its tasks are given away.
	Lease = 3 * second

	BackoffInitial = 200 * millisecond
	BackoffMax     = 60 * second
	HealthyAfter   = 300 * second // after which failures in a row are forgotten

	StartTimeout = 120 * second // from the attempt to all tasks ready

	DefaultInterval = 1 * second // where a write costs little; see Every
	DefaultPause    = 100 * millisecond
	DefaultTimeout  = 60 * second
	ReserveIDs      = 1000 // checkpoint ids at once

	MaxPartBytes  = 64 << 10 // inline in an acknowledgement
	MaxCommitItem = 256      // checkpoints in one commit
	retryPause    = 100 * millisecond
)

// Core is the scheduler of a leader. It is not safe for concurrent use: one
// goroutine steps it. While it does not lead it only follows the catalog.
type Core struct {
	interval int64 // of checkpoints, unless a revision has its own
	leading  bool
	seed     uint64
	now      int64
	view     *catalog.State
	jobs     map[string]*job
	order    []string // uids of jobs, sorted: maps have no order
	workers  map[uint64]*worker
	actions  []Action

	token                  uint64
	underway               map[uint64]underway // proposals by token
	commits                []catalog.Commit    // that wait for the commit under way
	publishes              []catalog.Publication
	committing, publishing bool
	groupAt                int64 // not before this: a group was refused as a whole
}

type purpose uint8

const (
	forJob purpose = iota
	forReserve
	forCommit
	forPublish
	forWorker
	forSavepoint
	forHealth
)

type underway struct {
	purpose purpose
	uid     string
	command catalog.Command
}

// New returns a core that does not lead.
func New() *Core {
	return &Core{interval: DefaultInterval, view: catalog.New(), jobs: make(map[string]*job), workers: make(map[uint64]*worker), underway: make(map[uint64]underway)}
}

// Every sets the interval of checkpoints, in microseconds, where a pipeline's
// file names none: it depends on what a write of the store costs. It is called
// before the first step.
func (c *Core) Every(interval int64) { c.interval = interval }

// Step takes an event at a time in microseconds since the epoch and returns what
// is to be done, in order. The time comes from one monotonic clock; one that runs back counts as standing.
func (c *Core) Step(now int64, in Event) []Action {
	c.now = max(c.now, now)
	c.actions = nil
	switch e := in.(type) {
	case BecameLeader:
		c.lead(e)
	case LostLeadership:
		c.resign()
	case CatalogChanged:
		c.follow(e)
	default:
		if c.leading {
			c.handle(in)
		}
	}
	if c.leading {
		c.flush()
	}
	return c.actions
}

func (c *Core) handle(in Event) {
	switch e := in.(type) {
	case Tick:
		c.tick()
	case WorkerConnected:
		c.connected(e.Worker)
	case WorkerSeen:
		c.seen(e)
	case WorkerClosed:
		c.lose(e.Worker, "its connection closed")
	case Proposed:
		c.proposed(e)
	case TasksReady:
		c.report(e.UID, e.Attempt, func(j *job) { j.ready[e.Worker] = true })
	case SourcesEnded:
		c.report(e.UID, e.Attempt, func(j *job) { j.ended[e.Worker] = true })
	case TaskFailed:
		c.failed(e)
	case Ack:
		c.report(e.UID, e.Attempt, func(j *job) { c.ack(j, e) })
	case Decline:
		c.report(e.UID, e.Attempt, func(j *job) { c.decline(j, e) })
	case Holding:
		c.report(e.UID, e.Attempt, func(j *job) { c.holding(j, e) })
	case CheckpointHeld:
		c.report(e.UID, e.Attempt, func(j *job) { j.hold(e) })
	case ManifestWritten:
		c.report(e.UID, e.Attempt, func(j *job) { c.manifestWritten(j, e) })
	case ManifestFailed:
		c.report(e.UID, e.Attempt, func(j *job) { c.manifestFailed(j, e) })
	case OutputPublished:
		c.report(e.UID, e.Attempt, func(j *job) { j.published[e.Worker] = max(j.published[e.Worker], e.ID) })
	case CheckpointRequested:
		c.request(e.UID, func(j *job) { j.asked = true })
	case SavepointRequested:
		c.askSavepoint(e)
	case SavepointWritten:
		c.savepointWritten(e)
	}
}

// report lets a worker's word act on a job, if it speaks of the newest attempt.
func (c *Core) report(uid string, attempt uint64, act func(*job)) {
	j, ok := c.jobs[uid]
	if !ok || attempt != j.p.Job.Attempt {
		return
	}
	act(j)
	c.reconcile(j)
}

func (c *Core) request(uid string, act func(*job)) {
	if j, ok := c.jobs[uid]; ok {
		act(j)
		c.reconcile(j)
	}
}

func (c *Core) lead(e BecameLeader) {
	c.resign()
	c.leading, c.seed = true, e.Seed
	c.view = e.State
	for w := range c.view.Workers() {
		// It may have been silent for long, but not to this leader: it gets a whole lease.
		c.workers[w.Epoch] = &worker{seen: c.now, node: w.Node, id: w.ID}
	}
	c.follow(CatalogChanged{State: e.State, Resync: true})
}

func (c *Core) resign() {
	c.leading = false
	c.jobs, c.order = make(map[string]*job), nil
	c.workers = make(map[uint64]*worker)
	c.underway = make(map[uint64]underway)
	c.commits, c.publishes, c.committing, c.publishing, c.groupAt = nil, nil, false, false, 0
}

// follow takes a newer view. An older one than that of an answered proposal only says what to look at.
func (c *Core) follow(e CatalogChanged) {
	if e.State.Revision > c.view.Revision {
		c.view = e.State
	}
	if !c.leading {
		return
	}
	everything := e.Resync
	for _, change := range e.Changes {
		switch change.Kind {
		case catalog.KindPipeline:
			c.refresh(change.Key)
		case catalog.KindWorker:
			everything = true
		}
	}
	if everything {
		c.syncWorkers()
		for p := range c.view.Pipelines("") {
			c.refresh(p.UID)
		}
		for _, uid := range slices.Clone(c.order) {
			c.refresh(uid)
		}
	}
	c.reconcileWaiting()
}

// refresh loads a pipeline from the view and lets its job act on it.
func (c *Core) refresh(uid string) {
	p, ok := c.view.Pipeline(uid)
	j := c.jobs[uid]
	switch {
	case !ok && j == nil:
		return
	case !ok:
		c.give(j, "the pipeline was deleted")
		c.dropSavepoints(j, errPipelineGone)
		delete(c.jobs, uid)
		c.order = slices.DeleteFunc(c.order, func(u string) bool { return u == uid })
		return
	case j == nil:
		j = newJob(p, c.now)
		c.jobs[uid] = j
		at, _ := slices.BinarySearch(c.order, uid)
		c.order = slices.Insert(c.order, at, uid)
	default:
		c.advance(j, p)
	}
	c.reconcile(j)
}

func (c *Core) tick() {
	c.expire()
	for _, uid := range slices.Clone(c.order) {
		if j := c.jobs[uid]; j != nil {
			c.reconcile(j)
		}
	}
}

// reconcileWaiting looks again at jobs that wait for slots: some may have become free.
func (c *Core) reconcileWaiting() {
	for _, uid := range slices.Clone(c.order) {
		if j := c.jobs[uid]; j != nil && j.waiting != "" {
			c.reconcile(j)
		}
	}
}

func (c *Core) act(a Action) { c.actions = append(c.actions, a) }

func (c *Core) propose(why purpose, uid string, command catalog.Command) uint64 {
	c.token++
	c.underway[c.token] = underway{why, uid, command}
	c.act(Propose{Token: c.token, Command: command})
	return c.token
}

// flush proposes what can be grouped: one commit and one publication are under
// way at a time, and what completes meanwhile shares the next.
func (c *Core) flush() {
	if c.now < c.groupAt {
		return
	}
	if n := min(len(c.commits), MaxCommitItem); n > 0 && !c.committing {
		items := slices.Clone(c.commits[:n])
		c.commits = slices.Delete(c.commits, 0, n)
		c.committing = true
		c.propose(forCommit, "", &catalog.CommitCheckpoints{At: c.now, Items: items})
	}
	if n := min(len(c.publishes), MaxCommitItem); n > 0 && !c.publishing {
		items := slices.Clone(c.publishes[:n])
		c.publishes = slices.Delete(c.publishes, 0, n)
		c.publishing = true
		c.propose(forPublish, "", &catalog.PublishCheckpoints{At: c.now, Items: items})
	}
}

// proposed takes the answer to a proposal.
func (c *Core) proposed(e Proposed) {
	u, ok := c.underway[e.Token]
	if !ok {
		return // of an earlier leadership
	}
	delete(c.underway, e.Token)
	if e.Err != nil && (u.purpose == forCommit || u.purpose == forPublish) {
		c.groupAt = c.now + retryPause
	}
	if e.State != nil && e.State.Revision > c.view.Revision {
		c.view = e.State
	}
	switch u.purpose {
	case forCommit:
		c.committing = false
		c.committed(u.command.(*catalog.CommitCheckpoints), e)
		return
	case forPublish:
		c.publishing = false
		for _, item := range u.command.(*catalog.PublishCheckpoints).Items {
			if j := c.jobs[item.UID]; j != nil {
				j.publishing = false
			}
			c.refresh(item.UID)
		}
		return
	case forWorker:
		return
	}
	j := c.jobs[u.uid]
	if j == nil {
		return
	}
	switch u.purpose {
	case forReserve:
		j.reserving = false
		if e.Err == nil {
			j.ids = e.Result.Range
		} else {
			j.retryAt = c.now + retryPause
		}
	case forSavepoint:
		c.savepointMade(j, e)
	case forHealth:
		j.healing = false
	default:
		j.pending, j.claimed = 0, nil
		if e.Err != nil {
			// The view decides what is tried next; the pause keeps a steady refusal from spinning.
			j.retryAt = c.now + retryPause
			c.act(Notify{UID: j.uid, Level: Warning, Text: e.Err.Error()})
		}
	}
	c.refresh(u.uid)
}
