package rpc_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"

	healthv1 "github.com/weirstream/weir/platform/api/grpc/health/v1"
	"github.com/weirstream/weir/platform/api/grpc/health/v1/healthv1connect"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/rpc"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// trusting is a client of the test server, over HTTP/2.
func trusting() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
}

func TestOnePortSpeaksEveryProtocol(t *testing.T) {
	w := newWorld(t)
	for name, option := range map[string]connect.ClientOption{
		"connect": connect.WithHTTPGet(), "grpc": connect.WithGRPC(), "grpc-web": connect.WithGRPCWeb(), "json": connect.WithProtoJSON(),
	} {
		w.dial(trusting(), option)
		w.createTopic(t, "by-"+name, 1)
		call(t, w.topic.Publish, &weirv1.PublishRequest{Topic: "by-" + name, Records: []*weirv1.Record{{Value: []byte("x")}}})
		if got := w.read(t, &weirv1.ReadRequest{Topic: "by-" + name, From: &weirv1.ReadRequest_Start{Start: true}, UntilEnd: true}); len(got) != 1 {
			t.Errorf("%s: read %v", name, got)
		}
		_, problems := refused(t, connect.CodeNotFound, w.topic.GetTopic, &weirv1.GetTopicRequest{Name: "none"})
		if len(problems) != 1 {
			t.Errorf("%s: problems %v", name, problems)
		}
	}
	for path, want := range map[string]string{"/healthz": "ok\n", "/metrics": "weir_up 1\n"} {
		r, err := trusting().Get(w.url + path)
		must(t, err)
		body, err := io.ReadAll(r.Body)
		must(t, errors.Join(err, r.Body.Close()))
		if r.StatusCode != http.StatusOK || string(body) != want {
			t.Errorf("%s: %d %s", path, r.StatusCode, body)
		}
	}
}

func TestHealthAndReflectionNameTheServices(t *testing.T) {
	w := newWorld(t)
	health := healthv1connect.NewHealthClient(trusting(), w.url, connect.WithGRPC())
	for _, service := range []string{"", "weir.v1.PipelineService"} {
		if got := call(t, health.Check, &healthv1.HealthCheckRequest{Service: service}).GetStatus(); got != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("service %q is %s", service, got)
		}
	}
	if _, err := health.Check(t.Context(), connect.NewRequest(&healthv1.HealthCheckRequest{Service: "nobody"})); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("an unknown service: %v", err)
	}
	s := grpcreflect.NewClient(trusting(), w.url, connect.WithGRPC()).NewStream(context.Background())
	names, err := s.ListServices()
	must(t, err)
	if len(names) != 10 {
		t.Errorf("reflection names %v", names)
	}
	if _, err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestTheDoctorFindsAStreamThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.createTopic(t, "flights", 1)
	worst := func() map[string]*weirv1.Finding {
		out := map[string]*weirv1.Finding{}
		for _, f := range call(t, w.system.Doctor, &weirv1.DoctorRequest{}).GetFindings() {
			if old := out[f.GetCheck()]; old == nil || f.GetSeverity() > old.GetSeverity() {
				out[f.GetCheck()] = f
			}
		}
		return out
	}
	for name, f := range worst() {
		if name != "disk" && f.GetSeverity() != weirv1.Finding_SEVERITY_OK {
			t.Errorf("%s: %v", name, f)
		}
	}
	must(t, jetstream.Delete(t.Context(), w.conn, jetstream.Topic{Name: "flights"}))
	got := worst()
	if f := got["topics"]; f.GetSeverity() != weirv1.Finding_SEVERITY_ERROR || f.GetHint() == "" || !strings.Contains(f.GetText(), "flights") {
		t.Errorf("topics: %v", f)
	}
	if len(got) != 7 {
		t.Errorf("%d checks", len(got))
	}
	v := call(t, w.system.GetVersion, &weirv1.GetVersionRequest{})
	if v.GetVersion() != "v0.0.0-test" || v.GetAbiMajor() != 1 || v.GetGoVersion() == "" {
		t.Errorf("version %v", v)
	}
}

