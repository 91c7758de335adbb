package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
)

// fake answers the API from memory, so that the tests of this package see what
// the commands send and print. The real server is tested end to end elsewhere.
type fake struct {
	weirv1connect.UnimplementedTopicServiceHandler
	weirv1connect.UnimplementedModuleServiceHandler
	weirv1connect.UnimplementedPipelineServiceHandler
	weirv1connect.UnimplementedSystemServiceHandler
	weirv1connect.UnimplementedTokenServiceHandler
	weirv1connect.UnimplementedSecretServiceHandler
	weirv1connect.UnimplementedAuditServiceHandler

	mu       sync.Mutex // guards what follows
	topics   map[string]*fakeTopic
	modules  map[string]*weirv1.Module
	requests int
	failAt   int // the request of publishing that answers with an error; 0: none
}

type fakeTopic struct {
	topic   *weirv1.Topic
	records []*weirv1.Record
}

var someTime = timestamppb.New(time.Date(2026, 1, 5, 6, 7, 8, 0, time.UTC))

// newFake starts a server; the URL ends with the test.
func newFake(t *testing.T) (*fake, string) {
	t.Helper()
	f := &fake{topics: map[string]*fakeTopic{}, modules: map[string]*weirv1.Module{}}
	mux := http.NewServeMux()
	mux.Handle(weirv1connect.NewTopicServiceHandler(f))
	mux.Handle(weirv1connect.NewModuleServiceHandler(f))
	mux.Handle(weirv1connect.NewPipelineServiceHandler(f))
	mux.Handle(weirv1connect.NewSystemServiceHandler(f))
	mux.Handle(weirv1connect.NewTokenServiceHandler(f))
	mux.Handle(weirv1connect.NewSecretServiceHandler(f))
	mux.Handle(weirv1connect.NewAuditServiceHandler(f))
	mux.Handle(weirv1connect.NewFunctionServiceHandler(&fakeFunctions{}))
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return f, s.URL
}

func refuse(code connect.Code, text, hint string) error {
	err := connect.NewError(code, errors.New(text))
	if d, derr := connect.NewErrorDetail(&weirv1.Problem{Message: text, Hint: hint}); derr == nil && hint != "" {
		err.AddDetail(d)
	}
	return err
}

func (f *fake) topic(name string) (*fakeTopic, error) {
	if t := f.topics[name]; t != nil {
		return t, nil
	}
	return nil, refuse(connect.CodeNotFound, "there is no such topic", "")
}

