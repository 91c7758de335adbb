// Package modules keeps uploaded Wasm modules: checked, described and compiled
// once, found again by digest. It must not know pipelines or tasks.
package modules

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/manifest"
	"github.com/weirstream/weir/platform/modules/bundle"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/wasmhost"
)

// MaxCompiled bounds the modules that are kept compiled in memory; others are
// compiled again from the cache on disk when they are needed.
const MaxCompiled = 256

// ErrRefused is wrapped by every refusal of an upload.
var ErrRefused = errors.New("module refused")

// Digest names a module by its content.
type Digest [sha256.Size]byte

func (d Digest) String() string { return fmt.Sprintf("%x", d[:]) }

// Store checks, keeps and gives modules.
type Store struct {
	host  *wasmhost.Host
	blobs blob.Store

	mu       sync.Mutex // guards compiled
	compiled map[string]*entry
}

type entry struct {
	once     sync.Once
	module   *wasmhost.Module
	manifest *manifest.Manifest
	err      error
}

// New makes a store.
func New(host *wasmhost.Host, blobs blob.Store) *Store {
	return &Store{host: host, blobs: blobs, compiled: map[string]*entry{}}
}

// Pushed is what an upload came to.
type Pushed struct {
	Digest         Digest
	ManifestDigest Digest
	Manifest       *manifest.Manifest
	SizeBytes      int64 // with assets
	Warnings       []string
}

