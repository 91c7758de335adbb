package pipelines

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// OrphanAge is how long a graph or a pipeline file stays after it was first seen
// that nothing names it: whoever reads it has long done so.
const OrphanAge = time.Hour

// Sweep deletes graphs and pipeline files that no pipeline's revision and no
// savepoint names. Only the leader may call it, and from one goroutine: what it
// remembers of earlier calls is the age of what it deletes.
func (s *Service) Sweep(ctx context.Context, now time.Time) (deleted []string, err error) {
	var names []string
	for _, folder := range []string{graphFolder, specFolder} {
		for info, err := range s.options.Blobs.List(ctx, folder) {
			if err != nil {
				return nil, fmt.Errorf("sweep pipeline definitions: %w", err)
			}
			names = append(names, info.Name)
		}
	}
	named := s.named()
	orphans := map[string]time.Time{}
	for _, name := range names {
		if named[name] {
			continue
		}
		since, seen := s.orphans[name]
		if !seen {
			since = now
		}
		if now.Sub(since) < OrphanAge {
			orphans[name] = since
			continue
		}
		gone, err := s.discard(ctx, name)
		if err != nil {
			orphans[name] = since
			return deleted, fmt.Errorf("sweep pipeline definitions: %w", err)
		}
		if gone {
			deleted = append(deleted, name)
		}
	}
	s.orphans = orphans
	return deleted, nil
}

// Naming is what others hold who keep a graph or a file until the catalog names it.
func (s *Service) Naming() sync.Locker { return s.naming.RLocker() }

// discard deletes an object unless something names it by now. Nobody is between
// finding it there and naming it: that holds the other side of the lock.
func (s *Service) discard(ctx context.Context, name string) (bool, error) {
	s.naming.Lock()
	defer s.naming.Unlock()
	if s.named()[name] {
		return false, nil
	}
	return true, s.options.Blobs.Delete(ctx, name)
}

// named are the objects that the catalog names.
func (s *Service) named() map[string]bool {
	named, state := map[string]bool{}, s.view()
	for p := range state.Pipelines("") {
		named[s.options.GraphName(p.Current.Graph)], named[SpecName(p.Current.Spec)] = true, true
	}
	for sp := range state.Savepoints() {
		named[s.options.GraphName(sp.Graph)], named[SpecName(sp.Spec)] = true, true
	}
	return named
}
