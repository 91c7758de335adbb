package rewrite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/weirstream/weir/wasmhost/rewrite"
)

var errOutOfYields = errors.New("out of yields")

// twin runs a module as it is and rewritten. The rewritten one goes first and
// is stopped after so many yields; if it ends, the original must, too.
type twin struct {
	ctx    context.Context
	r      wazero.Runtime
	yields int
}

func newTwin(t testing.TB) *twin {
	tw := &twin{ctx: context.Background()}
	tw.r = wazero.NewRuntimeWithConfig(tw.ctx, wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2).WithMemoryLimitPages(16))
	t.Cleanup(func() { tw.r.Close(tw.ctx) })
	yieldModule(tw.ctx, t, tw.r, func() {
		if tw.yields--; tw.yields < 0 {
			panic(errOutOfYields)
		}
	}, 997)
	return tw
}

// same fails the test where the two differ, and tells whether they could be compared.
func (tw *twin) same(t *testing.T, wasm []byte) bool {
	res, err := rewrite.Rewrite(wasm, rewrite.Policy{OpenImports: true, MaxTableElements: 1 << 31, MaxTables: 1000, MaxGlobals: 1 << 30, MaxPassiveBytes: 1 << 30})
	var refusal *rewrite.Error
	if errors.As(err, &refusal) && (refusal.Kind != rewrite.Malformed || strings.Contains(refusal.Msg, "length out of bounds") || strings.Contains(refusal.Msg, "unexpected end")) {
		// The engine would allocate whatever a hostile length says, and end the process.
		return false
	}
	original, compileErr := tw.r.CompileModule(tw.ctx, wasm)
	if compileErr != nil {
		return false
	}
	defer original.Close(tw.ctx)
	if err != nil {
		t.Fatalf("the engine accepts what the rewriter does not: %v\n%x", err, wasm)
	}
	rewritten, err := tw.r.CompileModule(tw.ctx, res.Wasm)
	if err != nil {
		t.Fatalf("the engine refuses the rewritten module: %v\n%x", err, wasm)
	}
	defer rewritten.Close(tw.ctx)
	if len(original.ImportedFunctions()) > 0 || len(original.ImportedMemories()) > 0 {
		return false
	}
	tw.yields = 2000
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	b, errB := tw.r.InstantiateModule(tw.ctx, rewritten, config)
	if errors.Is(errB, errOutOfYields) {
		return false
	}
	a, errA := tw.r.InstantiateModule(tw.ctx, original, config)
	if (errA == nil) != (errB == nil) {
		t.Fatalf("instantiate: %v, rewritten %v\n%x", errA, errB, wasm)
	}
	if errA != nil {
		return true
	}
	defer a.Close(tw.ctx)
	defer b.Close(tw.ctx)
	return tw.sameExports(t, a, b, original, wasm)
}

func (tw *twin) sameExports(t *testing.T, a, b api.Module, code wazero.CompiledModule, wasm []byte) bool {
	var names []string
	for n := range code.ExportedFunctions() {
		names = append(names, n)
	}
	slices.Sort(names)
	compared := false
	for _, n := range names {
		def := code.ExportedFunctions()[n]
		args := make([]uint64, len(def.ParamTypes()))
		for i, p := range def.ParamTypes() {
			if p == api.ValueTypeI32 {
				args[i] = uint64(11 * (i + 1))
			}
		}
		if slices.Contains(def.ParamTypes(), 0x7b) {
			continue // a vector takes two words
		}
		resB, errB := b.ExportedFunction(n).Call(tw.ctx, args...)
		if errors.Is(errB, errOutOfYields) {
			return compared // the two are no longer in step
		}
		if errB != nil && strings.Contains(errB.Error(), "stack overflow") {
			return compared
		}
		compared = true
		resA, errA := a.ExportedFunction(n).Call(tw.ctx, args...)
		if firstLine(errA) != firstLine(errB) || (!slices.Equal(resA, resB) && !hasReference(def.ResultTypes())) {
			t.Fatalf("%s: %v %v, rewritten %v %v\n%x", n, resA, errA, resB, errB, wasm)
		}
	}
	for i := range 2 {
		if ga, gb := a.ExportedGlobal(fmt.Sprint("g", i)), b.ExportedGlobal(fmt.Sprint("g", i)); ga != nil && ga.Get() != gb.Get() {
			t.Fatalf("global %d: %d, rewritten %d\n%x", i, ga.Get(), gb.Get(), wasm)
		}
	}
	if len(code.ExportedMemories()) > 0 {
		ma, _ := a.Memory().Read(0, a.Memory().Size())
		mb, _ := b.Memory().Read(0, b.Memory().Size())
		if !bytes.Equal(ma, mb) {
			t.Fatalf("memories differ\n%x", wasm)
		}
	}
	return true
}

func hasReference(ts []api.ValueType) bool {
	return slices.ContainsFunc(ts, func(v api.ValueType) bool { return v == 0x70 || v == api.ValueTypeExternref })
}

func firstLine(err error) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func TestRandomFunctionsBehaveTheSameWhenRewritten(t *testing.T) {
	tw := newTwin(t)
	compared := 0
	for seed := range uint64(400) {
		g := &generator{r: rand.New(rand.NewPCG(seed, 1))}
		if tw.same(t, g.module()) {
			compared++
		}
	}
	t.Logf("%d of 400 modules ended and were compared", compared)
	if compared < 100 {
		t.Errorf("only %d modules could be compared", compared)
	}
}

func FuzzAGeneratedModuleBehavesTheSameWhenRewritten(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, seed*3)
	}
	f.Fuzz(func(t *testing.T, a, b uint64) {
		g := &generator{r: rand.New(rand.NewPCG(a, b))}
		newTwin(t).same(t, g.module())
	})
}

// FuzzAModuleBehavesTheSameWhenRewritten starts from the specification's modules.
func FuzzAModuleBehavesTheSameWhenRewritten(f *testing.F) {
	files, _ := filepath.Glob(filepath.Join(specFolder(f), "v2", "testdata", "*.wasm"))
	for i, file := range files {
		if wasm, err := os.ReadFile(file); err == nil && i%9 == 0 && len(wasm) < 4000 {
			f.Add(wasm)
		}
	}
	f.Fuzz(func(t *testing.T, wasm []byte) {
		newTwin(t).same(t, wasm)
	})
}
