package rpc

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
)

type workerHandler struct{ *Cluster }

func (h *workerHandler) ListWorkers(ctx context.Context, r *connect.Request[weirv1.ListWorkersRequest]) (*connect.Response[weirv1.ListWorkersResponse], error) {
	return unary(ctx, r, func(context.Context, *weirv1.ListWorkersRequest) (*weirv1.ListWorkersResponse, error) {
		return &weirv1.ListWorkersResponse{Workers: h.workers()}, nil
	})
}

func (h *workerHandler) workers() []*weirv1.Worker {
	view, connected := h.View(), h.Desk.Connected()
	byEpoch := map[uint64]*weirv1.Worker{}
	var out []*weirv1.Worker
	for w := range view.Workers() {
		m := &weirv1.Worker{
			Id: w.ID, Epoch: w.Epoch, Address: w.Address, Node: w.Node, Slots: uint32(w.Slots), Version: w.Version,
			Draining: w.Draining, Connected: connected[w.Epoch], Registered: timestamppb.New(time.UnixMicro(w.Registered)),
		}
		byEpoch[w.Epoch] = m
		out = append(out, m)
	}
	for p := range view.Pipelines("") {
		if !p.Job.State.Active() {
			continue
		}
		for _, epoch := range p.Job.Slots.Workers() {
			if m := byEpoch[epoch]; m != nil {
				m.Used += uint32(len(p.Job.Slots.Of(epoch)))
				m.Pipelines = append(m.Pipelines, catalog.Key(p.Namespace, p.Name))
			}
		}
	}
	slices.SortFunc(out, func(a, b *weirv1.Worker) int { return cmp.Compare(a.Id, b.Id) })
	return out
}

func (h *workerHandler) DrainWorker(ctx context.Context, r *connect.Request[weirv1.DrainWorkerRequest]) (*connect.Response[weirv1.DrainWorkerResponse], error) {
	return unary(ctx, r, func(ctx context.Context, q *weirv1.DrainWorkerRequest) (*weirv1.DrainWorkerResponse, error) {
		w, ok := h.View().WorkerNamed(q.GetId())
		if !ok {
			return nil, &hinted{fmt.Errorf("drain worker %q: there is no such worker: %w", q.GetId(), catalog.ErrNotFound), "weir worker list shows those that there are"}
		}
		if err := h.Desk.Drain(ctx, w.Epoch); err != nil {
			return nil, err
		}
		for _, m := range h.workers() {
			if m.Epoch == w.Epoch {
				return &weirv1.DrainWorkerResponse{Worker: m}, nil
			}
		}
		return &weirv1.DrainWorkerResponse{}, nil
	})
}

func (h *workerHandler) ListControllers(ctx context.Context, r *connect.Request[weirv1.ListControllersRequest]) (*connect.Response[weirv1.ListControllersResponse], error) {
	return unary(ctx, r, func(context.Context, *weirv1.ListControllersRequest) (*weirv1.ListControllersResponse, error) {
		members, err := h.Node.Members()
		if err != nil {
			return nil, err
		}
		leader, _ := h.Node.Leader()
		out := &weirv1.ListControllersResponse{}
		for _, m := range members {
			c := &weirv1.ClusterController{Id: m.ID, RaftAddress: m.Address, Voter: m.Voter, Leads: m.ID == leader}
			if n, ok := h.View().Node(m.ID); ok {
				c.Url, c.Version = n.HTTPAddress, n.Version
			}
			out.Controllers = append(out.Controllers, c)
		}
		slices.SortFunc(out.Controllers, func(a, b *weirv1.ClusterController) int { return cmp.Compare(a.Id, b.Id) })
		return out, nil
	})
}

func (h *workerHandler) AddController(ctx context.Context, r *connect.Request[weirv1.AddControllerRequest]) (*connect.Response[weirv1.AddControllerResponse], error) {
	return unary(ctx, r, func(ctx context.Context, q *weirv1.AddControllerRequest) (*weirv1.AddControllerResponse, error) {
		if q.GetId() == "" || q.GetRaftAddress() == "" {
			return nil, fmt.Errorf("add controller: it needs an id and a Raft address: %w", catalog.ErrInvalid)
		}
		return &weirv1.AddControllerResponse{}, h.Node.AddVoter(ctx, q.GetId(), q.GetRaftAddress())
	})
}

func (h *workerHandler) RemoveController(ctx context.Context, r *connect.Request[weirv1.RemoveControllerRequest]) (*connect.Response[weirv1.RemoveControllerResponse], error) {
	return unary(ctx, r, func(ctx context.Context, q *weirv1.RemoveControllerRequest) (*weirv1.RemoveControllerResponse, error) {
		members, err := h.Node.Members()
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(members, func(m raftmeta.Member) bool { return m.ID == q.GetId() }) {
			return nil, &hinted{fmt.Errorf("remove controller %q: it is no member: %w", q.GetId(), catalog.ErrNotFound), "weir controller list shows those that there are"}
		}
		if err := h.Node.RemoveMember(ctx, q.GetId()); err != nil {
			return nil, err
		}
		if _, ok := h.View().Node(q.GetId()); !ok {
			return &weirv1.RemoveControllerResponse{}, nil
		}
		_, err = h.Propose(ctx, &catalog.RemoveNode{At: h.Now(), ID: q.GetId()})
		return &weirv1.RemoveControllerResponse{}, err
	})
}
