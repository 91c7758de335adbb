package rpc_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
	"github.com/weirstream/weir/platform/auth/secrets"
	"github.com/weirstream/weir/platform/cluster"
	"github.com/weirstream/weir/platform/embednats"
	"github.com/weirstream/weir/platform/logbook"
	"github.com/weirstream/weir/platform/modules"
	"github.com/weirstream/weir/platform/pipelines"
	"github.com/weirstream/weir/platform/rpc"
	"github.com/weirstream/weir/platform/server/agent"
	"github.com/weirstream/weir/platform/server/controller"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/scheduler"
	"github.com/weirstream/weir/wasmhost"
)

// world is the API over real storage, log, catalog and sandbox. No job runs in it.
type world struct {
	node      *raftmeta.Node
	conn      *nats.Conn
	blobs     *memblob.Store
	logs      *logbook.Book
	deleted   []string
	url       string
	topic     weirv1connect.TopicServiceClient
	module    weirv1connect.ModuleServiceClient
	pipeline  weirv1connect.PipelineServiceClient
	system    weirv1connect.SystemServiceClient
	tokens    weirv1connect.TokenServiceClient
	secrets   weirv1connect.SecretServiceClient
	audit     weirv1connect.AuditServiceClient
	topics    *topics.Service
	pipelines *pipelines.Service
	closing   chan struct{}
}

// noJobs is a scheduler that leads nothing.
type noJobs struct{}

func (noJobs) Status(string) (scheduler.Status, bool) { return scheduler.Status{}, false }

func (noJobs) Tasks(string, uint64) []cluster.TaskNumbers { return nil }

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, func(*rpc.Deps) {})
}

// newWorldWith lets a test change what the handlers call.
func newWorldWith(t *testing.T, change func(*rpc.Deps)) *world {
	t.Helper()
	w := &world{blobs: memblob.New(memblob.Options{}), logs: logbook.New(), closing: make(chan struct{})}
	server, err := embednats.Start(t.Context(), embednats.Options{DataDir: t.TempDir()})
	must(t, err)
	t.Cleanup(server.Close)
	w.conn, err = server.Connect(t.Name())
	must(t, err)
	t.Cleanup(w.conn.Close)
	w.node, err = raftmeta.Open(t.Context(), raftmeta.Options{NodeID: "node-1", DataDir: t.TempDir()})
	must(t, err)
	t.Cleanup(func() { must(t, w.node.Close()) })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, w.node.Ready(ctx))
	host, err := wasmhost.NewHost(t.Context(), wasmhost.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, host.Close(context.Background())) })
	store := modules.New(host, w.blobs)

	w.topics = topics.New(topics.Options{Node: w.node, Conn: w.conn, NATSURL: "nats://127.0.0.1:4222"})
	t.Cleanup(func() { must(t, w.topics.Close()) })
	w.pipelines = pipelines.New(pipelines.Options{
		Node: w.node, Blobs: w.blobs, Modules: store, Topics: w.topics, Logs: w.logs, Jobs: noJobs{}, Tasks: noJobs{},
		GraphName: agent.GraphName, ManifestName: controller.ManifestName, TotalBytes: controller.TotalBytes,
		Deleted:  func(_ context.Context, uid string) error { w.deleted = append(w.deleted, uid); return nil },
		Warnings: func(catalog.Delivery) []string { return []string{"a power cut may take the last 100ms"} },
	})
	w.topics.SetUsers(w.pipelines.Users)
	ring, err := secrets.OpenRing("", filepath.Join(t.TempDir(), "secrets.key"))
	must(t, err)
	deps := rpc.Deps{
		Secrets: ring,
		Node:    w.node, Topics: w.topics, Pipelines: w.pipelines, Modules: store, Version: "v0.0.0-test", Closing: w.closing,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("weir_up 1\n")) }),
		Checks: []rpc.Check{
			rpc.CheckDisk(t.TempDir()), rpc.CheckNATS(w.conn, func() string { return "" }), rpc.CheckTopics(w.node, w.conn, true), rpc.CheckRaft(w.node),
			rpc.CheckClock(w.node, time.Now), rpc.CheckCheckpoints(w.node, w.blobs, controller.ManifestName, controller.TotalBytes),
			rpc.CheckPipelines(w.node, w.pipelines.CheckpointProblem),
		},
	}
	change(&deps)
	front := httptest.NewUnstartedServer(rpc.New(deps))
	front.EnableHTTP2 = true
	front.StartTLS() // HTTP/2, which gRPC needs
	t.Cleanup(front.Close)
	w.url = front.URL
	w.dial(front.Client())
	return w
}

func (w *world) dial(c *http.Client, o ...connect.ClientOption) {
	w.topic = weirv1connect.NewTopicServiceClient(c, w.url, o...)
	w.module = weirv1connect.NewModuleServiceClient(c, w.url, o...)
	w.pipeline = weirv1connect.NewPipelineServiceClient(c, w.url, o...)
	w.system = weirv1connect.NewSystemServiceClient(c, w.url, o...)
	w.audit = weirv1connect.NewAuditServiceClient(c, w.url, o...)
	w.secrets = weirv1connect.NewSecretServiceClient(c, w.url, o...)
	w.tokens = weirv1connect.NewTokenServiceClient(c, w.url, o...)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// call makes a call that has to succeed.
func call[Q, A any](t testing.TB, do func(context.Context, *connect.Request[Q]) (*connect.Response[A], error), q *Q) *A {
	t.Helper()
	a, err := do(t.Context(), connect.NewRequest(q))
	must(t, err)
	return a.Msg
}

// refused makes a call that has to be refused, and gives the problems attached.
func refused[Q, A any](t testing.TB, want connect.Code, do func(context.Context, *connect.Request[Q]) (*connect.Response[A], error), q *Q) (string, []*weirv1.Problem) {
	t.Helper()
	_, err := do(t.Context(), connect.NewRequest(q))
	if connect.CodeOf(err) != want || err == nil {
		t.Fatalf("got %v, want code %s", err, want)
	}
	return err.Error(), problems(t, err)
}

func problems(t testing.TB, err error) []*weirv1.Problem {
	t.Helper()
	var out []*weirv1.Problem
	wire, ok := err.(*connect.Error)
	if !ok {
		t.Fatalf("%T is no error of the wire", err)
	}
	for _, d := range wire.Details() {
		v, err := d.Value()
		must(t, err)
		out = append(out, v.(*weirv1.Problem))
	}
	return out
}

func (w *world) createTopic(t testing.TB, name string, partitions uint32) *weirv1.Topic {
	t.Helper()
	return call(t, w.topic.CreateTopic, &weirv1.CreateTopicRequest{Name: name, Partitions: partitions}).GetTopic()
}

func (w *world) pushCountSum(t testing.TB) *weirv1.PushModuleResponse {
	t.Helper()
	wasm, err := os.ReadFile("../../sdk/c/bench/count_sum.wasm")
	must(t, err)
	return call(t, w.module.PushModule, &weirv1.PushModuleRequest{Name: "count_sum", Wasm: wasm})
}