func (f *fake) CreateTopic(_ context.Context, r *connect.Request[weirv1.CreateTopicRequest]) (*connect.Response[weirv1.CreateTopicResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.topics[r.Msg.GetName()] != nil {
		return nil, refuse(connect.CodeAlreadyExists, "create topic "+r.Msg.GetName()+": it exists already", "")
	}
	t := &weirv1.Topic{Namespace: r.Msg.GetNamespace(), Name: r.Msg.GetName(), Partitions: r.Msg.GetPartitions(), Layout: r.Msg.GetLayout(),
		Stream: "weir_" + r.Msg.GetName(), Incarnation: 1, Created: someTime, MaxAgeMs: r.Msg.GetMaxAgeMs(), MaxBytes: r.Msg.GetMaxBytes()}
	f.topics[t.GetName()] = &fakeTopic{topic: t}
	return connect.NewResponse(&weirv1.CreateTopicResponse{Topic: t}), nil
}

func (f *fake) GetTopic(_ context.Context, r *connect.Request[weirv1.GetTopicRequest]) (*connect.Response[weirv1.GetTopicResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.topic(r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	n := uint64(len(t.records))
	return connect.NewResponse(&weirv1.GetTopicResponse{Topic: t.topic, Messages: n, Bytes: n * 100, FirstSequence: 1, LastSequence: n,
		Partitions: []*weirv1.PartitionInfo{{Partition: 0, Messages: n, LastSequence: n}, {Partition: 1}},
		ReadBy:     []string{"alerts"}, PublishExample: "nats pub weir." + t.topic.GetName() + ".KEY VALUE"}), nil
}

func (f *fake) ListTopics(context.Context, *connect.Request[weirv1.ListTopicsRequest]) (*connect.Response[weirv1.ListTopicsResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &weirv1.ListTopicsResponse{}
	for _, name := range sortedKeys(f.topics) {
		r.Topics = append(r.Topics, f.topics[name].topic)
	}
	return connect.NewResponse(r), nil
}

func (f *fake) DeleteTopic(_ context.Context, r *connect.Request[weirv1.DeleteTopicRequest]) (*connect.Response[weirv1.DeleteTopicResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.topic(r.Msg.GetName()); err != nil {
		return nil, err
	}
	delete(f.topics, r.Msg.GetName())
	return connect.NewResponse(&weirv1.DeleteTopicResponse{}), nil
}

// stumble fails the request that the test chose.
func (f *fake) stumble() error {
	f.requests++
	if f.requests == f.failAt {
		return connect.NewError(connect.CodeUnavailable, errors.New("the log is gone"))
	}
	return nil
}

func (f *fake) Publish(_ context.Context, r *connect.Request[weirv1.PublishRequest]) (*connect.Response[weirv1.PublishResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.topic(r.Msg.GetTopic())
	if err == nil {
		err = f.stumble()
	}
	if err != nil {
		return nil, err
	}
	for _, rec := range r.Msg.GetRecords() {
		t.store(rec)
	}
	return connect.NewResponse(&weirv1.PublishResponse{Records: uint64(len(r.Msg.GetRecords()))}), nil
}

func (t *fakeTopic) store(r *weirv1.Record) {
	r.Sequence, r.Time = uint64(len(t.records)+1), someTime
	t.records = append(t.records, r)
}

func (f *fake) PublishFrames(_ context.Context, r *connect.Request[weirv1.PublishFramesRequest]) (*connect.Response[weirv1.PublishFramesResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.topic(r.Msg.GetTopic())
	if err == nil {
		err = f.stumble()
	}
	if err != nil {
		return nil, err
	}
	n := 0
	for _, fr := range r.Msg.GetFrames() {
		s, _, err := frame.DecodeStored(fr.GetData(), nil)
		if err != nil || !s.Schema.Equal(schema.Raw()) {
			return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("frame: %w", err))
		}
		n += s.Rows
		for i := range s.Rows {
			rec := &weirv1.Record{Value: bytes.Clone(s.Columns[1].BytesAt(i)), Partition: fr.GetPartition(), Row: uint32(i)}
			if !s.Columns[0].Null(i) {
				rec.Key = bytes.Clone(s.Columns[0].BytesAt(i))
			}
			t.store(rec)
		}
	}
	return connect.NewResponse(&weirv1.PublishFramesResponse{Records: uint64(n)}), nil
}

func (f *fake) Read(_ context.Context, r *connect.Request[weirv1.ReadRequest], s *connect.ServerStream[weirv1.ReadResponse]) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.topic(r.Msg.GetTopic())
	if err != nil {
		return err
	}
	records := t.records
	if n := r.Msg.GetSequence(); n > 0 {
		records = records[n-1:]
	}
	if n := r.Msg.GetLimit(); n > 0 && n < uint64(len(records)) {
		records = records[:n]
	}
	return s.Send(&weirv1.ReadResponse{Records: records})
}

func (f *fake) PushModule(_ context.Context, r *connect.Request[weirv1.PushModuleRequest]) (*connect.Response[weirv1.PushModuleResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !bytes.HasPrefix(r.Msg.GetWasm(), []byte("\x00asm")) {
		return nil, refuse(connect.CodeInvalidArgument, "it is no WebAssembly: the first bytes are not \\0asm", "build it for wasip1, see: weir init")
	}
	m := &weirv1.Module{Namespace: r.Msg.GetNamespace(), Name: r.Msg.GetName(), Digest: "sha256:0123456789abcdef0123456789abcdef", SizeBytes: uint64(len(r.Msg.GetWasm())), Pushed: someTime}
	m.Versions = []string{m.GetDigest()}
	_, unchanged := f.modules[m.GetName()]
	f.modules[m.GetName()] = m
	return connect.NewResponse(&weirv1.PushModuleResponse{Module: m, Unchanged: unchanged, Functions: []string{"alert"}, Warnings: []string{"it copies by loop: add -mbulk-memory"}}), nil
}

func (f *fake) ListModules(context.Context, *connect.Request[weirv1.ListModulesRequest]) (*connect.Response[weirv1.ListModulesResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &weirv1.ListModulesResponse{}
	for _, name := range sortedKeys(f.modules) {
		r.Modules = append(r.Modules, f.modules[name])
	}
	return connect.NewResponse(r), nil
}

func (f *fake) GetModule(_ context.Context, r *connect.Request[weirv1.GetModuleRequest]) (*connect.Response[weirv1.GetModuleResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.modules[r.Msg.GetName()]
	if m == nil {
		return nil, refuse(connect.CodeNotFound, "there is no such module", "")
	}
	return connect.NewResponse(&weirv1.GetModuleResponse{Module: m, UsedBy: []string{"alerts"}, Assets: []*weirv1.AssetInfo{{Name: "airports.csv", SizeBytes: 2048}}, ManifestJson: `{"abi":{"major":1,"minor":0},"sdk":"go/0.1.0","requires":["hosted_state"],
"functions":[{"name":"alert","doc":"Tells of late departures.","inputs":[{"name":"flights","columns":"departure:timestamp,origin:utf8,delay:int32","key":["origin"]}],
"outputs":[{"name":"out","columns":"origin:utf8,count:int32"}],"state":[{"name":"late","kind":"value","form":"framed","codec":"row","value":"1:count:int32","ttl_ms":60000}],
"timers":[{"name":"quiet","kind":"event"}],"requires":[]}]}`}), nil
}

func (f *fake) DeleteModule(_ context.Context, r *connect.Request[weirv1.DeleteModuleRequest]) (*connect.Response[weirv1.DeleteModuleResponse], error) {
	return nil, refuse(connect.CodeFailedPrecondition, "pipeline alerts uses it", "stop and delete the pipeline first: weir pipeline delete alerts")
}

var somePipeline = &weirv1.Pipeline{Namespace: "default", Name: "alerts", Uid: "p1", Revision: 2, Desired: "running", State: "restarting", Attempt: 3, Parallelism: 4,
	Created: someTime, Updated: someTime, Restarts: 1, Error: "call alert: trap: unreachable\n  at main.alert", ErrorHint: "weir pipeline logs alerts", Modules: []string{"alert@sha256:0123456789abcdef0123456789abcdef"}}

var someCheckpoint = &weirv1.Checkpoint{Id: 41, Attempt: 3, Revision: 2, Committed: someTime, Published: true, SizeBytes: 2048, TotalBytes: 5 << 20, DurationMs: 12, Manifest: "m"}

var someStatus = &weirv1.PipelineStatus{Pipeline: somePipeline, LastCheckpoint: someCheckpoint, CheckpointProblem: "task 2 of alert has not answered", Warnings: []string{"the log syncs every 100 ms"},
	RecordsIn: 1234567, RecordsOut: 89, LagRecords: 10, Operators: []*weirv1.OperatorStatus{
		{Operator: "flights", Kind: "source", Tasks: 4, RecordsOut: 1234567, LagRecords: 10, BusyRatio: 0.05, BackpressuredRatio: 0.4},
		{Operator: "alert", Kind: "udf", Stage: 1, Tasks: 4, RecordsIn: 1234567, RecordsOut: 89, BusyRatio: 0.975, Watermark: someTime, LateRecords: 3, DeadLetters: 1, StateKeys: 300, StateBytes: 123456, Timers: 7},
	}}

func (f *fake) pipeline(name string) error {
	if name != "alerts" {
		return refuse(connect.CodeNotFound, "there is no such pipeline", "")
	}
	return nil
}

func (f *fake) ValidatePipeline(_ context.Context, r *connect.Request[weirv1.ValidatePipelineRequest]) (*connect.Response[weirv1.ValidatePipelineResponse], error) {
	resp := &weirv1.ValidatePipelineResponse{Name: "alerts"}
	if bytes.Contains([]byte(r.Msg.GetFile()), []byte("sorces")) {
		resp.Problems = []*weirv1.Problem{{Message: `unknown field "sorces"`, Hint: `did you mean "sources"?`, Line: 2, Column: 1}, {Message: "no sink"}}
	}
	return connect.NewResponse(resp), nil
}

func (f *fake) DiffPipeline(context.Context, *connect.Request[weirv1.DiffPipelineRequest]) (*connect.Response[weirv1.DiffPipelineResponse], error) {
	return connect.NewResponse(someDiff), nil
}

var someDiff = &weirv1.DiffPipelineResponse{Name: "alerts", Exists: true, Graph: []string{"~ operator alert: function alert@sha256:01 -> alert@sha256:02", "- operator old", "+ sink alerts"},
	State: []*weirv1.StateChange{{Kind: weirv1.StateChange_KIND_KEPT, Operator: "alert", State: "late", Was: "1:count:int32", Now: "1:count:int64"}, {Kind: weirv1.StateChange_KIND_DROPPED, Operator: "old", State: "seen", Was: "1:value:int64"}}}

func (f *fake) ApplyPipeline(_ context.Context, r *connect.Request[weirv1.ApplyPipelineRequest]) (*connect.Response[weirv1.ApplyPipelineResponse], error) {
	if bytes.Contains([]byte(r.Msg.GetFile()), []byte("sorces")) {
		err := connect.NewError(connect.CodeInvalidArgument, errors.New("2 problems"))
		if d, derr := connect.NewErrorDetail(&weirv1.Problem{Message: `unknown field "sorces"`, Hint: `did you mean "sources"?`, Line: 2, Column: 1}); derr == nil {
			err.AddDetail(d)
		}
		return nil, err
	}
	if !r.Msg.GetAllowDroppedState() {
		return nil, refuse(connect.CodeFailedPrecondition, `the change drops state "seen" of operator old`, "look at it with: weir pipeline diff FILE, and allow it with --allow-dropped-state")
	}
	return connect.NewResponse(&weirv1.ApplyPipelineResponse{Pipeline: somePipeline, Diff: someDiff}), nil
}

func (f *fake) ListPipelines(context.Context, *connect.Request[weirv1.ListPipelinesRequest]) (*connect.Response[weirv1.ListPipelinesResponse], error) {
	return connect.NewResponse(&weirv1.ListPipelinesResponse{Pipelines: []*weirv1.Pipeline{somePipeline}}), nil
}

func (f *fake) GetPipeline(_ context.Context, r *connect.Request[weirv1.GetPipelineRequest]) (*connect.Response[weirv1.GetPipelineResponse], error) {
	if err := f.pipeline(r.Msg.GetName()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&weirv1.GetPipelineResponse{Status: someStatus, File: "pipeline: alerts\n"}), nil
}

func (f *fake) WatchPipeline(_ context.Context, r *connect.Request[weirv1.WatchPipelineRequest], s *connect.ServerStream[weirv1.WatchPipelineResponse]) error {
	return errors.Join(s.Send(&weirv1.WatchPipelineResponse{Status: someStatus}), s.Send(&weirv1.WatchPipelineResponse{Status: someStatus}))
}

func (f *fake) StopPipeline(_ context.Context, r *connect.Request[weirv1.StopPipelineRequest]) (*connect.Response[weirv1.StopPipelineResponse], error) {
	return connect.NewResponse(&weirv1.StopPipelineResponse{Pipeline: &weirv1.Pipeline{Name: r.Msg.GetName(), State: "stopped"}}), f.pipeline(r.Msg.GetName())
}

func (f *fake) ResumePipeline(_ context.Context, r *connect.Request[weirv1.ResumePipelineRequest]) (*connect.Response[weirv1.ResumePipelineResponse], error) {
	return connect.NewResponse(&weirv1.ResumePipelineResponse{Pipeline: &weirv1.Pipeline{Name: r.Msg.GetName(), State: "stopped", Attempt: 2}}), f.pipeline(r.Msg.GetName())
}

func (f *fake) RescalePipeline(_ context.Context, r *connect.Request[weirv1.RescalePipelineRequest]) (*connect.Response[weirv1.RescalePipelineResponse], error) {
	if r.Msg.GetParallelism() > 256 {
		return nil, refuse(connect.CodeFailedPrecondition, "rescale pipeline alerts: it needs 500 slots, 64 are free on 1 workers: 436 are missing", "")
	}
	now := proto.CloneOf(somePipeline)
	now.Parallelism, now.RunningRevision = r.Msg.GetParallelism(), 1
	return connect.NewResponse(&weirv1.RescalePipelineResponse{Pipeline: now, Kept: []string{"sink.log stays at 1: it writes one file, which one task writes"}}), nil
}

func (f *fake) DeletePipeline(_ context.Context, r *connect.Request[weirv1.DeletePipelineRequest]) (*connect.Response[weirv1.DeletePipelineResponse], error) {
	return connect.NewResponse(&weirv1.DeletePipelineResponse{}), f.pipeline(r.Msg.GetName())
}

func (f *fake) Logs(_ context.Context, r *connect.Request[weirv1.LogsRequest], s *connect.ServerStream[weirv1.LogsResponse]) error {
	if err := f.pipeline(r.Msg.GetName()); err != nil {
		return err
	}
	return s.Send(&weirv1.LogsResponse{Lines: []*weirv1.LogLine{{Time: someTime, Level: "info", Operator: "alert", Task: 1, Text: "third late departure"}, {Time: someTime, Level: "error", Operator: "alert", Text: "trap"}}})
}

func (f *fake) ListCheckpoints(context.Context, *connect.Request[weirv1.ListCheckpointsRequest]) (*connect.Response[weirv1.ListCheckpointsResponse], error) {
	return connect.NewResponse(&weirv1.ListCheckpointsResponse{Checkpoints: []*weirv1.Checkpoint{someCheckpoint,
		{Id: 40, Attempt: 2, Revision: 2, Committed: someTime, Published: true, TotalBytes: 4 << 20, Manifest: "l"}, {Id: 39, Attempt: 2, Revision: 2, Committed: someTime, Published: true}}}), nil
}

func (f *fake) ListDeadLetters(_ context.Context, r *connect.Request[weirv1.ListDeadLettersRequest]) (*connect.Response[weirv1.ListDeadLettersResponse], error) {
	resp := &weirv1.ListDeadLettersResponse{Total: 2}
	if r.Msg.GetAfter() < 17 {
		resp.Letters = []*weirv1.DeadLetter{{Id: 17, Time: someTime, Operator: "flights", Reason: `column "delay": want int32, have the string "late" (byte 9)`, Topic: "flights", Partition: 3, Sequence: 120, SourceRow: 5, Key: []byte("DTW"), Value: []byte(`{"delay":"late"}`)}}
	}
	return connect.NewResponse(resp), nil
}

func (f *fake) ReplayDeadLetters(_ context.Context, r *connect.Request[weirv1.ReplayDeadLettersRequest]) (*connect.Response[weirv1.ReplayDeadLettersResponse], error) {
	return connect.NewResponse(&weirv1.ReplayDeadLettersResponse{Records: uint64(max(len(r.Msg.GetIds()), 1)), Last: 18}), nil
}

func (f *fake) CreateNamespace(_ context.Context, r *connect.Request[weirv1.CreateNamespaceRequest]) (*connect.Response[weirv1.CreateNamespaceResponse], error) {
	if r.Msg.GetName() == "default" {
		return nil, refuse(connect.CodeAlreadyExists, "create namespace default: exists already", "")
	}
	return connect.NewResponse(&weirv1.CreateNamespaceResponse{Namespace: &weirv1.Namespace{Name: r.Msg.GetName(), Created: someTime}}), nil
}

func (f *fake) ListNamespaces(context.Context, *connect.Request[weirv1.ListNamespacesRequest]) (*connect.Response[weirv1.ListNamespacesResponse], error) {
	return connect.NewResponse(&weirv1.ListNamespacesResponse{Namespaces: []*weirv1.Namespace{{Name: "default", Topics: 3, Modules: 1, Pipelines: 1}, {Name: "team", Created: someTime, Pipelines: 2,
		Limits: &weirv1.NamespaceLimits{Slots: new(uint32(8)), Pipelines: new(uint32(2)), ModuleBytes: new(uint64(200 << 20)), GuestShare: new(uint32(500)), GuestMemory: new(uint64(512 << 20))},
		Used:   &weirv1.NamespaceLimits{Slots: new(uint32(6)), ModuleBytes: new(uint64(3 << 19))}}}}), nil
}

func (f *fake) SetNamespaceLimits(_ context.Context, r *connect.Request[weirv1.SetNamespaceLimitsRequest]) (*connect.Response[weirv1.SetNamespaceLimitsResponse], error) {
	if r.Msg.GetName() == "none" {
		return nil, refuse(connect.CodeNotFound, "limit namespace none: there is no such namespace", "")
	}
	return connect.NewResponse(&weirv1.SetNamespaceLimitsResponse{Namespace: &weirv1.Namespace{Name: r.Msg.GetName(), Limits: r.Msg.GetLimits()}}), nil
}

func (f *fake) DeleteNamespace(_ context.Context, r *connect.Request[weirv1.DeleteNamespaceRequest]) (*connect.Response[weirv1.DeleteNamespaceResponse], error) {
	if r.Msg.GetName() == "default" {
		return nil, refuse(connect.CodeFailedPrecondition, "delete namespace default: it holds topic flights; delete that first", "")
	}
	return connect.NewResponse(&weirv1.DeleteNamespaceResponse{}), nil
}

func (f *fake) GetVersion(context.Context, *connect.Request[weirv1.GetVersionRequest]) (*connect.Response[weirv1.GetVersionResponse], error) {
	return connect.NewResponse(&weirv1.GetVersionResponse{Version: "v1", GoVersion: "go1.26", AbiMajor: 1, ClusterId: "c1"}), nil
}

func (f *fake) Doctor(context.Context, *connect.Request[weirv1.DoctorRequest]) (*connect.Response[weirv1.DoctorResponse], error) {
	return connect.NewResponse(&weirv1.DoctorResponse{Findings: []*weirv1.Finding{
		{Severity: weirv1.Finding_SEVERITY_OK, Check: "disk", Text: "120 GiB free"},
		{Severity: weirv1.Finding_SEVERITY_WARNING, Check: "durability", Text: "the log syncs every 100 ms", Hint: "start the server with --durability strict"},
		{Severity: weirv1.Finding_SEVERITY_ERROR, Check: "clock", Text: "it runs backwards", Hint: "look at the machine's time service"},
	}}), nil
}
