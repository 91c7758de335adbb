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

// definitionsEvery is how often graphs and pipeline files are looked through.
const definitionsEvery = 10 * time.Minute

// keepHouse deletes what is not needed any more, while this node leads.
func (s *Server) keepHouse(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	swept := map[string]sweepMark{}
	left := leftovers{server: s}
	var looked time.Time  // when definitions were swept last
	led := s.node.Leads() // then the start has done what a new leader does
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
		if now := s.options.Clock(); now.Sub(looked) >= definitionsEvery {
			looked = now
			if _, err := s.pipelines.Sweep(ctx, now); err != nil && !errors.Is(err, context.Canceled) {
				s.log().Warn("graphs and files of old revisions stay for now", "error", err)
			}
		}
		view := s.node.View()
		for p := range view.Pipelines("") {
			if p.Job.Last == nil {
				continue
			}
			mark := sweepMark{p.Job.Last.ID, savepointsOf(view, p.UID)}
			if swept[p.UID] == mark {
				continue
			}
			if _, err := s.sweep(ctx, view, p); err != nil {
				if !errors.Is(err, context.Canceled) {
					s.log().Warn("files of old checkpoints stay for now", "pipeline", catalog.Key(p.Namespace, p.Name), "error", err)
				}
				continue
			}
			swept[p.UID] = mark
		}
		if err := left.sweep(ctx, view); err != nil && !errors.Is(err, context.Canceled) {
			s.log().Warn("files that nothing in the catalog names stay for now", "error", err)
		}
	}
}

// sweepMark is what a pipeline's files were swept behind.
type sweepMark struct {
	checkpoint uint64
	savepoints string
}

// savepointsOf names the savepoints whose files stand below a uid.
func savepointsOf(view *catalog.State, uid string) string {
	var ids strings.Builder
	for sp := range view.Savepoints() {
		if sp.UID == uid {
			ids.WriteString(sp.ID + " ")
		}
	}
	return ids.String()
}

// sweep deletes a pipeline's files that nothing names.
func (s *Server) sweep(ctx context.Context, view *catalog.State, p *catalog.Pipeline) ([]string, error) {
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
	kept, err := s.savedManifests(ctx, view, p.UID)
	if err != nil {
		return nil, err
	}
	roots.Kept = append(roots.Kept, kept...)
	return snapshot.Sweep(ctx, s.blobs, roots)
}
