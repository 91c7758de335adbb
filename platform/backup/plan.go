package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/backup/archive"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// What was done with an entry, in words of the API.
const (
	doneMade    = "made"
	doneBound   = "bound" // to a stream that was there
	doneEmpty   = "empty" // with a new stream
	doneThere   = "there already"
	doneLeftOut = "left out"
)

// step is one entry of the backup on its way into the catalog.
type step struct {
	entry *weirv1.RestoredEntry
	// command gives what enters it; nil: nothing is to be entered.
	command func() catalog.Command
	// entered notes what the catalog answered, of a trial or in earnest.
	entered func(catalog.Result)
	// before and after belong to it outside the catalog; nil: nothing does.
	before, after func(context.Context) error
}

// plan is all that a restore does, in order.
type plan struct {
	r     *restoring
	view  *catalog.State
	steps []*step
	ids   map[int]string // of savepoints in the catalog, by number
	uids  map[string]string
	lost  map[string][]string // by pipeline: why its positions do not hold
	notes []string
	bad   []error
}

// maxReasons bounds the reasons against a restore that are told at once.
const maxReasons = 20

// plan holds the backup against the catalog, and tries all of it on a copy.
func (r *restoring) plan(ctx context.Context) (*plan, error) {
	p := &plan{r: r, view: r.service.options.Node.View(), ids: map[int]string{}, uids: map[string]string{}, lost: map[string][]string{}}
	c := r.catalog
	for i := range c.Namespaces {
		p.namespace(&c.Namespaces[i])
	}
	for i := range c.Tokens {
		p.token(&c.Tokens[i])
	}
	p.secrets(c.Secrets)
	for i := range c.Modules {
		p.module(&c.Modules[i])
	}
	topics := map[string]*restoredTopic{}
	for i := range c.Topics {
		t, err := p.topic(ctx, &c.Topics[i])
		if err != nil {
			return nil, err
		}
		topics[catalog.Key(t.topic.Namespace, t.topic.Name)] = t
	}
	for i := range c.Savepoints {
		p.savepoint(&c.Savepoints[i])
	}
	for i := range c.Pipelines {
		if err := p.pipeline(ctx, &c.Pipelines[i], topics); err != nil {
			return nil, err
		}
	}
	// Limits come last: what was above them already stays, and would be refused under them.
	for i := range c.Namespaces {
		p.limits(&c.Namespaces[i])
	}
	if len(p.bad) == 0 {
		p.try()
	}
	return p, p.refusal()
}

func (p *plan) add(kind, namespace, name, done string, s step) *step {
	s.entry = &weirv1.RestoredEntry{Kind: kind, Namespace: namespace, Name: name, Done: done}
	p.steps = append(p.steps, &s)
	return &s
}

// clash refuses what would take the place of something else.
func (p *plan) clash(kind, key, why string) {
	p.bad = append(p.bad, refuse(catalog.ErrExists, "%s %s: this cluster has one of that name, and %s", kind, key, why))
}

// try applies all commands to a copy of the catalog.
func (p *plan) try() {
	state := p.view
	for _, s := range p.steps {
		if s.command == nil {
			continue
		}
		next, result, err := state.Apply(s.command())
		if err != nil {
			p.bad = append(p.bad, err)
			continue
		}
		if state = next; s.entered != nil {
			s.entered(result)
		}
	}
}

// refusal is all that speaks against the restore; nil if nothing does.
func (p *plan) refusal() error {
	switch n := len(p.bad); {
	case n == 0:
		return nil
	case n == 1:
		return hint(p.bad[0], "%s", p.wayOut(p.bad[0]))
	}
	var texts []string
	for _, err := range p.bad[:min(len(p.bad), maxReasons)] {
		texts = append(texts, err.Error())
	}
	if more := len(p.bad) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return hint(&reasons{p.bad[0], fmt.Sprintf("%d reasons speak against it: %s", len(p.bad), strings.Join(texts, "; "))}, "%s", p.wayOut(p.bad[0]))
}

// reasons are several, of which the first says the kind.
type reasons struct {
	error
	text string
}

func (r *reasons) Error() string { return r.text }

func (r *reasons) Unwrap() error { return r.error }

func (p *plan) wayOut(first error) string {
	var h interface{ Hint() string }
	switch {
	case errors.As(first, &h):
		return h.Hint()
	case errors.Is(first, catalog.ErrExists):
		return "restore into a cluster with an empty --data-dir, or delete what has the name here; --namespace N restores one namespace alone"
	case errors.Is(first, catalog.ErrLimit), errors.Is(first, catalog.ErrTooLarge):
		return "restore into a cluster with an empty --data-dir"
	}
	return "weir backup info FILE shows what is in it"
}

// apply does in earnest what was tried.
func (r *restoring) apply(ctx context.Context, p *plan) error {
	naming := r.service.options.Savepoints.Naming()
	naming.Lock() // no sweep comes between keeping a file and its name in the catalog
	defer naming.Unlock()
	for i, s := range p.steps {
		if err := r.do(ctx, s); err != nil {
			return hint(fmt.Errorf("%d of %d entries stand, then %s %s: %w", i, len(p.steps), s.entry.GetKind(), place(s.entry), err),
				"run the same command again when the cause is gone: what stands already is passed over")
		}
	}
	return nil
}

func (r *restoring) do(ctx context.Context, s *step) error {
	if s.before != nil {
		if err := s.before(ctx); err != nil {
			return err
		}
	}
	if s.command != nil {
		result, err := r.service.options.Node.Propose(ctx, s.command())
		if err != nil {
			return err
		}
		if s.entered != nil {
			s.entered(result)
		}
	}
	if s.after != nil {
		return s.after(ctx)
	}
	return nil
}

// place is where an entry is, for a person.
func place(e *weirv1.RestoredEntry) string {
	if e.GetNamespace() == "" {
		return e.GetName()
	}
	return catalog.Key(e.GetNamespace(), e.GetName())
}

// answer tells what was done.
func (r *restoring) answer(p *plan) *weirv1.RestoreBackupResponse {
	for _, s := range p.steps {
		r.out.Entries = append(r.out.Entries, s.entry)
	}
	if r.request.GetWithoutSecrets() {
		r.out.Warnings = append(r.out.Warnings, "secrets were left out: a pipeline that uses one does not start before it is set again")
	}
	for i := range r.catalog.Pipelines {
		if d := &r.catalog.Pipelines[i]; d.Running {
			r.out.Resume = append(r.out.Resume, p.toResume(d))
		}
	}
	r.out.Warnings = append(r.out.Warnings, p.notes...)
	return r.out
}

func (p *plan) toResume(d *archive.Pipeline) *weirv1.RestoredPipeline {
	key := catalog.Key(d.Namespace, d.Name)
	out := &weirv1.RestoredPipeline{Namespace: d.Namespace, Name: d.Name, Lost: p.lost[key]}
	if !p.r.request.GetDryRun() {
		out.Uid, out.Savepoint = p.uids[key], p.ids[d.Savepoint]
	}
	return out
}
