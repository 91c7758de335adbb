package agent

import (
	"context"
	"fmt"

	"github.com/weirstream/weir/platform/server/controller"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// newest reads the newest manifest that an attempt has written, as far as this
// worker has heard; the one it started from, if it has written none.
func (a *Agent) newest(ctx context.Context, uid string, attempt uint64) (*snapshot.Manifest, error) {
	a.mu.Lock()
	var job catalog.Job
	if l := a.lanes[uid]; l != nil && l.want != nil {
		job = l.want.Pipeline.Job
	}
	a.mu.Unlock()
	if job.Attempt != attempt || job.Last == nil {
		return nil, fmt.Errorf("attempt %d of pipeline %s is over", attempt, uid)
	}
	m, err := snapshot.ReadManifest(ctx, a.options.Blobs, controller.ManifestName(uid, *job.Last), snapshot.Digest(job.Last.Manifest))
	if err != nil {
		return nil, fmt.Errorf("read checkpoint %d: %w", job.Last.ID, err)
	}
	return m, nil
}
