// Package savepoints keeps state that a user asked for: it makes savepoints,
// tells what is in them, and carries them from cluster to cluster as archives. It
// must not know how a checkpoint is decided, nor how calls reach it.
package savepoints

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// MaxListed bounds a list of savepoints.
const MaxListed = 10000

// makeLimit bounds how long a savepoint may take; its pipeline may have to restart first.
const makeLimit = 10 * time.Minute

// Options is what a service needs.
type Options struct {
	Node  *raftmeta.Node
	Blobs blob.Store
	// Make makes a savepoint of a pipeline and waits for it; the leader's part.
	Make func(ctx context.Context, uid, label string) (id string, err error)
	// GraphName and SpecName say where graphs and pipeline files are kept.
	GraphName func(catalog.Digest) string
	SpecName  func(catalog.Digest) string
	// Naming is held from keeping a graph and a file until the catalog names them,
	// so that no sweep comes in between.
	Naming  sync.Locker
	Version string
	Clock   func() time.Time
}

// Service serves savepoints.
type Service struct {
	options Options

	mu        sync.Mutex // guards importing
	importing map[string]bool
}

// New makes a service.
func New(o Options) *Service {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Naming == nil {
		o.Naming = &sync.Mutex{}
	}
	return &Service{options: o, importing: map[string]bool{}}
}

// hinted is an error with what to do next.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint is what to do next.
func (h *hinted) Hint() string { return h.hint }

func hint(err error, text string, args ...any) error { return &hinted{err, fmt.Sprintf(text, args...)} }

func (s *Service) find(what, namespace, id string) (*catalog.Savepoint, error) {
	sp, ok := s.options.Node.View().Savepoint(id)
	if !ok || sp.Namespace != topics.Namespace(namespace) {
		return nil, hint(fmt.Errorf("%s savepoint %q: there is none of that id in namespace %s: %w", what, id, topics.Namespace(namespace), catalog.ErrNotFound),
			"weir savepoint list shows those that there are; weir savepoint create PIPELINE makes one")
	}
	return sp, nil
}

func (s *Service) message(view *catalog.State, sp *catalog.Savepoint) *weirv1.Savepoint {
	_, exists := view.Pipeline(sp.UID)
	return &weirv1.Savepoint{
		Id: sp.ID, Namespace: sp.Namespace, Pipeline: sp.Pipeline, Revision: sp.Revision, Checkpoint: sp.Checkpoint,
		Label: sp.Label, Created: timestamppb.New(time.UnixMicro(sp.Created)), Cluster: sp.Cluster, PipelineExists: exists,
	}
}

// Create makes a savepoint and waits until it stands.
func (s *Service) Create(ctx context.Context, r *weirv1.CreateSavepointRequest) (*weirv1.CreateSavepointResponse, error) {
	p, ok := s.options.Node.View().PipelineNamed(topics.Namespace(r.GetNamespace()), r.GetPipeline())
	if !ok {
		return nil, hint(fmt.Errorf("make savepoint of pipeline %q: there is no such pipeline in namespace %s: %w", r.GetPipeline(), topics.Namespace(r.GetNamespace()), catalog.ErrNotFound),
			"weir pipeline list shows those that there are")
	}
	if n := len(r.GetLabel()); n > catalog.MaxLabelBytes {
		return nil, fmt.Errorf("make savepoint of pipeline %s: a label of %d bytes, the limit is %d: %w", p.Name, n, catalog.MaxLabelBytes, catalog.ErrInvalid)
	}
	ctx, cancel := context.WithTimeout(ctx, makeLimit)
	defer cancel()
	id, err := s.options.Make(ctx, p.UID, r.GetLabel())
	if err != nil {
		return nil, hint(fmt.Errorf("make savepoint of pipeline %s: %w", p.Name, err), "weir pipeline status %s tells how its checkpoints do", p.Name)
	}
	view := s.options.Node.View()
	sp, ok := view.Savepoint(id)
	if !ok {
		return nil, fmt.Errorf("make savepoint of pipeline %s: %s was deleted again meanwhile: %w", p.Name, id, catalog.ErrConflict)
	}
	return &weirv1.CreateSavepointResponse{Savepoint: s.message(view, sp)}, nil
}

// List lists a namespace's savepoints, oldest first.
func (s *Service) List(_ context.Context, r *weirv1.ListSavepointsRequest) (*weirv1.ListSavepointsResponse, error) {
	view, out := s.options.Node.View(), &weirv1.ListSavepointsResponse{}
	var all []*catalog.Savepoint
	for sp := range view.Savepoints() {
		if sp.Namespace == topics.Namespace(r.GetNamespace()) && (r.GetPipeline() == "" || r.GetPipeline() == sp.Pipeline) {
			all = append(all, sp)
		}
	}
	if len(all) > MaxListed {
		return nil, fmt.Errorf("list savepoints: there are %d, the limit of a list is %d; ask for one pipeline's: %w", len(all), MaxListed, catalog.ErrTooLarge)
	}
	slices.SortFunc(all, func(a, b *catalog.Savepoint) int { return cmp.Compare(number(a.ID), number(b.ID)) })
	for _, sp := range all {
		out.Savepoints = append(out.Savepoints, s.message(view, sp))
	}
	return out, nil
}

// number is that of an id such as s12.
func number(id string) uint64 {
	n, _ := strconv.ParseUint(strings.TrimPrefix(id, "s"), 10, 64) // the catalog numbers them
	return n
}

// Delete forgets a savepoint. Its files go with the next sweep, as far as nothing else needs them.
func (s *Service) Delete(ctx context.Context, r *weirv1.DeleteSavepointRequest) (*weirv1.DeleteSavepointResponse, error) {
	sp, err := s.find("delete", r.GetNamespace(), r.GetId())
	if err != nil {
		return nil, err
	}
	if _, err := s.options.Node.Propose(ctx, &catalog.DeleteSavepoint{At: s.options.Clock().UnixMicro(), ID: sp.ID}); err != nil {
		return nil, err
	}
	return &weirv1.DeleteSavepointResponse{}, nil
}

// manifest reads a savepoint's manifest.
func (s *Service) manifest(ctx context.Context, sp *catalog.Savepoint) (*snapshot.Manifest, error) {
	digest := snapshot.Digest(sp.Manifest)
	m, err := snapshot.ReadManifest(ctx, s.options.Blobs, snapshot.SavepointName(sp.UID, sp.Checkpoint, digest), digest)
	if err != nil {
		return nil, hint(fmt.Errorf("savepoint %s is damaged: %w: %w", sp.ID, err, catalog.ErrDamaged), "import it from an export, or take another savepoint")
	}
	return m, nil
}

// object reads an object that is named by its content.
func (s *Service) object(ctx context.Context, what, name string, want catalog.Digest) ([]byte, error) {
	b, err := blob.ReadRange(ctx, s.options.Blobs, name, 0, -1)
	if err == nil && digestOf(b) != want {
		err = fmt.Errorf("object %s: its digest is another", name)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", what, err, catalog.ErrDamaged)
	}
	return b, nil
}

// Naming is what Keep wants held; see Options.
func (s *Service) Naming() sync.Locker { return s.options.Naming }
