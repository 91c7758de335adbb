package rpc

import (
	"context"
	"io"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/savepoints"
)

// savepointHandler answers SavepointService.
type savepointHandler struct{ savepoints *savepoints.Service }

func (h *savepointHandler) CreateSavepoint(ctx context.Context, r *connect.Request[weirv1.CreateSavepointRequest]) (*connect.Response[weirv1.CreateSavepointResponse], error) {
	return unary(ctx, r, h.savepoints.Create)
}

func (h *savepointHandler) ListSavepoints(ctx context.Context, r *connect.Request[weirv1.ListSavepointsRequest]) (*connect.Response[weirv1.ListSavepointsResponse], error) {
	return unary(ctx, r, h.savepoints.List)
}

func (h *savepointHandler) GetSavepoint(ctx context.Context, r *connect.Request[weirv1.GetSavepointRequest]) (*connect.Response[weirv1.GetSavepointResponse], error) {
	return unary(ctx, r, h.savepoints.Info)
}

func (h *savepointHandler) DeleteSavepoint(ctx context.Context, r *connect.Request[weirv1.DeleteSavepointRequest]) (*connect.Response[weirv1.DeleteSavepointResponse], error) {
	return unary(ctx, r, h.savepoints.Delete)
}

func (h *savepointHandler) ExportSavepoint(ctx context.Context, r *connect.Request[weirv1.ExportSavepointRequest], s *connect.ServerStream[weirv1.ExportSavepointResponse]) error {
	return h.savepoints.Export(ctx, r.Msg, s.Send)
}

func (h *savepointHandler) ImportSavepoint(ctx context.Context, s *connect.ClientStream[weirv1.ImportSavepointRequest]) (*connect.Response[weirv1.ImportSavepointResponse], error) {
	a, err := h.savepoints.Import(ctx, func() (*weirv1.ImportSavepointRequest, error) {
		if s.Receive() {
			return s.Msg(), nil
		}
		if err := s.Err(); err != nil {
			return nil, err
		}
		return nil, io.EOF
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(a), nil
}
