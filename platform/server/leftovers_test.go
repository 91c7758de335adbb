package server

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
)

func TestASavepointKeepsItsFilesUntilItIsDeletedAndThenNothingIsLeft(t *testing.T) {
	ctx := t.Context()
	s, err := Start(ctx, Options{DataDir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	topics := weirv1connect.NewTopicServiceClient(http.DefaultClient, s.URL())
	modules := weirv1connect.NewModuleServiceClient(http.DefaultClient, s.URL())
	pipelines := weirv1connect.NewPipelineServiceClient(http.DefaultClient, s.URL())
	savepoints := weirv1connect.NewSavepointServiceClient(http.DefaultClient, s.URL())
	wasm, err := os.ReadFile("../../sdk/c/bench/count_sum.wasm")
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = modules.PushModule(ctx, connect.NewRequest(&weirv1.PushModuleRequest{Name: "count_sum", Wasm: wasm}))
	must(err)
	for _, name := range []string{"in", "out"} {
		_, err := topics.CreateTopic(ctx, connect.NewRequest(&weirv1.CreateTopicRequest{Name: name, Partitions: 2}))
		must(err)
	}
	applied, err := pipelines.ApplyPipeline(ctx, connect.NewRequest(&weirv1.ApplyPipelineRequest{File: `
pipeline: sums
module: count_sum
checkpoint: {interval: 100ms}
sources:
  in: {topic: in, format: json, columns: "key:int64,value:int64,pad:utf8"}
operators:
  sums: {function: count_sum, input: in}
sinks:
  out: {topic: out, input: sums, format: json, key: key}
`}))
	must(err)
	uid := applied.Msg.Pipeline.Uid
	var records []*weirv1.Record
	for i := range 3000 { // more than what is kept inline
		records = append(records, &weirv1.Record{Value: fmt.Appendf(nil, `{"key":%d,"value":%d,"pad":"x"}`, i*7919, i)})
	}
	_, err = topics.Publish(ctx, connect.NewRequest(&weirv1.PublishRequest{Topic: "in", Records: records}))
	must(err)
	stream, err := topics.Read(ctx, connect.NewRequest(&weirv1.ReadRequest{Topic: "out", From: &weirv1.ReadRequest_Start{Start: true}, Limit: 3000}))
	must(err)
	for stream.Receive() {
	}
	must(stream.Close())
	made, err := savepoints.CreateSavepoint(ctx, connect.NewRequest(&weirv1.CreateSavepointRequest{Pipeline: "sums"}))
	must(err)
	id := made.Msg.Savepoint.Id

	watch, err := pipelines.WatchPipeline(ctx, connect.NewRequest(&weirv1.WatchPipelineRequest{Name: "sums"}))
	must(err)
	_, err = pipelines.StopPipeline(ctx, connect.NewRequest(&weirv1.StopPipelineRequest{Name: "sums"}))
	must(err)
	for watch.Receive() && watch.Msg().Status.Pipeline.State != "stopped" {
	}
	_, err = pipelines.DeletePipeline(ctx, connect.NewRequest(&weirv1.DeletePipelineRequest{Name: "sums"}))
	must(err)

	now := time.Now()
	s.options.Clock = func() time.Time { return now }
	left := leftovers{server: s}
	objects := func() (n int) {
		for info, err := range s.blobs.List(ctx, "") {
			must(err)
			if strings.HasPrefix(info.Name, uid+"/") || strings.HasPrefix(info.Name, "savepoints/") {
				n++
			}
		}
		return n
	}
	_, err = s.blobs.Put(ctx, "savepoints/p99/00000000000000000001/manifest-of-none", strings.NewReader("a manifest whose savepoint never came to be"))
	must(err)
	for range 4 {
		must(left.sweep(ctx, s.node.View()))
		now = now.Add(2 * leftoverAge)
	}
	info, err := savepoints.GetSavepoint(ctx, connect.NewRequest(&weirv1.GetSavepointRequest{Id: id}))
	must(err)
	if n := info.Msg.Operators; objects() < 1 || info.Msg.Savepoint.PipelineExists || len(n) == 0 {
		t.Errorf("the savepoint of a pipeline that was deleted: %v", info.Msg)
	}
	kept := objects()
	_, err = savepoints.DeleteSavepoint(ctx, connect.NewRequest(&weirv1.DeleteSavepointRequest{Id: id}))
	must(err)
	must(left.sweep(ctx, s.node.View())) // what has just lost its name may be getting one
	if objects() != kept {
		t.Errorf("%d of %d files went at once", kept-objects(), kept)
	}
	now = now.Add(2 * leftoverAge)
	must(left.sweep(ctx, s.node.View()))
	if n := objects(); n != 0 {
		t.Errorf("%d files are left of a deleted pipeline and its deleted savepoint", n)
	}
}
