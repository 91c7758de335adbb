// Package sdktest runs the unchanged SDKs of StateFun, in servers of their own,
// behind a real stage of functions.
package sdktest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/all"
	"github.com/weirstream/weir/platform/operator/dispatch"
	"github.com/weirstream/weir/platform/operator/outbox"
	"github.com/weirstream/weir/platform/operator/parked"
	"github.com/weirstream/weir/platform/operator/remote"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/worker/workertest"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// message is one that the test sends.
type message struct{ typ, id, typename, value, callerID string }

// world is what lies outside of the tasks: what is to be sent, and what came out.
type world struct {
	mu      sync.Mutex
	send    []message
	wakes   []func()
	pending map[uint64][]string // epochs that are not committed
	shown   []string            // committed
	now     []string            // as it came, in whatever attempt
}

func (w *world) add(m ...message) {
	w.mu.Lock()
	w.send = append(w.send, m...)
	wakes := slices.Clone(w.wakes)
	w.mu.Unlock()
	for _, wake := range wakes {
		wake()
	}
}

func (w *world) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.now)
}

// source sends the world's messages, each once.
type source struct {
	idle
	world *world
	ctx   *operator.Context
	at    int
	out   *batch.Builder
}

func (s *source) Open(ctx *operator.Context) error {
	s.ctx, s.out = ctx, batch.NewBuilder(functions.Message)
	for _, it := range ctx.Restored {
		if it.Kind == snapshot.KindSplit {
			s.at = int(binary.LittleEndian.Uint64(it.Data[0]))
		}
	}
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	s.world.wakes = append(s.world.wakes, ctx.Wake)
	return nil
}

func (s *source) Poll() (bool, error) {
	s.world.mu.Lock()
	todo := s.world.send[s.at:]
	s.world.mu.Unlock()
	if len(todo) == 0 {
		return false, nil
	}
	for _, m := range todo[:min(len(todo), 500)] {
		s.out.Column(functions.MessageType).AppendString(m.typ)
		s.out.Column(functions.MessageID).AppendString(m.id)
		if m.callerID == "" {
			s.out.Column(functions.MessageCallerType).AppendNull()
			s.out.Column(functions.MessageCallerID).AppendNull()
		} else {
			s.out.Column(functions.MessageCallerType).AppendString(functions.CallType)
			s.out.Column(functions.MessageCallerID).AppendString(m.callerID)
		}
		s.out.Column(functions.MessageTypename).AppendString(m.typename)
		s.out.Column(functions.MessageValue).AppendBytes([]byte(m.value))
		s.out.EndRow(batch.NoTime)
		s.at++
	}
	return true, s.ctx.Output.Emit(0, s.out.Finish("", 0))
}

func (s *source) Done() bool { return false }
func (s *source) Barrier(element.Barrier) (operator.Snapshot, error) {
	at := binary.LittleEndian.AppendUint64(nil, uint64(s.at))
	return operator.Snapshot{Items: []snapshot.Item{{Kind: snapshot.KindSplit, Key: "0", Data: [][]byte{at}}}}, nil
}

// sink notes what comes: the value of records of an egress, or of a reply.
type sink struct {
	idle
	world *world
	ctx   *operator.Context
	epoch []string
}

func (s *sink) Open(ctx *operator.Context) error { s.ctx = ctx; return nil }
func (s *sink) Process(_ int, b *batch.Batch) error {
	defer b.Release()
	for i := range b.Len() {
		row := b.Row(i)
		text := ""
		if b.Schema.Equal(functions.Message) {
			text = "reply " + b.Columns[functions.MessageID].StringAt(row) + ": " + string(b.Columns[functions.MessageValue].BytesAt(row))
		} else {
			text = string(b.Columns[1].BytesAt(row))
		}
		s.epoch = append(s.epoch, text)
		s.world.mu.Lock()
		s.world.now = append(s.world.now, text)
		s.world.mu.Unlock()
	}
	return nil
}

func (s *sink) Barrier(b element.Barrier) (operator.Snapshot, error) {
	s.world.mu.Lock()
	s.world.pending[b.ID] = append(s.world.pending[b.ID], s.epoch...)
	s.epoch = nil
	s.world.mu.Unlock()
	return operator.Snapshot{}, nil
}

// idle has what neither end needs.
type idle struct{}

func (idle) Process(int, *batch.Batch) error        { return nil }
func (idle) Watermark(int, element.Watermark) error { return nil }
func (idle) Timers(int64) error                     { return nil }
func (idle) EndOfInput(int) error                   { return nil }
func (idle) Close() error                           { return nil }

// stage is a running application whose functions are all at one endpoint.
type stage struct {
	t     testing.TB
	world *world
	run   *workertest.Run
}

