package rpc

import (
	"context"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"

	healthv1 "github.com/weirstream/weir/platform/api/grpc/health/v1"
)

// healthEvery is how often a watcher's status is looked at.
const healthEvery = time.Second

// healthHandler answers grpc.health.v1.
type healthHandler struct{ ready func() error }

func (h *healthHandler) status(service string) (healthv1.HealthCheckResponse_ServingStatus, bool) {
	switch {
	case service != "" && !slices.Contains(services, service):
		return healthv1.HealthCheckResponse_SERVICE_UNKNOWN, false
	case h.ready() != nil:
		return healthv1.HealthCheckResponse_NOT_SERVING, true
	}
	return healthv1.HealthCheckResponse_SERVING, true
}

func (h *healthHandler) Check(_ context.Context, r *connect.Request[healthv1.HealthCheckRequest]) (*connect.Response[healthv1.HealthCheckResponse], error) {
	status, known := h.status(r.Msg.GetService())
	if !known {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("there is no service %q", r.Msg.GetService()))
	}
	return connect.NewResponse(&healthv1.HealthCheckResponse{Status: status}), nil
}

func (h *healthHandler) Watch(ctx context.Context, r *connect.Request[healthv1.HealthCheckRequest], s *connect.ServerStream[healthv1.HealthCheckResponse]) error {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	last := healthv1.HealthCheckResponse_ServingStatus(-1)
	for {
		if status, _ := h.status(r.Msg.GetService()); status != last {
			if err := s.Send(&healthv1.HealthCheckResponse{Status: status}); err != nil {
				return err
			}
			last = status
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
