package catalog

import "slices"

// MaxReservation bounds the checkpoint ids that are reserved at once.
const MaxReservation = 1 << 20

// Range is a range of checkpoint ids, both ends included. The zero value is empty: ids begin at 1.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Contains tells whether an id lies in the range.
func (r Range) Contains(id uint64) bool { return id != 0 && id >= r.First && id <= r.Last }

// Checkpoint is a committed checkpoint. Its names in the log are short: a pipeline holds several.
type Checkpoint struct {
	ID        uint64 `json:"id"`
	Attempt   uint64 `json:"a"`
	Manifest  Digest `json:"m"`
	Revision  uint64 `json:"r"` // of the pipeline, that wrote it
	Time      int64  `json:"t"`
	NextTimer int64  `json:"w,omitempty"` // the earliest processing-time timer in it
}

// ReserveCheckpoints reserves the next Count ids of a pipeline for the leader
// that asks; Result.Range has them. Ids are monotone for ever: those left in an
// older range are never used, and what was triggered with them can no longer be committed.
type ReserveCheckpoints struct {
	At    int64  `json:"at"`
	UID   string `json:"uid"`
	Count uint64 `json:"count"`
}

func (c *ReserveCheckpoints) apply(tx *txn) error {
	p, what, err := tx.need("reserve checkpoints of pipeline", c.UID)
	if err != nil {
		return err
	}
	if c.Count < 1 || c.Count > MaxReservation {
		return refuse(ErrInvalid, "%s: %d ids, choose 1 to %d", what, c.Count, MaxReservation)
	}
	next := p.clone()
	next.Job.Reserved = Range{First: p.Job.Reserved.Last + 1, Last: p.Job.Reserved.Last + c.Count}
	tx.result.UID, tx.result.Range = p.UID, next.Job.Reserved
	return tx.putState(next)
}

// CommitCheckpoints commits completed checkpoints, of many pipelines in one
// entry. Each item stands alone: what does not fit is in Result.Refused.
type CommitCheckpoints struct {
	At    int64    `json:"at"`
	Items []Commit `json:"items"`
}

// Commit is one completed checkpoint.
type Commit struct {
	UID       string `json:"uid"`
	ID        uint64 `json:"id"`
	Attempt   uint64 `json:"attempt"`
	Manifest  Digest `json:"manifest"`
	NextTimer int64  `json:"next_timer,omitempty"`
	// Prepared tells that it holds sink transactions; without any it is published by its commit.
	Prepared bool `json:"prepared,omitempty"`
}

func (c *CommitCheckpoints) apply(tx *txn) error {
	for i := range c.Items {
		item := &c.Items[i]
		if err := tx.commit(c.At, item); err != nil {
			tx.result.Refused = append(tx.result.Refused, Refusal{UID: item.UID, ID: item.ID, Err: err})
		}
	}
	return nil
}

func (tx *txn) commit(at int64, c *Commit) error {
	p, what, err := tx.need("commit checkpoint of pipeline", c.UID)
	if err != nil {
		return err
	}
	job := &p.Job
	switch {
	case c.Attempt != job.Attempt:
		return refuse(ErrStale, "%s: checkpoint %d of attempt %d, attempt %d is the newest", what, c.ID, c.Attempt, job.Attempt)
	case !job.State.HasTasks():
		return refuse(ErrStale, "%s: checkpoint %d, the job is %s", what, c.ID, job.State)
	case c.ID <= job.Newest:
		return refuse(ErrStale, "%s: checkpoint %d, %d is committed", what, c.ID, job.Newest)
	case !job.Reserved.Contains(c.ID):
		return refuse(ErrStale, "%s: checkpoint %d is not among the reserved %d to %d; another leader reserved them", what, c.ID, job.Reserved.First, job.Reserved.Last)
	case job.Unpublished():
		return refuse(ErrUnpublished, "%s: checkpoint %d waits for %d", what, c.ID, job.Last.ID)
	case c.Manifest.IsZero():
		return refuse(ErrInvalid, "%s: checkpoint %d has no manifest", what, c.ID)
	}
	next := p.clone()
	done := &next.Job
	if old := job.Last; old != nil {
		done.Retained = slices.Insert(done.Retained, 0, *old)
	}
	if keep := p.Current.Retain; len(done.Retained) > keep {
		tx.result.Dropped = append(tx.result.Dropped, done.Retained[keep:]...)
		done.Retained = slices.Clone(done.Retained[:keep])
	}
	done.Last = &Checkpoint{ID: c.ID, Attempt: c.Attempt, Manifest: c.Manifest, Revision: job.Revision, Time: at, NextTimer: c.NextTimer}
	done.Newest, done.Base = c.ID, nil
	if !c.Prepared {
		done.Publish = c.ID
	}
	return tx.putState(next)
}

