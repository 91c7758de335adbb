// Package statereader shows people the keyed state that checkpoints and savepoints
// hold: it finds the files, and gives keys and values in words. It must not know
// how tasks hold state while they run, nor how calls reach it.
package statereader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/modules"
	"github.com/weirstream/weir/platform/nearest"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Limits of one call.
const (
	MaxEntries  = 1_000_000
	MaxKeyBytes = 64 << 10 // of a key as text
	pageEntries = 512      // in one message
	pageBytes   = 1 << 20  // after which a message goes out
)

// Options is what a service needs.
type Options struct {
	Node    *raftmeta.Node
	Blobs   blob.Store
	Modules *modules.Store
	// GraphName and ManifestName say where graphs and manifests are kept.
	GraphName    func(catalog.Digest) string
	ManifestName func(uid string, cp catalog.Checkpoint) string
}

// Service reads state.
type Service struct{ options Options }

// New makes a service.
func New(o Options) *Service { return &Service{options: o} }

// hinted is an error with what to do next.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint is what to do next.
func (h *hinted) Hint() string { return h.hint }

func hint(err error, text string, args ...any) error { return &hinted{err, fmt.Sprintf(text, args...)} }

// target is what a call is about.
type target struct {
	namespace, pipeline, operator, state string
	checkpoint                           uint64
	savepoint                            string
}

// source is a manifest that was found, and the graph that says what is in it.
type source struct {
	uid      string // of the pipeline whose checkpoint it is; empty: a savepoint's
	manifest *snapshot.Manifest
	graph    *jobgraph.Graph
	origin   *weirv1.StateOrigin
}

func (s *Service) open(ctx context.Context, t *target) (*source, error) {
	if t.savepoint != "" && t.checkpoint != 0 {
		return nil, hint(fmt.Errorf("read state of pipeline %s: both checkpoint %d and savepoint %s are named: %w", t.pipeline, t.checkpoint, t.savepoint, catalog.ErrInvalid), "name one of them")
	}
	if t.savepoint != "" {
		return s.openSavepoint(ctx, t)
	}
	return s.openCheckpoint(ctx, t)
}

func (s *Service) openSavepoint(ctx context.Context, t *target) (*source, error) {
	sp, ok := s.options.Node.View().Savepoint(t.savepoint)
	if !ok || sp.Namespace != t.namespace {
		return nil, hint(fmt.Errorf("read savepoint %q: there is none of that id in namespace %s: %w", t.savepoint, t.namespace, catalog.ErrNotFound), "weir savepoint list shows those that there are")
	}
	if sp.Pipeline != t.pipeline {
		return nil, hint(fmt.Errorf("read savepoint %s: it is of pipeline %s, not of %q: %w", sp.ID, sp.Pipeline, t.pipeline, catalog.ErrInvalid), "say %s instead, or weir savepoint list --pipeline %s", sp.Pipeline, t.pipeline)
	}
	digest := snapshot.Digest(sp.Manifest)
	m, err := snapshot.ReadManifest(ctx, s.options.Blobs, snapshot.SavepointName(sp.UID, sp.Checkpoint, digest), digest)
	if err != nil {
		return nil, fmt.Errorf("read savepoint %s: %w", sp.ID, damaged(err))
	}
	g, err := s.graph(ctx, sp.Graph)
	if err != nil {
		return nil, err
	}
	return &source{manifest: m, graph: g, origin: &weirv1.StateOrigin{Operator: t.operator, Checkpoint: sp.Checkpoint, Savepoint: sp.ID, Revision: sp.Revision, Taken: timestamp(m.Meta.TakenMicros)}}, nil
}

