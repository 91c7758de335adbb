package rpc

import (
	"context"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/statereader"
)

// stateHandler answers StateService.
type stateHandler struct{ state *statereader.Service }

func (h *stateHandler) GetState(ctx context.Context, r *connect.Request[weirv1.GetStateRequest], s *connect.ServerStream[weirv1.GetStateResponse]) error {
	return h.state.Get(ctx, r.Msg, s.Send)
}

func (h *stateHandler) DumpState(ctx context.Context, r *connect.Request[weirv1.DumpStateRequest], s *connect.ServerStream[weirv1.DumpStateResponse]) error {
	return h.state.Dump(ctx, r.Msg, s.Send)
}
