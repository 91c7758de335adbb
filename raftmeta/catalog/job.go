package catalog

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// JobState is where a job stands.
type JobState string

// The states of a job.
const (
	JobCreated    JobState = "created"    // never ran
	JobStarting   JobState = "starting"   // an attempt has slots; its tasks open and restore
	JobRunning    JobState = "running"    // every task reads
	JobRestarting JobState = "restarting" // a task was lost; waits for its backoff and for slots
	JobStopping   JobState = "stopping"   // final checkpoint, then its publication
	JobDraining   JobState = "draining"   // all bounded sources ended; as stopping
	JobStopped    JobState = "stopped"
	JobFailed     JobState = "failed"
	JobFinished   JobState = "finished"
	JobDormant    JobState = "dormant" // holds nothing until something wakes it
)

// transitions is the table of legal steps, in the order in which they are shown.
var transitions = map[JobState][]JobState{
	JobCreated:    {JobStarting, JobStopped, JobFailed},
	JobStarting:   {JobRunning, JobRestarting, JobFailed},
	JobRunning:    {JobRestarting, JobStopping, JobDraining, JobFailed},
	JobRestarting: {JobStarting, JobRestarting, JobStopped, JobFailed},
	JobStopping:   {JobStopped, JobDormant, JobStarting, JobRestarting, JobFailed},
	JobDraining:   {JobFinished, JobStopping, JobRestarting, JobFailed},
	JobStopped:    {JobStarting},
	JobFailed:     {JobRestarting, JobStarting, JobStopped},
	JobFinished:   {JobRestarting, JobStarting, JobStopped},
	JobDormant:    {JobStarting, JobStopped, JobFailed},
}

// Next lists the states that may follow one.
func Next(from JobState) []JobState { return slices.Clone(transitions[from]) }

// Active tells whether a job in this state holds slots or may hold some without a further word of the user.
func (s JobState) Active() bool {
	switch s {
	case JobStarting, JobRunning, JobRestarting, JobStopping, JobDraining:
		return true
	}
	return false
}

// HasTasks tells whether all regions of a job in this state run, or are about to: only then can a checkpoint complete.
func (s JobState) HasTasks() bool { return s.Active() && s != JobRestarting }

// ErrorClass says whose fault a failure is; the three are never mixed.
type ErrorClass string

// The classes of failures.
const (
	ErrorUser      ErrorClass = "user"      // fails the job
	ErrorRetryable ErrorClass = "retryable" // restarts it after a backoff
	ErrorBug       ErrorClass = "bug"       // restarts it and keeps the evidence
)

// Limits of a job's entry.
const (
	MaxErrorBytes      = 200 // longer texts are cut; the whole one is in the job's history
	maxErrorEntryBytes = MaxErrorBytes + 120
)

// JobError is the last failure, in short.
type JobError struct {
	Class    ErrorClass `json:"class"`
	Text     string     `json:"text"`
	At       int64      `json:"at"`
	Evidence Digest     `json:"evidence,omitzero"` // a blob with the whole report
}

// Slots says which worker holds each slot of a job, by epoch, in runs: slot i
// holds the i-th task of every stage whose parallelism is above i.
type Slots []Run

// Run is a number of neighbouring slots on one worker.
type Run struct {
	Worker uint64
	Count  int
}

// Len counts the slots.
func (s Slots) Len() int {
	n := 0
	for _, r := range s {
		n += r.Count
	}
	return n
}

// Worker returns the epoch of the worker that holds slot i, or 0.
func (s Slots) Worker(i int) uint64 {
	for _, r := range s {
		if i < r.Count {
			return r.Worker
		}
		i -= r.Count
	}
	return 0
}

// Workers lists the epochs, ascending and once each.
func (s Slots) Workers() []uint64 {
	var epochs []uint64
	for _, r := range s {
		epochs = append(epochs, r.Worker)
	}
	slices.Sort(epochs)
	return slices.Compact(epochs)
}

// Of lists the slots that a worker holds, ascending.
func (s Slots) Of(epoch uint64) []int {
	var held []int
	at := 0
	for _, r := range s {
		if r.Worker == epoch {
			for i := range r.Count {
				held = append(held, at+i)
			}
		}
		at += r.Count
	}
	return held
}

// SlotsOf makes runs of a worker epoch per slot.
func SlotsOf(epochs []uint64) Slots {
	var s Slots
	for _, e := range epochs {
		if n := len(s); n > 0 && s[n-1].Worker == e {
			s[n-1].Count++
			continue
		}
		s = append(s, Run{Worker: e, Count: 1})
	}
	return s
}

