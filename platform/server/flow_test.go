package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
)

// The sums are checked by hand: value i stands under key i modulo 10, for i below 1000.
func TestAPipelineFlowsThroughEveryLayerOfOneProcess(t *testing.T) {
	ctx := t.Context()
	s, err := Start(ctx, Options{DataDir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	topics := weirv1connect.NewTopicServiceClient(http.DefaultClient, s.URL())
	modules := weirv1connect.NewModuleServiceClient(http.DefaultClient, s.URL())
	pipelines := weirv1connect.NewPipelineServiceClient(http.DefaultClient, s.URL(), connect.WithGRPC())

	wasm, err := os.ReadFile("../../sdk/c/bench/count_sum.wasm")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := modules.PushModule(ctx, connect.NewRequest(&weirv1.PushModuleRequest{Name: "count_sum", Wasm: wasm})); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"in", "out"} {
		if _, err := topics.CreateTopic(ctx, connect.NewRequest(&weirv1.CreateTopicRequest{Name: name, Partitions: 4})); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pipelines.ApplyPipeline(ctx, connect.NewRequest(&weirv1.ApplyPipelineRequest{File: `
pipeline: sums
module: count_sum
parallelism: 2
checkpoint: {interval: 100ms}
sources:
  in: {topic: in, format: json, columns: "key:int64,value:int64,pad:utf8"}
operators:
  sums: {function: count_sum, input: in}
sinks:
  out: {topic: out, input: sums, format: json, key: key}
`})); err != nil {
		t.Fatal(err)
	}
	var records []*weirv1.Record
	for i := range 1000 {
		records = append(records, &weirv1.Record{Key: fmt.Append(nil, i%10), Value: fmt.Appendf(nil, `{"key":%d,"value":%d,"pad":"x"}`, i%10, i)})
	}
	if _, err := topics.Publish(ctx, connect.NewRequest(&weirv1.PublishRequest{Topic: "in", Records: records})); err != nil {
		t.Fatal(err)
	}
	stream, err := topics.Read(ctx, connect.NewRequest(&weirv1.ReadRequest{Topic: "out", From: &weirv1.ReadRequest_Start{Start: true}, Limit: 1000}))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	type row struct{ Key, Count, Sum int64 }
	last, seen := map[int64]row{}, 0
	for stream.Receive() {
		for _, r := range stream.Msg().Records {
			var got row
			if err := json.Unmarshal(r.Value, &got); err != nil {
				t.Fatalf("%s: %v", r.Value, err)
			}
			if got.Count != last[got.Key].Count+1 {
				t.Fatalf("key %d: count %d follows %d", got.Key, got.Count, last[got.Key].Count)
			}
			last[got.Key] = got
			seen++
		}
	}
	if err := stream.Err(); err != nil || seen != 1000 {
		t.Fatalf("%d rows: %v", seen, err)
	}
	for k := range int64(10) {
		// k + (k+10) + ... + (k+990) = 100k + 10*(0+1+...+99)
		if want := (row{Key: k, Count: 100, Sum: 100*k + 49500}); last[k] != want {
			t.Errorf("key %d: %+v, want %+v", k, last[k], want)
		}
	}
	if _, err := pipelines.StopPipeline(ctx, connect.NewRequest(&weirv1.StopPipelineRequest{Name: "sums"})); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		m, err := pipelines.GetPipeline(ctx, connect.NewRequest(&weirv1.GetPipelineRequest{Name: "sums"}))
		if err != nil {
			t.Fatal(err)
		}
		if m.Msg.Status.Pipeline.State == "stopped" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the pipeline is %s, not stopped", m.Msg.Status.Pipeline.State)
		}
	}
}

func TestTwoServersDoNotShareADataDirectory(t *testing.T) {
	dir := t.TempDir()
	s, err := Start(t.Context(), Options{DataDir: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if second, err := Start(t.Context(), Options{DataDir: dir, Listen: "127.0.0.1:0"}); err == nil {
		t.Error("the second server started")
		second.Close()
	}
}