// PublishCheckpoints records that the output of checkpoints is visible in whole. Saying it again changes nothing.
type PublishCheckpoints struct {
	At    int64         `json:"at"`
	Items []Publication `json:"items"`
}

// Publication names one checkpoint.
type Publication struct {
	UID string `json:"uid"`
	ID  uint64 `json:"id"`
}

func (c *PublishCheckpoints) apply(tx *txn) error {
	for _, item := range c.Items {
		if err := tx.publish(item); err != nil {
			tx.result.Refused = append(tx.result.Refused, Refusal{UID: item.UID, ID: item.ID, Err: err})
		}
	}
	return nil
}

func (tx *txn) publish(c Publication) error {
	p, what, err := tx.need("publish checkpoint of pipeline", c.UID)
	if err != nil {
		return err
	}
	if c.ID > p.Job.Newest {
		return refuse(ErrConflict, "%s: checkpoint %d is not committed, %d is", what, c.ID, p.Job.Newest)
	}
	if c.ID <= p.Job.Publish {
		return nil
	}
	if p.Job.Last == nil || p.Job.Last.ID != c.ID {
		return refuse(ErrStale, "%s: checkpoint %d was given up", what, c.ID)
	}
	next := p.clone()
	next.Job.Publish, next.Job.Doubt = c.ID, ""
	return tx.putState(next)
}

// startFrom makes the choice of a starting point take effect on a job that does not run.
func (p *Pipeline) startFrom(tx *txn, what string, from StartFrom) error {
	chosen := 0
	for _, set := range []bool{from.Checkpoint != 0, from.Savepoint != "", from.Empty} {
		if set {
			chosen++
		}
	}
	if p := from.Positions; p != PositionsKeep && (from.Savepoint == "" || p != PositionsStart && p != PositionsEnd) {
		return refuse(ErrInvalid, "%s with positions %q: choose %s or %s, with a savepoint", what, p, PositionsStart, PositionsEnd)
	}
	if chosen == 0 {
		return nil
	}
	job := &p.Job
	if chosen > 1 {
		return refuse(ErrInvalid, "%s: choose one of a checkpoint, a savepoint and no state", what)
	}
	if job.State.Active() {
		return refuse(ErrConflict, "%s from another point: its job is %s; stop it first", what, job.State)
	}
	if job.Last != nil && from.Checkpoint == job.Last.ID {
		return nil
	}
	if job.Last != nil && p.Current.Delivery == ExactlyOnce && !from.AllowDuplicates {
		return refuse(ErrConflict, "%s from before checkpoint %d: its exactly-once sinks would show output twice; say --allow-duplicates if you accept that", what, job.Last.ID)
	}
	at := slices.IndexFunc(job.Retained, func(c Checkpoint) bool { return c.ID == from.Checkpoint })
	switch {
	case from.Checkpoint != 0 && at < 0:
		return refuse(ErrNotFound, "%s: checkpoint %d is not retained; see the list of checkpoints", what, from.Checkpoint)
	case from.Checkpoint != 0:
		back := job.Retained[at]
		tx.result.Dropped = append(tx.result.Dropped, *job.Last)
		tx.result.Dropped = append(tx.result.Dropped, job.Retained[:at]...)
		job.Last, job.Base, job.Doubt = &back, nil, ""
		job.Retained = slices.Clone(job.Retained[at+1:])
		return nil
	case from.Savepoint != "":
		sp, ok := tx.Savepoint(from.Savepoint)
		if !ok || sp.Namespace != p.Namespace {
			return refuse(ErrNotFound, "%s: savepoint %s; see the list of savepoints", what, from.Savepoint)
		}
		job.Base = &Base{Savepoint: sp.ID, UID: sp.UID, Checkpoint: sp.Checkpoint, Manifest: sp.Manifest, Positions: from.Positions}
	default:
		job.Base = nil
	}
	tx.result.Dropped = append(tx.result.Dropped, job.kept()...)
	job.Last, job.Retained, job.Doubt = nil, nil, ""
	return nil
}

// decide keeps what the user decided about output in doubt for the next start,
// until that output counts as visible.
func (p *Pipeline) decide(what string, d Doubt, from StartFrom) error {
	job := &p.Job
	switch {
	case d == "":
		return nil
	case d != AssumePublished && d != PublishAgain:
		return refuse(ErrInvalid, "%s: %q is neither %s nor %s", what, d, AssumePublished, PublishAgain)
	case from != (StartFrom{}):
		return refuse(ErrInvalid, "%s: a decision about the last checkpoint's output goes with a start from that one", what)
	case job.State.Active():
		return refuse(ErrConflict, "%s: its job is %s and publishes by itself; only a job at rest takes a decision about output in doubt", what, job.State)
	case !job.Unpublished():
		return refuse(ErrConflict, "%s: no output is in doubt; leave the decision out", what)
	}
	job.Doubt = d
	return nil
}
