package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weirstream/weir/platform/server/controller"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// sweepEvery is how often files that no checkpoint needs any more are deleted.
const sweepEvery = 10 * time.Second

// keepHouse deletes what is not needed any more, while this node leads.
func (s *Server) keepHouse(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	swept := map[string]uint64{} // uid -> checkpoint that was swept behind
	led := s.node.Leads()        // then the start has done what a new leader does
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !s.node.Leads() {
			led = false
			continue
		}
		if !led {
			if err := s.found(ctx); err != nil {
				s.log().Warn("the new leader did not get everything in order and tries again", "error", err)
				continue
			}
			led = true
		}
		for p := range s.node.View().Pipelines("") {
			if p.Job.Last == nil || swept[p.UID] == p.Job.Last.ID {
				continue
			}
			if _, err := s.sweep(ctx, p); err != nil {
				if !errors.Is(err, context.Canceled) {
					s.log().Warn("files of old checkpoints stay for now", "pipeline", catalog.Key(p.Namespace, p.Name), "error", err)
				}
				continue
			}
			swept[p.UID] = p.Job.Last.ID
		}
	}
}

// sweep deletes a pipeline's files that nothing names.
func (s *Server) sweep(ctx context.Context, p *catalog.Pipeline) ([]string, error) {
	roots := snapshot.Roots{Pipeline: p.UID, Newest: p.Job.Last.ID}
	if p.Job.State.HasTasks() {
		roots.Live = []uint64{p.Job.Attempt}
		roots.InFlight = s.controller.MergesInFlight(p.UID)
	}
	for _, cp := range append([]catalog.Checkpoint{*p.Job.Last}, p.Job.Retained...) {
		name := controller.ManifestName(p.UID, cp)
		m, err := snapshot.ReadManifest(ctx, s.blobs, name, snapshot.Digest(cp.Manifest))
		if err != nil {
			return nil, fmt.Errorf("read manifest of checkpoint %d: %w", cp.ID, err)
		}
		roots.Kept = append(roots.Kept, m)
		roots.KeptNames = append(roots.KeptNames, name)
	}
	return snapshot.Sweep(ctx, s.blobs, roots)
}

// sweepDeleted removes every object of a pipeline that is gone.
func (s *Server) sweepDeleted(ctx context.Context, uid string) error {
	var names []string
	for info, err := range s.blobs.List(ctx, uid+"/") {
		if err != nil {
			return err
		}
		if strings.HasPrefix(info.Name, uid+"/") {
			names = append(names, info.Name)
		}
	}
	for _, n := range names {
		if err := s.blobs.Delete(ctx, n); err != nil {
			return err
		}
	}
	return nil
}