func start(t testing.TB, config remote.Config, width int) *stage {
	t.Helper()
	w := &world{pending: map[uint64][]string{}}
	s := &stage{t: t, world: w}
	s.run = workertest.New(t, graph(config, width), memblob.New(memblob.Options{}), func(kind string) (operator.Operator, error) {
		switch kind {
		case "source":
			return &source{world: w}, nil
		case "sink":
			return &sink{world: w}, nil
		}
		if make := all.Placed[kind]; make != nil {
			return make(), nil
		}
		return nil, fmt.Errorf("no operator %s", kind)
	})
	s.run.Start()
	t.Cleanup(s.run.Worker.Close)
	return s
}

// graph is an application of the functions com.example/* at one endpoint.
func graph(config remote.Config, width int) *jobgraph.Graph {
	text, raw := functions.Message.String(), schema.Raw().String()
	types := []string{"com.example/*"}
	encode := func(v any) json.RawMessage { b, _ := json.Marshal(v); return b }
	id, caller := []string{"id"}, []string{"caller_id"}
	operators := []jobgraph.Operator{
		{
			ID: "dispatch", Kind: dispatch.Kind, Config: encode(dispatch.Config{Types: types}), Inputs: []string{text, text}, Outputs: []string{text, text},
			Upstream: []jobgraph.Port{{Operator: -1, Output: 0}, {Operator: -1, Output: 1}},
		},
		{
			ID: "remote", Kind: remote.Kind, Config: encode(config), State: remote.States(), Inputs: []string{text}, Key: [][]string{id},
			Outputs: []string{functions.Sent.String(), functions.Egress.String()}, Upstream: []jobgraph.Port{{Operator: 0, Output: 0}},
		},
		{
			ID: "parked", Kind: parked.Kind, Config: encode(parked.Config{Types: types}), State: parked.States(), Inputs: []string{text}, Key: [][]string{id},
			Outputs: []string{text}, Upstream: []jobgraph.Port{{Operator: 0, Output: 1}},
		},
		{
			ID: "outbox", Kind: outbox.Kind, Config: encode(outbox.Config{Egress: []string{"com.example/out"}}), State: outbox.States(),
			Inputs: []string{functions.Sent.String(), functions.Egress.String(), text}, Key: [][]string{caller, caller, caller}, Outputs: []string{text, raw, text},
			Upstream: []jobgraph.Port{{Operator: 1, Output: 0}, {Operator: 1, Output: 1}, {Operator: 2, Output: 0}},
		},
		{ID: "out", Kind: "sink", Inputs: []string{raw}, Upstream: []jobgraph.Port{{Operator: 3, Output: 1}}},
		{ID: "replies", Kind: "sink", Inputs: []string{text}, Upstream: []jobgraph.Port{{Operator: 3, Output: 2}}},
	}
	return &jobgraph.Graph{
		Version: jobgraph.FormatVersion,
		Stages: []jobgraph.Stage{
			{ID: 0, Name: "in", Parallelism: 1, Operators: []jobgraph.Operator{{ID: "in", Kind: "source", Outputs: []string{text}}}},
			{ID: 1, Name: "functions", Parallelism: width, Operators: operators},
		},
		Edges: []jobgraph.Edge{
			{From: 0, To: 1, Input: 0, Partitioning: jobgraph.Hash, Key: id, Schema: text},
			{From: 1, Operator: 3, To: 1, Input: 1, Partitioning: jobgraph.Hash, Key: id, Schema: text, Feedback: true},
		},
	}
}

// wait waits until something holds.
func (s *stage) wait(what string, holds func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if h := s.run.Heard(); len(h.Failures) > 0 {
			s.t.Fatalf("failures %v", h.Failures)
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not within 30 s; came %q", what, s.world.seen())
		}
	}
}

// checkpoint takes one whole checkpoint.
func (s *stage) checkpoint() {
	s.t.Helper()
	id := s.run.Trigger()
	s.wait("checkpoint", func() bool { _, ok := s.run.Heard().Acks[id]; return ok })
	s.run.Commit(id)
	s.world.mu.Lock()
	s.world.shown = append(s.world.shown, s.world.pending[id]...)
	delete(s.world.pending, id)
	s.world.mu.Unlock()
	s.run.Notice()
}

// crash goes back to the last checkpoint, with another number of tasks.
func (s *stage) crash(config remote.Config, width int) {
	s.t.Helper()
	s.run.Kill()
	s.world.mu.Lock()
	s.world.wakes, s.world.pending = nil, map[uint64][]string{}
	s.world.now = slices.Clone(s.world.shown)
	s.world.mu.Unlock()
	s.run.SetGraph(graph(config, width))
	s.run.Start()
}
