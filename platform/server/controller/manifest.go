package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/scheduler"
)

// Retries of a manifest that cannot be written.
const (
	firstRetry = 200 * time.Millisecond
	mostRetry  = 5 * time.Second
)

// writeManifest stores what a checkpoint consists of and answers the core. A
// store that is full or away is tried again for as long as the attempt lives:
// what changed in the epoch is in no other checkpoint.
func (c *Controller) writeManifest(ctx context.Context, a scheduler.WriteManifest) scheduler.Event {
	defer c.stuck.set(a.UID, "")
	for wait := firstRetry; ; wait = min(2*wait, mostRetry) {
		m, digest, err := c.storeManifest(ctx, a)
		if err == nil {
			next := m.NextTimers().Processing
			if next == snapshot.NoTimer {
				next = 0
			}
			return scheduler.ManifestWritten{UID: a.UID, Attempt: a.Attempt, ID: a.ID, Digest: catalog.Digest(digest), NextTimer: next}
		}
		if !c.lives(a) || final(err) {
			return scheduler.ManifestFailed{UID: a.UID, Attempt: a.Attempt, ID: a.ID, Reason: err.Error()}
		}
		if c.stuck.set(a.UID, err.Error()) {
			c.notify(scheduler.Notify{UID: a.UID, Level: scheduler.Problem, Text: fmt.Sprintf("checkpoint %d waits: its manifest cannot be written: %v", a.ID, err)})
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return scheduler.ManifestFailed{UID: a.UID, Attempt: a.Attempt, ID: a.ID, Reason: err.Error()}
		}
	}
}

func (c *Controller) storeManifest(ctx context.Context, a scheduler.WriteManifest) (m *snapshot.Manifest, digest snapshot.Digest, err error) {
	if m, err = c.buildManifest(ctx, a); err != nil {
		return nil, digest, &finalError{err}
	}
	if err = failpoint.Hit(failpoint.ManifestBuilt); err == nil {
		_, digest, err = snapshot.WriteManifest(ctx, c.options.Blobs, m)
	}
	if err == nil {
		err = failpoint.Hit(failpoint.CheckpointWritten)
	}
	return m, digest, err
}

// finalError marks what trying again does not mend: parts that contradict each other.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

func final(err error) bool {
	var f *finalError
	return errors.As(err, &f)
}

// lives says whether the attempt that a checkpoint belongs to still runs.
func (c *Controller) lives(a scheduler.WriteManifest) bool {
	p, ok := c.options.Node.View().Pipeline(a.UID)
	return ok && p.Job.Attempt == a.Attempt && p.Job.State.HasTasks()
}

func (c *Controller) buildManifest(ctx context.Context, a scheduler.WriteManifest) (*snapshot.Manifest, error) {
	prev, err := c.previous(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("read the manifest before: %w", err)
	}
	var parts []*snapshot.Part
	named := map[string]bool{}
	added := int64(0)
	for _, w := range a.Parts {
		b := w.Part.Inline
		if w.Part.Object != "" {
			if b, err = c.read(ctx, w.Part.Object); err != nil {
				return nil, fmt.Errorf("read the part of worker %d: %w", w.Worker, err)
			}
		}
		part, err := snapshot.UnmarshalPart(b)
		if err != nil {
			return nil, fmt.Errorf("read the part of worker %d: %w", w.Worker, err)
		}
		for _, op := range part.Operators {
			named[op.Operator] = true
		}
		added += part.ObjectBytes + int64(len(b))
		parts = append(parts, part)
	}
	if merged := c.merged(a.UID, a.Attempt, a.ID); merged != nil {
		parts = append(parts, merged)
	}
	kind := snapshot.Checkpoint
	if a.Kind == scheduler.ForSavepoint {
		kind = snapshot.Savepoint
	}
	m, err := snapshot.BuildManifest(prev, snapshot.Meta{
		Pipeline: a.UID, Checkpoint: a.ID, Attempt: a.Attempt, Revision: a.Revision, Kind: kind, TakenMicros: time.Now().UnixMicro(),
	}, parts)
	if err != nil {
		return nil, err
	}
	// Operators that a newer revision has no more end with the first checkpoint
	// of that revision: every worker names all operators of its graph.
	var gone []string
	for _, op := range m.Operators {
		if !named[op.Operator] {
			gone = append(gone, op.Operator)
		}
	}
	m = m.Without(gone...)
	c.history.note(a.UID, a.ID, func(r *Report) { r.SizeBytes, r.TotalBytes = added, TotalBytes(m) })
	return m, nil
}

// previous reads the manifest that this checkpoint follows; nil if there is none.
func (c *Controller) previous(ctx context.Context, a scheduler.WriteManifest) (*snapshot.Manifest, error) {
	if a.Previous.IsZero() {
		return nil, nil
	}
	p, ok := c.options.Node.View().Pipeline(a.UID)
	if !ok {
		return nil, fmt.Errorf("pipeline %s is gone", a.UID)
	}
	last := p.Job.Last
	if base := p.Job.Base; last == nil && base != nil && base.Manifest == a.Previous {
		// Another's state was loaded as changed: the first checkpoint holds all of it, and names no file of the other.
		return nil, nil
	}
	if last == nil || last.Manifest != a.Previous {
		return nil, fmt.Errorf("checkpoint %s is no longer the last one", a.Previous)
	}
	return snapshot.ReadManifest(ctx, c.options.Blobs, ManifestName(a.UID, *last), snapshot.Digest(last.Manifest))
}

// ManifestName is where the manifest of a committed checkpoint is kept.
func ManifestName(uid string, cp catalog.Checkpoint) string {
	m := snapshot.Manifest{Meta: snapshot.Meta{Pipeline: uid, Checkpoint: cp.ID, Attempt: cp.Attempt}}
	return m.Name(snapshot.Digest(cp.Manifest))
}

func (c *Controller) read(ctx context.Context, name string) ([]byte, error) {
	r, err := c.options.Blobs.Get(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var b bytes.Buffer
	_, err = io.Copy(&b, r)
	return b.Bytes(), err
}

// TotalBytes is the size of everything that a manifest names, each piece once.
func TotalBytes(m *snapshot.Manifest) int64 {
	type piece struct {
		object string
		offset int64
	}
	seen := map[piece]bool{}
	total := int64(0)
	add := func(x snapshot.Extent) {
		if p := (piece{x.Object, x.Offset}); !seen[p] {
			seen[p] = true
			total += x.Length
		}
	}
	for _, o := range m.Operators {
		for _, s := range o.Segments {
			add(s.Extent)
		}
		for _, t := range o.Tasks {
			for _, it := range t.Items {
				for _, c := range it.Chunks {
					add(c.Extent)
				}
			}
		}
	}
	return total
}
