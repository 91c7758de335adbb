package cli

import (
	"context"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func (f *fake) ReadAudit(_ context.Context, _ *connect.Request[weirv1.ReadAuditRequest], s *connect.ServerStream[weirv1.ReadAuditResponse]) error {
	return s.Send(&weirv1.ReadAuditResponse{Entries: []*weirv1.AuditEntry{
		{Time: someTime, Who: "k8", Role: "admin", Method: "weir.v1.TopicService/CreateTopic", Namespace: "default", Target: "flights", Outcome: "ok", Remote: "10.0.0.7:4711"},
		{Time: someTime, Who: "k7", Role: "deploy", Method: "weir.v1.TopicService/Publish", Namespace: "team-a", Target: "flights", Outcome: "ok", Remote: "10.0.0.8", Count: 1200},
		{Time: someTime, Method: "weir.v1.TokenService/CreateToken", Outcome: "unauthenticated", Remote: "10.0.0.2:80", ForwardedFor: "192.0.2.1"},
	}})
}