func (s *Service) openCheckpoint(ctx context.Context, t *target) (*source, error) {
	view := s.options.Node.View()
	p, ok := view.PipelineNamed(t.namespace, t.pipeline)
	if !ok {
		var names []string
		for other := range view.Pipelines(t.namespace) {
			names = append(names, other.Name)
		}
		return nil, hint(fmt.Errorf("read state of pipeline %q: there is no such pipeline in namespace %s: %w", t.pipeline, t.namespace, catalog.ErrNotFound),
			"%sweir pipeline list shows those that there are", meant(t.pipeline, names))
	}
	cp, err := choose(p, t.checkpoint)
	if err != nil {
		return nil, err
	}
	m, err := snapshot.ReadManifest(ctx, s.options.Blobs, s.options.ManifestName(p.UID, cp), snapshot.Digest(cp.Manifest))
	if err != nil {
		return nil, s.gone(p.UID, cp.ID, fmt.Errorf("read checkpoint %d of pipeline %s: %w", cp.ID, p.Name, err))
	}
	// The catalog keeps the graph of the newest revision alone. It reads what an
	// older one wrote: apply has refused it otherwise.
	g, err := s.graph(ctx, p.Current.Graph)
	if err != nil {
		return nil, err
	}
	return &source{uid: p.UID, manifest: m, graph: g, origin: &weirv1.StateOrigin{Operator: t.operator, Checkpoint: cp.ID, Revision: cp.Revision, Taken: timestamp(m.Meta.TakenMicros)}}, nil
}

// choose finds a checkpoint that is kept; 0 is the last one.
func choose(p *catalog.Pipeline, id uint64) (catalog.Checkpoint, error) {
	if p.Job.Last == nil {
		return catalog.Checkpoint{}, hint(fmt.Errorf("read state of pipeline %s: it has no checkpoint yet: %w", p.Name, catalog.ErrNotFound), "weir pipeline status %s tells how it does", p.Name)
	}
	kept := append([]catalog.Checkpoint{*p.Job.Last}, p.Job.Retained...)
	if id == 0 {
		return kept[0], nil
	}
	if i := slices.IndexFunc(kept, func(c catalog.Checkpoint) bool { return c.ID == id }); i >= 0 {
		return kept[i], nil
	}
	var ids []string
	for _, c := range kept {
		ids = append(ids, fmt.Sprint(c.ID))
	}
	return catalog.Checkpoint{}, hint(fmt.Errorf("read checkpoint %d of pipeline %s: it is not kept: %w", id, p.Name, catalog.ErrNotFound), "kept are %s; a savepoint is kept until it is deleted", strings.Join(ids, ", "))
}

// gone tells damage from a checkpoint that was given up while it was read.
func (s *Service) gone(uid string, id uint64, err error) error {
	if uid == "" || !lost(err) {
		return err
	}
	if p, ok := s.options.Node.View().Pipeline(uid); ok && p.Job.Last != nil {
		if _, bad := choose(p, id); bad == nil {
			return damaged(err)
		}
	}
	return hint(fmt.Errorf("checkpoint %d was superseded and swept while it was read: %w", id, catalog.ErrStale), "call again, or take a savepoint and read that: weir savepoint create PIPELINE")
}

// lost tells whether a file was missing or not what it should be.
func lost(err error) bool {
	var damage *snapshot.DamageError
	return errors.Is(err, blob.ErrNotFound) || errors.As(err, &damage)
}

func damaged(err error) error {
	if lost(err) {
		return fmt.Errorf("%w: %w", err, catalog.ErrDamaged)
	}
	return err
}

func (s *Service) graph(ctx context.Context, d catalog.Digest) (*jobgraph.Graph, error) {
	b, err := blob.ReadRange(ctx, s.options.Blobs, s.options.GraphName(d), 0, -1)
	if err == nil && jobgraph.DigestOf(b) != d {
		err = errors.New("its digest is another")
	}
	if err != nil {
		return nil, fmt.Errorf("read graph %s: %w: %w", d.Short(), err, catalog.ErrDamaged)
	}
	return jobgraph.Decode(b)
}

// meant suggests the nearest of some names; empty if none is near.
func meant(got string, names []string) string {
	best, least := "", len(got)/2+1
	for _, n := range names {
		if d := nearest.Distance(got, n); d < least {
			best, least = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %s? ", best)
}

func namespaceOf(name string) string { return topics.Namespace(name) }

// What RFC 3339 can write: the years 0001 to 9999.
const (
	minShownMicros = -62135596800000000
	maxShownMicros = 253402300799000000
)

// timestamp is a time that can be shown; nil for those far outside of data.
func timestamp(micros int64) *timestamppb.Timestamp {
	if micros < minShownMicros || micros > maxShownMicros {
		return nil
	}
	return timestamppb.New(time.UnixMicro(micros))
}
