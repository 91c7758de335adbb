// Package rpc answers calls: Connect, gRPC, gRPC-Web and JSON over one handler,
// with health, reflection and metrics beside. It maps errors to codes in one
// place. It must not know how anything is done that a call asks for.
package rpc

import (
	"context"
	"net/http"
	"slices"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"

	"github.com/weirstream/weir/platform/api/grpc/health/v1/healthv1connect"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
	"github.com/weirstream/weir/platform/auth/audit"
	"github.com/weirstream/weir/platform/auth/secrets"
	"github.com/weirstream/weir/platform/backup"
	"github.com/weirstream/weir/platform/gateway"
	"github.com/weirstream/weir/platform/modules"
	"github.com/weirstream/weir/platform/pipelines"
	"github.com/weirstream/weir/platform/savepoints"
	"github.com/weirstream/weir/platform/statereader"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta"
)

// Limits of requests. A larger one is refused with resource_exhausted.
const (
	MaxRequestBytes = 16 << 20
	MaxModuleBytes  = 64 << 20 // of an uploaded module with its assets
	moduleSlack     = 1 << 20  // of a request around them
)

// Deps is what the handlers call.
type Deps struct {
	Node       *raftmeta.Node
	Topics     *topics.Service
	Pipelines  *pipelines.Service
	Savepoints *savepoints.Service
	State      *statereader.Service
	Functions  *gateway.Gateway // nil: nothing answers for functions
	Modules    *modules.Store
	Version    string
	Gate       *Gate // nil: everybody may everything
	Secrets    *secrets.Ring
	Backup     *backup.Service
	Audit      *audit.Log   // nil: nothing is written down
	Checks     []Check      // of the doctor
	Metrics    http.Handler // nil: no /metrics
	Cluster    *Cluster     // what the processes of a cluster ask
	// Internal are handlers below auth.InternalPath, by path.
	Internal map[string]http.Handler
	// Ready says whether calls can be answered; nil: the node is asked whether a leader is known.
	Ready func() error
	// Closing ends streams when the server goes down; nil: nothing does but their callers.
	Closing <-chan struct{}
}

// services are the names by which health and reflection know ours.
var services = []string{
	weirv1connect.TopicServiceName, weirv1connect.ModuleServiceName, weirv1connect.PipelineServiceName,
	weirv1connect.SystemServiceName, weirv1connect.TokenServiceName, weirv1connect.SavepointServiceName, weirv1connect.StateServiceName, weirv1connect.SecretServiceName, weirv1connect.BackupServiceName, healthv1connect.HealthName,
}

// New makes the handler of the one HTTP port.
func New(d Deps) http.Handler {
	if d.Ready == nil {
		d.Ready = d.leaderKnown
	}
	d.Gate.writeTo(d.Audit)
	small := []connect.HandlerOption{connect.WithReadMaxBytes(MaxRequestBytes), connect.WithInterceptors(refusals{d.Closing}, audited{d.Audit}, scoped{d.Gate}), connect.WithRecover(recovered)}
	large := append([]connect.HandlerOption{}, small...)
	large[0] = connect.WithReadMaxBytes(MaxModuleBytes + moduleSlack)
	mux := http.NewServeMux()
	mux.Handle(weirv1connect.NewTopicServiceHandler(&topicHandler{d.Topics}, small...))
	mux.Handle(weirv1connect.NewModuleServiceHandler(&moduleHandler{node: d.Node, store: d.Modules}, large...))
	mux.Handle(weirv1connect.NewPipelineServiceHandler(&pipelineHandler{d.Pipelines}, small...))
	mux.Handle(weirv1connect.NewSavepointServiceHandler(&savepointHandler{d.Savepoints}, small...))
	mux.Handle(weirv1connect.NewStateServiceHandler(&stateHandler{d.State}, small...))
	mux.Handle(weirv1connect.NewSystemServiceHandler(&systemHandler{d}, small...))
	mux.Handle(weirv1connect.NewSecretServiceHandler(&secretHandler{d.Node, d.Secrets}, small...))
	mux.Handle(weirv1connect.NewBackupServiceHandler(&backupHandler{d.Backup}, small...))
	mux.Handle(weirv1connect.NewTokenServiceHandler(&tokenHandler{d.Node}, small...))
	mux.Handle(healthv1connect.NewHealthHandler(&healthHandler{ready: d.Ready}, small...))
	names := services
	if d.Audit != nil {
		names = append(slices.Clip(names), weirv1connect.AuditServiceName)
		mux.Handle(weirv1connect.NewAuditServiceHandler(&auditHandler{d.Audit}, small...))
	}
	if d.Functions != nil {
		names = append(slices.Clip(names), weirv1connect.FunctionServiceName)
		mux.Handle(weirv1connect.NewFunctionServiceHandler(&functionHandler{d.Functions}, small...))
		(&functionPages{d.Functions, d.Audit}).handle(mux)
	}
	if d.Cluster != nil {
		names = append(slices.Clip(names), weirv1connect.WorkerServiceName, weirv1connect.ClusterServiceName)
		mux.Handle(weirv1connect.NewClusterServiceHandler(&clusterHandler{d.Cluster}, large...))
		mux.Handle(weirv1connect.NewWorkerServiceHandler(&workerHandler{d.Cluster}, small...))
	}
	reflector := grpcreflect.NewStaticReflector(names...)
	mux.Handle(grpcreflect.NewHandlerV1(reflector, small[0]))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector, small[0]))
	for path, h := range d.Internal {
		mux.Handle(path, h)
	}
	if d.Metrics != nil {
		mux.Handle("GET /metrics", d.Metrics)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := d.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n")) // the caller is gone if it fails
	})
	return d.Gate.wrap(mux)
}

func (d *Deps) leaderKnown() error {
	if id, _ := d.Node.Leader(); id == "" {
		return errNoLeader
	}
	return nil
}

// unary makes a Connect handler of a function from request to answer.
func unary[Q, A any](ctx context.Context, r *connect.Request[Q], do func(context.Context, *Q) (*A, error)) (*connect.Response[A], error) {
	a, err := do(ctx, r.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(a), nil
}
