package scheduler

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// coordinator takes a job's checkpoints, one at a time.
type coordinator struct {
	ids        catalog.Range // reserved by this leader and not used yet
	reserving  bool
	current    *checkpoint
	triggered  int64 // when the last one began
	failures   int   // given up in a row
	notBefore  int64 // the pause that follows from them
	ended      int64 // when the last one ended, however
	base       uint64
	final      uint64 // id of the final checkpoint that was committed in this attempt
	asked      bool
	savepoints []*savepoint
}

// phase is how far a checkpoint has come.
type phase uint8

const (
	acking     phase = iota
	writing          // its manifest is being stored
	waiting          // for the checkpoint before it to be published
	committing       // proposed: it can no longer be taken back
)

type checkpoint struct {
	id, attempt uint64
	kind        CheckpointKind
	phase       phase
	began       int64
	moved       uint64 // progress when it was triggered
	workers     []uint64
	parts       map[uint64]Part
	holding     map[uint64][]string
	commit      catalog.Commit
}

func (c *Core) coordinate(j *job) {
	if j.current != nil {
		c.attend(j)
		return
	}
	if c.resume(j) {
		return
	}
	c.makeSavepoints(j)
	kind, due := c.due(j)
	if !due || j.pending != 0 || j.reserving || c.now < j.retryAt {
		return
	}
	if j.ids.First == 0 || j.ids.First > j.ids.Last {
		// Not while one is under way: a new range makes ids of the old one worthless.
		j.reserving = true
		c.propose(forReserve, j.uid, &catalog.ReserveCheckpoints{At: c.now, UID: j.uid, Count: ReserveIDs})
		return
	}
	c.trigger(j, kind)
}

// hold notes what a worker has under way. One checkpoint is under way at a time,
// so of several the newest counts: the others are committed.
func (j *job) hold(e CheckpointHeld) {
	if e.ID > j.held.ID {
		j.held = e
	}
}

// resume goes on with the checkpoint that an earlier leader began: the trigger is
// given again to all, whom it may have reached or not, and who has done their part
// says so again. The id is of the range that is still the newest; this leader
// reserves its own only behind it.
func (c *Core) resume(j *job) bool {
	e, last := j.held, j.p.Job.Last
	if e.ID == 0 || last != nil && e.ID <= last.ID || !j.p.Job.State.HasTasks() || !c.healthy(j) || !c.all(j, j.ready) {
		return false
	}
	j.held = CheckpointHeld{}
	c.begin(j, e.ID, e.Kind)
	return true
}

// due tells whether a checkpoint is to be taken now, and what for.
func (c *Core) due(j *job) (CheckpointKind, bool) {
	job, rev := &j.p.Job, &j.p.Current
	if !c.healthy(j) || !c.all(j, j.ready) {
		return "", false
	}
	rested := c.now-j.coordinator.ended >= orDefault(rev.PauseMs*millisecond, DefaultPause) && c.now >= j.notBefore
	switch {
	case job.State == catalog.JobStopping:
		return FinalStop, j.final == 0 && rested
	case job.State == catalog.JobDraining:
		return FinalDrain, j.final == 0 && rested
	case job.State != catalog.JobRunning || !rested || j.p.Desired != catalog.DesiredRunning || job.Revision != rev.Number:
		// The final one comes next.
		return "", false
	case len(j.savepoints) > 0:
		// The next checkpoint waits until the savepoint stands: it is made of the last one.
		return ForSavepoint, !slices.ContainsFunc(j.savepoints, func(s *savepoint) bool { return s.checkpoint != 0 })
	case job.Last == nil:
		return InitialOfState, true
	case j.asked:
		return Periodic, true
	}
	interval := orDefault(rev.IntervalMs*millisecond, c.interval)
	return Periodic, c.now-j.triggered >= interval && j.moved() != j.base
}

// healthy tells whether nothing is known that ends the attempt.
func (c *Core) healthy(j *job) bool {
	return j.broken == nil && !slices.ContainsFunc(j.workers, func(e uint64) bool { return !c.alive(e) })
}

