package scheduler

// Status is what a leader knows of a job beyond the catalog, for people.
type Status struct {
	Waiting    string // why it does not start, or nothing
	Checkpoint uint64 // the one under way, or 0
	Kind       CheckpointKind
	Began      int64
	HeldBy     string
}

// Status tells how a job stands; ok is false where this core knows no such pipeline.
func (c *Core) Status(uid string) (status Status, ok bool) {
	j, ok := c.jobs[uid]
	if !ok {
		return Status{}, false
	}
	status.Waiting = j.waiting
	if cp := j.current; cp != nil {
		status.Checkpoint, status.Kind, status.Began, status.HeldBy = cp.id, cp.kind, cp.began, j.holders()
	}
	return status, true
}
