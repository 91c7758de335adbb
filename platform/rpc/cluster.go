package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/cluster"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// Cluster is what the processes of a cluster ask of a controller.
type Cluster struct {
	Desk  *cluster.Desk
	About func() cluster.Joined
	// LeaderURL is where the leader answers, if it is known.
	LeaderURL func() string
	// Proposer applies commands.
	Propose func(ctx context.Context, c catalog.Command) (catalog.Result, error)
	View    func() *catalog.State
	Leads   func() bool
	Node    *raftmeta.Node
	Version string
	Now     func() int64 // microseconds
}

type clusterHandler struct{ *Cluster }

// lead refuses on a controller that does not lead, and names the one that does.
func (h *clusterHandler) lead() error {
	if h.Leads() {
		return nil
	}
	return h.refusal(cluster.ErrNotLeader)
}

// refusal gives errors of the cluster's protocol their codes.
func (h *clusterHandler) refusal(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, cluster.ErrNotLeader):
		refused := connect.NewError(connect.CodeFailedPrecondition, err)
		refused.Meta().Set(cluster.LeaderHeader, h.LeaderURL())
		return refused
	case errors.Is(err, cluster.ErrUnknownWorker):
		return connect.NewError(connect.CodeNotFound, err)
	case errors.Is(err, cluster.ErrNotConnected):
		return connect.NewError(connect.CodeAborted, err)
	case errors.Is(err, cluster.ErrRefused):
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	return err
}

func (h *clusterHandler) About(ctx context.Context, r *connect.Request[weirv1.AboutRequest]) (*connect.Response[weirv1.AboutResponse], error) {
	return unary(ctx, r, func(context.Context, *weirv1.AboutRequest) (*weirv1.AboutResponse, error) {
		if err := h.lead(); err != nil {
			return nil, err
		}
		a := h.Cluster.About()
		return &weirv1.AboutResponse{
			ClusterId: a.Cluster, Controllers: a.Controllers, NatsUrl: a.NATSURL, BlobUrl: a.BlobURL, Strict: a.Strict, ExchangeKey: a.ExchangeKey,
			OldestProtocol: cluster.OldestProtocol, NewestProtocol: cluster.Protocol, Version: h.Version,
		}, nil
	})
}

func (h *clusterHandler) Join(ctx context.Context, r *connect.Request[weirv1.JoinRequest]) (*connect.Response[weirv1.JoinResponse], error) {
	return unary(ctx, r, func(ctx context.Context, q *weirv1.JoinRequest) (*weirv1.JoinResponse, error) {
		joined, err := h.Desk.Join(ctx, cluster.Joining{
			ID: q.GetId(), Address: q.GetAddress(), Node: q.GetNode(), Slots: int(q.GetSlots()), Version: q.GetVersion(), Protocol: int(q.GetProtocol()),
		})
		return &weirv1.JoinResponse{Epoch: joined.Epoch}, h.refusal(err)
	})
}

func (h *clusterHandler) Follow(ctx context.Context, r *connect.Request[weirv1.FollowRequest], s *connect.ServerStream[weirv1.FollowResponse]) error {
	return h.refusal(h.Desk.Follow(ctx, r.Msg.GetEpoch(), func(w cluster.Word) error {
		m, err := cluster.WordMessage(w)
		if err != nil {
			return err
		}
		return s.Send(m)
	}))
}

func (h *clusterHandler) Report(ctx context.Context, r *connect.Request[weirv1.ReportRequest]) (*connect.Response[weirv1.ReportResponse], error) {
	return unary(ctx, r, func(ctx context.Context, q *weirv1.ReportRequest) (*weirv1.ReportResponse, error) {
		report, err := cluster.ReportOf(q)
		if err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("report of worker %d: %w", q.GetEpoch(), err))
		}
		return &weirv1.ReportResponse{}, h.refusal(h.Desk.Report(ctx, report))
	})
}

func (h *clusterHandler) Drain(ctx context.Context, r *connect.Request[weirv1.DrainRequest]) (*connect.Response[weirv1.DrainResponse], error) {
	return unary(ctx, r, func(ctx context.Context, q *weirv1.DrainRequest) (*weirv1.DrainResponse, error) {
		if err := h.lead(); err != nil {
			return nil, err
		}
		return &weirv1.DrainResponse{}, h.Desk.Drain(ctx, q.GetEpoch())
	})
}

func (h *clusterHandler) Leave(ctx context.Context, r *connect.Request[weirv1.LeaveRequest]) (*connect.Response[weirv1.LeaveResponse], error) {
	return unary(ctx, r, func(ctx context.Context, q *weirv1.LeaveRequest) (*weirv1.LeaveResponse, error) {
		if err := h.lead(); err != nil {
			return nil, err
		}
		return &weirv1.LeaveResponse{}, h.Desk.Leave(ctx, q.GetEpoch(), q.GetReason())
	})
}

func (h *clusterHandler) FindTopic(ctx context.Context, r *connect.Request[weirv1.FindTopicRequest]) (*connect.Response[weirv1.FindTopicResponse], error) {
	return unary(ctx, r, func(_ context.Context, q *weirv1.FindTopicRequest) (*weirv1.FindTopicResponse, error) {
		if err := h.lead(); err != nil {
			return nil, err
		}
		t, ok := h.View().Topic(topics.Namespace(q.GetNamespace()), q.GetName())
		if !ok {
			return nil, fmt.Errorf("find topic %q in namespace %s: %w", q.GetName(), topics.Namespace(q.GetNamespace()), catalog.ErrNotFound)
		}
		b, err := json.Marshal(t)
		return &weirv1.FindTopicResponse{Topic: b}, err
	})
}

func (h *clusterHandler) Announce(ctx context.Context, r *connect.Request[weirv1.AnnounceRequest]) (*connect.Response[weirv1.AnnounceResponse], error) {
	return unary(ctx, r, func(ctx context.Context, q *weirv1.AnnounceRequest) (*weirv1.AnnounceResponse, error) {
		if err := h.lead(); err != nil {
			return nil, err
		}
		_, err := h.Propose(ctx, &catalog.PutNode{At: h.Now(), ID: q.GetId(), RaftAddress: q.GetRaftAddress(), HTTPAddress: q.GetHttpAddress(), Version: q.GetVersion()})
		return &weirv1.AnnounceResponse{}, err
	})
}
