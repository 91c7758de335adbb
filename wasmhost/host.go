package wasmhost

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/weirstream/weir/wasmhost/rewrite"
)

// Host compiles modules and owns their machine code. It is safe for use by
// several goroutines.
type Host struct {
	options Options
	policy  rewrite.Policy
	cache   wazero.CompilationCache
	runtime wazero.Runtime

	mu      sync.Mutex // guards modules
	modules map[Digest]*compilation

	images *images
}

// Digest names a module: SHA-256 of the bytes that were uploaded.
type Digest [sha256.Size]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// compilation is a module in the making: whoever comes second waits for the first.
type compilation struct {
	done   chan struct{} // closed when module or err is set
	module *Module
	err    error
}

// NewHost makes a host.
func NewHost(ctx context.Context, options Options) (*Host, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	if options.MemoryPages == 0 {
		options.MemoryPages = DefaultMemoryPages
	}
	h := &Host{options: options, policy: policy(), modules: map[Digest]*compilation{}, images: newImages()}
	config := wazero.NewRuntimeConfig().
		WithCoreFeatures(api.CoreFeaturesV2).
		WithCloseOnContextDone(false). // the meter does this at a tenth of the price
		WithDebugInfoEnabled(false)
	if options.CacheDir == "" {
		h.cache = wazero.NewCompilationCache()
	} else {
		// wazero keys its files by the bytes that it compiles. A folder for each
		// version of the rewriter lets the old ones be deleted.
		dir := filepath.Join(options.CacheDir, "rewriter-"+strconv.Itoa(rewrite.Version))
		cache, err := wazero.NewCompilationCacheWithDir(dir)
		if err != nil {
			return nil, fmt.Errorf("open compilation cache %s: %w", dir, err)
		}
		h.cache = cache
	}
	h.runtime = wazero.NewRuntimeWithConfig(ctx, config.WithCompilationCache(h.cache))
	err := offer(ctx, h.runtime, weirModule, append(weirImports[:len(weirImports):len(weirImports)], yieldImport))
	if err == nil {
		err = offer(ctx, h.runtime, wasiModule, wasiImports)
	}
	if err != nil {
		return nil, errors.Join(err, h.Close(ctx))
	}
	return h, nil
}

// Close ends all instances and frees all code.
func (h *Host) Close(ctx context.Context) error {
	h.images.close()
	return errors.Join(h.runtime.Close(ctx), h.cache.Close(ctx))
}

// Module is a checked, metered and compiled module.
type Module struct {
	host   *Host
	digest Digest
	code   wazero.CompiledModule
	report rewrite.Report

	scratch sync.Pool // of *[]byte, as large as the memory at its least: see clone
}

// Digest names the module.
func (m *Module) Digest() Digest { return m.digest }

// Report is what the rewriter saw in the module.
func (m *Module) Report() rewrite.Report { return m.report }

// Compile checks and compiles a module, once for each digest. A refusal is a
// *rewrite.Error or wraps ErrInvalidModule.
func (h *Host) Compile(ctx context.Context, wasm []byte) (*Module, error) {
	if len(wasm) > MaxModuleBytes {
		return nil, fmt.Errorf("compile module: %w", &rewrite.Error{Kind: rewrite.OverLimit, Offset: -1,
			Msg:  fmt.Sprintf("module of %d bytes, the limit is %d", len(wasm), MaxModuleBytes),
			Hint: "strip debug information, and upload large data as an asset"})
	}
	digest := Digest(sha256.Sum256(wasm))
	h.mu.Lock()
	c, found := h.modules[digest]
	if !found {
		c = &compilation{done: make(chan struct{})}
		h.modules[digest] = c
	}
	h.mu.Unlock()
	if found {
		select {
		case <-c.done:
			return c.module, c.err
		case <-ctx.Done():
			return nil, fmt.Errorf("compile module %s: %w", digest, ctx.Err())
		}
	}
	if c.module, c.err = h.compile(ctx, digest, wasm); c.err != nil {
		h.mu.Lock()
		delete(h.modules, digest)
		h.mu.Unlock()
	}
	close(c.done)
	return c.module, c.err
}

func (h *Host) compile(ctx context.Context, digest Digest, wasm []byte) (*Module, error) {
	res, err := rewrite.Rewrite(wasm, h.policy)
	if err != nil {
		return nil, fmt.Errorf("compile module %s: %w", digest, err)
	}
	if h.options.Unmetered {
		res.Wasm = wasm
	}
	code, err := h.runtime.CompileModule(ctx, res.Wasm)
	if err != nil {
		return nil, fmt.Errorf("compile module %s: %w: %w", digest, ErrInvalidModule, err)
	}
	return &Module{host: h, digest: digest, code: code, report: res.Report}, nil
}

// Forget frees a module's code. Its instances must be closed.
func (h *Host) Forget(ctx context.Context, m *Module) error {
	h.mu.Lock()
	delete(h.modules, m.digest)
	h.mu.Unlock()
	h.images.forget(m.digest)
	if err := m.code.Close(ctx); err != nil {
		return fmt.Errorf("forget module %s: %w", m.digest, err)
	}
	return nil
}

// withInstance is the context in which all code of an instance runs.
func withInstance(in *Instance) context.Context {
	ctx := context.WithValue(context.Background(), instanceKey{}, in)
	return experimental.WithMemoryAllocator(ctx, &in.memory)
}
