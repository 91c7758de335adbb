package controller

import (
	"context"
	"sync"

	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// merger keeps the number of live segments small: after a commit it merges
// beside the running job, one merge a pipeline at a time, and the result enters
// by the next manifest of the same attempt, or is dropped.
type merger struct {
	mu   sync.Mutex // guards what follows
	jobs map[string]*merging
}

type merging struct {
	attempt uint64
	id      uint64         // that the merge's object bears
	part    *snapshot.Part // nil while it runs
	usedBy  uint64         // checkpoint whose manifest holds it; 0: none yet
}

// committed ends the merge that the checkpoint brought in and begins another if one is due.
func (c *Controller) mergeAfter(ctx context.Context, uid string, cp catalog.Checkpoint) {
	g := &c.merger
	g.mu.Lock()
	if m := g.jobs[uid]; m != nil {
		if m.attempt == cp.Attempt && (m.part == nil || m.usedBy != cp.ID) {
			g.mu.Unlock()
			return // still running, or waiting for the next manifest
		}
		delete(g.jobs, uid)
	}
	m := &merging{attempt: cp.Attempt, id: cp.ID + 1}
	if g.jobs == nil {
		g.jobs = map[string]*merging{}
	}
	g.jobs[uid] = m
	g.mu.Unlock()
	c.jobs.Go(func() {
		part := c.merge(ctx, uid, cp, m.id)
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.jobs[uid] != m {
			return
		}
		if part == nil {
			delete(g.jobs, uid)
			return
		}
		m.part = part
	})
}

// merge does what is due of a committed checkpoint; nil if nothing is or it failed.
func (c *Controller) merge(ctx context.Context, uid string, cp catalog.Checkpoint, id uint64) *snapshot.Part {
	manifest, err := snapshot.ReadManifest(ctx, c.options.Blobs, ManifestName(uid, cp), snapshot.Digest(cp.Manifest))
	if err == nil {
		due := snapshot.PlanMerge(manifest)
		if len(due) == 0 {
			return nil
		}
		var part *snapshot.Part
		part, err = snapshot.RunMerge(ctx, c.options.Blobs, snapshot.PartID{Pipeline: uid, Checkpoint: id, Attempt: cp.Attempt, Worker: "merge"}, due)
		if err == nil {
			err = failpoint.Hit(failpoint.MergeWritten)
		}
		if err == nil {
			return part
		}
	}
	if ctx.Err() == nil {
		c.options.Log.Warn("segments were not merged", "pipeline", uid, "error", err)
	}
	return nil
}

// merged gives the finished merge of an attempt to the manifest of a checkpoint.
func (c *Controller) merged(uid string, attempt, checkpoint uint64) *snapshot.Part {
	g := &c.merger
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.jobs[uid]
	if m == nil || m.part == nil || m.attempt != attempt {
		return nil
	}
	m.usedBy = checkpoint
	return m.part
}

// MergesInFlight are ids whose objects the sweeper must leave alone.
func (c *Controller) MergesInFlight(uid string) []uint64 {
	g := &c.merger
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.jobs[uid]; m != nil {
		return []uint64{m.id}
	}
	return nil
}