func (c *Core) trigger(j *job, kind CheckpointKind) {
	id := j.ids.First
	j.ids.First++
	c.begin(j, id, kind)
}

func (c *Core) begin(j *job, id uint64, kind CheckpointKind) {
	j.triggered, j.asked = c.now, false
	j.current = &checkpoint{
		id: id, attempt: j.p.Job.Attempt, kind: kind, began: c.now, moved: j.moved(),
		workers: j.workers, parts: make(map[uint64]Part), holding: make(map[uint64][]string),
	}
	c.act(Trigger{UID: j.uid, Attempt: j.current.attempt, ID: id, Kind: kind, Workers: j.current.workers})
}

// attend watches the time of a checkpoint under way and commits it when its turn has come.
func (c *Core) attend(j *job) {
	cp := j.current
	timeout := orDefault(j.p.Current.TimeoutMs*millisecond, DefaultTimeout)
	if cp.phase < committing && c.now-cp.began > timeout {
		c.give(j, fmt.Sprintf("not complete after %d ms: %s", (c.now-cp.began)/millisecond, j.holders()))
		return
	}
	if cp.phase == waiting && !j.p.Job.Unpublished() {
		cp.phase = committing
		c.commits = append(c.commits, cp.commit)
	}
}

func (c *Core) ack(j *job, e Ack) {
	cp := j.current
	if cp == nil || cp.id != e.ID || cp.phase != acking || !slices.Contains(cp.workers, e.Worker) {
		return
	}
	if len(e.Part.Inline) > MaxPartBytes {
		c.give(j, fmt.Sprintf("worker %s sent %d bytes inline, the limit is %d", c.name(e.Worker), len(e.Part.Inline), MaxPartBytes))
		return
	}
	if _, twice := cp.parts[e.Worker]; twice {
		return
	}
	cp.parts[e.Worker] = e.Part
	delete(cp.holding, e.Worker)
	if len(cp.parts) < len(cp.workers) {
		return
	}
	cp.phase = writing
	write := WriteManifest{
		UID: j.uid, Attempt: cp.attempt, ID: cp.id, Kind: cp.kind, Revision: j.p.Job.Revision, Previous: j.p.Job.Restore(),
	}
	for _, epoch := range cp.workers {
		write.Parts = append(write.Parts, WorkerPart{Worker: epoch, Part: cp.parts[epoch]})
		cp.commit.Prepared = cp.commit.Prepared || cp.parts[epoch].Prepared
	}
	c.act(write)
}

func (c *Core) decline(j *job, e Decline) {
	if cp := j.current; cp != nil && cp.id == e.ID && cp.phase == acking && slices.Contains(cp.workers, e.Worker) {
		c.give(j, fmt.Sprintf("worker %s declined: %s", c.name(e.Worker), e.Reason))
	}
}

func (c *Core) holding(j *job, e Holding) {
	if cp := j.current; cp != nil && cp.id == e.ID && slices.Contains(cp.workers, e.Worker) {
		cp.holding[e.Worker] = e.Tasks
	}
}

func (c *Core) manifestWritten(j *job, e ManifestWritten) {
	cp := j.current
	if cp == nil || cp.id != e.ID || cp.phase != writing {
		return
	}
	cp.phase = waiting
	cp.commit.UID, cp.commit.ID, cp.commit.Attempt = j.uid, cp.id, cp.attempt
	cp.commit.Manifest, cp.commit.NextTimer = e.Digest, e.NextTimer
}

func (c *Core) manifestFailed(j *job, e ManifestFailed) {
	if cp := j.current; cp != nil && cp.id == e.ID && cp.phase == writing {
		c.give(j, "its manifest was not stored: "+e.Reason)
	}
}

