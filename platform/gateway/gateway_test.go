package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weirstream/weir/abi/frame"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/embednats"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/gateway"
	"github.com/weirstream/weir/platform/logbook"
	"github.com/weirstream/weir/platform/operator/dispatch"
	"github.com/weirstream/weir/platform/pipelines"
	"github.com/weirstream/weir/platform/planner"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// world is a gateway over a real log and catalog. The test plays the functions.
type world struct {
	t         *testing.T
	node      *raftmeta.Node
	conn      *nats.Conn
	topics    *topics.Service
	pipelines *pipelines.Service
	blobs     *memblob.Store
	gateway   *gateway.Gateway
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, blobs: memblob.New(memblob.Options{})}
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
	w.topics = topics.New(topics.Options{Node: w.node, Conn: w.conn})
	t.Cleanup(func() { must(t, w.topics.Close()) })
	w.pipelines = pipelines.New(pipelines.Options{
		Node: w.node, Blobs: w.blobs, Topics: w.topics, Logs: logbook.New(),
		GraphName: func(d catalog.Digest) string { return "graphs/" + d.String() },
	})
	w.gateway = w.open()
	return w
}

func (w *world) open() *gateway.Gateway {
	w.t.Helper()
	g, err := gateway.New(gateway.Options{Node: w.node, Topics: w.topics, Pipelines: w.pipelines})
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, g.Close()) })
	return g
}

// apply makes a pipeline with these types, as far as a gateway looks at it.
func (w *world) apply(name string, desired catalog.Desired, types ...string) {
	w.t.Helper()
	config, err := json.Marshal(dispatch.Config{Types: types})
	must(w.t, err)
	g := &jobgraph.Graph{Version: jobgraph.FormatVersion, Stages: []jobgraph.Stage{{Name: planner.FunctionsStage, Parallelism: 1, Operators: []jobgraph.Operator{
		{ID: planner.DispatchID, Kind: dispatch.Kind, Config: config},
	}}}}
	encoded, err := jobgraph.Encode(g)
	must(w.t, err)
	digest := jobgraph.DigestOf(encoded)
	_, err = w.blobs.Put(w.t.Context(), "graphs/"+digest.String(), bytes.NewReader(encoded))
	must(w.t, err)
	for topic, why := range map[string]string{planner.MessagesTopic(name): topics.SystemMessages, planner.RepliesTopic(name): topics.SystemReplies} {
		_, err := w.topics.CreateSystem(w.t.Context(), catalog.DefaultNamespace, topic, why, catalog.Retention{})
		must(w.t, err)
	}
	_, err = w.node.Propose(w.t.Context(), &catalog.ApplyPipeline{
		At: 1, Namespace: catalog.DefaultNamespace, Name: name, Nonce: "x", Desired: desired,
		Revision: catalog.Revision{Graph: digest, Spec: digest, Widths: catalog.Widths(g), Delivery: catalog.ExactlyOnce, Retain: 1},
	})
	must(w.t, err)
}

// message is one that was stored.
type message struct{ to, caller, typename, value string }

