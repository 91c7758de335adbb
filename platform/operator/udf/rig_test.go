package udf

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/manifest"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/operatortest"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/arena"
	"github.com/weirstream/weir/wasmhost"
)

// The modules that the tests run.
const (
	goModule      = "go"      // testdata/guest, built here
	cModule       = "c"       // the C SDK's count_sum
	hostileModule = "hostile" // testdata/hostile.c
)

// compiled is a module ready to run.
type compiled struct {
	module   *wasmhost.Module
	manifest *manifest.Manifest
}

// modules are compiled once for all tests.
type modules struct {
	mu   sync.Mutex
	host *wasmhost.Host
	got  map[string]compiled

	assets map[string][]frame.Asset
}

var shared = modules{got: map[string]compiled{}}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.host != nil {
		if err := shared.host.Close(context.Background()); err != nil {
			code = 1
		}
	}
	os.Exit(code)
}

// Assets implements Modules.
func (m *modules) Assets(_ context.Context, digest string) ([]frame.Asset, error) {
	return m.assets[digest], nil
}

// Module implements Modules.
func (m *modules) Module(ctx context.Context, digest string) (*wasmhost.Module, *manifest.Manifest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.got[digest]; ok {
		return c.module, c.manifest, nil
	}
	if m.host == nil {
		h, err := wasmhost.NewHost(ctx, wasmhost.Options{})
		if err != nil {
			return nil, nil, err
		}
		m.host = h
	}
	wasm, err := wasmOf(digest)
	if err != nil {
		return nil, nil, err
	}
	module, err := m.host.Compile(ctx, wasm)
	if err != nil {
		return nil, nil, err
	}
	described, err := describe(ctx, module)
	if err != nil {
		return nil, nil, err
	}
	m.got[digest] = compiled{module, described}
	return module, described, nil
}

func wasmOf(name string) ([]byte, error) {
	switch name {
	case cModule:
		return os.ReadFile("../../../sdk/c/bench/count_sum.wasm")
	case hostileModule:
		return os.ReadFile("testdata/hostile.wasm")
	}
	dir, err := os.MkdirTemp("", "weir-udf-guest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	target := filepath.Join(dir, "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", target, ".")
	cmd.Dir = "testdata/guest"
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOWORK=off", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.New(string(text))
	}
	return os.ReadFile(target)
}

func describe(ctx context.Context, m *wasmhost.Module) (*manifest.Manifest, error) {
	var w frame.ContainerWriter
	w.Reset(frame.KindDescribe)
	w.Reserve(abi.DescribeSectionParams, 0, abi.SectionMustUnderstand, 2)
	request := make([]byte, w.Size())
	w.Begin(request)
	copy(w.Body(0), "{}")
	in, err := m.Instantiate(ctx, wasmhost.InstanceOptions{})
	if err != nil {
		return nil, err
	}
	text, err := in.Describe(ctx, request, wasmhost.CallOptions{})
	if err != nil {
		return nil, errors.Join(err, in.Close(ctx))
	}
	described, err := manifest.Parse(bytes.Clone(text))
	return described, errors.Join(err, in.Close(ctx))
}

// plan is how a test wants the operator.
type plan struct {
	module, function string
	inputs           []string // schemas, where they are not what the function declares
	failing          bool     // refused records fail the job
	timeoutMs        int64
	deps             Deps
	segments         [][]state.Entry // what it starts from
	pipeline         string          // "test" without
	ending           chan struct{}
}

// rig is an operator at work, as a task would run it.
type rig struct {
	*Operator
	t       testing.TB
	state   state.Backend
	inputs  []*schema.Schema
	rows    [][]operatortest.Row // by output; the last is the dead letters
	marks   []element.Watermark
	now     int64
	log     bytes.Buffer
	meter   operator.Meter
	discard bool
	closed  bool
}

