package backup

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// Limits of the savepoints that a backup takes.
const (
	savepointLimit = 10 * time.Minute // of all of a round; a pipeline may have to restart first
	savepointsAt   = 16               // once
	savepointTurns = 3                // that pipelines may change their revision meanwhile
	forgetLimit    = 30 * time.Second
)

// taken is what a pipeline goes on from.
type taken struct {
	savepoint *catalog.Savepoint // nil: nothing
	positions catalog.Positions
	made      bool   // for this backup, and forgotten behind it
	ranOn     bool   // its job ran on behind it
	why       string // there is no savepoint
}

// savepointSet takes a savepoint of each pipeline, and ends with the view of the
// catalog that they fit.
type savepointSet struct {
	service *Service
	request *weirv1.CreateBackupRequest
	out     *sender
	ran     map[string]bool // by uid: those that were stopped for the backup

	view     *catalog.State
	warnings []string
	of       map[string]taken // by uid
	made     []string         // ids
}

// take takes savepoints until all pipelines have one of their current revision.
func (t *savepointSet) take(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, savepointLimit)
	defer cancel()
	t.of = map[string]taken{}
	label := labelPrefix + t.service.options.Clock().UTC().Format(time.RFC3339)
	for turn := 1; ; turn++ {
		t.view = t.service.options.Node.View()
		var todo []*catalog.Pipeline
		for p := range t.view.Pipelines(t.request.GetOnlyNamespace()) {
			had, ok := t.of[p.UID]
			if ok && (had.savepoint == nil || !had.made || had.savepoint.Revision == p.Current.Number) {
				continue
			}
			if turn > savepointTurns {
				return refuse(catalog.ErrConflict, "pipeline %s gets a new revision all the time; try again when nobody deploys", catalog.Key(p.Namespace, p.Name))
			}
			todo = append(todo, p)
		}
		if len(todo) == 0 {
			break
		}
		if err := t.round(ctx, todo, label); err != nil {
			return err
		}
	}
	return t.complete()
}

// round takes a savepoint of each, several at once.
func (t *savepointSet) round(ctx context.Context, todo []*catalog.Pipeline, label string) error {
	var (
		mu    sync.Mutex // guards what is noted of all
		first error
		tasks sync.WaitGroup
	)
	slots, left := make(chan struct{}, savepointsAt), len(todo)
	for _, p := range todo {
		slots <- struct{}{}
		tasks.Go(func() {
			defer func() { <-slots }()
			got, err := t.one(ctx, p, label)
			mu.Lock()
			defer mu.Unlock()
			left--
			if err != nil && first == nil {
				first = err
			}
			if got.made {
				t.made = append(t.made, got.savepoint.ID)
			}
			t.of[p.UID] = got
			if left > 0 {
				t.out.doing("taking savepoints: %d of %d are there", len(todo)-left, len(todo))
			}
		})
	}
	tasks.Wait()
	return first
}

func (t *savepointSet) one(ctx context.Context, p *catalog.Pipeline, label string) (taken, error) {
	node := t.service.options.Node
	switch job := &p.Job; {
	case t.request.GetNoSavepoints():
		return taken{why: "the backup was made without savepoints"}, nil
	case !job.State.Active() && job.Last == nil && job.Base != nil:
		sp, ok := t.view.Savepoint(job.Base.Savepoint)
		if !ok {
			return taken{why: "savepoint " + job.Base.Savepoint + ", which it was to start from, is gone"}, nil
		}
		return taken{savepoint: sp, positions: job.Base.Positions}, nil
	case !job.State.Active() && job.Last == nil:
		return taken{why: neverRan}, nil
	}
	id, err := t.service.options.Make(ctx, p.UID, label)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && ctx.Err() == context.Canceled {
			return taken{}, cause
		}
		if leads := t.service.leads("make savepoint"); leads != nil {
			return taken{}, leads
		}
		return taken{why: err.Error()}, nil
	}
	sp, ok := node.View().Savepoint(id)
	if !ok {
		return taken{why: "savepoint " + id + " was deleted again meanwhile"}, nil
	}
	return taken{savepoint: sp, made: true, ranOn: p.Job.State.Active()}, nil
}

// labelPrefix begins the labels of savepoints that are made for a backup and go with it.
const labelPrefix = "for the backup of "

// neverRan is why a pipeline has no state and loses none.
const neverRan = "it has no checkpoint yet"

// complete refuses a backup without the state of pipelines that have some, unless it was asked for.
func (t *savepointSet) complete() error {
	if t.request.GetNoSavepoints() {
		t.warnings = append(t.warnings, "it holds no state: pipelines begin anew")
		return nil
	}
	missing := 0
	for p := range t.view.Pipelines(t.request.GetOnlyNamespace()) {
		got := t.of[p.UID]
		if got.savepoint != nil || got.why == neverRan {
			continue
		}
		name := catalog.Key(p.Namespace, p.Name)
		if !t.request.GetIncomplete() {
			return hint(refuse(catalog.ErrConflict, "pipeline %s cannot have a savepoint: %s", name, got.why),
				"weir pipeline status %s tells how it does; --incomplete leaves its state out of the backup", p.Name)
		}
		if missing++; missing <= maxWarnings {
			t.warnings = append(t.warnings, fmt.Sprintf("the state of pipeline %s is not in it: %s", name, got.why))
		}
	}
	if missing > maxWarnings {
		t.warnings = append(t.warnings, fmt.Sprintf("nor is that of %d more pipelines", missing-maxWarnings))
	}
	return nil
}

// maxWarnings bounds the pipelines that are named in warnings; each says why for itself.
const maxWarnings = 100

// forget deletes the savepoints that were made for the backup; it may have ended by its caller's going.
func (t *savepointSet) forget() {
	ctx, cancel := context.WithTimeout(context.Background(), forgetLimit)
	defer cancel()
	for _, id := range slices.Sorted(slices.Values(t.made)) {
		// What cannot be deleted now is in the list of savepoints, with a label that says what it is.
		_, _ = t.service.options.Node.Propose(ctx, &catalog.DeleteSavepoint{At: t.service.now(), ID: id})
	}
}
