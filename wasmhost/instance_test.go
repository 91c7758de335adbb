package wasmhost

import (
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/weirstream/weir/wasmhost/rewrite"
)

func TestACallAllocatesNothing(t *testing.T) {
	in, handle := newInstance(t, newHost(t, Options{}), hostileWasm, InstanceOptions{})
	input := command(cmdBehave, 7)
	write := func(dst []byte) { copy(dst, input) }
	ctx := context.Background()
	options := CallOptions{Deadline: time.Now().Add(time.Hour)}
	allocs := testing.AllocsPerRun(1000, func() {
		if _, err := in.Call(ctx, handle, len(input), write, options); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations a call", allocs)
	}
	if s := in.Stats(); s.Calls != 1001 || s.GuestTime <= 0 || s.MemoryBytes == 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestAModuleIsCompiledOnceForAllWhoAsk(t *testing.T) {
	h := newHost(t, Options{})
	got := make(chan *Module, 8)
	for range cap(got) {
		go func() {
			m, err := h.Compile(t.Context(), hostileWasm)
			if err != nil {
				t.Error(err)
			}
			got <- m
		}()
	}
	first := <-got
	for range cap(got) - 1 {
		if m := <-got; m != first {
			t.Errorf("two modules of one digest")
		}
	}
}

func TestBadModulesAreRefusedWithAName(t *testing.T) {
	h := newHost(t, Options{})
	var refusal *rewrite.Error
	if _, err := h.Compile(t.Context(), []byte("no module")); !errors.As(err, &refusal) || refusal.Kind != rewrite.Malformed {
		t.Errorf("garbage: %v", err)
	}
	if _, err := h.Compile(t.Context(), []byte("\x00asm\x01\x00\x00\x00")); !errors.As(err, &refusal) || refusal.Kind != rewrite.MissingExport {
		t.Errorf("an empty module: %v", err)
	}
	if _, err := h.Compile(t.Context(), make([]byte, MaxModuleBytes+1)); !errors.As(err, &refusal) || refusal.Kind != rewrite.OverLimit {
		t.Errorf("a large module: %v", err)
	}
	if _, err := h.Compile(t.Context(), handmade("\x6a", nil)); !errors.Is(err, ErrInvalidModule) {
		t.Errorf("code that adds nothing to nothing: %v", err)
	}
}

// handmade is a module with the exports of the contract, whose functions run the
// given instructions, and a start function, if start is not nil.
func handmade(instrs string, start []byte) []byte {
	sized := func(s string) string {
		if len(s) > 127 {
			return string([]byte{byte(len(s)) | 0x80, byte(len(s) >> 7)}) + s
		}
		return string([]byte{byte(len(s))}) + s
	}
	export := func(name string, kind, index byte) string { return sized(name) + string([]byte{kind, index}) }
	section := func(id byte, body string) string { return string([]byte{id}) + sized(body) }
	body := func(s string) string { return sized("\x00" + s + "\x0b") }
	m := "\x00asm\x01\x00\x00\x00" +
		section(1, "\x05\x60\x00\x01\x7f\x60\x01\x7f\x01\x7f\x60\x02\x7f\x7f\x01\x7e\x60\x03\x7f\x7f\x7f\x01\x7e\x60\x00\x00") +
		section(3, "\x05\x00\x01\x02\x03\x04") +
		section(5, "\x01\x00\x01") +
		section(7, "\x06"+export(exportMemory, 2, 0)+export(exportABI, 0, 0)+export(exportAlloc, 0, 1)+
			export(exportDescribe, 0, 2)+export(exportOpen, 0, 2)+export(exportCall, 0, 3))
	if start != nil {
		m += section(8, "\x04")
	}
	return []byte(m + section(10, "\x05"+body("\x41\x00"+instrs)+body("\x41\x08")+body("\x42\x00")+body("\x42\x00")+body(string(start))))
}

func TestAStartFunctionThatNeverEndsIsStopped(t *testing.T) {
	m, err := newHost(t, Options{}).Compile(t.Context(), handmade("", []byte("\x03\x40\x0c\x00\x0b")))
	if err != nil {
		t.Fatal(err)
	}
	if !m.Report().HasStart {
		t.Error("the start function is not reported")
	}
	in, err := m.Instantiate(t.Context(), InstanceOptions{Deadline: time.Now().Add(callTime)})
	if !errors.Is(err, ErrDeadline) || in != nil {
		t.Errorf("got %v, want %v", err, ErrDeadline)
	}
}

func TestAnInstanceThatNeedsMoreThanItsCapIsRefused(t *testing.T) {
	m, err := newHost(t, Options{}).Compile(t.Context(), hostileWasm)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Instantiate(t.Context(), InstanceOptions{MemoryPages: 1}); !errors.Is(err, ErrMemory) {
		t.Errorf("got %v, want %v", err, ErrMemory)
	}
	if _, err := m.Instantiate(t.Context(), InstanceOptions{MemoryPages: MaxMemoryPages + 1}); err == nil {
		t.Errorf("more than a gigabyte is granted")
	}
	if _, err := NewHost(t.Context(), Options{MemoryPages: MaxMemoryPages + 1}); err == nil {
		t.Errorf("more than a gigabyte by default is accepted")
	}
}

func TestAnInputAboveTheLimitLeavesTheInstanceAlive(t *testing.T) {
	in, handle := newInstance(t, newHost(t, Options{}), hostileWasm, InstanceOptions{})
	_, err := in.Call(t.Context(), handle, maxInputBytes+1, func([]byte) {}, CallOptions{})
	if !errors.Is(err, ErrInputTooLarge) || in.Dead() {
		t.Errorf("got %v, dead %v", err, in.Dead())
	}
	if _, err := in.Call(t.Context(), handle+1, 0, func([]byte) {}, CallOptions{}); err == nil || in.Dead() {
		t.Errorf("a handle that is not open: %v, dead %v", err, in.Dead())
	}
}

func FuzzReadOpened(f *testing.F) {
	f.Add([]byte("WRC1"))
	f.Add([]byte("WRC1\x28\x00\x00\x00\x04\x00\x01\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x20\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fn, refusal, err := readOpened(b)
		if err != nil && (refusal != "" || fn != function{}) {
			t.Errorf("an error and an answer: %v %q %v", fn, refusal, err)
		}
	})
}

func TestStateImportsCarryKeysValuesAndPages(t *testing.T) {
	state := &recorder{}
	in, handle := newInstance(t, newHost(t, Options{}), hostileWasm, InstanceOptions{Imports: state})
	out, err := call(t.Context(), in, handle, command(cmdState, 0), CallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got [5]int64
	for i := range got {
		got[i] = int64(binary.LittleEndian.Uint64(out[8*i:]))
	}
	if want := [5]int64{-1, 5, -1, 1<<32 | 16, 0}; got != want {
		t.Errorf("before, after, gone, page, next: %v, want %v", got, want)
	}
	if v := string(out[40:45]); v != "value" {
		t.Errorf("the value came back as %q", v)
	}
	if want := []string{"append 2 1 item", "clear 2 1"}; !slices.Equal(state.lines, want) {
		t.Errorf("list imports %q, want %q", state.lines, want)
	}
}

func TestAMetricIsPassedOnAndABadNameRefused(t *testing.T) {
	metrics := &recorder{}
	in, handle := newInstance(t, newHost(t, Options{}), hostileWasm, InstanceOptions{Imports: metrics})
	for range 2 {
		if _, err := call(t.Context(), in, handle, command(cmdMetric, 0), CallOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if metrics.metrics["rows"] != 5 {
		t.Errorf("metrics %v", metrics.metrics)
	}
	if _, err := call(t.Context(), in, handle, command(cmdBadMetric, 0), CallOptions{}); !errors.Is(err, ErrImport) {
		t.Errorf("a bad name: %v", err)
	}
}

func TestAFailingImportEndsTheCallWithItsError(t *testing.T) {
	in, handle := newInstance(t, newHost(t, Options{}), hostileWasm, InstanceOptions{Imports: failing{}})
	_, err := call(t.Context(), in, handle, command(cmdState, 0), CallOptions{})
	if !errors.Is(err, ErrImport) || !errors.Is(err, errFailing) || !in.Dead() {
		t.Errorf("got %v, dead %v", err, in.Dead())
	}
}

var errFailing = errors.New("the state is gone")

// failing is an Imports whose state cannot be read.
type failing struct{}

func (failing) Log(int, []byte)             {}
func (failing) Metric(int, []byte, float64) {}
func (failing) StateGet(Access, uint32, uint32, []byte, []byte) (int64, error) {
	return 0, errFailing
}
func (failing) StatePut(Access, uint32, uint32, []byte, []byte) error { return errFailing }
func (failing) StateDelete(Access, uint32, uint32, []byte) error      { return errFailing }
func (failing) StateAppend(Access, uint32, uint32, []byte) error      { return errFailing }
func (failing) StateClear(Access, uint32, uint32) error               { return errFailing }
func (failing) StateScan(Access, uint32, uint32, []byte, []byte) (uint32, uint32, error) {
	return 0, 0, errFailing
}

func TestCompiledCodeIsFoundAgainByTheNextHost(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		h := newHost(t, Options{CacheDir: dir})
		in, handle := newInstance(t, h, hostileWasm, InstanceOptions{})
		if _, err := call(t.Context(), in, handle, command(cmdBehave, 1), CallOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "rewriter-*", "*", "*"))
	if err != nil || len(files) != 1 {
		t.Errorf("cached files %v, %v; want one for the module", files, err)
	}
}