func open(t testing.TB, p plan) *rig {
	t.Helper()
	r, err := tryOpen(t, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tryOpen(t testing.TB, p plan) (*rig, error) {
	t.Helper()
	if p.module == "" {
		p.module = goModule
	}
	_, m, err := shared.Module(t.Context(), p.module)
	if err != nil {
		t.Fatal(err)
	}
	f := m.Function(p.function)
	r := &rig{t: t}
	for i := range f.Inputs {
		s := f.Inputs[i].Schema()
		if p.inputs != nil {
			s = schema.MustParse(p.inputs[i])
		}
		r.inputs = append(r.inputs, s)
	}
	if f.Keyed() {
		if r.state, err = arena.Open(state.Options{Descriptors: descriptors(f)}); err != nil {
			t.Fatal(err)
		}
		for _, segment := range p.segments {
			for _, e := range segment {
				if err := r.state.Load(e); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	r.rows = make([][]operatortest.Row, len(f.Outputs)+1)
	p.deps.Modules = &shared
	r.Operator = New(p.deps)
	config, err := json.Marshal(Config{Module: p.module, Function: p.function, DeadLetters: !p.failing, CallTimeoutMs: p.timeoutMs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r, r.Open(&operator.Context{
		Identity: operator.Identity{Pipeline: cmp.Or(p.pipeline, "test"), PipelineUID: "uid", Operator: p.function, Parallelism: 1, LastGroup: 255, Attempt: 4},
		Config:   config, Inputs: r.inputs, State: r.state, Output: (*collector)(r),
		Log:   slog.New(slog.NewTextHandler(&r.log, nil)),
		Clock: func() int64 { return r.now }, Wake: func() {}, Ending: p.ending, Fail: func(err error) { t.Error(err) },
		Published: func(uint64) {}, Meter: &r.meter,
	})
}

func descriptors(f *manifest.Function) []state.Descriptor {
	var out []state.Descriptor
	for _, s := range f.State {
		d := state.Descriptor{Name: s.Name, Form: state.Single}
		if s.Form == manifest.Hosted {
			d.Form = state.Entries
		}
		out = append(out, d)
	}
	return out
}

// alive fails a test that leaves batches behind. Call it first, so that it looks last.
func alive(t *testing.T) {
	t.Helper()
	before := batch.Live()
	t.Cleanup(func() {
		if n := batch.Live() - before; n != 0 {
			t.Errorf("%d batches or buffers are still alive", n)
		}
	})
}

type collector rig

func (c *collector) Emit(port int, b *batch.Batch) error {
	if !c.discard {
		c.rows[port] = append(c.rows[port], operatortest.RowsOf(b)...)
	}
	b.Release()
	return nil
}

func (c *collector) Watermark(w element.Watermark) error {
	c.marks = append(c.marks, w)
	return nil
}

// send feeds rows as one batch.
func (r *rig) send(input int, rows ...operatortest.Row) {
	r.t.Helper()
	if err := r.try(input, rows...); err != nil {
		r.t.Fatalf("process: %v", err)
	}
}

func (r *rig) try(input int, rows ...operatortest.Row) error {
	return r.Process(input, operatortest.Batch(nil, r.inputs[input], rows))
}

// event moves the watermark of every input.
func (r *rig) event(micros int64) {
	r.t.Helper()
	if err := r.tryEvent(micros); err != nil {
		r.t.Fatalf("watermark: %v", err)
	}
}

func (r *rig) tryEvent(micros int64) error {
	for i := range r.inputs {
		if err := r.Watermark(i, element.Watermark{Time: micros}); err != nil {
			return err
		}
	}
	return nil
}

// advance moves the clock.
func (r *rig) advance(micros int64) {
	r.t.Helper()
	r.now = micros
	if r.state != nil {
		r.state.Advance(micros)
	}
	if err := r.Timers(micros); err != nil {
		r.t.Fatalf("timers: %v", err)
	}
}

// barrier ends an epoch and gives what changed in it.
func (r *rig) barrier() []state.Entry {
	r.t.Helper()
	s, err := r.Barrier(element.Barrier{ID: 1, Actions: element.Checkpoint})
	if err != nil {
		r.t.Fatal(err)
	}
	var out []state.Entry
	for e := range s.Keyed.Entries() {
		e.Key, e.Sub, e.Value = slices.Clone(e.Key), slices.Clone(e.Sub), slices.Clone(e.Value)
		out = append(out, e)
	}
	s.Keyed.Release()
	return out
}

func (r *rig) close() {
	if r.closed {
		return
	}
	r.closed = true
	if err := r.Close(); err != nil {
		r.t.Errorf("close: %v", err)
	}
	if r.state != nil {
		if err := r.state.Close(); err != nil {
			r.t.Errorf("close state: %v", err)
		}
	}
}

// letters are the dead letters.
func (r *rig) letters() []operatortest.Row { return r.rows[len(r.rows)-1] }

// texts are the rows of an output without kinds and times.
func (r *rig) texts(output int) []string {
	var out []string
	for _, row := range r.rows[output] {
		out = append(out, row.Values[len(row.Values)-1].(string))
	}
	return out
}
