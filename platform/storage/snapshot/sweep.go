package snapshot

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/storage/blob"
)

// Roots are what a pipeline still needs. They come from one reading of the
// catalog, taken before the listing.
type Roots struct {
	Pipeline  string      // uid
	Newest    uint64      // committed checkpoint; 0: none
	Kept      []*Manifest // checkpoints and savepoints, also other pipelines' that name this one's objects
	KeptNames []string    // of the manifests themselves
	Live      []uint64    // attempts
	InFlight  []uint64    // checkpoints and merges that live attempts are at
}

// PlanSweep says which of the objects to delete: those of this pipeline whose id
// is at or below the newest committed checkpoint, that no kept manifest names,
// and that no live attempt is still at. A name that is not understood stays.
//
// What is above the newest checkpoint may be part of the next one. What is below
// it can only be part of a kept manifest, or of one to come: a merge's output,
// whose id is in flight until the merge is in a manifest or refused. A part of a
// checkpoint that failed goes into the next manifest, which commits before the
// id is at or below Newest.
func PlanSweep(r Roots, names []string) []string {
	needed := map[string]bool{}
	for _, m := range r.Kept {
		for _, name := range m.Objects() {
			needed[name] = true
		}
	}
	for _, name := range r.KeptNames {
		needed[name] = true
	}
	var out []string
	for _, name := range names {
		pipeline, checkpoint, attempt, ours := parseName(name)
		if !ours || pipeline != r.Pipeline || checkpoint > r.Newest || needed[name] {
			continue
		}
		if slices.Contains(r.Live, attempt) && slices.Contains(r.InFlight, checkpoint) {
			continue
		}
		out = append(out, name)
	}
	return out
}

// Sweep lists a pipeline's objects and deletes what the plan says. It goes on
// after an object that cannot be deleted, and tells of the first.
func Sweep(ctx context.Context, store blob.Store, r Roots) (deleted []string, err error) {
	if r.Pipeline == "" || strings.Contains(r.Pipeline, "/") {
		return nil, fmt.Errorf("sweep objects: %q is no pipeline", r.Pipeline)
	}
	var names []string
	for info, err := range store.List(ctx, r.Pipeline+"/") {
		if err != nil {
			return nil, fmt.Errorf("sweep pipeline %s: %w", r.Pipeline, err)
		}
		names = append(names, info.Name)
	}
	for _, name := range PlanSweep(r, names) {
		if e := store.Delete(ctx, name); e != nil {
			if err == nil {
				err = fmt.Errorf("sweep pipeline %s: %w", r.Pipeline, e)
			}
			continue
		}
		deleted = append(deleted, name)
		if e := failpoint.Hit(failpoint.SweepDeleted); e != nil {
			return deleted, e
		}
	}
	return deleted, err
}
