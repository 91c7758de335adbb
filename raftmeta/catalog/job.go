package catalog

import (
	"slices"
	"strings"
	"unicode/utf8"
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
	Left     bool      `json:"left,omitempty"`     // a worker of it ended in order; the next start is no restart
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
	Doubt    Doubt        `json:"doubt,omitempty"`     // decided about Last's output while it is not published
}

// Doubt is what a user has decided about the last checkpoint's output where
// nothing tells whether it is visible already.
type Doubt string

// The decisions.
const (
	AssumePublished Doubt = "assume_published" // what is in doubt is left out, and may be lost
	PublishAgain    Doubt = "publish_again"    // what is in doubt is published, and may be there twice
)

// Base is another's state that a job starts from: a savepoint.
type Base struct {
	Savepoint  string `json:"savepoint"`
	UID        string `json:"uid"` // whose files the manifest names
	Checkpoint uint64 `json:"checkpoint,omitempty"`
	Manifest   Digest `json:"manifest"`
	// Positions says where sources begin; empty: at the savepoint's positions.
	Positions Positions `json:"positions,omitempty"`
}

// Positions is where the sources of a job begin that starts from another's state.
type Positions string

// The positions. What a savepoint says of a topic holds only where the topic is the one it was read from.
const (
	PositionsKeep  Positions = ""
	PositionsStart Positions = "start" // at the first record that is there
	PositionsEnd   Positions = "end"   // behind the last one
)

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