// MarshalJSON packs the runs: for each the epoch as a zigzag difference to the
// one before and the count, as varints, in base64. 256 one-slot workers take about 700 bytes.
func (s Slots) MarshalJSON() ([]byte, error) {
	var b []byte
	last := uint64(0)
	for _, r := range s {
		b = binary.AppendVarint(b, int64(r.Worker-last))
		b = binary.AppendUvarint(b, uint64(r.Count))
		last = r.Worker
	}
	return json.Marshal(base64.RawURLEncoding.EncodeToString(b))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *Slots) UnmarshalJSON(text []byte) error {
	*s = nil
	var packed string
	if err := json.Unmarshal(text, &packed); err != nil {
		return err
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(packed)
	if err != nil {
		return fmt.Errorf("decode slots: %w", err)
	}
	last, slots := uint64(0), 0
	for len(b) > 0 {
		step, n := binary.Varint(b)
		if n <= 0 {
			return refuse(ErrDamaged, "decode slots: a broken worker epoch")
		}
		count, m := binary.Uvarint(b[n:])
		if m <= 0 || count == 0 || count > jobgraph.MaxParallelism {
			return refuse(ErrDamaged, "decode slots: a broken count")
		}
		if slots += int(count); slots > jobgraph.MaxParallelism {
			return refuse(ErrDamaged, "decode slots: %d slots, the limit is %d", slots, jobgraph.MaxParallelism)
		}
		last += uint64(step)
		*s = append(*s, Run{Worker: last, Count: int(count)})
		b = b[n+m:]
	}
	return nil
}

// Job is a pipeline running, or how it last stood.
type Job struct {
	State JobState `json:"state"`
	Since int64    `json:"since"`
	// Attempt is the newest attempt given; it rises when any region restarts and
	// is the fencing token of checkpoints. Regions holds the attempt of each region;
	// 0 is one that is down until the next attempt, while the others run on.
	Attempt  uint64    `json:"attempt,omitempty"`
	Regions  []uint64  `json:"regions,omitempty"`
	Revision uint64    `json:"revision,omitempty"` // the revision that the attempt runs
	Slots    Slots     `json:"slots,omitempty"`
	Restarts uint64    `json:"restarts,omitempty"` // ever
	Failures int       `json:"failures,omitempty"` // in a row, for the backoff
	RetryAt  int64     `json:"retry_at,omitempty"`
	Error    *JobError `json:"error,omitempty"`

	// Reserved is the newest range of checkpoint ids. Only an id of it, above the
	// last committed one, can be committed; a new leader reserves a new range, which ends the old leader's.
	Reserved Range        `json:"reserved,omitzero"`
	Last     *Checkpoint  `json:"last,omitempty"`
	Newest   uint64       `json:"newest,omitempty"`    // the highest id ever committed
	Publish  uint64       `json:"published,omitempty"` // the highest id whose output is visible
	Retained []Checkpoint `json:"retained,omitempty"`  // older ones that can be chosen, newest first
	Base     *Base        `json:"base,omitempty"`      // what it starts from while Last is nil
}

// Base is another's state that a job starts from: a savepoint.
type Base struct {
	Savepoint string `json:"savepoint"`
	UID       string `json:"uid"` // whose files the manifest names
	Manifest  Digest `json:"manifest"`
}

// Runs tells whether workers run the tasks of a region, on the slots of the job
// and under the attempt Regions[region]. Workers reconcile to exactly this.
func (j *Job) Runs(region int) bool {
	return j.State.Active() && region < len(j.Regions) && j.Regions[region] != 0
}

// Unpublished tells whether the last checkpoint's output may not be visible yet.
func (j *Job) Unpublished() bool { return j.Last != nil && j.Last.ID > j.Publish }

// Restore names the manifest to open on a start; it is zero for a start without state.
func (j *Job) Restore() Digest {
	switch {
	case j.Last != nil:
		return j.Last.Manifest
	case j.Base != nil:
		return j.Base.Manifest
	}
	return Digest{}
}

func (j *Job) kept() []Checkpoint {
	var all []Checkpoint
	if j.Last != nil {
		all = append(all, *j.Last)
	}
	return append(all, j.Retained...)
}

// again lets a job that failed or finished start anew, on a user's word alone.
func (j *Job) again(at int64) bool {
	if j.State != JobFailed && j.State != JobFinished {
		return false
	}
	j.move(JobRestarting, at)
	clear(j.Regions)
	j.Failures, j.RetryAt, j.Error = 0, 0, nil
	return true
}

func (j *Job) move(to JobState, at int64) {
	j.State, j.Since = to, at
	if !to.Active() || to == JobRestarting {
		j.RetryAt = 0
	}
}

// StartAttempt begins the next attempt of all regions, or of some, on the given
// slots. Attempt must be the job's plus one, so that two starts cannot both win.
type StartAttempt struct {
	At      int64  `json:"at"`
	UID     string `json:"uid"`
	Attempt uint64 `json:"attempt"`
	// Revision is the pipeline's current one: every restore runs that.
	Revision uint64 `json:"revision"`
	// Regions are those that restart; none means all. The others keep attempt and slots.
	Regions []int `json:"regions,omitempty"`
	Slots   Slots `json:"slots"`
}

func (c *StartAttempt) apply(tx *txn) error {
	p, what, err := tx.need("start attempt of pipeline", c.UID)
	if err != nil {
		return err
	}
	next := p.clone()
	job := &next.Job
	if c.Attempt != job.Attempt+1 {
		return refuse(ErrStale, "%s: attempt %d does not follow %d", what, c.Attempt, job.Attempt)
	}
	if c.Revision != p.Current.Number {
		return refuse(ErrStale, "%s: revision %d is not the current one, %d", what, c.Revision, p.Current.Number)
	}
	if !slices.Contains(transitions[job.State], JobStarting) {
		return &IllegalTransitionError{Pipeline: p.Name, From: job.State, To: JobStarting}
	}
	// A new revision takes effect only where nothing waits to be published by the old one.
	if job.State == JobStopping && job.Unpublished() {
		return refuse(ErrUnpublished, "%s: checkpoint %d", what, job.Last.ID)
	}
	widths := p.Current.Widths
	if n := c.Slots.Len(); n != p.Current.Slots() {
		return refuse(ErrInvalid, "%s: %d slots given, it needs %d", what, n, p.Current.Slots())
	}
	for _, epoch := range c.Slots.Workers() {
		w, ok := tx.Worker(epoch)
		if !ok {
			return refuse(ErrStale, "%s: worker of epoch %d is gone; place it again", what, epoch)
		}
		if n := len(c.Slots.Of(epoch)); n > w.Slots {
			return refuse(ErrConflict, "%s: worker %s is given %d slots and has %d; place it again", what, w.ID, n, w.Slots)
		}
	}
	if len(job.Regions) != len(widths) || job.Revision != c.Revision || len(c.Regions) == 0 {
		if len(c.Regions) != 0 {
			return refuse(ErrInvalid, "%s: the first attempt of a revision starts all regions", what)
		}
		job.Regions = slices.Repeat([]uint64{c.Attempt}, len(widths))
	}
	for _, r := range c.Regions {
		if r < 0 || r >= len(widths) {
			return refuse(ErrInvalid, "%s: region %d of %d", what, r, len(widths))
		}
		job.Regions[r] = c.Attempt
	}
	for r, attempt := range job.Regions {
		if attempt == 0 {
			return refuse(ErrInvalid, "%s: region %d is down and not among those that restart", what, r)
		}
		for i := 0; attempt != c.Attempt && i < widths[r]; i++ {
			if c.Slots.Worker(i) != job.Slots.Worker(i) {
				return refuse(ErrInvalid, "%s: slot %d moves under region %d, which does not restart", what, i, r)
			}
		}
	}
	if job.State == JobRestarting {
		job.Restarts++
	}
	job.Attempt, job.Revision, job.Slots = c.Attempt, c.Revision, slices.Clone(c.Slots)
	job.move(JobStarting, c.At)
	job.RetryAt = 0
	tx.result.UID, tx.result.Number = p.UID, c.Attempt
	return tx.putPipeline(what, next)
}

// SetJobState moves a job along the table of transitions. Attempt must be the
// job's. Starting is not reached by it: that takes StartAttempt.
type SetJobState struct {
	At      int64     `json:"at"`
	UID     string    `json:"uid"`
	Attempt uint64    `json:"attempt"`
	To      JobState  `json:"to"`
	Error   *JobError `json:"error,omitempty"`
	// Regions are those that go down with restarting; none means all.
	Regions []int `json:"regions,omitempty"`
	// Failures and RetryAt go with restarting: how many in a row, and not before when.
	Failures int   `json:"failures,omitempty"`
	RetryAt  int64 `json:"retry_at,omitempty"`
	// GiveUp lets a job stop although its last output is not visible; resuming it publishes that.
	GiveUp bool `json:"give_up,omitempty"`
}

func (c *SetJobState) apply(tx *txn) error {
	p, what, err := tx.need("move job of pipeline", c.UID)
	if err != nil {
		return err
	}
	next := p.clone()
	job := &next.Job
	if c.Attempt != job.Attempt {
		return refuse(ErrStale, "%s to %s: attempt %d is over, %d is the newest", what, c.To, c.Attempt, job.Attempt)
	}
	if c.To == JobStarting || c.To == JobDormant || !slices.Contains(transitions[job.State], c.To) {
		return &IllegalTransitionError{Pipeline: p.Name, From: job.State, To: c.To}
	}
	if (c.To == JobStopped && !c.GiveUp || c.To == JobFinished) && job.Unpublished() && job.State.Active() {
		return refuse(ErrUnpublished, "%s to %s: checkpoint %d", what, c.To, job.Last.ID)
	}
	if c.Failures < 0 || c.RetryAt < 0 {
		return refuse(ErrInvalid, "%s to %s: a negative number of failures or time", what, c.To)
	}
	for _, r := range c.Regions {
		if r < 0 || r >= len(job.Regions) || c.To != JobRestarting {
			return refuse(ErrInvalid, "%s to %s: region %d of %d goes down", what, c.To, r, len(job.Regions))
		}
		job.Regions[r] = 0
	}
	job.move(c.To, c.At)
	switch c.To {
	case JobRestarting:
		if len(c.Regions) == 0 {
			clear(job.Regions)
		}
		job.Failures, job.RetryAt = c.Failures, c.RetryAt
	case JobStopped, JobFailed, JobFinished:
		job.Slots = nil
		job.Failures = 0
	}
	if c.Error != nil {
		short := *c.Error
		short.Text = cut(short.Text)
		job.Error = &short
	} else if c.To == JobStopped || c.To == JobFinished {
		job.Error = nil
	}
	tx.result.UID = p.UID
	return tx.putState(next)
}

// ResetFailures forgets failures in a row after a healthy while.
type ResetFailures struct {
	At      int64  `json:"at"`
	UID     string `json:"uid"`
	Attempt uint64 `json:"attempt"`
}

func (c *ResetFailures) apply(tx *txn) error {
	p, what, err := tx.need("reset failures of pipeline", c.UID)
	if err != nil {
		return err
	}
	if c.Attempt != p.Job.Attempt {
		return refuse(ErrStale, "%s: attempt %d is over, %d is the newest", what, c.Attempt, p.Job.Attempt)
	}
	if p.Job.Failures == 0 {
		return nil
	}
	next := p.clone()
	next.Job.Failures = 0
	return tx.putState(next)
}

// PutToSleep makes a stopping job dormant, if attempt and checkpoint are still the given ones.
type PutToSleep struct {
	At         int64  `json:"at"`
	UID        string `json:"uid"`
	Attempt    uint64 `json:"attempt"`
	Checkpoint uint64 `json:"checkpoint"`
	NextTimer  int64  `json:"next_timer,omitempty"`
}

func (c *PutToSleep) apply(tx *txn) error {
	p, what, err := tx.need("put to sleep pipeline", c.UID)
	if err != nil {
		return err
	}
	job := &p.Job
	if c.Attempt != job.Attempt || job.Last == nil || job.Last.ID != c.Checkpoint || job.Last.NextTimer != c.NextTimer {
		return refuse(ErrStale, "%s: attempt %d, checkpoint %d, timer %d changed meanwhile", what, c.Attempt, c.Checkpoint, c.NextTimer)
	}
	if !slices.Contains(transitions[job.State], JobDormant) || p.Desired != DesiredRunning {
		return &IllegalTransitionError{Pipeline: p.Name, From: job.State, To: JobDormant}
	}
	if job.Unpublished() {
		return refuse(ErrUnpublished, "%s: checkpoint %d", what, job.Last.ID)
	}
	next := p.clone()
	next.Job.move(JobDormant, c.At)
	next.Job.Slots = nil
	return tx.putState(next)
}

// putState stores what cannot grow an entry past what putPipeline has allowed for.
func (tx *txn) putState(next *Pipeline) error {
	next.Changed = tx.Revision
	tx.pipelines = tx.pipelines.with(next.UID, next)
	tx.changed(KindPipeline, next.UID)
	return nil
}

// cut shortens a text to MaxErrorBytes as JSON counts them, at a rune's border.
func cut(text string) string {
	text = strings.ToValidUTF8(text, "?")
	size := 0
	for i, r := range text {
		n := utf8.RuneLen(r)
		if r < 0x20 || r == '"' || r == '\\' || r == '<' || r == '>' || r == '&' || r == '\u2028' || r == '\u2029' {
			n = 6
		}
		if size+n > MaxErrorBytes-len("…") {
			return text[:i] + "…"
		}
		size += n
	}
	return text
}
