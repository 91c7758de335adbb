package pipelines

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// DefaultRetain is how many checkpoints besides the last are kept of a pipeline whose file says nothing.
const DefaultRetain = 2

// Validate checks a file and changes nothing.
func (s *Service) Validate(ctx context.Context, r *weirv1.ValidatePipelineRequest) (*weirv1.ValidatePipelineResponse, error) {
	p, err := s.plan(ctx, r.GetNamespace(), r.GetFile())
	var bad *ProblemsError
	if errors.As(err, &bad) {
		return &weirv1.ValidatePipelineResponse{Name: bad.Pipeline, Problems: Problems(bad.Problems)}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("validate pipeline: %w", err)
	}
	return &weirv1.ValidatePipelineResponse{Name: p.File.Name.Value, Warnings: Problems(p.Warnings)}, nil
}

// Apply makes a pipeline or gives it a new revision.
func (s *Service) Apply(ctx context.Context, r *weirv1.ApplyPipelineRequest) (*weirv1.ApplyPipelineResponse, error) {
	p, err := s.plan(ctx, r.GetNamespace(), r.GetFile())
	if err != nil {
		return nil, fmt.Errorf("apply pipeline: %w", err)
	}
	name := p.File.Name.Value
	from, err := s.startFrom(ctx, p, r)
	if err != nil {
		return nil, err
	}
	diff := p.diff()
	if err := p.allowed(diff, r.GetAllowDroppedState()); err != nil {
		return nil, err
	}
	if p.Messages != "" {
		// Types are unique: between the look and the entry no other pipeline may come by one of them.
		s.typing.Lock()
		defer s.typing.Unlock()
		if err := s.typesFree(ctx, s.view(), p); err != nil {
			return nil, err
		}
	}
	if err := s.makeTopics(ctx, p); err != nil {
		return nil, fmt.Errorf("apply pipeline %s: %w", name, err)
	}
	s.naming.RLock()
	defer s.naming.RUnlock()
	if err := s.keep(ctx, s.options.GraphName(p.graph), p.encoded); err != nil {
		return nil, fmt.Errorf("apply pipeline %s: keep its graph: %w", name, err)
	}
	if err := s.keep(ctx, SpecName(p.spec), p.text); err != nil {
		return nil, fmt.Errorf("apply pipeline %s: keep its file: %w", name, err)
	}
	c := &catalog.ApplyPipeline{At: s.now(), Namespace: p.namespace, Name: name, Nonce: nonce(), Revision: p.revision(), From: from}
	if p.old != nil {
		c.Expect = p.old.Current.Number
	}
	if r.GetStopped() {
		c.Desired = catalog.DesiredStopped
	}
	result, err := s.options.Node.Propose(ctx, c)
	if err != nil {
		return nil, err
	}
	state := s.view()
	now, ok := state.Pipeline(result.UID)
	if !ok {
		return nil, refuse(catalog.ErrConflict, "apply pipeline %s: it was deleted again meanwhile", name)
	}
	return &weirv1.ApplyPipelineResponse{Pipeline: s.message(state, now), Unchanged: result.Unchanged, Diff: diff, Warnings: Problems(p.Warnings)}, nil
}

// Diff says what applying a file would change.
func (s *Service) Diff(ctx context.Context, r *weirv1.DiffPipelineRequest) (*weirv1.DiffPipelineResponse, error) {
	p, err := s.plan(ctx, r.GetNamespace(), r.GetFile())
	if err != nil {
		return nil, fmt.Errorf("diff pipeline: %w", err)
	}
	if id := r.GetFromSavepoint(); id != "" {
		if err := s.compareWith(ctx, p, id); err != nil {
			return nil, err
		}
	}
	return p.diff(), nil
}

// allowed refuses to lose state that nobody agreed to lose, and to read state as what it is not.
func (p *planned) allowed(diff *weirv1.DiffPipelineResponse, drop bool) error {
	if p.savepoint == nil && (p.old == nil || !holdsState(p.old)) {
		return nil
	}
	for _, c := range diff.GetState() {
		where := fmt.Sprintf("apply pipeline %s: state %s of operator %s", p.File.Name.Value, c.GetState(), c.GetOperator())
		switch {
		case p.elsewhere && c.GetState() == positions:
			continue
		case c.GetKind() == weirv1.StateChange_KIND_INCOMPATIBLE:
			return hint(refuse(ErrRefused, "%s was %s and cannot be read as %s", where, c.GetWas(), c.GetNow()),
				"keep the old shape, or give the state or the operator another name and drop the old one with --allow-dropped-state")
		case c.GetKind() == weirv1.StateChange_KIND_DROPPED && !drop:
			return hint(refuse(ErrRefused, "%s (%s) would be lost", where, c.GetWas()),
				"if it may go, add --allow-dropped-state; weir pipeline diff FILE shows all changes")
		}
	}
	return nil
}

// holdsState tells whether anything could be lost.
func holdsState(p *catalog.Pipeline) bool {
	return p.Job.Last != nil || p.Job.Base != nil || p.Job.State.Active()
}

func (p *planned) revision() catalog.Revision {
	delivery := catalog.AtLeastOnce
	if p.Guarantee == connector.ExactlyOnce {
		delivery = catalog.ExactlyOnce
	}
	cp := p.File.Checkpoint
	retain := cp.Retain
	if retain == 0 {
		retain = DefaultRetain
	}
	return catalog.Revision{
		Graph: p.graph, Spec: p.spec, Modules: slices.Clone(p.modules), Widths: catalog.Widths(p.Graph), Delivery: delivery,
		IntervalMs: cp.Interval.Milliseconds(), PauseMs: cp.MinPause.Milliseconds(), TimeoutMs: cp.Timeout.Milliseconds(),
		Retain: retain, MaxRestart: p.File.MaxRestarts,
	}
}

// keep stores an object that is named by its content.
func (s *Service) keep(ctx context.Context, name string, b []byte) error {
	_, err := s.options.Blobs.Put(ctx, name, bytes.NewReader(b))
	if errors.Is(err, blob.ErrExists) {
		return nil
	}
	return err
}

func nonce() string {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err) // the operating system has no randomness: nothing can go on
	}
	return hex.EncodeToString(b[:])
}