// give gives the checkpoint under way up. One whose commit is proposed is left
// alone: the catalog decides, and telling workers to drop it could lose committed output.
func (c *Core) give(j *job, reason string) {
	cp := j.current
	if cp == nil || cp.phase == committing {
		return
	}
	j.current = nil
	j.coordinator.ended = c.now
	// What declines now, for a full disk perhaps, declines again at once.
	j.failures++
	j.notBefore = c.now + Backoff(j.failures, c.seed^cp.id)
	c.act(Abort{UID: j.uid, Attempt: cp.attempt, ID: cp.id, Reason: reason, Workers: cp.workers})
	c.act(Notify{UID: j.uid, Level: Warning, Text: fmt.Sprintf("checkpoint %d given up: %s", cp.id, reason)})
}

// committed takes the answer to a grouped commit.
func (c *Core) committed(command *catalog.CommitCheckpoints, e Proposed) {
	for i := range command.Items {
		item := &command.Items[i]
		j := c.jobs[item.UID]
		if j == nil || j.current == nil || j.current.id != item.ID {
			continue
		}
		if p, ok := c.view.Pipeline(item.UID); ok {
			c.advance(j, p)
		}
		at := slices.IndexFunc(e.Result.Refused, func(r catalog.Refusal) bool { return r.UID == item.UID && r.ID == item.ID })
		last := j.p.Job.Last
		switch {
		case last != nil && last.ID == item.ID && last.Attempt == item.Attempt:
			c.complete(j)
		case e.Err != nil:
			// It may be in the log or not: saying the same again is safe, giving it up is not.
			c.commits = append(c.commits, *item)
		case at >= 0 && errors.Is(e.Result.Refused[at].Err, catalog.ErrUnpublished):
			j.current.phase = waiting
		default:
			reason := "the catalog has gone on"
			if at >= 0 {
				reason = e.Result.Refused[at].Err.Error()
			}
			j.current.phase = waiting // refused for good: now it can be given up
			c.give(j, reason)
		}
		c.reconcile(j)
	}
}

func (c *Core) complete(j *job) {
	cp := j.current
	j.current = nil
	j.coordinator.ended = c.now
	if cp.attempt != j.p.Job.Attempt {
		return
	}
	j.base = cp.moved
	j.failures, j.notBefore = 0, 0
	switch cp.kind {
	case FinalStop, FinalDrain:
		j.final = cp.id
	}
	for _, s := range j.savepoints {
		if cp.kind != Periodic && cp.kind != InitialOfState && s.checkpoint == 0 {
			s.checkpoint = cp.id
		}
	}
}

// publish proposes that the last checkpoint's output is visible once every worker of the attempt says so.
func (c *Core) publish(j *job) {
	job := &j.p.Job
	if j.publishing || !job.Unpublished() || !job.State.HasTasks() || job.Slots.Len() == 0 {
		return
	}
	for _, epoch := range j.workers {
		if j.published[epoch] < job.Last.ID {
			return
		}
	}
	j.publishing = true
	c.publishes = append(c.publishes, catalog.Publication{UID: j.uid, ID: job.Last.ID})
}

// moved is the sum of the workers' counters.
func (j *job) moved() uint64 {
	var sum uint64
	for _, n := range j.progress {
		sum += n
	}
	return sum
}

// holders says who holds a checkpoint up: the tasks that workers named, otherwise the slots of those that are silent.
func (j *job) holders() string {
	cp := j.current
	switch cp.phase {
	case writing:
		return "its manifest is not stored yet"
	case waiting, committing:
		if j.p.Job.Last == nil {
			return "it is being committed"
		}
		return fmt.Sprintf("the output of checkpoint %d is not wholly visible yet", j.p.Job.Last.ID)
	}
	var list []string
	for _, epoch := range cp.workers {
		if _, done := cp.parts[epoch]; done {
			continue
		}
		if tasks := cp.holding[epoch]; len(tasks) > 0 {
			list = append(list, tasks...)
			continue
		}
		list = append(list, fmt.Sprintf("worker %d with slots %v", epoch, j.p.Job.Slots.Of(epoch)))
	}
	return strings.Join(list, ", ")
}

func (c *Core) name(epoch uint64) string {
	if w := c.workers[epoch]; w != nil {
		return w.id
	}
	return fmt.Sprintf("of epoch %d", epoch)
}

func orDefault(v, fallback int64) int64 {
	if v == 0 {
		return fallback
	}
	return v
}
