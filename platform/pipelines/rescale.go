package pipelines

import (
	"context"
	"fmt"
	"slices"
	"strings"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/planner"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
	"github.com/weirstream/weir/scheduler"
)

// Rescale gives a pipeline a revision at another parallelism: its file planned
// again, with the modules that run. Nothing else changes, so all state is kept. The
// region stops at a barrier, what it prepared is published, and the next attempt
// takes state by key groups at the new parallelism.
func (s *Service) Rescale(ctx context.Context, r *weirv1.RescalePipelineRequest) (*weirv1.RescalePipelineResponse, error) {
	old, err := s.find("rescale", r.GetNamespace(), r.GetName())
	if err != nil {
		return nil, err
	}
	n := int(r.GetParallelism())
	if n < 1 || n > jobgraph.MaxParallelism {
		return nil, hint(refuse(catalog.ErrInvalid, "rescale pipeline %s to %d", old.Name, n), "choose a parallelism of 1 to %d", jobgraph.MaxParallelism)
	}
	p, own, kept, err := s.planRescale(ctx, old, n, r.GetOperator())
	if err != nil {
		return nil, fmt.Errorf("rescale pipeline %s: %w", old.Name, err)
	}
	out := &weirv1.RescalePipelineResponse{Kept: kept, Graph: graphLines(p.oldGraph, p.Graph), Warnings: Problems(p.Warnings)}
	if p.graph == old.Current.Graph {
		out.Unchanged, out.Pipeline = true, s.message(s.view(), old)
		return out, nil
	}
	revision := p.revision()
	if own != revision.Slots() {
		revision.FileSlots = own
	}
	if old.Desired == catalog.DesiredRunning {
		if err := scheduler.Room(s.view(), old.UID, revision.Slots()); err != nil {
			return nil, fmt.Errorf("rescale pipeline %s: it %w", old.Name, err)
		}
	}
	s.naming.RLock()
	defer s.naming.RUnlock()
	if err := s.keep(ctx, s.options.GraphName(p.graph), p.encoded); err != nil {
		return nil, fmt.Errorf("rescale pipeline %s: keep its graph: %w", old.Name, err)
	}
	result, err := s.options.Node.Propose(ctx, &catalog.ApplyPipeline{
		At: s.now(), Namespace: old.Namespace, Name: old.Name, Revision: revision, Expect: old.Current.Number,
	})
	if err != nil {
		return nil, err
	}
	state := s.view()
	now, ok := state.Pipeline(result.UID)
	if !ok {
		return nil, refuse(catalog.ErrConflict, "rescale pipeline %s: it was deleted meanwhile", old.Name)
	}
	out.Pipeline = s.message(state, now)
	return out, nil
}

// planRescale plans the current revision's file anew. own is the slots that the file alone would take.
func (s *Service) planRescale(ctx context.Context, old *catalog.Pipeline, n int, operator string) (p *planned, own int, kept []string, err error) {
	text, err := s.object(ctx, SpecName(old.Current.Spec), old.Current.Spec)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("read its file: %w", err)
	}
	file, problems := pipelinefile.Parse(text)
	if len(problems) > 0 {
		return nil, 0, nil, &ProblemsError{Pipeline: old.Name, Problems: problems}
	}
	file.Namespace.Value = old.Namespace
	graph, err := s.graph(ctx, old.Current.Graph)
	if err != nil {
		return nil, 0, nil, err
	}
	scale, kept, err := scaleTo(file, graph, n, operator)
	if err != nil {
		return nil, 0, nil, err
	}
	state := s.view()
	w := &pinned{world{ctx: func() context.Context { return ctx }, state: state, namespace: old.Namespace, store: s.options.Modules}, old.Current.Modules}
	alone, problems := planner.Make(file, w)
	p = &planned{namespace: old.Namespace, text: text}
	if len(problems) == 0 {
		p.Plan, problems = planner.MakeScaled(file, w, scale)
	}
	switch {
	case w.err != nil:
		return nil, 0, nil, w.err
	case len(problems) > 0:
		return nil, 0, nil, &ProblemsError{Pipeline: old.Name, Problems: problems}
	}
	if err := s.finish(ctx, state, p); err != nil {
		return nil, 0, nil, err
	}
	return p, slices.Max(catalog.Widths(alone.Graph)), kept, p.allowed(p.diff(), false)
}

// scaleTo says at which parallelism each source, operator and sink of a file is to
// run: the one that is named at n and the others as they run now, or all at n
// that follow the pipeline's own parallelism. kept tells of those that do not.
func scaleTo(file *pipelinefile.File, now *jobgraph.Graph, n int, operator string) (scale planner.Scale, kept []string, err error) {
	scale = planner.Scale{}
	var ids []string
	part := func(id string, own int, single bool) {
		ids = append(ids, id)
		width := 0
		at := id
		if at == planner.FunctionsStage {
			at = planner.DispatchID // the head of their stage
		}
		if stage, _, ok := now.Operator(at); ok {
			width = now.Stages[stage].Parallelism
			scale[id] = width
		}
		switch {
		case operator == id && single && n > 1 && width == 1:
			err = hint(refuse(ErrRefused, "sink %s writes one file, which one task writes", id), "give it a folder: a path that ends in /")
		case operator == id, operator == "" && own == 0 && !(single && width == 1):
			scale[id] = n
		case operator == "" && own != 0 && width != n:
			kept = append(kept, fmt.Sprintf("%s stays at %d: the file gives it a parallelism of its own; --operator %s changes it", id, width, id))
		case operator == "" && single && n > 1:
			kept = append(kept, id+" stays at 1: it writes one file, which one task writes")
		}
	}
	for i := range file.Sources {
		part(file.Sources[i].Name.Value, 0, false)
	}
	for i := range file.Operators {
		part(file.Operators[i].Name.Value, file.Operators[i].Parallelism, false)
	}
	for i := range file.Sinks {
		f := &file.Sinks[i]
		part(planner.SinkID(f.Name.Value), f.Parallelism, f.File.Value != "" && !strings.HasSuffix(f.File.Value, "/"))
	}
	if fn := file.Functions; fn != nil {
		part(planner.FunctionsStage, fn.Parallelism, false)
		for i := range fn.Ingress {
			part(planner.IngressID(fn.Ingress[i].Name.Value), 0, false)
		}
	}
	if operator != "" && !slices.Contains(ids, operator) {
		return nil, nil, hint(refuse(catalog.ErrNotFound, "it has no operator %q", operator), "it has %s", strings.Join(ids, ", "))
	}
	return scale, kept, err
}

// pinned is a world in which a module is the version that a revision uses,
// whatever was pushed since: a rescale changes the parallelism and nothing else.
type pinned struct {
	world
	modules []catalog.Digest
}

// Module finds the newest version among those that the revision uses.
func (w *pinned) Module(name string) (planner.Module, bool) {
	if m, ok := w.state.Module(w.namespace, name); ok {
		for _, v := range slices.Backward(m.Versions) {
			if slices.Contains(w.modules, v.Digest) {
				return w.world.Module(name + "@sha256:" + v.Digest.String())
			}
		}
	}
	return w.world.Module(name)
}
