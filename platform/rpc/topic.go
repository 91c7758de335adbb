package rpc

import (
	"context"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/topics"
)

// topicHandler answers TopicService.
type topicHandler struct{ topics *topics.Service }

func (h *topicHandler) CreateTopic(ctx context.Context, r *connect.Request[weirv1.CreateTopicRequest]) (*connect.Response[weirv1.CreateTopicResponse], error) {
	return unary(ctx, r, h.topics.Create)
}

func (h *topicHandler) GetTopic(ctx context.Context, r *connect.Request[weirv1.GetTopicRequest]) (*connect.Response[weirv1.GetTopicResponse], error) {
	return unary(ctx, r, h.topics.Get)
}

func (h *topicHandler) ListTopics(ctx context.Context, r *connect.Request[weirv1.ListTopicsRequest]) (*connect.Response[weirv1.ListTopicsResponse], error) {
	return unary(ctx, r, h.topics.List)
}

func (h *topicHandler) DeleteTopic(ctx context.Context, r *connect.Request[weirv1.DeleteTopicRequest]) (*connect.Response[weirv1.DeleteTopicResponse], error) {
	return unary(ctx, r, h.topics.Delete)
}

func (h *topicHandler) Publish(ctx context.Context, r *connect.Request[weirv1.PublishRequest]) (*connect.Response[weirv1.PublishResponse], error) {
	return unary(ctx, r, h.topics.Publish)
}

func (h *topicHandler) PublishFrames(ctx context.Context, r *connect.Request[weirv1.PublishFramesRequest]) (*connect.Response[weirv1.PublishFramesResponse], error) {
	return unary(ctx, r, h.topics.PublishFrames)
}

func (h *topicHandler) Read(ctx context.Context, r *connect.Request[weirv1.ReadRequest], s *connect.ServerStream[weirv1.ReadResponse]) error {
	// The headers go at once: whoever follows wants to know that it is heard, though nothing comes for long.
	if err := s.Send(nil); err != nil {
		return err
	}
	return h.topics.Read(ctx, r.Msg, s.Send)
}
