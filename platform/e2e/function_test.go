package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/connector/jetstream"
)

// order is what functionguest takes, count what it tells.
type order struct {
	Hops  []string `json:"hops,omitempty"`
	After int64    `json:"after,omitempty"`
	Get   bool     `json:"get,omitempty"`
	Reply bool     `json:"reply,omitempty"`
	Bad   bool     `json:"bad,omitempty"`
}

type count struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	N    int64  `json:"n"`
}

const functionFile = `
pipeline: %s
parallelism: %d
checkpoint: {interval: 200ms}
functions:
  modules: [functions]
  types: [%s]
  egress:
    - {id: test/counts, topic: %s}
`

// application is a pipeline of functions under test.
type application struct {
	*world
	t      *testing.T
	name   string
	stream string           // of what its egress writes
	sent   map[string]int64 // messages by address: the model
}

func startFunctions(t *testing.T, w *world, name string, parallelism int) *application {
	t.Helper()
	if err := w.client.PushModule(t.Context(), "functions", built.functions); err != nil {
		t.Fatal(err)
	}
	a := &application{world: w, t: t, name: name, stream: w.topic(t, name+"-counts", 4), sent: map[string]int64{}}
	a.apply(parallelism, "test/left, test/right")
	w.state(t, name, "running")
	return a
}

func (a *application) apply(parallelism int, types string) {
	a.t.Helper()
	a.world.apply(a.t, functionFile, a.name, parallelism, types, a.name+"-counts")
}

// message makes a message, and counts in the model what it comes to.
func (a *application) message(address string, o order) *weirv1.FunctionMessage {
	m := &weirv1.FunctionMessage{}
	m.Type, m.Id = split(address)
	m.Value, _ = json.Marshal(o) // plain data
	if !o.Get && !o.Bad {
		a.sent[address]++
	}
	for _, hop := range o.Hops {
		a.sent[hop]++
	}
	return m
}

// split parts an address: its type has one slash.
func split(address string) (kind, id string) {
	namespace, rest, _ := strings.Cut(address, "/")
	name, id, _ := strings.Cut(rest, "/")
	return namespace + "/" + name, id
}

// runsAt is a revision at its parallelism.
func runsAt(revision uint64, parallelism int) func(*weirv1.PipelineStatus) bool {
	return func(s *weirv1.PipelineStatus) bool {
		return s.Pipeline.State == "running" && s.Pipeline.RunningRevision == revision && int(s.Pipeline.RunningParallelism) == parallelism
	}
}

// send stores messages; while the server is down it tries again, with the same key.
func (a *application) send(key string, messages ...*weirv1.FunctionMessage) {
	a.t.Helper()
	ctx := within(a.t, 60*time.Second)
	for {
		r, err := a.client.Functions.Send(ctx, connect.NewRequest(&weirv1.SendRequest{Namespace: Namespace, Messages: messages, IdempotencyKey: key}))
		if err == nil {
			if r.Msg.GetStored() != uint64(len(messages)) {
				a.t.Fatalf("stored %d of %d", r.Msg.GetStored(), len(messages))
			}
			return
		}
		if key == "" || connect.CodeOf(err) == connect.CodeInvalidArgument || connect.CodeOf(err) == connect.CodeNotFound {
			a.t.Fatal(err)
		}
		if pause(ctx, pollEvery) != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *application) call(address string, o order, committed bool, timeout time.Duration) (count, error) {
	r, err := a.client.Functions.Call(within(a.t, 2*timeout), connect.NewRequest(&weirv1.CallRequest{
		Namespace: Namespace, Message: a.message(address, o), Committed: committed, TimeoutMs: uint32(timeout.Milliseconds()),
	}))
	var c count
	if err == nil {
		err = json.Unmarshal(r.Msg.GetValue(), &c)
	}
	return c, err
}

// insist calls until there is an answer, with one key: the function is called once.
func (a *application) insist(key string, m *weirv1.FunctionMessage, committed bool) {
	a.t.Helper()
	ctx := within(a.t, 60*time.Second)
	for {
		r, err := a.client.Functions.Call(ctx, connect.NewRequest(&weirv1.CallRequest{Namespace: Namespace, Message: m, Committed: committed, IdempotencyKey: key, TimeoutMs: 5000}))
		if err == nil {
			if r.Msg.GetType() != m.GetType() || r.Msg.GetId() != m.GetId() {
				a.t.Fatalf("%s/%s was called, %s/%s has answered", m.GetType(), m.GetId(), r.Msg.GetType(), r.Msg.GetId())
			}
			return
		}
		if pause(ctx, pollEvery) != nil {
			a.t.Fatal(err)
		}
	}
}

// await waits until the function of an address has counted so many messages.
func (a *application) await(address string, n int64) {
	a.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		c, err := a.call(address, order{Get: true}, false, 20*time.Second)
		if err != nil {
			a.t.Fatal(err)
		}
		if c.N >= n {
			return
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("%s has counted %d, want %d", address, c.N, n)
		}
		if err := pause(a.t.Context(), pollEvery); err != nil {
			a.t.Fatal(err)
		}
	}
}

