package dev

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
	"github.com/weirstream/weir/platform/cli"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

// fake answers what the loop asks and notes it.
type fake struct {
	weirv1connect.UnimplementedTopicServiceHandler
	weirv1connect.UnimplementedModuleServiceHandler
	weirv1connect.UnimplementedPipelineServiceHandler
	mu  sync.Mutex // guards log
	log []string
}

func (f *fake) note(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, text)
}

// wait wants a note or an event within a deadline.
func (f *fake) wait(t *testing.T, want string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		f.mu.Lock()
		for i, have := range f.log {
			if strings.HasPrefix(have, want) {
				f.log = f.log[i+1:]
				f.mu.Unlock()
				return
			}
		}
		f.mu.Unlock()
		<-time.After(10 * time.Millisecond)
	}
	t.Fatalf("%q did not happen; the rest is %q", want, f.log)
}

func (f *fake) CreateTopic(_ context.Context, r *connect.Request[weirv1.CreateTopicRequest]) (*connect.Response[weirv1.CreateTopicResponse], error) {
	f.note("topic " + r.Msg.GetName())
	return nil, connect.NewError(connect.CodeAlreadyExists, errors.New("it exists"))
}

func (f *fake) Publish(_ context.Context, r *connect.Request[weirv1.PublishRequest]) (*connect.Response[weirv1.PublishResponse], error) {
	for _, rec := range r.Msg.GetRecords() {
		f.note("publish " + r.Msg.GetTopic() + " " + string(rec.GetValue()))
	}
	return connect.NewResponse(&weirv1.PublishResponse{}), nil
}

