package wasmhost

import (
	"context"
	_ "embed"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

//go:embed testdata/hostile.wasm
var hostileWasm []byte

// codeFolder lets the hosts of all tests share compiled code.
var codeFolder string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "weir-wasmhost")
	if err != nil {
		panic(err)
	}
	codeFolder = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// newHost is a host that ends with the test.
func newHost(t testing.TB, options Options) *Host {
	t.Helper()
	if options.CacheDir == "" {
		options.CacheDir = codeFolder
	}
	h, err := NewHost(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// newInstance starts an instance with one open function and gives its handle.
func newInstance(t testing.TB, h *Host, wasm []byte, options InstanceOptions) (*Instance, uint32) {
	t.Helper()
	m, err := h.Compile(t.Context(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	in, err := m.Instantiate(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	handle, err := in.Open(t.Context(), nil, CallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return in, handle
}

func command(cmd, arg uint32) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, cmd), arg)
}

func call(ctx context.Context, in *Instance, handle uint32, input []byte, options CallOptions) ([]byte, error) {
	return in.Call(ctx, handle, len(input), func(dst []byte) { copy(dst, input) }, options)
}

// recorder is the Imports of tests.
type recorder struct {
	lines   []string
	metrics map[string]float64
	state   map[string]string
	at      Access
}

func (r *recorder) Log(_ int, line []byte) { r.lines = append(r.lines, string(line)) }
func (r *recorder) Metric(_ int, name []byte, v float64) {
	if r.metrics == nil {
		r.metrics = map[string]float64{}
	}
	r.metrics[string(name)] += v
}
func (r *recorder) StateGet(at Access, _, _ uint32, key, dst []byte) (int64, error) {
	v, ok := r.state[string(key)]
	if !ok {
		return -1, nil
	}
	return int64(copy(dst, v)), nil
}
func (r *recorder) StatePut(at Access, _, _ uint32, key, value []byte) error {
	if r.state == nil {
		r.state = map[string]string{}
	}
	r.at, r.state[string(key)] = at, string(value)
	return nil
}
func (r *recorder) StateDelete(_ Access, _, _ uint32, key []byte) error {
	delete(r.state, string(key))
	return nil
}
func (r *recorder) StateAppend(_ Access, state, slot uint32, value []byte) error {
	r.lines = append(r.lines, fmt.Sprintf("append %d %d %s", state, slot, value))
	return nil
}
func (r *recorder) StateClear(_ Access, state, slot uint32) error {
	r.lines = append(r.lines, fmt.Sprintf("clear %d %d", state, slot))
	return nil
}

// StateScan gives the one entry that a test has put, or nothing after it.
func (r *recorder) StateScan(_ Access, _, _ uint32, after, dst []byte) (uint32, uint32, error) {
	for k, v := range r.state {
		if after == nil {
			entry := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(len(k))), uint32(len(v)))
			return 1, uint32(copy(dst, append(append(entry, k...), v...))), nil
		}
	}
	return 0, 0, nil
}

func median(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[len(ds)/2]
}
