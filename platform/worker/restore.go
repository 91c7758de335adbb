package worker

import (
	"errors"

	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/lazy"
)

// restore fills a backend from the job's checkpoint: while it is used, if the
// backend takes entries in late and there is much of it, and else at once. A job that starts from
// another's state loads it at once too, since its first checkpoint holds all.
func (j *Job) restore(backend state.Backend, operator string, states []state.Descriptor, g snapshot.Groups) (state.Backend, error) {
	m, clock := j.start.Manifest, j.options.Clock().UnixMicro()
	backend.Advance(clock) // a state that gains a time to live begins it now
	var err error
	if late, can := backend.(state.LateLoader); can && !j.start.Foreign && m.StateBytes(operator, g) > j.options.EagerBytes {
		var b *lazy.Backend
		b, err = lazy.Open(j.ctx, late, lazy.Options{
			Store: j.options.Blobs, Manifest: m, Operator: operator, Groups: g,
			States: states, ClockMicros: clock, Newest: j.start.Newest, Log: j.options.Log.With("pipeline", j.start.Pipeline),
		})
		if err == nil {
			return b, nil
		}
	} else if err = snapshot.Restore(j.ctx, j.options.Blobs, m, operator, g, backend); err == nil {
		return backend, nil
	}
	return nil, errors.Join(err, backend.Close())
}