// stored gives the messages of a pipeline, up to now or, with each, as they come until it returns false.
func (w *world) stored(ctx context.Context, pipeline string, r topics.Range, each func(message) bool) {
	t, ok := w.topics.Topic("", planner.MessagesTopic(pipeline))
	if !ok {
		w.t.Error("the topic of messages is gone")
		return
	}
	enough := errors.New("enough")
	err := w.topics.Scan(ctx, t, r, func(m topics.Message) error {
		s, _, err := frame.DecodeStored(m.Data, nil)
		if err != nil {
			return err
		}
		text := func(col, row int) string {
			if s.Columns[col].Null(row) {
				return "-"
			}
			return string(s.Columns[col].BytesAt(row))
		}
		for row := range s.Rows {
			if !each(message{text(0, row) + "/" + text(1, row), text(2, row) + "/" + text(3, row), text(4, row), text(5, row)}) {
				return enough
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, enough) && ctx.Err() == nil {
		w.t.Error(err)
	}
}

func (w *world) all(pipeline string) (out []message) {
	w.stored(w.t.Context(), pipeline, topics.Range{UntilEnd: true}, func(m message) bool { out = append(out, m); return true })
	return out
}

// answer answers a call at once, as the sink of replies does.
func (w *world) answer(caller, value string) {
	id, err := functions.ParseCallID(strings.TrimPrefix(caller, functions.CallType+"/"))
	if err != nil {
		w.t.Errorf("the caller %s is no call", caller)
		return
	}
	if !id.Instant() {
		return
	}
	r := functions.Reply{Call: id.String(), From: functions.Address{Type: "com.example/counter", ID: "a"}, Typename: functions.JSONTypename, Value: []byte(value)}
	if err := w.conn.Publish(functions.ReplySubject(id.Gateway), r.Append(nil)); err != nil {
		w.t.Error(err)
	}
}

// commit stores an answer, as the topic sink does with a checkpoint.
func (w *world) commit(pipeline, caller, value string) {
	b := frame.NewBuilder(functions.Message)
	for i, v := range []string{functions.CallType, strings.TrimPrefix(caller, functions.CallType+"/"), "com.example/counter", "a", functions.JSONTypename, value} {
		b.Column(i).AppendString(v)
	}
	stored, err := frame.AppendStored(nil, frame.Stored{Schema: functions.Message, Rows: 1, Columns: b.Columns(), Times: []int64{1}}, frame.CodecNone)
	if err == nil {
		t, _ := w.topics.Topic("", planner.RepliesTopic(pipeline))
		_, err = jetstream.StoreFrame(w.t.Context(), w.conn, t, 0, stored, "")
	}
	if err != nil {
		w.t.Error(err)
	}
}

// play has a function called for every message that comes from now on, until the test ends.
func (w *world) play(pipeline string, function func(message)) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		w.stored(ctx, pipeline, topics.Range{}, func(m message) bool { function(m); return true })
	})
	w.t.Cleanup(func() { cancel(); done.Wait() })
}

func to(id, value string) *weirv1.FunctionMessage {
	return &weirv1.FunctionMessage{Type: "com.example/counter", Id: id, Value: []byte(value)}
}

func TestSentMessagesAreStoredOnceHoweverOftenTheRequestComes(t *testing.T) {
	w := newWorld(t)
	w.apply("shop", catalog.DesiredStopped, "com.example/counter", "com.example/cart")
	w.apply("bank", catalog.DesiredRunning, "com.example/account")
	r := &weirv1.SendRequest{IdempotencyKey: "order 7", Messages: []*weirv1.FunctionMessage{
		to("a", `{"n":1}`), {Type: "com.example/account", Id: "b", Typename: "x/y", Value: []byte{}}, {Type: "com.example/cart", Id: "ü/ /c"}, to("a", `{"n":2}`),
	}}
	for i := range 3 {
		a, err := w.gateway.Send(t.Context(), r)
		must(t, err)
		if a.GetStored() != 4 || a.GetDuplicate() != (i > 0) {
			t.Errorf("request %d: %v", i, a)
		}
	}
	want := []message{{"com.example/counter/a", "-/-", "io.weir/json", `{"n":1}`}, {"com.example/cart/ü/ /c", "-/-", "io.weir/json", "-"}, {"com.example/counter/a", "-/-", "io.weir/json", `{"n":2}`}}
	if got := w.all("shop"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("stored %v, want %v", got, want)
	}
	if got := w.all("bank"); fmt.Sprint(got) != fmt.Sprint([]message{{"com.example/account/b", "-/-", "x/y", ""}}) {
		t.Errorf("stored %v in the other pipeline", got)
	}
	r.IdempotencyKey = ""
	for range 2 {
		_, err := w.gateway.Send(t.Context(), r)
		must(t, err)
	}
	if n := len(w.all("shop")); n != 9 {
		t.Errorf("%d messages are stored, want 9: without a key each request counts", n)
	}
	if n := w.gateway.Numbers(); n.Sent != 20 {
		t.Errorf("numbers %+v", n)
	}
}

