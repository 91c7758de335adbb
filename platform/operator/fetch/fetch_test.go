package fetch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/arena"
)

// rig is the operator with a real backend, and what it has answered.
type rig struct {
	t       *testing.T
	op      *Operator
	state   state.Backend
	wake    chan struct{}
	answers []answer
}

func open(t *testing.T, c Config, entries ...state.Entry) *rig {
	t.Helper()
	r := &rig{t: t, op: New(), wake: make(chan struct{}, 1)}
	var err error
	if r.state, err = arena.Open(state.Options{Descriptors: []state.Descriptor{{Name: "requests", Form: state.Entries}, {Name: "next", Form: state.Single}}}); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := r.state.Load(e); err != nil {
			t.Fatal(err)
		}
	}
	config, _ := json.Marshal(c)
	err = r.op.Open(&operator.Context{
		Config: config, Inputs: []*schema.Schema{functions.Request}, Outputs: []*schema.Schema{functions.Message},
		State: r.state, Output: r, Log: slog.New(slog.DiscardHandler), Clock: func() int64 { return time.Now().UnixMicro() },
		Wake: func() {
			select {
			case r.wake <- struct{}{}:
			default:
			}
		},
		Ending: make(chan struct{}), Meter: &operator.Meter{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) Emit(_ int, b *batch.Batch) error {
	defer b.Release()
	for i := range b.Len() {
		row := b.Row(i)
		if got := b.Columns[functions.MessageTypename].StringAt(row); got != functions.AnswerTypename {
			r.t.Errorf("type name %s", got)
		}
		var a answer
		if err := json.Unmarshal(b.Columns[functions.MessageValue].BytesAt(row), &a); err != nil {
			r.t.Error(err)
		}
		r.answers = append(r.answers, a)
	}
	return nil
}
func (r *rig) Watermark(element.Watermark) error { return nil }

func (r *rig) ask(id, url string, attempts int32, timeout time.Duration) {
	r.t.Helper()
	b := batch.NewBuilder(functions.Request)
	for i, text := range []string{"POST", url, `{"X-Test":"yes"}`, "question", "on_answer", "p-" + id} {
		b.Column(i).AppendString(text)
	}
	b.Column(colTimeout).AppendInt64(timeout.Milliseconds())
	b.Column(colAttempts).AppendInt32(attempts)
	b.Column(colCallerType).AppendString("test.weir/f")
	b.Column(colCallerID).AppendString(id)
	b.EndRow(batch.NoTime)
	if err := r.op.Process(0, b.Finish("", 0)); err != nil {
		r.t.Fatal(err)
	}
}

// wait waits for n answers.
func (r *rig) wait(n int) []answer {
	r.t.Helper()
	deadline := time.After(20 * time.Second)
	for len(r.answers) < n {
		select {
		case <-r.wake:
			if err := r.op.Woken(); err != nil {
				r.t.Fatal(err)
			}
		case <-deadline:
			r.t.Fatalf("%d of %d answers", len(r.answers), n)
		}
	}
	return r.answers
}

// server counts calls by Idempotency-Key and answers as told.
type server struct {
	*httptest.Server
	mu   sync.Mutex
	keys map[string]int
}

func serve(t *testing.T, handle func(w http.ResponseWriter, r *http.Request, time int)) *server {
	s := &server{keys: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a server sees that its client is gone only once it has read the request
		key := r.Header.Get("Idempotency-Key")
		s.mu.Lock()
		s.keys[key]++
		n := s.keys[key]
		s.mu.Unlock()
		handle(w, r, n)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestARequestIsAnsweredAfterRetriesOrWithAnError(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n < 3 || r.URL.Path == "/never" {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("X-Score", "7")
		fmt.Fprint(w, r.Header.Get("X-Test"))
	})
	r := open(t, Config{Allow: []string{s.URL}})
	defer r.op.Close()
	r.ask("a", s.URL+"/", 3, time.Second)
	r.ask("b", s.URL+"/never", 3, time.Second)
	byPayload := map[string]answer{}
	for _, a := range r.wait(2) {
		byPayload[string(a.Payload)] = a
	}
	if a := byPayload["p-a"]; a.Status != 200 || string(a.Body) != "yes" || a.Headers["X-Score"] != "7" || a.Error != "" || a.Handler != "on_answer" {
		t.Errorf("%+v", a)
	}
	if a := byPayload["p-b"]; a.Status != 503 || !strings.Contains(a.Error, "503") || !strings.Contains(a.Error, "after 3 attempts") {
		t.Errorf("%+v", a)
	}
	if r.op.bytes != 0 {
		t.Errorf("%d bytes are booked", r.op.bytes)
	}
	if _, ok := r.state.NextTimer(state.EventTime); ok {
		t.Error("an address without requests has a timer")
	}
}

func TestOnlyListedServersAreCalledAndRedirectsAreNotFollowed(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		http.Redirect(w, r, "http://127.0.0.1:1/secret", http.StatusFound)
	})
	r := open(t, Config{Allow: []string{s.URL, "api.example.com", "*.weir.example:8443"}})
	defer r.op.Close()
	for id, target := range map[string]string{"redirect": s.URL, "other": "http://127.0.0.1:1/", "scheme": "file:///etc/passwd", "none": "/x"} {
		r.ask(id, target, 1, time.Second)
	}
	for _, a := range r.wait(4) {
		switch string(a.Payload) {
		case "p-redirect":
			if a.Status != http.StatusFound || a.Error != "" {
				t.Errorf("%+v", a)
			}
		default:
			if a.Error == "" || a.Status != 0 {
				t.Errorf("%+v", a)
			}
		}
	}
	for text, want := range map[string]bool{
		"https://api.example.com/x": true, "https://api.example.com:443/": true, "https://API.example.com": true, "http://api.example.com/": false,
		"https://api.example.com:8443": false, "https://a.weir.example:8443/": true, "https://weir.example:8443/": false, "https://api.example.com.evil.test/": false,
		"https://api.example.com@evil.test/": false,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.op.caller.allow.check(u); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestARequestThatIsUnderWayAtABarrierIsMadeAgainWithItsKey(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 1 {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		fmt.Fprint(w, "ok")
	})
	defer close(release)
	r := open(t, Config{Allow: []string{s.URL}})
	r.ask("a", s.URL, 1, time.Minute)
	snap, err := r.op.Barrier(element.Barrier{ID: 1})
	if err != nil {
		t.Fatal(err)
	}
	var entries []state.Entry
	for e := range snap.Keyed.Entries() {
		e.Key, e.Sub, e.Value = bytes.Clone(e.Key), bytes.Clone(e.Sub), bytes.Clone(e.Value)
		entries = append(entries, e)
	}
	snap.Keyed.Release()
	for deadline := time.Now().Add(10 * time.Second); ; {
		s.mu.Lock()
		n := len(s.keys)
		s.mu.Unlock()
		if n > 0 || time.Now().After(deadline) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	r.op.Close() // dies in mid-call

	again := open(t, Config{Allow: []string{s.URL}}, entries...)
	defer again.op.Close()
	if a := again.wait(1)[0]; string(a.Body) != "ok" || string(a.Payload) != "p-a" {
		t.Errorf("%+v", a)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) != 1 {
		t.Errorf("keys %v, want one for both", s.keys)
	}
}

func TestASilentServerCostsTheTimeoutAndWhatIsWrongIsSaid(t *testing.T) {
	silent := serve(t, func(_ http.ResponseWriter, r *http.Request, _ int) { <-r.Context().Done() })
	big := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) { w.Write(make([]byte, MaxAnswerBytes+1)) })
	r := open(t, Config{Allow: []string{silent.URL, big.URL}})
	defer r.op.Close()
	r.ask("silent", silent.URL, 1, 50*time.Millisecond)
	r.ask("big", big.URL, 1, time.Second)
	r.ask("often", big.URL, MaxAttempts+1, time.Second)
	want := map[string]string{"p-silent": "no answer within 50ms", "p-big": "more than 524288 bytes", "p-often": "11 attempts, want at most 10"}
	for _, a := range r.wait(3) {
		if !strings.Contains(a.Error, want[string(a.Payload)]) {
			t.Errorf("%s: %q", a.Payload, a.Error)
		}
	}
}