func TestModulesAreKeptByDigestAndBadOnesRefused(t *testing.T) {
	w := newWorld(t)
	first, second := w.pushCountSum(t), w.pushCountSum(t)
	if first.GetUnchanged() || !second.GetUnchanged() || len(first.GetFunctions()) != 2 || !strings.HasPrefix(first.GetModule().GetDigest(), "sha256:") {
		t.Fatalf("pushed %v then %v", first, second)
	}
	pinned := "count_sum@" + first.GetModule().GetDigest()
	if got := call(t, w.module.GetModule, &weirv1.GetModuleRequest{Name: pinned}); got.GetModule().GetDigest() != first.GetModule().GetDigest() {
		t.Fatalf("pinned %v", got)
	}
	refused(t, connect.CodeInvalidArgument, w.module.PushModule, &weirv1.PushModuleRequest{Name: "bad", Wasm: []byte("no wasm")})
	refused(t, connect.CodeInvalidArgument, w.module.PushModule, &weirv1.PushModuleRequest{Name: "bad", Wasm: make([]byte, 64<<20+1)})
	refused(t, connect.CodeResourceExhausted, w.module.PushModule, &weirv1.PushModuleRequest{Name: "bad", Wasm: make([]byte, 66<<20)})
	refused(t, connect.CodeNotFound, w.module.GetModule, &weirv1.GetModuleRequest{Name: "count_sum@sha256:" + strings.Repeat("0", 63) + "1"})
	call(t, w.module.DeleteModule, &weirv1.DeleteModuleRequest{Name: "count_sum"})
	if list := call(t, w.module.ListModules, &weirv1.ListModulesRequest{}).GetModules(); len(list) != 0 {
		t.Fatalf("list %v", list)
	}
}

func TestANamespaceIsHeldToItsLimits(t *testing.T) {
	w := newWorld(t)
	call(t, w.system.CreateNamespace, &weirv1.CreateNamespaceRequest{Name: "team"})
	refused(t, connect.CodeNotFound, w.system.SetNamespaceLimits, &weirv1.SetNamespaceLimitsRequest{Name: "none"})
	call(t, w.system.SetNamespaceLimits, &weirv1.SetNamespaceLimitsRequest{Name: "team", Limits: &weirv1.NamespaceLimits{Modules: new(uint32(1)), Slots: new(uint32(7))}})
	n := call(t, w.system.SetNamespaceLimits, &weirv1.SetNamespaceLimitsRequest{Name: "team", Limits: &weirv1.NamespaceLimits{ModuleBytes: new(uint64(100))}}).GetNamespace()
	if l, used := n.GetLimits(), n.GetUsed(); l.GetModules() != 1 || l.GetSlots() != 7 || l.GetModuleBytes() != 100 || l.GetPipelines() != 0 || used.GetModules() != 0 || used.GetModuleBytes() != 0 {
		t.Errorf("limits %v, used %v", l, used)
	}
	refused(t, connect.CodeInvalidArgument, w.system.SetNamespaceLimits, &weirv1.SetNamespaceLimitsRequest{Name: "team", Limits: &weirv1.NamespaceLimits{GuestShare: new(uint32(7))}})
	n = call(t, w.system.SetNamespaceLimits, &weirv1.SetNamespaceLimitsRequest{Name: "team", Limits: &weirv1.NamespaceLimits{GuestShare: new(uint32(500)), GuestMemory: new(uint64(1 << 27))}}).GetNamespace()
	if l := n.GetLimits(); l.GetGuestShare() != 500 || l.GetGuestMemory() != 1<<27 || l.GetModules() != 1 || n.GetUsed().GuestMemory != nil {
		t.Errorf("limits %v, used %v", l, n.GetUsed())
	}
	push := &catalog.PushModule{At: 1, Namespace: "team", Name: "flights", Digest: catalog.Digest{1}, Manifest: catalog.Digest{2}, SizeBytes: 101}
	if err := propose(t, w, push); !errors.Is(err, catalog.ErrLimit) {
		t.Errorf("a module above the limit of bytes: %v", err)
	}
	push.SizeBytes = 100
	must(t, propose(t, w, push))
	for _, n := range call(t, w.system.ListNamespaces, &weirv1.ListNamespacesRequest{}).GetNamespaces() {
		if n.GetName() == "team" && (n.GetUsed().GetModules() != 1 || n.GetUsed().GetModuleBytes() != 100) {
			t.Errorf("used: %v", n.GetUsed())
		}
	}
}

