package rpc

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/auth"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// maxNamespaces bounds a list of namespaces.
const maxNamespaces = 10000

func (h *systemHandler) CreateNamespace(ctx context.Context, r *connect.Request[weirv1.CreateNamespaceRequest]) (*connect.Response[weirv1.CreateNamespaceResponse], error) {
	return unary(ctx, r, h.createNamespace)
}

func (h *systemHandler) ListNamespaces(ctx context.Context, r *connect.Request[weirv1.ListNamespacesRequest]) (*connect.Response[weirv1.ListNamespacesResponse], error) {
	return unary(ctx, r, h.listNamespaces)
}

func (h *systemHandler) DeleteNamespace(ctx context.Context, r *connect.Request[weirv1.DeleteNamespaceRequest]) (*connect.Response[weirv1.DeleteNamespaceResponse], error) {
	return unary(ctx, r, h.deleteNamespace)
}

func (h *systemHandler) SetNamespaceLimits(ctx context.Context, r *connect.Request[weirv1.SetNamespaceLimitsRequest]) (*connect.Response[weirv1.SetNamespaceLimitsResponse], error) {
	return unary(ctx, r, h.setNamespaceLimits)
}

func (h *systemHandler) createNamespace(ctx context.Context, r *weirv1.CreateNamespaceRequest) (*weirv1.CreateNamespaceResponse, error) {
	if _, err := h.deps.Node.Propose(ctx, &catalog.CreateNamespace{At: time.Now().UnixMicro(), Name: r.GetName()}); err != nil {
		return nil, err
	}
	state := h.deps.Node.View()
	n, ok := state.Namespace(r.GetName())
	if !ok {
		return nil, fmt.Errorf("create namespace %s: it was deleted again meanwhile: %w", r.GetName(), catalog.ErrConflict)
	}
	return &weirv1.CreateNamespaceResponse{Namespace: namespaceMessage(state, n)}, nil
}

func (h *systemHandler) listNamespaces(ctx context.Context, _ *weirv1.ListNamespacesRequest) (*weirv1.ListNamespacesResponse, error) {
	state, out := h.deps.Node.View(), &weirv1.ListNamespacesResponse{}
	caller := auth.From(ctx)
	for n := range state.Namespaces() {
		if !caller.Sees(n.Name) {
			continue
		}
		if len(out.Namespaces) == maxNamespaces {
			return nil, fmt.Errorf("list namespaces: there are more than %d, the limit of a list; delete empty ones: %w", maxNamespaces, catalog.ErrTooLarge)
		}
		out.Namespaces = append(out.Namespaces, namespaceMessage(state, n))
	}
	return out, nil
}

func (h *systemHandler) deleteNamespace(ctx context.Context, r *weirv1.DeleteNamespaceRequest) (*weirv1.DeleteNamespaceResponse, error) {
	if _, err := h.deps.Node.Propose(ctx, &catalog.DeleteNamespace{At: time.Now().UnixMicro(), Name: r.GetName()}); err != nil {
		if errors.Is(err, catalog.ErrInUse) {
			err = &hinted{err, fmt.Sprintf("see all it holds: weir topic list --namespace %s, and weir module list and weir pipeline list alike", r.GetName())}
		}
		return nil, err
	}
	return &weirv1.DeleteNamespaceResponse{}, nil
}

func (h *systemHandler) setNamespaceLimits(ctx context.Context, r *weirv1.SetNamespaceLimitsRequest) (*weirv1.SetNamespaceLimitsResponse, error) {
	c := &catalog.SetLimits{At: time.Now().UnixMicro(), Namespace: r.GetName()}
	if l := r.GetLimits(); l != nil {
		if n := max(l.GetModuleBytes(), l.GetGuestMemory()); n > math.MaxInt64 {
			return nil, fmt.Errorf("limit namespace %s: %d bytes are more than any limit: %w", r.GetName(), n, catalog.ErrInvalid)
		}
		c.Limits = catalog.LimitChange{Slots: as[int](l.Slots), Pipelines: as[int](l.Pipelines), Modules: as[int](l.Modules), ModuleBytes: as[int64](l.ModuleBytes),
			GuestShare: as[int](l.GuestShare), GuestMemory: as[int64](l.GuestMemory)}
	}
	if _, err := h.deps.Node.Propose(ctx, c); err != nil {
		return nil, err
	}
	state := h.deps.Node.View()
	n, ok := state.Namespace(r.GetName())
	if !ok {
		return nil, fmt.Errorf("limit namespace %s: it was deleted meanwhile: %w", r.GetName(), catalog.ErrConflict)
	}
	return &weirv1.SetNamespaceLimitsResponse{Namespace: namespaceMessage(state, n)}, nil
}

// as gives a number another type, and nil for nil.
func as[To, From int | int64 | uint32 | uint64](n *From) *To {
	if n == nil {
		return nil
	}
	return new(To(*n))
}

func limitsMessage(l catalog.Limits) *weirv1.NamespaceLimits {
	return &weirv1.NamespaceLimits{Slots: as[uint32](&l.Slots), Pipelines: as[uint32](&l.Pipelines), Modules: as[uint32](&l.Modules), ModuleBytes: as[uint64](&l.ModuleBytes),
		GuestShare: as[uint32](&l.Guests.Share), GuestMemory: as[uint64](&l.Guests.MemoryBytes)}
}

func namespaceMessage(state *catalog.State, n *catalog.Namespace) *weirv1.Namespace {
	out := &weirv1.Namespace{Name: n.Name, Topics: length(state.Topics(n.Name)), Modules: length(state.Modules(n.Name)), Pipelines: length(state.Pipelines(n.Name)),
		Limits: limitsMessage(n.Limits), Used: limitsMessage(state.Used(n.Name))}
	out.Used.GuestShare, out.Used.GuestMemory = nil, nil // only workers know
	if n.Created > 0 {
		out.Created = timestamppb.New(time.UnixMicro(n.Created))
	}
	return out
}

func length[T any](all iter.Seq[T]) uint32 {
	n := uint32(0)
	for range all {
		n++
	}
	return n
}
