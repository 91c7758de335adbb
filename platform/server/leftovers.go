package server

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// leftoverAge is how long an object must have stood without a name in the catalog
// before it is deleted: what is being written gets its name within this, or never.
const leftoverAge = time.Minute

// leftoverEvery is how often all objects are listed; also when something was deleted.
const leftoverEvery = 10 * time.Minute

// owned are the first parts of names whose owner is in the catalog, or gone for ever.
var owned = regexp.MustCompile(`^(p[0-9]+(-[0-9a-z]+)?|` + catalog.ImportPrefix + `[0-9a-z]+)$`)

// leftovers finds what no sweep of a pipeline does: files of pipelines and
// imports that are gone, manifests of savepoints that never came to be or were deleted.
type leftovers struct {
	server *Server
	looked time.Time
	count  int                  // of savepoints and pipelines then
	since  map[string]time.Time // uid, or name of a manifest -> when it was first seen without an owner
}

// sweep looks once in a while, and deletes.
func (l *leftovers) sweep(ctx context.Context, view *catalog.State) error {
	count := 0
	for range view.Savepoints() {
		count++
	}
	for range view.Pipelines("") {
		count++
	}
	now := l.server.options.Clock()
	if count >= l.count && len(l.since) == 0 && now.Sub(l.looked) < leftoverEvery {
		l.count = count
		return nil
	}
	names, err := l.orphans(ctx)
	if err != nil {
		return err
	}
	l.looked, l.count = now, count
	since := map[string]time.Time{}
	for _, name := range names {
		first, known := l.since[name]
		switch {
		case !known:
			since[name] = now
		case now.Sub(first) < leftoverAge:
			since[name] = first
		case strings.HasPrefix(name, snapshot.SavepointPrefix):
			err = l.server.blobs.Delete(ctx, name)
		default:
			err = l.server.sweepGone(ctx, l.server.node.View(), name)
		}
		if err != nil {
			return err
		}
	}
	l.since = since
	return nil
}

// orphans lists uids and manifests of savepoints that have no owner. The objects are
// listed before the catalog is read: what has a name in it by then is no orphan.
func (l *leftovers) orphans(ctx context.Context) ([]string, error) {
	uids, manifests := map[string]int{}, []string{}
	for info, err := range l.server.blobs.List(ctx, "") {
		if err != nil {
			return nil, fmt.Errorf("list objects: %w", err)
		}
		switch first, _, _ := strings.Cut(info.Name, "/"); {
		case strings.HasPrefix(info.Name, snapshot.SavepointPrefix):
			manifests = append(manifests, info.Name)
		case owned.MatchString(first):
			uids[first]++
		}
	}
	view := l.server.node.View()
	var out []string
	for uid := range uids {
		if _, ok := view.Pipeline(uid); ok || l.server.savepoints.Importing(uid) {
			continue
		}
		kept, err := l.server.savedManifests(ctx, view, uid)
		if err != nil {
			return nil, err
		}
		needed := map[string]bool{}
		for _, m := range kept {
			for _, name := range m.Objects() {
				if strings.HasPrefix(name, uid+"/") {
					needed[name] = true
				}
			}
		}
		if uids[uid] > len(needed) {
			out = append(out, uid)
		}
	}
	names := map[string]bool{}
	for sp := range view.Savepoints() {
		names[savepointName(sp)] = true
	}
	for _, name := range manifests {
		if !names[name] {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

func savepointName(sp *catalog.Savepoint) string {
	return snapshot.SavepointName(sp.UID, sp.Checkpoint, snapshot.Digest(sp.Manifest))
}

// savedManifests reads the manifests of the savepoints whose files stand below a uid.
func (s *Server) savedManifests(ctx context.Context, view *catalog.State, uid string) ([]*snapshot.Manifest, error) {
	var out []*snapshot.Manifest
	for sp := range view.Savepoints() {
		if sp.UID != uid {
			continue
		}
		m, err := snapshot.ReadManifest(ctx, s.blobs, savepointName(sp), snapshot.Digest(sp.Manifest))
		if err != nil {
			return nil, fmt.Errorf("read manifest of savepoint %s: %w", sp.ID, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// sweepGone removes every object of a pipeline or an import that is gone, less
// those that savepoints need.
func (s *Server) sweepGone(ctx context.Context, view *catalog.State, uid string) error {
	if _, ok := view.Pipeline(uid); ok {
		return nil
	}
	kept, err := s.savedManifests(ctx, view, uid)
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	for _, m := range kept {
		for _, name := range m.Objects() {
			needed[name] = true
		}
	}
	var names []string
	for info, err := range s.blobs.List(ctx, uid+"/") {
		if err != nil {
			return err
		}
		if !needed[info.Name] {
			names = append(names, info.Name)
		}
	}
	for _, name := range names {
		if err := s.blobs.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
