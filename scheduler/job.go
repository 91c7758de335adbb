package scheduler

import (
	"fmt"
	"slices"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// job is what the leader knows of a pipeline beyond the catalog. All of it can be
// lost with the leader: workers report again, and what was under way is begun anew.
type job struct {
	uid     string
	p       *catalog.Pipeline
	workers []uint64      // of its slots
	pending uint64        // token of the command about its state that is under way
	claimed catalog.Slots // asked for by that command
	retryAt int64
	waiting string // why it does not start

	// Of the newest attempt:
	ready, ended map[uint64]bool
	progress     map[uint64]uint64
	published    map[uint64]uint64
	held         CheckpointHeld // the newest that workers hold of an earlier leader's
	since        int64          // when this leader saw the attempt or its state first
	lost         map[int]bool
	broken       *catalog.JobError

	publishing, healing bool
	coordinator
}

func newJob(p *catalog.Pipeline, now int64) *job {
	j := &job{uid: p.UID, p: p, workers: p.Job.Slots.Workers()}
	j.fresh(now)
	return j
}

// fresh forgets an attempt.
func (j *job) fresh(now int64) {
	j.ready, j.ended = make(map[uint64]bool), make(map[uint64]bool)
	j.progress, j.published = make(map[uint64]uint64), make(map[uint64]uint64)
	j.held = CheckpointHeld{}
	j.since = now
	j.lost, j.broken = make(map[int]bool), nil
	j.base, j.final = 0, 0
	j.failures, j.notBefore = 0, 0
}

// advance takes a newer entry of the pipeline.
func (c *Core) advance(j *job, p *catalog.Pipeline) {
	old := j.p
	if old == p {
		return
	}
	j.p, j.workers = p, p.Job.Slots.Workers()
	if p.Job.Attempt != old.Job.Attempt {
		j.p = old
		c.give(j, "its attempt ended")
		j.p = p
		j.fresh(c.now)
		return
	}
	if p.Job.State != old.Job.State {
		j.since = c.now
		if p.Job.State == catalog.JobRestarting || !p.Job.State.Active() {
			j.broken = nil // what broke it is in the catalog now; any other move was on its way before it broke
		}
		if !p.Job.State.Active() {
			clear(j.lost)
		}
		if !p.Job.State.HasTasks() {
			c.give(j, fmt.Sprintf("the job is %s", p.Job.State))
		}
	}
}

// reconcile takes a job one step from what it is to what is wanted.
func (c *Core) reconcile(j *job) {
	c.publish(j)
	c.coordinate(j)
	if j.pending != 0 || c.now < j.retryAt {
		return
	}
	job := &j.p.Job
	wanted := j.p.Desired == catalog.DesiredRunning
	switch job.State {
	case catalog.JobCreated, catalog.JobStopped:
		if wanted {
			c.start(j)
		} else if job.State == catalog.JobCreated {
			c.move(j, &catalog.SetJobState{To: catalog.JobStopped})
		} else {
			j.waiting = ""
		}
	case catalog.JobFailed:
		if !wanted {
			c.move(j, &catalog.SetJobState{To: catalog.JobStopped})
		}
	case catalog.JobDormant:
		if !wanted {
			c.move(j, &catalog.SetJobState{To: catalog.JobStopped})
		}
	case catalog.JobRestarting:
		c.restarting(j, wanted)
	case catalog.JobStarting:
		c.starting(j)
	case catalog.JobRunning:
		c.running(j, wanted)
	case catalog.JobStopping, catalog.JobDraining:
		c.ending(j, wanted)
	}
}

func (c *Core) restarting(j *job, wanted bool) {
	c.markLost(j)
	if j.broken != nil && j.broken.Class == catalog.ErrorUser {
		c.breakDown(j, j.broken.Class, j.broken.Text, j.broken.Evidence)
		return
	}
	if c.widens(j) {
		return
	}
	switch {
	case !wanted && !j.p.Job.Unpublished():
		c.move(j, &catalog.SetJobState{To: catalog.JobStopped})
	case !wanted && (j.p.Job.Failures > 1 || !c.fits(j)):
		// It cannot be started to publish; the transactions stay in the manifest and a resume publishes them.
		c.act(Notify{UID: j.uid, Level: Warning, Text: fmt.Sprintf("stopped before the output of checkpoint %d was wholly visible; resume publishes it", j.p.Job.Last.ID)})
		c.move(j, &catalog.SetJobState{To: catalog.JobStopped, GiveUp: true})
	case c.now >= j.p.Job.RetryAt:
		c.start(j)
	}
}

// widens takes further regions down that were lost while others wait for their restart.
func (c *Core) widens(j *job) bool {
	var down []int
	for r := range j.p.Job.Regions {
		if j.lost[r] && j.p.Job.Runs(r) {
			down = append(down, r)
		}
	}
	if down == nil {
		return false
	}
	c.move(j, &catalog.SetJobState{To: catalog.JobRestarting, Regions: down, Failures: j.p.Job.Failures, RetryAt: j.p.Job.RetryAt, Error: j.broken})
	return true
}

func (c *Core) fits(j *job) bool {
	_, err := Place(c.wishes(j), c.offers(j.uid))
	return err == nil
}

func (c *Core) starting(j *job) {
	if c.broken(j) {
		return
	}
	if c.all(j, j.ready) {
		c.move(j, &catalog.SetJobState{To: catalog.JobRunning})
		return
	}
	if c.now-j.since > StartTimeout {
		c.breakDown(j, catalog.ErrorRetryable, fmt.Sprintf("attempt %d was not ready after %d s: workers %v did not report", j.p.Job.Attempt, StartTimeout/second, c.missing(j, j.ready)), catalog.Digest{})
	}
}

func (c *Core) running(j *job, wanted bool) {
	if c.broken(j) {
		return
	}
	switch {
	case !wanted, j.p.Job.Revision != j.p.Current.Number, c.drained(j):
		c.move(j, &catalog.SetJobState{To: catalog.JobStopping})
	case c.all(j, j.ended):
		c.move(j, &catalog.SetJobState{To: catalog.JobDraining})
	case j.p.Job.Failures > 0 && !j.healing && c.now-j.since > HealthyAfter:
		j.healing = true
		c.propose(forHealth, j.uid, &catalog.ResetFailures{At: c.now, UID: j.uid, Attempt: j.p.Job.Attempt})
	}
}

// ending waits for the final checkpoint and until its output is visible.
func (c *Core) ending(j *job, wanted bool) {
	if c.broken(j) {
		return
	}
	if j.final == 0 || j.p.Job.Last == nil || j.p.Job.Last.ID < j.final || j.p.Job.Unpublished() || len(j.savepoints) > 0 {
		return
	}
	switch {
	case j.p.Job.State == catalog.JobDraining:
		c.move(j, &catalog.SetJobState{To: catalog.JobFinished})
	case wanted:
		c.start(j) // a new revision, another worker, or the user changed their mind
	default:
		c.move(j, &catalog.SetJobState{To: catalog.JobStopped})
	}
}

// place finds slots for a job, if its namespace may have that many. What is stopped only
// to start elsewhere keeps what it had, and what starts to publish and stop is let through.
func (c *Core) place(j *job) (catalog.Slots, error) {
	wishes := c.wishes(j)
	n, _ := c.view.Namespace(j.p.Namespace)
	if n != nil && n.Limits.Slots > 0 && j.p.Desired == catalog.DesiredRunning && j.p.Job.State != catalog.JobStopping {
		if held := c.heldBy(n.Name, j.uid); held+len(wishes) > n.Limits.Slots {
			return nil, &NamespaceSlotsError{Namespace: n.Name, Need: len(wishes), Held: held, Limit: n.Limits.Slots}
		}
	}
	return Place(wishes, c.offers(j.uid))
}

// start asks for slots and proposes the next attempt.
func (c *Core) start(j *job) {
	job := &j.p.Job
	slots, err := c.place(j)
	if err != nil {
		if j.waiting != err.Error() {
			j.waiting = err.Error()
			c.act(Notify{UID: j.uid, Level: Problem, Text: j.waiting})
		}
		return
	}
	j.waiting = ""
	attempt := &catalog.StartAttempt{At: c.now, UID: j.uid, Attempt: job.Attempt + 1, Revision: j.p.Current.Number, Slots: slots}
	if job.State == catalog.JobRestarting {
		attempt.Regions = c.regions(j, slots)
	}
	j.claimed = slots
	j.pending = c.propose(forJob, j.uid, attempt)
}

// regions lists those that restart; none means all. What a moved slot serves restarts with it.
func (c *Core) regions(j *job, slots catalog.Slots) []int {
	job := &j.p.Job
	if job.Revision != j.p.Current.Number || len(job.Regions) != len(j.p.Current.Widths) {
		return nil
	}
	var list []int
	for r, width := range j.p.Current.Widths {
		restarts := !job.Runs(r)
		for i := range width {
			restarts = restarts || slots.Worker(i) != job.Slots.Worker(i)
		}
		if restarts {
			list = append(list, r)
		}
	}
	if len(list) == len(j.p.Current.Widths) {
		return nil
	}
	return list
}

// markLost notes the regions that have a slot on a worker that is gone.
func (c *Core) markLost(j *job) {
	if len(j.p.Job.Regions) != len(j.p.Current.Widths) {
		return
	}
	for i := range j.p.Job.Slots.Len() {
		if c.alive(j.p.Job.Slots.Worker(i)) {
			continue
		}
		for r, width := range j.p.Current.Widths {
			if i < width && j.p.Job.Revision == j.p.Current.Number {
				j.lost[r] = true
			}
		}
	}
}

// broken restarts a job that lost a worker or a task.
func (c *Core) broken(j *job) bool {
	for _, epoch := range j.workers {
		if c.alive(epoch) {
			continue
		}
		name := fmt.Sprintf("of epoch %d", epoch)
		if w := c.workers[epoch]; w != nil {
			name = w.id
		}
		c.markLost(j)
		if j.p.Job.Left {
			c.workerLeft(j, "worker "+name+" left")
			return true
		}
		c.workerLost(j, "worker "+name+" was lost")
		return true
	}
	if j.broken != nil {
		c.breakDown(j, j.broken.Class, j.broken.Text, j.broken.Evidence)
		return true
	}
	return false
}

func (c *Core) failed(e TaskFailed) {
	j := c.jobs[e.UID]
	if j == nil || e.Region < 0 || e.Region >= len(j.p.Job.Regions) || j.p.Job.Regions[e.Region] != e.Attempt {
		return
	}
	j.lost[e.Region] = true
	// The user's error is the one to show when several come: it will come again.
	if j.broken == nil || e.Class == catalog.ErrorUser {
		j.broken = &catalog.JobError{Class: e.Class, Text: e.Text, At: c.now, Evidence: e.Evidence}
	}
	c.reconcile(j)
}

// workerLost restarts a job whose process died. That is not the job's doing as
// long as it gets on: deaths count as failures in a row only if nothing was
// committed in between, as when the job itself brings its workers down.
func (c *Core) workerLost(j *job, text string) {
	if job := &j.p.Job; job.Last != nil && job.Last.Attempt == job.Attempt {
		c.end(j, 1, catalog.ErrorRetryable, text, catalog.Digest{})
		return
	}
	c.breakDown(j, catalog.ErrorRetryable, text, catalog.Digest{})
}

// workerLeft begins a job anew elsewhere, or when the process is there again:
// nothing has failed.
func (c *Core) workerLeft(j *job, text string) {
	c.give(j, text)
	c.move(j, &catalog.SetJobState{To: catalog.JobRestarting, Regions: c.down(j), Failures: j.p.Job.Failures, RetryAt: c.now})
}

// breakDown ends an attempt: the job fails if it is the user's error or came too often, otherwise it waits and restarts.
func (c *Core) breakDown(j *job, class catalog.ErrorClass, text string, evidence catalog.Digest) {
	c.end(j, j.p.Job.Failures+1, class, text, evidence)
}

func (c *Core) end(j *job, failures int, class catalog.ErrorClass, text string, evidence catalog.Digest) {
	c.give(j, text)
	reason := &catalog.JobError{Class: class, Text: text, At: c.now, Evidence: evidence}
	most := j.p.Current.MaxRestart
	if class == catalog.ErrorUser || most > 0 && failures > most {
		if class != catalog.ErrorUser {
			reason.Text = fmt.Sprintf("gave up after %d restarts: %s", most, text)
		}
		c.act(Notify{UID: j.uid, Level: Problem, Text: reason.Text, Evidence: evidence})
		c.move(j, &catalog.SetJobState{To: catalog.JobFailed, Error: reason})
		return
	}
	pause := Backoff(failures, c.seed^hash(j.uid)+uint64(failures))
	c.act(Notify{UID: j.uid, Level: Warning, Text: fmt.Sprintf("restarts in %d ms: %s", pause/millisecond, text), Evidence: evidence})
	c.move(j, &catalog.SetJobState{To: catalog.JobRestarting, Regions: c.down(j), Error: reason, Failures: failures, RetryAt: c.now + pause})
}

// down lists the regions that were lost; none means all, as when a new revision waits or nobody knows.
func (c *Core) down(j *job) []int {
	if j.p.Job.Revision != j.p.Current.Number || len(j.lost) == len(j.p.Job.Regions) {
		return nil
	}
	var list []int
	for r := range j.p.Job.Regions {
		if j.lost[r] {
			list = append(list, r)
		}
	}
	return list
}

func (c *Core) move(j *job, to *catalog.SetJobState) {
	to.At, to.UID, to.Attempt = c.now, j.uid, j.p.Job.Attempt
	j.waiting = ""
	j.pending = c.propose(forJob, j.uid, to)
}

// drained tells whether a worker that gives its tasks up holds some of this job, and there is room elsewhere.
func (c *Core) drained(j *job) bool {
	leaving := slices.ContainsFunc(j.workers, func(epoch uint64) bool {
		w, ok := c.view.Worker(epoch)
		return ok && w.Draining
	})
	if !leaving {
		return false
	}
	return c.fits(j)
}

func (c *Core) all(j *job, said map[uint64]bool) bool {
	for _, epoch := range j.workers {
		if !said[epoch] {
			return false
		}
	}
	return len(j.workers) > 0
}

func (c *Core) missing(j *job, said map[uint64]bool) []uint64 {
	return slices.DeleteFunc(slices.Clone(j.workers), func(epoch uint64) bool { return said[epoch] })
}