// verify holds what every function has counted, and what all of them told the
// egress, against the model: each count from one on, once and in order.
func (a *application) verify() {
	a.t.Helper()
	want, total := int64(0), int64(0)
	for address, n := range a.sent {
		want += n
		a.await(address, n)
	}
	told := map[string]int64{}
	_, err := Follow(within(a.t, 120*time.Second), a.nc, a.stream, 0, 60*time.Second, func(m Message) error {
		if m.Frame == nil {
			return errors.New("a record that no function wrote")
		}
		for row := range m.Frame.Rows {
			var c count
			if err := json.Unmarshal(m.Frame.Columns[1].BytesAt(row), &c); err != nil {
				return err
			}
			address := c.Type + "/" + c.ID
			if key := m.Frame.Columns[0].StringAt(row); key != c.ID {
				return fmt.Errorf("the record of %s has the key %q", address, key)
			}
			if told[address]++; told[address] != c.N {
				return fmt.Errorf("%s told %d where %d was to come", address, c.N, told[address])
			}
			total++
		}
		return nil
	}, func() bool { return total >= want })
	if err != nil {
		s, problem := a.client.Status(a.t.Context(), a.name)
		a.t.Fatalf("%d of %d counts were told: %v\n%v, %v", total, want, err, s, problem)
	}
	for address, n := range a.sent {
		if told[address] != n {
			a.t.Errorf("%s was sent %d messages and counted %d", address, n, told[address])
		}
	}
	if total != want {
		a.t.Errorf("%d counts were told, want %d", total, want)
	}
}

// load makes messages that go on over random addresses of both types.
func (a *application) load(r *rand.Rand, n int) (out []*weirv1.FunctionMessage) {
	address := func() string {
		return fmt.Sprintf("test/%s/%d", []string{"left", "right"}[r.IntN(2)], r.IntN(50))
	}
	for range n {
		var o order
		for range r.IntN(20) {
			o.Hops = append(o.Hops, address())
		}
		if r.IntN(10) == 0 {
			o.After = r.Int64N(300)
		}
		out = append(out, a.message(address(), o))
	}
	return out
}

func TestFunctionsAreSentToCalledAndShown(t *testing.T) {
	a := startFunctions(t, alone(t), "shop", 2)
	a.send("", a.message("test/left/ann", order{}), a.message("test/left/ann", order{}), a.message("test/right/a/b c", order{}))
	c, err := a.call("test/left/ann", order{Reply: true}, false, 20*time.Second)
	if err != nil || c != (count{"test/left", "ann", 3}) {
		t.Fatalf("call: %+v, %v", c, err)
	}
	if c, err = a.call("test/left/ann", order{Reply: true}, true, 20*time.Second); err != nil || c.N != 4 {
		t.Fatalf("committed call: %+v, %v", c, err)
	}
	// What a committed call tells of is in the newest checkpoint.
	state, err := a.client.Functions.GetFunctionState(t.Context(), connect.NewRequest(&weirv1.GetFunctionStateRequest{Namespace: Namespace, Type: "test/left", Id: "ann"}))
	if err != nil || len(state.Msg.GetEntries()) != 1 || state.Msg.GetEntries()[0].GetState() != "n" || state.Msg.GetEntries()[0].GetValue() != "4" {
		t.Errorf("state: %v, %v", state, err)
	}
	if _, err := a.client.Functions.GetFunctionState(t.Context(), connect.NewRequest(&weirv1.GetFunctionStateRequest{Namespace: Namespace, Type: "test/left", Id: "nobody"})); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("state of nobody: %v", err)
	}
	list, err := a.client.Functions.ListFunctions(t.Context(), connect.NewRequest(&weirv1.ListFunctionsRequest{Namespace: Namespace}))
	if err != nil || len(list.Msg.GetFunctions()) != 2 || list.Msg.GetFunctions()[0].GetType() != "test/left" || list.Msg.GetFunctions()[0].GetModule() != "functions" || list.Msg.GetFunctions()[0].GetState() != "running" {
		t.Errorf("list: %v, %v", list, err)
	}
	info, err := a.client.Functions.GetFunction(t.Context(), connect.NewRequest(&weirv1.GetFunctionRequest{Namespace: Namespace, Type: "test/right"}))
	if err != nil || info.Msg.GetParallelism() != 2 || len(info.Msg.GetStates()) != 1 || len(info.Msg.GetEgress()) != 1 || info.Msg.GetEgress()[0].GetTopic() != "default/shop-counts" || info.Msg.GetMessagesTopic() != "shop-messages" {
		t.Errorf("info: %v, %v", info, err)
	}
	a.httpCall(t)
	a.commandLine(t)
	a.verify()
	// Another pipeline may not have a type of this one.
	_, err = a.client.Apply(t.Context(), fmt.Sprintf(functionFile, "other", 1, "test/right, test/late", "shop-counts"))
	if connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), "pipeline shop has the functions of type test/right already") {
		t.Errorf("a type twice: %v", err)
	}
	// A pipeline takes its topics with it: another of its name is not given its messages.
	if err := a.client.Stop(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	a.state(t, "shop", "stopped")
	if _, err := a.call("test/left/ann", order{Get: true}, false, time.Second); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("a call of what stands still: %v", err)
	}
	if _, err := a.client.Pipelines.DeletePipeline(t.Context(), connect.NewRequest(&weirv1.DeletePipelineRequest{Namespace: Namespace, Name: "shop"})); err != nil {
		t.Fatal(err)
	}
	a.apply(1, "test/left, test/right")
	a.state(t, "shop", "running")
	if c, err := a.call("test/left/ann", order{Get: true}, false, 20*time.Second); err != nil || c.N != 0 {
		t.Errorf("a new pipeline has counted %d, %v", c.N, err)
	}
}

