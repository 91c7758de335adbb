package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/planner"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
	"github.com/weirstream/weir/platform/server/agent"
	"github.com/weirstream/weir/raftmeta/catalog"
)

type world struct {
	modules map[string]planner.Module
	topics  map[string]jetstream.Topic
}

func (w world) Module(n string) (planner.Module, bool) { m, ok := w.modules[n]; return m, ok }
func (w world) ModuleNames() []string                  { return nil }
func (w world) Topic(n string) (jetstream.Topic, bool) { t, ok := w.topics[n]; return t, ok }
func (w world) TopicNames() []string                   { return nil }

func TestFlow(t *testing.T) {
	ctx := t.Context()
	s, err := Start(ctx, Options{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	wasm, err := os.ReadFile("../../sdk/c/bench/count_sum.wasm")
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := s.modules.Push(ctx, wasm)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UnixMicro()
	propose := func(c catalog.Command) catalog.Result {
		t.Helper()
		r, err := s.node.Propose(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	w := world{modules: map[string]planner.Module{"count_sum": {Name: "count_sum", Digest: pushed.Digest.String(), Manifest: pushed.Manifest}}, topics: map[string]jetstream.Topic{}}
	for _, name := range []string{"in", "out", "p-dead-letters"} {
		r := propose(&catalog.CreateTopic{At: now, Namespace: "default", Name: name, Partitions: 4, Layout: "frames", Stream: jetstream.StreamName("default", name), Subject: name})
		topic := jetstream.Topic{Namespace: "default", Name: name, Partitions: 4, Layout: jetstream.Frames, Incarnation: r.Number}.Normalize()
		if err := jetstream.Create(ctx, s.conn, topic); err != nil {
			t.Fatal(err)
		}
		w.topics[name] = topic
	}
	propose(&catalog.PushModule{At: now, Namespace: "default", Name: "count_sum", Digest: catalog.Digest(pushed.Digest), Manifest: catalog.Digest(pushed.ManifestDigest), SizeBytes: int64(len(wasm))})
	f, problems := pipelinefile.Parse([]byte(`
pipeline: p
module: count_sum
parallelism: 2
sources:
  in: {topic: in, format: columns, columns: "key:int64,value:int64,pad:utf8"}
operators:
  sums: {function: count_sum, input: in}
sinks:
  out: {topic: out, input: sums, format: columns, key: key}
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	plan, problems := planner.Make(f, w)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	graph, _ := json.Marshal(plan.Graph)
	digest := catalog.Digest(sha256.Sum256(graph))
	if _, err := s.blobs.Put(ctx, agent.GraphName(digest), bytes.NewReader(graph)); err != nil {
		t.Fatal(err)
	}
	r := propose(&catalog.ApplyPipeline{At: now, Namespace: "default", Name: "p", Revision: catalog.Revision{
		Graph: digest, Spec: digest, Modules: []catalog.Digest{catalog.Digest(pushed.Digest)}, Widths: catalog.Widths(plan.Graph), Delivery: catalog.ExactlyOnce,
	}})
	// input
	in := schema.MustParse("key:int64,value:int64,pad:utf8")
	pub, err := jetstream.NewPublisher(ctx, s.conn, w.topics["in"], jetstream.PublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const rows = 20000
	var enc frame.StoredEncoder
	b := frame.NewBuilder(in)
	for p := range 4 {
		b.Reset()
		for i := range rows / 4 {
			b.Column(0).AppendInt64(int64(p*1000 + i%100))
			b.Column(1).AppendInt64(int64(i))
			b.Column(2).AppendString("padding")
		}
		msg, err := enc.Append(nil, &frame.Stored{Schema: in, Rows: b.Rows(), Columns: b.Columns()}, frame.CodecNone)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pub.PublishFrame(ctx, p, msg); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	src, err := jetstream.NewSource(s.conn, jetstream.SourceConfig{Topic: w.topics["out"], Schema: schema.MustParse("key:int64,count:int64,sum:int64"), Bound: connector.Unbounded})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan int, 100)
	for p := range 4 {
		go func() {
			rd, err := src.Open(ctx, connector.Split{ID: fmt.Sprint(p)}, nil)
			if err != nil {
				return
			}
			defer rd.Close()
			for {
				fetch, err := rd.Next(ctx)
				if err != nil {
					return
				}
				if fetch.Batch != nil {
					n := fetch.Batch.Len()
					fetch.Batch.Release()
					got <- n
				}
			}
		}()
	}
	total := 0
	deadline := time.After(20 * time.Second)
	for total < rows {
		select {
		case n := <-got:
			total += n
		case <-deadline:
			st, _ := s.controller.Status(r.UID)
			p, _ := s.node.View().Pipeline(r.UID)
			t.Fatalf("%d of %d rows; %+v; job %+v", total, rows, st, p.Job)
		}
	}
	_ = context.Background()
}