func (f *fake) Read(ctx context.Context, r *connect.Request[weirv1.ReadRequest], s *connect.ServerStream[weirv1.ReadResponse]) error {
	if err := s.Send(&weirv1.ReadResponse{Records: []*weirv1.Record{{Value: []byte(`{"from":"` + r.Msg.GetTopic() + `"}`)}}}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (f *fake) PushModule(_ context.Context, r *connect.Request[weirv1.PushModuleRequest]) (*connect.Response[weirv1.PushModuleResponse], error) {
	f.note("push " + r.Msg.GetName() + " " + string(r.Msg.GetWasm()))
	return connect.NewResponse(&weirv1.PushModuleResponse{}), nil
}

func (f *fake) ApplyPipeline(_ context.Context, r *connect.Request[weirv1.ApplyPipelineRequest]) (*connect.Response[weirv1.ApplyPipelineResponse], error) {
	f.note("apply")
	return connect.NewResponse(&weirv1.ApplyPipelineResponse{Pipeline: &weirv1.Pipeline{Name: "p", Revision: 7}, Diff: &weirv1.DiffPipelineResponse{
		State: []*weirv1.StateChange{{Kind: weirv1.StateChange_KIND_DROPPED, Operator: "op", State: "seen"}},
	}}), nil
}

func (f *fake) Logs(ctx context.Context, _ *connect.Request[weirv1.LogsRequest], s *connect.ServerStream[weirv1.LogsResponse]) error {
	if err := s.Send(&weirv1.LogsResponse{Lines: []*weirv1.LogLine{{Level: "info", Operator: "op", Text: "hello"}}}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (f *fake) ListDeadLetters(_ context.Context, r *connect.Request[weirv1.ListDeadLettersRequest]) (*connect.Response[weirv1.ListDeadLettersResponse], error) {
	out := &weirv1.ListDeadLettersResponse{}
	if r.Msg.GetAfter() < 7 {
		out.Letters = []*weirv1.DeadLetter{{Id: 7, Operator: "op", Topic: "clicks", Sequence: 3, Reason: "not JSON"}}
	}
	return connect.NewResponse(out), nil
}

// server serves the fake until the context ends, and notes the folder it was given.
func (f *fake) server(ctx context.Context, o cli.ServerOptions) error {
	mux := http.NewServeMux()
	mux.Handle(weirv1connect.NewTopicServiceHandler(f))
	mux.Handle(weirv1connect.NewModuleServiceHandler(f))
	mux.Handle(weirv1connect.NewPipelineServiceHandler(f))
	s := httptest.NewServer(mux)
	defer s.Close()
	f.note("data " + o.DataDir)
	o.Ready(s.URL)
	<-ctx.Done()
	s.CloseClientConnections()
	return nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const pipeline = `pipeline: p
module: m.wasm
sources:
  clicks:
    topic: clicks
    format: json
    columns: user:utf8
operators:
  op:
    function: f
    input: clicks
sinks:
  counts:
    topic: counts
    input: op
    format: json
`

func TestAnEditIsBuiltPushedAndApplied(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "pipeline.yaml"), pipeline)
	write(t, filepath.Join(dir, "source.txt"), "one")
	write(t, filepath.Join(dir, "build.sh"), "cp source.txt m.wasm && ! grep broken source.txt\n")
	input := filepath.Join(t.TempDir(), "clicks.jsonl")
	write(t, input, "{\"user\":\"ann\"}\n{\"user\":")
	f := &fake{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, cli.DevOptions{
			Dir: dir, Pipeline: filepath.Join(dir, "pipeline.yaml"), Topics: []string{"clicks=" + input},
			Say:    func(e cli.DevEvent) { f.note("say " + string(e.Step) + " " + e.Text) },
			Output: func(topic string, record []byte) { f.note("output " + topic + " " + string(record)) },
			Guest:  func(level, operator, text string) { f.note("guest " + level + " " + operator + " " + text) },
		}, f.server)
	}()
	f.wait(t, "say ready http://127.0.0.1:")
	f.wait(t, "say built m.wasm")
	f.wait(t, "push m one")
	f.wait(t, "topic clicks")
	f.wait(t, "topic counts")
	f.wait(t, "say applied p revision 7, state op.seen dropped")
	f.wait(t, `publish clicks {"user":"ann"}`)

	write(t, input, "{\"user\":\"ann\"}\n{\"user\":\"bob\"}\n")
	f.wait(t, `publish clicks {"user":"bob"}`)

	write(t, filepath.Join(dir, "source.txt"), "broken")
	f.wait(t, "say changed")
	f.wait(t, "say failed build "+filepath.Join(dir, "m.wasm"))

	write(t, filepath.Join(dir, "source.txt"), "three")
	f.wait(t, "push m three")
	f.wait(t, "say applied")

	write(t, filepath.Join(dir, "pipeline.yaml"), strings.Replace(pipeline, "sinks:", "snks:", 1))
	f.wait(t, "say failed "+filepath.Join(dir, "pipeline.yaml")+":")

	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestRecordsAndLogsAreShownAndTheFolderIsRemoved(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "pipeline.yaml"), pipeline)
	write(t, filepath.Join(dir, "m.wasm"), "as it is")
	f := &fake{}
	shown, letters := &fake{}, &fake{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	var data string
	go func() {
		ended <- Run(ctx, cli.DevOptions{
			Dir: dir, Pipeline: filepath.Join(dir, "pipeline.yaml"), Say: func(cli.DevEvent) {},
			Output: func(topic string, record []byte) { shown.note(topic + " " + string(record)) },
			Guest: func(level, operator, text string) {
				to := f
				if level == "dead letter" {
					to = letters
				}
				to.note(level + " " + operator + " " + text)
			},
		}, func(ctx context.Context, o cli.ServerOptions) error {
			data = o.DataDir
			return f.server(ctx, o)
		})
	}()
	f.wait(t, "push m as it is")
	shown.wait(t, `counts {"from":"counts"}`)
	f.wait(t, "info op hello")
	letters.wait(t, "dead letter op clicks/0@3.0: not JSON")
	cancel()
	<-ended
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the server's folder is left: %v", err)
	}
}

func TestANewerChangeEndsTheBuildOfTheOlderWithAllThatItStarted(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "pipeline.yaml"), pipeline)
	write(t, filepath.Join(dir, "source.txt"), "slow")
	write(t, filepath.Join(dir, "build.sh"), `s=$(cat source.txt)
if [ "$s" = slow ]; then touch .began; (sleep 300; echo old >m.wasm); fi
echo "$s" >m.wasm
`)
	f := &fake{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, cli.DevOptions{
			Dir: dir, Pipeline: filepath.Join(dir, "pipeline.yaml"),
			Say:    func(e cli.DevEvent) { f.note("say " + string(e.Step) + " " + e.Text) },
			Output: func(string, []byte) {}, Guest: func(_, _, _ string) {},
		}, f.server)
	}()
	began := func() {
		t.Helper()
		marker := filepath.Join(dir, ".began")
		for end := time.Now().Add(30 * time.Second); os.Remove(marker) != nil; <-time.After(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("no build began")
			}
		}
	}
	began()
	write(t, filepath.Join(dir, "source.txt"), "new")
	f.wait(t, "push m new")
	f.wait(t, "say applied")

	write(t, filepath.Join(dir, "source.txt"), "slow")
	began()
	cancel()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("the end waits for a build")
	}
}

func TestAServerThatDoesNotStartEndsTheCommand(t *testing.T) {
	err := Run(t.Context(), cli.DevOptions{}, func(context.Context, cli.ServerOptions) error { return errors.New("the address is taken") })
	if err == nil || err.Error() != "start a server: the address is taken" {
		t.Error(err)
	}
}

func TestFeedsNeedANameAndAFileThatGrows(t *testing.T) {
	for _, bad := range []string{"x", "=f", "t=", "t=none.jsonl", "t=f.gz"} {
		if _, err := parseFeeds([]string{bad}); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestFunctionsBringTheirModulesAndTopics(t *testing.T) {
	f, problems := pipelinefile.Parse([]byte("pipeline: p\nfunctions:\n  modules: [a.wasm, b, dir/c.wasm]\n  ingress: [{topic: in, to: x/y}]\n  egress: [{id: x/out, topic: out}, {id: x/both, topic: in}]\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if got := strings.Join(modulePaths(f), " "); got != "a.wasm dir/c.wasm" {
		t.Errorf("modules %s", got)
	}
	if got := strings.Join(topicsOf(f), " "); got != "out in" {
		t.Errorf("topics %s", got)
	}
	if got := strings.Join(outputTopics(f), " "); got != "out in" {
		t.Errorf("outputs %s", got)
	}
}