// commandLine does what a person would.
func (a *application) commandLine(t *testing.T) {
	a.sent["test/right/cli"] += 2
	for _, c := range []struct{ want, line string }{
		{"", `function send test/right/cli --json {}`},
		{`{"type":"test/right","id":"cli","n":2}`, `function call test/right/cli --json {"reply":true} --committed --timeout 20s`},
		{`"value": 2`, `function state test/right/cli -o json`},
		{"test/right", "function list"},
		{"shop-messages", "function info test/right"},
		{"shop-messages", "topic list"},
	} {
		out, err := a.setup.Weir(t.Context(), strings.NewReader(""), strings.Fields(c.line)...)
		if err != nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: %v: %s", c.line, err, out)
		}
	}
	if _, err := a.setup.Weir(t.Context(), strings.NewReader(""), "function", "call", "test/rihgt/cli", "--json", "1"); err == nil || !strings.Contains(err.Error(), "did you mean test/right?") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a type that is not there: %v", err)
	}
}

func (a *application) httpCall(t *testing.T) {
	a.sent["test/left/web"] += 2
	for method, want := range map[string]string{http.MethodPut: `{"stored":1,"duplicate":false}`, http.MethodPost: `"id":"web"`} {
		r, err := http.NewRequestWithContext(t.Context(), method, a.setup.URL()+"/v1/functions/test/left/web", strings.NewReader(`{"reply":`+fmt.Sprint(method == http.MethodPost)+`}`))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close() // it was read whole
		if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: status %d: %s, %v", method, answer.StatusCode, body, err)
		}
	}
}

