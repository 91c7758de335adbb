package rpc

import (
	"context"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/pipelines"
)

// pipelineHandler answers PipelineService.
type pipelineHandler struct{ pipelines *pipelines.Service }

func (h *pipelineHandler) ValidatePipeline(ctx context.Context, r *connect.Request[weirv1.ValidatePipelineRequest]) (*connect.Response[weirv1.ValidatePipelineResponse], error) {
	return unary(ctx, r, h.pipelines.Validate)
}

func (h *pipelineHandler) DiffPipeline(ctx context.Context, r *connect.Request[weirv1.DiffPipelineRequest]) (*connect.Response[weirv1.DiffPipelineResponse], error) {
	return unary(ctx, r, h.pipelines.Diff)
}

func (h *pipelineHandler) ApplyPipeline(ctx context.Context, r *connect.Request[weirv1.ApplyPipelineRequest]) (*connect.Response[weirv1.ApplyPipelineResponse], error) {
	return unary(ctx, r, h.pipelines.Apply)
}

func (h *pipelineHandler) ListPipelines(ctx context.Context, r *connect.Request[weirv1.ListPipelinesRequest]) (*connect.Response[weirv1.ListPipelinesResponse], error) {
	return unary(ctx, r, h.pipelines.List)
}

func (h *pipelineHandler) GetPipeline(ctx context.Context, r *connect.Request[weirv1.GetPipelineRequest]) (*connect.Response[weirv1.GetPipelineResponse], error) {
	return unary(ctx, r, h.pipelines.Get)
}

func (h *pipelineHandler) WatchPipeline(ctx context.Context, r *connect.Request[weirv1.WatchPipelineRequest], s *connect.ServerStream[weirv1.WatchPipelineResponse]) error {
	return h.pipelines.Watch(ctx, r.Msg, s.Send)
}

func (h *pipelineHandler) StopPipeline(ctx context.Context, r *connect.Request[weirv1.StopPipelineRequest]) (*connect.Response[weirv1.StopPipelineResponse], error) {
	return unary(ctx, r, h.pipelines.Stop)
}

func (h *pipelineHandler) ResumePipeline(ctx context.Context, r *connect.Request[weirv1.ResumePipelineRequest]) (*connect.Response[weirv1.ResumePipelineResponse], error) {
	return unary(ctx, r, h.pipelines.Resume)
}

func (h *pipelineHandler) RescalePipeline(ctx context.Context, r *connect.Request[weirv1.RescalePipelineRequest]) (*connect.Response[weirv1.RescalePipelineResponse], error) {
	return unary(ctx, r, h.pipelines.Rescale)
}

func (h *pipelineHandler) DeletePipeline(ctx context.Context, r *connect.Request[weirv1.DeletePipelineRequest]) (*connect.Response[weirv1.DeletePipelineResponse], error) {
	return unary(ctx, r, h.pipelines.Delete)
}

func (h *pipelineHandler) Logs(ctx context.Context, r *connect.Request[weirv1.LogsRequest], s *connect.ServerStream[weirv1.LogsResponse]) error {
	// The headers go at once: whoever follows wants to know that it is heard, though nothing comes for long.
	if err := s.Send(nil); err != nil {
		return err
	}
	return h.pipelines.Logs(ctx, r.Msg, s.Send)
}

func (h *pipelineHandler) ListCheckpoints(ctx context.Context, r *connect.Request[weirv1.ListCheckpointsRequest]) (*connect.Response[weirv1.ListCheckpointsResponse], error) {
	return unary(ctx, r, h.pipelines.Checkpoints)
}

func (h *pipelineHandler) ListDeadLetters(ctx context.Context, r *connect.Request[weirv1.ListDeadLettersRequest]) (*connect.Response[weirv1.ListDeadLettersResponse], error) {
	return unary(ctx, r, h.pipelines.DeadLetters)
}

func (h *pipelineHandler) ReplayDeadLetters(ctx context.Context, r *connect.Request[weirv1.ReplayDeadLettersRequest]) (*connect.Response[weirv1.ReplayDeadLettersResponse], error) {
	return unary(ctx, r, h.pipelines.Replay)
}
