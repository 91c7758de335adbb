package scheduler

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// Why a savepoint that was asked for does not come.
var (
	errPipelineGone = fmt.Errorf("make savepoint: the pipeline was deleted: %w", catalog.ErrNotFound)
	errNoCheckpoint = fmt.Errorf("make savepoint: the pipeline has no checkpoint yet; start it first: %w", catalog.ErrConflict)
)

// savepoint is one that was asked for, on its way: a checkpoint is taken for it
// and published, a manifest of its own is stored, the catalog is told.
type savepoint struct {
	token      uint64
	label      string
	checkpoint uint64 // that it is made of, once committed
	manifest   catalog.Digest
	writing    bool
	proposal   uint64 // token of the command under way; 0: none
}

// askSavepoint notes the wish for the next checkpoint.
func (c *Core) askSavepoint(e SavepointRequested) {
	j, ok := c.jobs[e.UID]
	if !ok {
		c.act(SavepointDone{UID: e.UID, Token: e.Token, Err: errPipelineGone})
		return
	}
	s := &savepoint{token: e.Token, label: e.Label}
	if j.p.Job.State.Active() && j.final != 0 {
		s.checkpoint = j.final // it is stopping, and no other will follow
	}
	j.savepoints = append(j.savepoints, s)
	c.reconcile(j)
}

// makeSavepoints takes each savepoint one step on.
func (c *Core) makeSavepoints(j *job) {
	last := j.p.Job.Last
	for _, s := range slices.Clone(j.savepoints) {
		if s.checkpoint == 0 && !j.p.Job.State.Active() {
			// The job stands still: it is what its last checkpoint says.
			switch {
			case last == nil:
				c.endSavepoint(j, s, "", errNoCheckpoint)
				continue
			case j.p.Job.Unpublished():
				c.endSavepoint(j, s, "", fmt.Errorf("make savepoint: the output of checkpoint %d is not wholly visible, and the job is %s; resume publishes it: %w", last.ID, j.p.Job.State, catalog.ErrUnpublished))
				continue
			}
			s.checkpoint = last.ID
		}
		if s.checkpoint == 0 || s.writing || s.proposal != 0 || last == nil || j.p.Job.Unpublished() || c.now < j.retryAt {
			continue
		}
		if s.checkpoint != last.ID {
			s.checkpoint, s.manifest = last.ID, catalog.Digest{} // the final one of a stop came in between
		}
		if s.manifest.IsZero() {
			s.writing = true
			c.act(WriteSavepoint{UID: j.uid, Token: s.token, Checkpoint: *last})
			continue
		}
		s.proposal = c.propose(forSavepoint, j.uid, &catalog.CreateSavepoint{
			At: c.now, UID: j.uid, Checkpoint: s.checkpoint, Manifest: s.manifest, Label: s.label,
		})
	}
}

func (c *Core) savepointWritten(e SavepointWritten) {
	j := c.jobs[e.UID]
	if j == nil {
		return
	}
	at := slices.IndexFunc(j.savepoints, func(s *savepoint) bool { return s.token == e.Token && s.writing })
	if at < 0 {
		return
	}
	s := j.savepoints[at]
	s.writing = false
	if e.Reason != "" {
		c.endSavepoint(j, s, "", fmt.Errorf("make savepoint of checkpoint %d: its manifest was not stored: %s", s.checkpoint, e.Reason))
	} else {
		s.manifest = e.Digest
	}
	c.reconcile(j)
}

// savepointMade takes the catalog's answer.
func (c *Core) savepointMade(j *job, e Proposed) {
	at := slices.IndexFunc(j.savepoints, func(s *savepoint) bool { return s.proposal == e.Token })
	if at < 0 {
		return
	}
	s := j.savepoints[at]
	s.proposal = 0
	switch {
	case e.Err == nil:
		c.endSavepoint(j, s, fmt.Sprintf("s%d", e.Result.Number), nil)
	case errors.Is(e.Err, catalog.ErrStale), errors.Is(e.Err, catalog.ErrUnpublished):
		s.manifest = catalog.Digest{} // a later checkpoint came in between: it is made of that one
	default:
		c.endSavepoint(j, s, "", e.Err)
	}
}

func (c *Core) endSavepoint(j *job, s *savepoint, id string, err error) {
	j.savepoints = slices.DeleteFunc(j.savepoints, func(o *savepoint) bool { return o == s })
	if err != nil {
		c.act(Notify{UID: j.uid, Level: Problem, Text: err.Error()})
	} else {
		c.act(Notify{UID: j.uid, Level: Info, Text: fmt.Sprintf("savepoint %s of checkpoint %d", id, s.checkpoint)})
	}
	c.act(SavepointDone{UID: j.uid, Token: s.token, ID: id, Err: err})
}

// dropSavepoints answers all that wait.
func (c *Core) dropSavepoints(j *job, err error) {
	for _, s := range slices.Clone(j.savepoints) {
		c.endSavepoint(j, s, "", err)
	}
}