func TestWhatCannotBeSentIsRefusedWithTheWayOut(t *testing.T) {
	w := newWorld(t)
	w.apply("shop", catalog.DesiredRunning, "com.example/counter")
	large := make([]byte, functions.MaxValueBytes)
	many := func(n int, m *weirv1.FunctionMessage) (out []*weirv1.FunctionMessage) {
		for range n {
			out = append(out, m)
		}
		return out
	}
	for _, c := range []struct {
		messages []*weirv1.FunctionMessage
		key      string
		is       error
		text     string
		hint     string
	}{
		{many(1, &weirv1.FunctionMessage{Type: "com.example/countr", Id: "a"}), "", catalog.ErrNotFound, "no pipeline in namespace default has functions of type com.example/countr", "did you mean com.example/counter?"},
		{many(1, &weirv1.FunctionMessage{Type: "far/away", Id: "a"}), "", catalog.ErrNotFound, "far/away", "weir function list shows"},
		{many(1, &weirv1.FunctionMessage{Type: "counter", Id: "a"}), "", catalog.ErrInvalid, "want namespace/name", ""},
		{many(1, &weirv1.FunctionMessage{Type: "io.weir/call", Id: "n/0/1"}), "", catalog.ErrInvalid, "is Weir's own", ""},
		{many(1, to("", "{}")), "", catalog.ErrInvalid, "an id of 0 bytes", ""},
		{many(1, to("\xff", "{}")), "", catalog.ErrInvalid, "not UTF-8", ""},
		{many(1, to("a", string(large)+"x")), "", catalog.ErrTooLarge, "a value of 1048577 bytes, the limit is 1048576", ""},
		{many(5, to("a", string(large))), "", catalog.ErrTooLarge, "message 3: send to com.example/counter/a: the messages up to this one have", ""},
		{many(gateway.MaxMessages+1, to("a", "")), "", catalog.ErrInvalid, "send 10001 messages", ""},
		{nil, "", catalog.ErrInvalid, "send 0 messages", ""},
		{many(1, to("a", "")), strings.Repeat("k", 257), catalog.ErrInvalid, "an idempotency key of 257 bytes", ""},
		{[]*weirv1.FunctionMessage{to("a", "{}"), {Type: "x/y", Id: "b"}}, "", catalog.ErrNotFound, "message 1: send to x/y/b", ""},
	} {
		_, err := w.gateway.Send(t.Context(), &weirv1.SendRequest{Messages: c.messages, IdempotencyKey: c.key})
		var h interface{ Hint() string }
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) || c.hint != "" && (!errors.As(err, &h) || !strings.Contains(h.Hint(), c.hint)) {
			t.Errorf("want %q with %q, got %v", c.text, c.hint, err)
		}
	}
	if got := w.all("shop"); len(got) != 0 {
		t.Errorf("%d messages of refused requests were stored", len(got))
	}
	_, err := w.gateway.Send(t.Context(), &weirv1.SendRequest{Namespace: "other", Messages: many(1, to("a", "{}"))})
	if !errors.Is(err, catalog.ErrNotFound) || !strings.Contains(err.Error(), "in namespace other") {
		t.Errorf("another namespace: %v", err)
	}
}

func TestACallGetsTheFirstAnswerToItself(t *testing.T) {
	w := newWorld(t)
	w.apply("shop", catalog.DesiredRunning, "com.example/counter")
	w.play("shop", func(m message) {
		w.answer(m.caller, m.value+"!")
		w.answer(m.caller, "another")
	})
	var calls sync.WaitGroup
	for i := range 100 {
		calls.Go(func() {
			a, err := w.gateway.Call(t.Context(), &weirv1.CallRequest{Message: to("a", fmt.Sprint(i)), TimeoutMs: 20_000})
			if err != nil || string(a.GetValue()) != fmt.Sprint(i)+"!" || a.GetType() != "com.example/counter" || a.GetId() != "a" || a.GetTypename() != functions.JSONTypename {
				t.Errorf("call %d: %v, %v", i, a, err)
			}
		})
	}
	calls.Wait()
	if n := w.gateway.Numbers(); n.Calls != 100 || n.Answers != 100 || n.Waiting != 0 {
		t.Errorf("numbers %+v", n)
	}
}

func TestACommittedCallWaitsForTheStoredAnswer(t *testing.T) {
	w := newWorld(t)
	w.apply("shop", catalog.DesiredRunning, "com.example/counter")
	w.play("shop", func(m message) {
		w.answer(m.caller, "too early")
		w.commit("shop", m.caller, m.value+" committed")
	})
	for i := range 3 {
		a, err := w.gateway.Call(t.Context(), &weirv1.CallRequest{Message: to("a", fmt.Sprint(i)), TimeoutMs: 20_000, Committed: true})
		if err != nil || string(a.GetValue()) != fmt.Sprint(i)+" committed" {
			t.Errorf("call %d: %v, %v", i, a, err)
		}
	}
	// With a key the answer comes at once too, and must not be taken for the committed one.
	a, err := w.gateway.Call(t.Context(), &weirv1.CallRequest{Message: to("a", "k"), TimeoutMs: 20_000, Committed: true, IdempotencyKey: "k"})
	if err != nil || string(a.GetValue()) != "k committed" {
		t.Errorf("with a key: %v, %v", a, err)
	}
}

