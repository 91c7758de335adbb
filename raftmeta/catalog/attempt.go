package catalog

import "slices"

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
	if job.State == JobRestarting && !job.Left {
		job.Restarts++
	}
	job.Left = false
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