func TestMessagesInCyclesCountOnceThroughStopsRescalesAndRevisions(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	a := startFunctions(t, alone(t), "shop", 1)
	batch := func(n int) {
		t.Helper()
		for range n {
			a.send("", a.load(r, 200)...)
		}
	}
	batch(5)
	if err := a.client.Stop(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	a.state(t, "shop", "stopped")
	batch(2) // stored, for when it goes on
	if err := a.client.Resume(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	a.state(t, "shop", "running")
	for i, n := range []int{3, 2} {
		batch(3)
		if err := a.client.Rescale(t.Context(), "shop", n); err != nil {
			t.Fatal(err)
		}
		batch(3)
		if _, err := a.client.Await(within(t, 60*time.Second), "shop", fmt.Sprintf("to run at %d", n), runsAt(uint64(i)+2, n)); err != nil {
			t.Fatal(err)
		}
	}
	// To a type that nothing has: they wait.
	for i := range 20 {
		a.send("", a.message(fmt.Sprintf("test/left/%d", i%7), order{Hops: []string{fmt.Sprintf("test/late/%d", i%3), "test/right/0"}}))
	}
	a.await("test/left/0", 1)
	if _, err := a.client.Functions.Send(t.Context(), connect.NewRequest(&weirv1.SendRequest{Namespace: Namespace, Messages: []*weirv1.FunctionMessage{{Type: "test/late", Id: "0"}}})); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("a type that is not there: %v", err)
	}
	batch(2)
	a.parked(t, true)
	a.apply(2, "test/left, test/right, test/late")
	if _, err := a.client.Await(within(t, 60*time.Second), "shop", "to run with the new type", runsAt(4, 2)); err != nil {
		t.Fatal(err)
	}
	batch(2)
	a.verify()
	a.parked(t, false)
}

// parked waits until the status says that messages wait for a type, or no longer,
// and until a checkpoint shows which.
func (a *application) parked(t *testing.T, wanted bool) {
	t.Helper()
	what := map[bool]string{true: "to have messages that wait for a type", false: "to have none"}[wanted]
	if _, err := a.client.Await(within(t, 60*time.Second), a.name, what, func(s *weirv1.PipelineStatus) bool {
		said := false
		for _, w := range s.GetWarnings() {
			said = said || strings.HasPrefix(w, "messages to 3 addresses wait for a type") || !wanted && strings.Contains(w, "wait for a type")
		}
		return said == wanted && s.Pipeline.State == "running"
	}); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 60*time.Second)
	for {
		out, err := a.setup.Weir(ctx, strings.NewReader(""), "state", "dump", a.name, "functions.parked", "-o", "json")
		if err == nil && strings.Contains(out, `["test/late","`) == wanted {
			return
		}
		if pause(ctx, pollEvery) != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

func TestMessagesInCyclesCountOnceThroughKills(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	a := startFunctions(t, alone(t), "shop", 2)
	kills := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const times = 4
	proceed := make(chan struct{}, times)
	go func() {
		for range times {
			select {
			case <-proceed:
			case <-ctx.Done():
				return
			}
			a.process.Kill()
			p, err := a.setup.Start(ctx)
			if err != nil {
				kills <- err
				return
			}
			a.process = p
		}
		close(kills)
	}()
	for i := range 40 {
		a.send(fmt.Sprintf("batch %d of %d", i, seed), a.load(r, 100)...)
		if i%8 == 4 && i/8 < times {
			proceed <- struct{}{}
		}
		if i%4 == 0 {
			a.insist(fmt.Sprintf("call %d of %d", i, seed), a.message(fmt.Sprintf("test/left/%d", r.IntN(50)), order{Reply: true}), i%8 == 0)
		}
	}
	if err := <-kills; err != nil {
		t.Fatal(err)
	}
	a.state(t, "shop", "running")
	a.verify()
	if w, ok := a.deduplication(t); !ok || w != 2*time.Minute {
		t.Errorf("the topic of messages knows ids for %s", w)
	}
}

func TestMessagesInCyclesCountOnceThroughTheDeathOfWorkers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	w := alone(t, "--role", "controller,gateway")
	var workers []*Member
	for _, name := range []string{"first", "second"} {
		m := worker(t, w.setup, name, "")
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		workers = append(workers, m)
	}
	a := startFunctions(t, w, "shop", 3)
	for i := range 30 {
		a.send("", a.load(r, 100)...)
		if i%8 == 5 {
			m := workers[i/8%2]
			m.Kill()
			if err := m.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	a.verify()
}

// deduplication is how long the server knows ids of the topic of messages.
func (a *application) deduplication(t *testing.T) (time.Duration, bool) {
	t.Helper()
	js, err := a.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	info, err := js.StreamInfo(jetstream.StreamName(Namespace, a.name+"-messages"))
	if err != nil {
		t.Fatal(err)
	}
	return info.Config.Duplicates, true
}

func TestAMessageThatAFunctionRefusesIsADeadLetter(t *testing.T) {
	a := startFunctions(t, alone(t), "shop", 1)
	a.send("", a.message("test/left/a", order{Bad: true}), a.message("test/left/a", order{}))
	a.verify()
	deadline := time.Now().Add(30 * time.Second)
	for {
		r, err := a.client.Pipelines.ListDeadLetters(t.Context(), connect.NewRequest(&weirv1.ListDeadLettersRequest{Namespace: Namespace, Name: "shop"}))
		if err != nil {
			t.Fatal(err)
		}
		if l := r.Msg.GetLetters(); len(l) == 1 && l[0].GetOperator() == "test/left" && strings.Contains(l[0].GetReason(), "it is bad") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("letters: %v", r.Msg.GetLetters())
		}
		if err := pause(t.Context(), pollEvery); err != nil {
			t.Fatal(err)
		}
	}
}