func TestACallThatComesAgainIsGivenTheFirstOnesAnswer(t *testing.T) {
	w := newWorld(t)
	w.apply("shop", catalog.DesiredRunning, "com.example/counter")
	var mu sync.Mutex
	var callers []string
	w.play("shop", func(m message) {
		mu.Lock()
		defer mu.Unlock()
		callers = append(callers, m.caller) // and no answer: it is lost
	})
	r := &weirv1.CallRequest{Message: to("a", "1"), TimeoutMs: 200, IdempotencyKey: "order 7"}
	if _, err := w.gateway.Call(t.Context(), r); !errors.Is(err, gateway.ErrNoAnswer) {
		t.Fatalf("without an answer: %v", err)
	}
	mu.Lock()
	w.commit("shop", callers[0], "the answer")
	mu.Unlock()
	again := w.open() // the first gateway's process is gone
	r.TimeoutMs = 20_000
	for _, committed := range []bool{false, true} {
		r.Committed = committed
		a, err := again.Call(t.Context(), r)
		if err != nil || string(a.GetValue()) != "the answer" {
			t.Errorf("committed %t: %v, %v", committed, a, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(callers) != 1 {
		t.Errorf("the function was called by %v", callers)
	}
}

func TestACallThatNobodyAnswersSaysWhy(t *testing.T) {
	w := newWorld(t)
	w.apply("shop", catalog.DesiredStopped, "com.example/counter")
	w.apply("bank", catalog.DesiredRunning, "com.example/account")
	_, err := w.gateway.Call(t.Context(), &weirv1.CallRequest{Message: to("a", "1")})
	if !errors.Is(err, gateway.ErrNotRunning) || !strings.Contains(err.Error(), "pipeline shop is created") {
		t.Errorf("a pipeline that stands still: %v", err)
	}
	account := &weirv1.FunctionMessage{Type: "com.example/account", Id: "a"}
	_, err = w.gateway.Call(t.Context(), &weirv1.CallRequest{Message: account, TimeoutMs: 100})
	if !errors.Is(err, gateway.ErrNoAnswer) || !strings.Contains(err.Error(), "100ms have passed") {
		t.Errorf("no answer: %v", err)
	}
	_, err = w.gateway.Call(t.Context(), &weirv1.CallRequest{Message: account, TimeoutMs: 300_001})
	if !errors.Is(err, catalog.ErrInvalid) || !strings.Contains(err.Error(), "the limit is 5m") {
		t.Errorf("too long: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = w.gateway.Call(ctx, &weirv1.CallRequest{Message: account}); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that is gone: %v", err)
	}
	other := w.open()
	ended := make(chan error, 1)
	go func() {
		_, err := other.Call(t.Context(), &weirv1.CallRequest{Message: account, TimeoutMs: 60_000, Committed: true})
		ended <- err
	}()
	for deadline := time.Now().Add(10 * time.Second); other.Numbers().Calls == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the call is not made")
		}
	}
	must(t, other.Close())
	if err := <-ended; !errors.Is(err, gateway.ErrClosed) {
		t.Errorf("a gateway that ends: %v", err)
	}
}

func TestTypesAreFoundWhereverTheyMove(t *testing.T) {
	w := newWorld(t)
	w.apply("shop", catalog.DesiredRunning, "com.example/counter", "com.example/cart")
	find := func(name string) string {
		p, ok, err := w.pipelines.WithType(t.Context(), "default", name)
		must(t, err)
		if !ok {
			return ""
		}
		return p.Name
	}
	if got := find("com.example/cart"); got != "shop" {
		t.Errorf("found in %q", got)
	}
	w.apply("shop", catalog.DesiredRunning, "com.example/counter")
	if got := find("com.example/cart"); got != "" {
		t.Errorf("a dropped type is found in %q", got)
	}
	w.apply("bank", catalog.DesiredRunning, "com.example/cart")
	if got := find("com.example/cart"); got != "bank" {
		t.Errorf("after its move it is found in %q", got)
	}
	a, err := w.gateway.List(t.Context(), &weirv1.ListFunctionsRequest{})
	must(t, err)
	if len(a.GetFunctions()) != 2 || a.GetFunctions()[0].GetType() != "com.example/cart" || a.GetFunctions()[0].GetPipeline() != "bank" || a.GetFunctions()[1].GetType() != "com.example/counter" {
		t.Errorf("list: %v", a)
	}
}