// Push checks a module, asks it twice what it is, and keeps it with its assets
// and its manifest. The digest is that of the whole; the same bytes give the same
// result without a second copy.
func (s *Store) Push(ctx context.Context, wasm []byte, assets ...frame.Asset) (Pushed, error) {
	whole, err := bundle.Encode(wasm, assets)
	if err != nil {
		return Pushed{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	out := Pushed{Digest: sha256.Sum256(whole), SizeBytes: int64(len(whole))}
	module, err := s.host.Compile(ctx, wasm)
	if err != nil {
		return out, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	text, err := describe(ctx, module)
	if err != nil {
		return out, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if out.Manifest, err = manifest.Parse(text); err != nil {
		return out, fmt.Errorf("%w: its manifest: %w", ErrRefused, err)
	}
	if module.Report().CopiesByLoop {
		out.Warnings = append(out.Warnings, "the module copies memory byte by byte; build it with bulk memory (clang: -mbulk-memory) to make it faster")
	}
	out.ManifestDigest = sha256.Sum256(text)
	if err := s.put(ctx, name(out.Digest.String()), whole); err != nil {
		return out, fmt.Errorf("keep module: %w", err)
	}
	if err := s.put(ctx, manifestName(out.Digest.String()), seal(text)); err != nil {
		return out, fmt.Errorf("keep manifest: %w", err)
	}
	e := &entry{module: module, manifest: out.Manifest}
	e.once.Do(func() {})
	s.mu.Lock()
	s.makeRoom()
	s.compiled[out.Digest.String()] = e
	s.mu.Unlock()
	return out, nil
}

// describe asks two fresh instances and wants equal answers: a manifest that
// changes from call to call could not be relied on.
func describe(ctx context.Context, m *wasmhost.Module) ([]byte, error) {
	var w frame.ContainerWriter
	params := []byte("{}")
	w.Reset(frame.KindDescribe)
	w.Reserve(abi.DescribeSectionParams, 0, abi.SectionMustUnderstand, len(params))
	request := make([]byte, w.Size())
	w.Begin(request)
	copy(w.Body(0), params)
	var answers [2][]byte
	for i := range answers {
		text, err := describeOnce(ctx, m, request, uint64(i))
		if err != nil {
			return nil, err
		}
		answers[i] = text
	}
	if !bytes.Equal(answers[0], answers[1]) {
		return nil, errors.New("weir_describe gave two different answers: it must not depend on time, randomness or what ran before")
	}
	return answers[0], nil
}

func describeOnce(ctx context.Context, m *wasmhost.Module, request []byte, seed uint64) (text []byte, err error) {
	in, err := m.Instantiate(ctx, wasmhost.InstanceOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close(ctx)) }()
	out, err := in.Describe(ctx, request, wasmhost.CallOptions{Seed: seed, ClockMicros: int64(seed) * 1e9})
	if err != nil {
		return nil, err
	}
	return bytes.Clone(out), nil
}

// Assets gives what comes with a module; none with most.
func (s *Store) Assets(ctx context.Context, digest string) ([]frame.Asset, error) {
	digest = strings.TrimPrefix(digest, "sha256:")
	_, assets, err := s.bundle(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("open assets of module %.12s: %w", digest, err)
	}
	return assets, nil
}

// Module gives a compiled module and its manifest by digest.
func (s *Store) Module(ctx context.Context, digest string) (*wasmhost.Module, *manifest.Manifest, error) {
	digest = strings.TrimPrefix(digest, "sha256:")
	for {
		s.mu.Lock()
		e := s.compiled[digest]
		if e == nil {
			s.makeRoom()
			e = &entry{}
			s.compiled[digest] = e
		}
		s.mu.Unlock()
		mine := false
		e.once.Do(func() {
			mine = true
			e.module, e.manifest, e.err = s.load(ctx, digest)
		})
		if e.err == nil {
			return e.module, e.manifest, nil
		}
		s.mu.Lock()
		if s.compiled[digest] == e {
			delete(s.compiled, digest)
		}
		s.mu.Unlock()
		if !mine && ctx.Err() == nil {
			continue // whoever came first may have given up, or met what has passed since
		}
		return nil, nil, fmt.Errorf("open module %.12s: %w", digest, e.err)
	}
}

// makeRoom forgets what is compiled when there is too much of it: running
// instances keep their code, the rest comes back from disk. The lock is held.
func (s *Store) makeRoom() {
	if len(s.compiled) >= MaxCompiled {
		clear(s.compiled)
	}
}

func (s *Store) load(ctx context.Context, digest string) (*wasmhost.Module, *manifest.Manifest, error) {
	m, err := s.Manifest(ctx, digest)
	if err != nil {
		return nil, nil, err
	}
	wasm, _, err := s.bundle(ctx, digest)
	if err != nil {
		return nil, nil, err
	}
	module, err := s.host.Compile(ctx, wasm)
	return module, m, err
}

// bundle reads a module with its assets and holds them against their digest.
func (s *Store) bundle(ctx context.Context, digest string) (wasm []byte, assets []frame.Asset, err error) {
	whole, err := s.get(ctx, name(digest))
	if err != nil {
		return nil, nil, err
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(whole)); got != digest {
		return nil, nil, fmt.Errorf("object %s is damaged: its digest is %.12s", name(digest), got)
	}
	return bundle.Decode(whole)
}

// Manifest gives a module's manifest without compiling it.
func (s *Store) Manifest(ctx context.Context, digest string) (*manifest.Manifest, error) {
	object := manifestName(strings.TrimPrefix(digest, "sha256:"))
	sealed, err := s.get(ctx, object)
	if err != nil {
		return nil, err
	}
	text, err := unseal(sealed)
	if err != nil {
		return nil, fmt.Errorf("object %s is damaged: %w", object, err)
	}
	return manifest.Parse(text)
}

// A manifest stands under its module's digest, so it brings its own along:
//
//	| SHA-256 of the text, 64 hex digits | "\n" | text |
func seal(text []byte) []byte { return fmt.Appendf(nil, "%x\n%s", sha256.Sum256(text), text) }

func unseal(sealed []byte) ([]byte, error) {
	sum, text, found := bytes.Cut(sealed, []byte{'\n'})
	if !found || string(sum) != fmt.Sprintf("%x", sha256.Sum256(text)) {
		return nil, errors.New("its digest is another")
	}
	return text, nil
}

func name(digest string) string         { return "modules/" + digest }
func manifestName(digest string) string { return "manifests/" + digest }

func (s *Store) put(ctx context.Context, name string, b []byte) error {
	_, err := s.blobs.Put(ctx, name, bytes.NewReader(b))
	if errors.Is(err, blob.ErrExists) {
		return nil // named by content: it is the same
	}
	return err
}

func (s *Store) get(ctx context.Context, name string) ([]byte, error) {
	r, err := s.blobs.Get(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
