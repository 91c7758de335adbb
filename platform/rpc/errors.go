package rpc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/auth"
	"github.com/weirstream/weir/platform/auth/secrets"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/gateway"
	"github.com/weirstream/weir/platform/modules"
	"github.com/weirstream/weir/platform/pipelines"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/scheduler"
)

var errNoLeader = errors.New("no leader is known yet; wait a moment and call again")

// codes maps what an error wraps to a code; the first that fits counts.
var codes = []struct {
	is   error
	code connect.Code
}{
	{context.Canceled, connect.CodeCanceled},
	{context.DeadlineExceeded, connect.CodeDeadlineExceeded},
	{raftmeta.ErrNotLeader, connect.CodeUnavailable},
	{raftmeta.ErrUnknownOutcome, connect.CodeUnavailable},
	{raftmeta.ErrClosed, connect.CodeUnavailable},
	{topics.ErrClosed, connect.CodeUnavailable},
	{gateway.ErrNoAnswer, connect.CodeDeadlineExceeded},
	{gateway.ErrBusy, connect.CodeResourceExhausted},
	{gateway.ErrNotRunning, connect.CodeFailedPrecondition},
	{gateway.ErrUnread, connect.CodeUnavailable},
	{gateway.ErrClosed, connect.CodeUnavailable},
	{errNoLeader, connect.CodeUnavailable},
	{auth.ErrUnauthenticated, connect.CodeUnauthenticated},
	{auth.ErrDenied, connect.CodePermissionDenied},
	{auth.ErrThrottled, connect.CodeResourceExhausted},
	{secrets.ErrValue, connect.CodeInvalidArgument},
	{secrets.ErrKey, connect.CodeFailedPrecondition},
	{secrets.ErrDamaged, connect.CodeDataLoss},
	{modules.ErrRefused, connect.CodeInvalidArgument},
	{pipelines.ErrRefused, connect.CodeFailedPrecondition},
	{scheduler.ErrNoSlots, connect.CodeFailedPrecondition},
	{catalog.ErrNotFound, connect.CodeNotFound},
	{catalog.ErrExists, connect.CodeAlreadyExists},
	{catalog.ErrInUse, connect.CodeFailedPrecondition},
	{catalog.ErrUnpublished, connect.CodeFailedPrecondition},
	{catalog.ErrStale, connect.CodeAborted},
	{catalog.ErrConflict, connect.CodeAborted},
	{catalog.ErrTooLarge, connect.CodeResourceExhausted},
	{catalog.ErrLimit, connect.CodeResourceExhausted},
	{catalog.ErrInvalid, connect.CodeInvalidArgument},
	{jetstream.ErrTopicExists, connect.CodeAlreadyExists},
	{jetstream.ErrNoTopic, connect.CodeFailedPrecondition},
	{jetstream.ErrUnfit, connect.CodeFailedPrecondition},
	{connector.ErrPermanent, connect.CodeFailedPrecondition},
	{blob.ErrFull, connect.CodeResourceExhausted},
	{blob.ErrNotFound, connect.CodeDataLoss},
	{catalog.ErrDamaged, connect.CodeDataLoss},
	{catalog.ErrNewer, connect.CodeFailedPrecondition},
	{nats.ErrTimeout, connect.CodeUnavailable},
	{nats.ErrNoResponders, connect.CodeUnavailable},
	{nats.ErrConnectionClosed, connect.CodeUnavailable},
	{nats.ErrDisconnected, connect.CodeUnavailable},
}

// hinter is an error that knows what to do next.
type hinter interface{ Hint() string }

// hinted is an error with what to do next.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint is what to do next.
func (h *hinted) Hint() string { return h.hint }

// wire makes what goes over the wire of any error: the only place that knows codes.
func wire(err error) error {
	var done *connect.Error
	if err == nil || errors.As(err, &done) {
		return err
	}
	out := connect.NewError(codeOf(err), err)
	var bad *pipelines.ProblemsError
	var lost *connector.DataLost
	var h hinter
	switch {
	case errors.As(err, &bad):
		attach(out, pipelines.Problems(bad.Problems)...)
	case errors.As(err, &lost):
		attach(out, &weirv1.Problem{Message: lost.Reason, Hint: "read on behind it: weir topic info shows the first sequence that is there"})
	case errors.As(err, &h):
		attach(out, &weirv1.Problem{Message: err.Error(), Hint: h.Hint()})
	}
	return out
}

func codeOf(err error) connect.Code {
	for _, c := range codes {
		if errors.Is(err, c.is) {
			return c.code
		}
	}
	var bad pipelinefile.Problem
	var lost *connector.DataLost
	switch {
	case errors.As(err, &bad):
		return connect.CodeInvalidArgument
	case errors.As(err, &lost):
		return connect.CodeDataLoss
	}
	return connect.CodeInternal
}

func attach(out *connect.Error, problems ...*weirv1.Problem) {
	for _, p := range problems {
		if d, err := connect.NewErrorDetail(p); err == nil {
			out.AddDetail(d)
		}
	}
}

// refusals maps the errors of all handlers and ends streams when the server does.
type refusals struct{ closing <-chan struct{} }

// WrapUnary implements connect.Interceptor.
func (i refusals) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		a, err := next(ctx, r)
		return a, wire(err)
	}
}

// WrapStreamingClient implements connect.Interceptor; there are no clients here.
func (i refusals) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// errClosing ends streams.
var errClosing = errors.New("the server is shutting down; call again when it is back")

// WrapStreamingHandler implements connect.Interceptor.
func (i refusals) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		ended := make(chan struct{})
		defer close(ended)
		go func() {
			select {
			case <-i.closing:
				cancel(errClosing)
			case <-ended:
			}
		}()
		err := next(ctx, conn)
		if err != nil && errors.Is(context.Cause(ctx), errClosing) {
			return connect.NewError(connect.CodeUnavailable, errClosing)
		}
		return wire(err)
	}
}

// recovered makes an error of a panic: one call must not take the server down.
func recovered(_ context.Context, spec connect.Spec, _ http.Header, value any) error {
	return connect.NewError(connect.CodeInternal, fmt.Errorf("%s: a fault of Weir: %v\n%s", spec.Procedure, value, debug.Stack()))
}
