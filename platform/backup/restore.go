package backup

import (
	"context"
	"fmt"
	"io"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/backup/archive"
	"github.com/weirstream/weir/platform/savepoints"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// positionsKeep is what keeping all positions is called at the API.
const positionsKeep = "keep"

// restoring is a backup on its way into this cluster. First all of it is read: the
// store gets files that nothing names yet. Then it is held against the catalog, as
// commands on a copy of it. Only then are the same commands proposed.
type restoring struct {
	service *Service
	request *weirv1.RestoreBackupRequest // the first message

	header    archive.Header
	catalog   *archive.Catalog // less what is not wanted
	graphs    map[catalog.Digest]*jobgraph.Graph
	texts     map[catalog.Digest][]byte // of graphs and files
	manifests map[catalog.Digest][]byte // by module
	staged    map[int]*savepoints.Staged
	entered   map[int]bool // savepoints whose files the catalog may name

	out *weirv1.RestoreBackupResponse
}

// Restore takes a backup, message by message.
func (s *Service) Restore(ctx context.Context, receive func() (*weirv1.RestoreBackupRequest, error)) (*weirv1.RestoreBackupResponse, error) {
	const what = "restore backup"
	if err := s.leads(what); err != nil {
		return nil, err
	}
	first, err := receive()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	switch first.GetPositions() {
	case "", positionsKeep, string(catalog.PositionsStart):
	default:
		return nil, hint(refuse(catalog.ErrInvalid, "%s: positions %q", what, first.GetPositions()), "choose %s or %s", positionsKeep, catalog.PositionsStart)
	}
	r := &restoring{
		service: s, request: first, graphs: map[catalog.Digest]*jobgraph.Graph{}, texts: map[catalog.Digest][]byte{}, manifests: map[catalog.Digest][]byte{},
		staged: map[int]*savepoints.Staged{}, entered: map[int]bool{}, out: &weirv1.RestoreBackupResponse{DryRun: first.GetDryRun()},
	}
	defer r.release()
	if err := r.read(ctx, &stream{receive: receive, rest: first.GetData()}); err != nil {
		return nil, fmt.Errorf("%s: nothing was changed: %w", what, err)
	}
	s.options.Pipelines.Typing().Lock()
	defer s.options.Pipelines.Typing().Unlock()
	plan, err := r.plan(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: nothing was changed: %w", what, err)
	}
	if !first.GetDryRun() {
		if err := r.apply(ctx, plan); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
	}
	return r.answer(plan), nil
}

// read reads the whole archive into the store.
func (r *restoring) read(ctx context.Context, in io.Reader) error {
	wanted := map[int]bool{}
	summary, err := archive.Read(in, archive.Visit{
		Catalog: func(h *archive.Header, c *archive.Catalog) (err error) {
			r.header = *h
			if r.catalog, err = r.narrowed(c); err != nil {
				return err
			}
			for i := range r.catalog.Savepoints {
				wanted[r.catalog.Savepoints[i].Number] = true
			}
			return nil
		},
		Object: func(kind archive.Kind, d catalog.Digest, b []byte) error { return r.object(ctx, kind, d, b) },
		Savepoint: func(sp *archive.Savepoint, in io.Reader) error {
			if !wanted[sp.Number] {
				return nil
			}
			staged, err := r.service.options.Savepoints.Stage(ctx, in)
			if err != nil {
				return fmt.Errorf("savepoint %d, of pipeline %s: %w", sp.Number, catalog.Key(sp.Namespace, sp.Pipeline), err)
			}
			r.staged[sp.Number] = staged
			if c := staged.Command(sp.Namespace, r.service.options.Clock()); c.Pipeline != sp.Pipeline || c.Checkpoint != sp.Checkpoint || c.Revision != sp.Revision {
				return refuse(catalog.ErrDamaged, "savepoint %d is of pipeline %s, checkpoint %d, and its catalog says %s, %d", sp.Number, c.Pipeline, c.Checkpoint, sp.Pipeline, sp.Checkpoint)
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	r.out.Backup = SummaryMessage(summary)
	return nil
}

func (r *restoring) object(ctx context.Context, kind archive.Kind, d catalog.Digest, b []byte) error {
	switch kind {
	case archive.Graphs:
		g, err := jobgraph.Decode(b)
		if err == nil {
			err = g.Validate()
		}
		if err != nil {
			return fmt.Errorf("graph %s: %w", d.Short(), err)
		}
		r.graphs[d], r.texts[d] = g, b
	case archive.Specs:
		r.texts[d] = b
	case archive.Manifests:
		r.manifests[d] = b
	case archive.Modules:
		text, ok := r.manifests[d]
		if !ok {
			return refuse(catalog.ErrDamaged, "module %s comes before its manifest", d.Short())
		}
		if !r.wantsModule(d) {
			return nil
		}
		if _, err := r.service.options.Modules.Keep(ctx, b, text); err != nil {
			return fmt.Errorf("module %s: %w", d.Short(), err)
		}
	}
	return nil
}

func (r *restoring) wantsModule(d catalog.Digest) bool {
	for i := range r.catalog.Modules {
		for _, v := range r.catalog.Modules[i].Versions {
			if v.Digest == d {
				return true
			}
		}
	}
	return false
}

// narrowed is what is wanted of a catalog.
func (r *restoring) narrowed(c *archive.Catalog) (*archive.Catalog, error) {
	only, without := r.request.GetOnlyNamespace(), r.request.GetWithoutSecrets()
	out := *c
	if without {
		out.Secrets = nil
	}
	if only == "" {
		return &out, nil
	}
	out.Namespaces = keep(c.Namespaces, func(n archive.Namespace) bool { return n.Name == only })
	if len(out.Namespaces) == 0 {
		return nil, errNamespace("read backup", only, "the backup")
	}
	out.Tokens = keep(c.Tokens, func(t archive.Token) bool { return t.Namespace == only })
	out.Secrets = keep(out.Secrets, func(s archive.Secret) bool { return s.Namespace == only })
	out.Modules = keep(c.Modules, func(m archive.Module) bool { return m.Namespace == only })
	out.Topics = keep(c.Topics, func(t archive.Topic) bool { return t.Namespace == only })
	out.Savepoints = keep(c.Savepoints, func(s archive.Savepoint) bool { return s.Namespace == only })
	out.Pipelines = keep(c.Pipelines, func(p archive.Pipeline) bool { return p.Namespace == only })
	return &out, nil
}

func keep[T any](all []T, wanted func(T) bool) []T {
	var out []T
	for _, v := range all {
		if wanted(v) {
			out = append(out, v)
		}
	}
	return out
}

// release takes away what the catalog cannot name; the sweeper finds what it does not name after all.
func (r *restoring) release() {
	for n, staged := range r.staged {
		if r.entered[n] {
			r.service.options.Savepoints.Release(staged)
		} else {
			r.service.options.Savepoints.Discard(staged)
		}
	}
}

// stream reads messages as bytes.
type stream struct {
	receive func() (*weirv1.RestoreBackupRequest, error)
	rest    []byte
}

func (s *stream) Read(b []byte) (int, error) {
	for len(s.rest) == 0 {
		m, err := s.receive()
		if err != nil {
			return 0, err
		}
		s.rest = m.GetData()
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}
