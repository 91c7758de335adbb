package modules

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/blobfault"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/wasmhost"
)

// guests are compiled once for all tests: that takes longer than the rest.
var guests = sync.OnceValues(func() (*wasmhost.Host, error) {
	return wasmhost.NewHost(context.Background(), wasmhost.Options{})
})

func host(t *testing.T) *wasmhost.Host {
	t.Helper()
	h, err := guests()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func counter(t *testing.T) []byte {
	t.Helper()
	wasm, err := os.ReadFile("../../sdk/c/bench/count_sum.wasm")
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func push(t *testing.T, s *Store) Pushed {
	t.Helper()
	p, err := s.Push(t.Context(), counter(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAModuleIsFoundAgainByItsDigest(t *testing.T) {
	blobs := memblob.New(memblob.Options{})
	first := New(host(t), blobs)
	pushed := push(t, first)
	if again := push(t, first); again.Digest != pushed.Digest || again.ManifestDigest != pushed.ManifestDigest {
		t.Error("the same bytes gave another result")
	}
	objects := 0
	for range blobs.List(t.Context(), "") {
		objects++
	}
	if objects != 2 {
		t.Errorf("%d objects, want the module and its manifest once", objects)
	}
	other := New(host(t), blobs) // as after a restart
	for _, digest := range []string{pushed.Digest.String(), "sha256:" + pushed.Digest.String()} {
		m, manifest, err := other.Module(t.Context(), digest)
		if err != nil || m == nil || manifest.Function("count_sum") == nil {
			t.Errorf("%s: %v", digest, err)
		}
		if manifest, err = other.Manifest(t.Context(), digest); err != nil || manifest.Function("count_sum") == nil {
			t.Errorf("manifest of %s: %v", digest, err)
		}
	}
	if _, _, err := other.Module(t.Context(), strings.Repeat("0", 64)); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("an unknown digest: %v", err)
	}
}

func TestWhatIsNoModuleIsRefused(t *testing.T) {
	// An empty Wasm module: a magic number and a version.
	empty := []byte("\x00asm\x01\x00\x00\x00")
	for name, c := range map[string]struct {
		wasm []byte
		want string
	}{
		"nothing":       {nil, ""},
		"text":          {[]byte("hello, I am a module"), ""},
		"empty module":  {empty, "weir_abi_v1 is not exported"},
		"half a module": {counter(t)[:2000], ""},
	} {
		blobs := memblob.New(memblob.Options{})
		_, err := New(host(t), blobs).Push(t.Context(), c.wasm)
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		for info := range blobs.List(t.Context(), "") {
			t.Errorf("%s: %s is kept", name, info.Name)
		}
	}
}

// clockwise is a module, assembled by hand, in whose description a digit of a
// name follows the clock.
func clockwise() []byte {
	const at, digit = 1024, "{clock}"
	text := `{"abi":{"major":1,"minor":0},"functions":[{"name":"f{clock}","inputs":[{"name":"in","columns":"id:int64"}]}]}`
	place := at + strings.Index(text, digit)
	text = strings.Replace(text, digit, "0", 1)
	const (
		i32, i64        = 0x7f, 0x7e
		end, drop       = 0x0b, 0x1a
		i32c, i64c      = 0x41, 0x42
		load8u, store8  = 0x2d, 0x3a
		and, add        = 0x71, 0x6a
		call, fn, memid = 0x10, 0x00, 0x02
	)
	section := func(id byte, items ...[]byte) []byte {
		body := append(binary.AppendUvarint(nil, uint64(len(items))), bytes.Join(items, nil)...)
		return append(binary.AppendUvarint([]byte{id}, uint64(len(body))), body...)
	}
	signed := func(op byte, v int64) []byte { // LEB128
		out := []byte{op}
		for ; v > 63; v >>= 7 {
			out = append(out, byte(v&0x7f)|0x80)
		}
		return append(out, byte(v))
	}
	name := func(s string) []byte { return append([]byte{byte(len(s))}, s...) }
	export := func(s string, kind, index byte) []byte { return append(name(s), kind, index) }
	code := func(parts ...[]byte) []byte {
		body := append(append([]byte{0}, bytes.Join(parts, nil)...), end) // no locals
		return append(binary.AppendUvarint(nil, uint64(len(body))), body...)
	}
	return bytes.Join([][]byte{
		[]byte("\x00asm\x01\x00\x00\x00"),
		section(1, []byte{0x60, 0, 1, i32}, []byte{0x60, 1, i32, 1, i32}, []byte{0x60, 2, i32, i32, 1, i64},
			[]byte{0x60, 3, i32, i32, i32, 1, i64}, []byte{0x60, 3, i32, i64, i32, 1, i32}),
		section(2, bytes.Join([][]byte{name("wasi_snapshot_preview1"), name("clock_time_get"), {fn, 4}}, nil)),
		section(3, []byte{0}, []byte{1}, []byte{2}, []byte{2}, []byte{3}),
		section(5, []byte{0, 2}),
		section(7, export("memory", memid, 0), export("weir_abi_v1", fn, 1), export("weir_alloc", fn, 2),
			export("weir_describe", fn, 3), export("weir_open", fn, 4), export("weir_call", fn, 5)),
		section(10,
			code(signed(i32c, 0)), code(signed(i32c, 4096)),
			code(signed(i32c, 0), signed(i64c, 0), signed(i32c, 16), []byte{call, 0, drop},
				signed(i32c, int64(place)), signed(i32c, 18), []byte{load8u, 0, 0}, signed(i32c, 7), []byte{and}, signed(i32c, 48), []byte{add, store8, 0, 0},
				signed(i64c, at<<32|int64(len(text)))),
			code(signed(i64c, 0)), code(signed(i64c, 0))),
		section(11, append(append(append([]byte{0}, signed(i32c, at)...), end), append(binary.AppendUvarint(nil, uint64(len(text))), text...)...)),
	}, nil)
}

func TestAModuleThatDescribesItselfDifferentlyEachTimeIsRefused(t *testing.T) {
	_, err := New(host(t), memblob.New(memblob.Options{})).Push(t.Context(), clockwise())
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "two different answers") {
		t.Fatalf("%v", err)
	}
}

// spoil puts other bytes under an object's name.
func spoil(t *testing.T, blobs blob.Store, name string, change func([]byte) []byte) {
	t.Helper()
	r, err := blobs.Get(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := blobs.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if _, err := blobs.Put(t.Context(), name, bytes.NewReader(change(bytes.Clone(b)))); err != nil {
		t.Fatal(err)
	}
}

func TestADamagedModuleOrManifestIsNamed(t *testing.T) {
	for _, folder := range []string{"modules/", "manifests/"} {
		for name, change := range map[string]func([]byte) []byte{
			"a flipped bit": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
			"a lost end":    func(b []byte) []byte { return b[:len(b)-1] },
			"nothing left":  func([]byte) []byte { return nil },
		} {
			blobs := memblob.New(memblob.Options{})
			pushed := push(t, New(host(t), blobs))
			object := folder + pushed.Digest.String()
			spoil(t, blobs, object, change)
			_, _, err := New(host(t), blobs).Module(t.Context(), pushed.Digest.String())
			if err == nil || !strings.Contains(err.Error(), "object "+object+" is damaged") {
				t.Errorf("%s of %s: %v", name, folder, err)
			}
		}
	}
}

func TestAPushThatCouldNotBeKeptSucceedsWhenRepeated(t *testing.T) {
	for kind := blobfault.Fail; kind <= blobfault.Late; kind++ {
		if kind == blobfault.Torn {
			continue // half an object under its name: stores write whole or not at all
		}
		for n := 1; n <= 2; n++ {
			inner := memblob.New(memblob.Options{})
			s := New(host(t), blobfault.New(inner, blobfault.Plan{From: n, Count: 1, Kind: kind}))
			if _, err := s.Push(t.Context(), counter(t)); !errors.Is(err, blobfault.ErrInjected) || errors.Is(err, ErrRefused) {
				t.Errorf("%s at %d: %v", kind, n, err)
			}
			pushed := push(t, s)
			if _, _, err := New(host(t), inner).Module(t.Context(), pushed.Digest.String()); err != nil {
				t.Errorf("%s at %d: %v", kind, n, err)
			}
		}
	}
}

// waiting lets the first reader wait until its context ends.
type waiting struct {
	blob.Store
	once  sync.Once
	began chan struct{} // closed when the first reader waits
}

func (w *waiting) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	first := false
	w.once.Do(func() { first = true })
	if !first {
		return w.Store.Get(ctx, name, offset, length)
	}
	close(w.began)
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestWhoGivesUpOpeningAModuleTakesNobodyAlong(t *testing.T) {
	blobs := memblob.New(memblob.Options{})
	pushed := push(t, New(host(t), blobs))
	w := &waiting{Store: blobs, began: make(chan struct{})}
	s := New(host(t), w)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if _, _, err := s.Module(ctx, pushed.Digest.String()); !errors.Is(err, context.Canceled) {
			t.Errorf("the one who gave up: %v", err)
		}
	})
	<-w.began
	for range 4 {
		all.Go(func() {
			if _, _, err := s.Module(t.Context(), pushed.Digest.String()); err != nil {
				t.Errorf("another one: %v", err)
			}
		})
	}
	cancel()
	all.Wait()
}