func TestNamespacesAreMadeAndDeletedWhenTheyAreEmpty(t *testing.T) {
	w := newWorld(t)
	text, _ := refused(t, connect.CodeNotFound, w.topic.CreateTopic, &weirv1.CreateTopicRequest{Namespace: "team", Name: "flights"})
	if !strings.Contains(text, "weir namespace create team") {
		t.Errorf("a namespace that is not there: %s", text)
	}
	if n := call(t, w.system.CreateNamespace, &weirv1.CreateNamespaceRequest{Name: "team"}).GetNamespace(); n.GetName() != "team" || n.GetCreated() == nil {
		t.Errorf("made %v", n)
	}
	refused(t, connect.CodeAlreadyExists, w.system.CreateNamespace, &weirv1.CreateNamespaceRequest{Name: "team"})
	refused(t, connect.CodeInvalidArgument, w.system.CreateNamespace, &weirv1.CreateNamespaceRequest{Name: "a b"})
	call(t, w.topic.CreateTopic, &weirv1.CreateTopicRequest{Namespace: "team", Name: "flights"})
	list := call(t, w.system.ListNamespaces, &weirv1.ListNamespacesRequest{}).GetNamespaces()
	if len(list) != 2 || list[0].GetName() != "default" || list[1].GetTopics() != 1 || list[0].GetTopics() != 0 {
		t.Errorf("list %v", list)
	}
	if _, found := refused(t, connect.CodeFailedPrecondition, w.system.DeleteNamespace, &weirv1.DeleteNamespaceRequest{Name: "team"}); len(found) != 1 || !strings.Contains(found[0].GetHint(), "weir topic list --namespace team") {
		t.Errorf("a namespace that is not empty: %v", found)
	}
	refused(t, connect.CodeInvalidArgument, w.system.DeleteNamespace, &weirv1.DeleteNamespaceRequest{Name: "default"})
	refused(t, connect.CodeNotFound, w.system.DeleteNamespace, &weirv1.DeleteNamespaceRequest{Name: "none"})
	call(t, w.topic.DeleteTopic, &weirv1.DeleteTopicRequest{Namespace: "team", Name: "flights"})
	call(t, w.system.DeleteNamespace, &weirv1.DeleteNamespaceRequest{Name: "team"})
	if list := call(t, w.system.ListNamespaces, &weirv1.ListNamespacesRequest{}).GetNamespaces(); len(list) != 1 {
		t.Errorf("list %v", list)
	}
}

func TestTheDoctorWarnsOfPortsThatOthersReach(t *testing.T) {
	for address, want := range map[string]rpc.Severity{"127.0.0.1:7070": rpc.OK, "localhost:1": rpc.OK, "": rpc.OK, "0.0.0.0:7070": rpc.Warning, ":7070": rpc.Warning, "[::1]:7070": rpc.OK} {
		found, err := rpc.CheckExposure([]rpc.Port{{Flag: "--listen", Address: address}, {Flag: "--nats-listen"}}).Do(t.Context())
		if err != nil || len(found) != 1 || found[0].Severity != want {
			t.Errorf("%s: %v %v", address, found, err)
		}
	}
	for port, want := range map[rpc.Port]string{
		{Authenticates: true}:                 "without TLS",
		{Encrypts: true}:                      "no authentication",
		{Authenticates: true, Encrypts: true}: "asks for a token and speaks TLS",
	} {
		port.Flag, port.Address = "--listen", ":7070"
		found, err := rpc.CheckExposure([]rpc.Port{port}).Do(t.Context())
		if err != nil || len(found) != 1 || !strings.Contains(found[0].Text, want) {
			t.Errorf("%+v: %v %v", port, found, err)
		}
	}
}
