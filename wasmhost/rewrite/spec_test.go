package rewrite_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/weirstream/weir/wasmhost/rewrite"
)

// specFolder finds the WebAssembly specification's own test suite, which wazero
// ships with its source: scripts as JSON beside the modules they talk about.
func specFolder(t testing.TB) string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatalf("find wazero's source: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "internal", "integration_test", "spectest")
}

type specScript struct {
	Commands []specCommand `json:"commands"`
}

type specCommand struct {
	Type       string      `json:"type"`
	Line       int         `json:"line"`
	Name       string      `json:"name"`
	Filename   string      `json:"filename"`
	As         string      `json:"as"`
	ModuleType string      `json:"module_type"`
	Text       string      `json:"text"`
	Action     specAction  `json:"action"`
	Expected   []specValue `json:"expected"`
}

type specAction struct {
	Type   string      `json:"type"`
	Module string      `json:"module"`
	Field  string      `json:"field"`
	Args   []specValue `json:"args"`
}

type specValue struct {
	Type  string          `json:"type"`
	Lane  string          `json:"lane_type"`
	Value json.RawMessage `json:"value"`
}

// trapTexts maps the specification's words for a trap to wazero's.
var trapTexts = map[string]string{
	"out of bounds memory access":   "out of bounds memory access",
	"indirect call type mismatch":   "indirect call type mismatch",
	"indirect call":                 "indirect call type mismatch",
	"undefined element":             "invalid table access",
	"undefined":                     "invalid table access",
	"out of bounds table access":    "invalid table access",
	"uninitialized":                 "invalid table access",
	"uninitialized element":         "invalid table access",
	"uninitialized element 2":       "invalid table access",
	"uninitialized element 7":       "invalid table access",
	"integer overflow":              "integer overflow",
	"invalid conversion to integer": "invalid conversion to integer",
	"integer divide by zero":        "integer divide by zero",
	"unreachable":                   "unreachable",
}

// specFuel is little and not round, so that modules yield in all sorts of places.
const specFuel = 211

func TestTheSpecificationsOwnSuitePassesWithEveryModuleRewritten(t *testing.T) {
	folder := specFolder(t)
	var yields atomic.Int64
	t.Cleanup(func() { // when the parallel scripts are through
		if n := yields.Load(); n < 10_000 {
			t.Errorf("only %d yields in the whole suite", n)
		}
	})
	// The versions differ in what an instantiation that fails leaves behind.
	for version, features := range map[string]api.CoreFeatures{"v1": api.CoreFeaturesV1, "v2": api.CoreFeaturesV2} {
		scripts, err := filepath.Glob(filepath.Join(folder, version, "testdata", "*.json"))
		if err != nil || len(scripts) < 50 {
			t.Fatalf("%s: found %d scripts (%v)", version, len(scripts), err)
		}
		for _, script := range scripts {
			t.Run(version+"/"+strings.TrimSuffix(filepath.Base(script), ".json"), func(t *testing.T) {
				t.Parallel()
				runScript(t, folder, script, features, &yields)
			})
		}
	}
}

type specRun struct {
	t       *testing.T
	ctx     context.Context
	r       wazero.Runtime
	folder  string
	modules map[string]api.Module
	last    api.Module
}

func runScript(t *testing.T, folder, script string, features api.CoreFeatures, yields *atomic.Int64) {
	raw, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	var s specScript
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	run := &specRun{t: t, ctx: ctx, folder: filepath.Dir(script), modules: map[string]api.Module{}}
	run.r = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(features))
	defer run.r.Close(ctx)
	yieldModule(ctx, t, run.r, func() { yields.Add(1) }, specFuel)
	base, err := os.ReadFile(filepath.Join(folder, "testdata", "spectest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.instantiate(base, "spectest"); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(s.Commands); i++ {
		c := &s.Commands[i]
		as := ""
		if c.Type == "module" && i+1 < len(s.Commands) && s.Commands[i+1].Type == "register" {
			as = s.Commands[i+1].As
			i++
		}
		if err := run.command(c, as); err != nil {
			t.Errorf("line %d, %s %s %s: %v", c.Line, c.Type, c.Action.Field, c.Filename, err)
		}
	}
}

// yieldModule offers weir.yield, which counts and gives a constant amount of fuel.
func yieldModule(ctx context.Context, t testing.TB, r wazero.Runtime, count func(), fuel int32) {
	_, err := r.NewHostModuleBuilder("weir").NewFunctionBuilder().
		WithGoFunction(api.GoFunc(func(_ context.Context, stack []uint64) {
			count()
			stack[0] = api.EncodeI32(fuel)
		}), nil, []api.ValueType{api.ValueTypeI32}).Export("yield").Instantiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
}

func (run *specRun) instantiate(wasm []byte, name string) (api.Module, error) {
	res, err := rewrite.Rewrite(wasm, rewrite.Policy{OpenImports: true, MaxTableElements: math.MaxUint32, MaxTables: 1000})
	if err != nil {
		return nil, err
	}
	return run.r.InstantiateWithConfig(run.ctx, res.Wasm, wazero.NewModuleConfig().WithName(name))
}

func (run *specRun) load(c *specCommand, as string) (api.Module, error) {
	wasm, err := os.ReadFile(filepath.Join(run.folder, c.Filename))
	if err != nil {
		return nil, err
	}
	return run.instantiate(wasm, as)
}

func (run *specRun) command(c *specCommand, as string) error {
	switch c.Type {
	case "module":
		mod, err := run.load(c, as)
		if err != nil {
			return err
		}
		if c.Name != "" {
			run.modules[c.Name] = mod
		}
		run.last = mod
		return nil
	case "assert_return", "action":
		return run.expectReturn(c)
	case "assert_trap":
		_, _, err := run.invoke(c)
		want, ok := trapTexts[c.Text]
		if !ok {
			return fmt.Errorf("no translation of trap %q", c.Text)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			return fmt.Errorf("got %v, want trap %q", err, want)
		}
		return nil
	case "assert_exhaustion":
		_, _, err := run.invoke(c)
		if err == nil || !strings.Contains(err.Error(), "stack overflow") {
			return fmt.Errorf("got %v, want a stack overflow", err)
		}
		return nil
	case "assert_malformed", "assert_invalid", "assert_unlinkable", "assert_uninstantiable":
		if c.ModuleType == "text" {
			return nil // there is no binary to look at
		}
		return run.sameVerdict(c)
	}
	return fmt.Errorf("unknown command")
}

// sameVerdict wants a bad module to be refused exactly if the original is: the
// first version of the suite calls bad what the second allows, and wazero
// defers some of the mistakes to the first use.
func (run *specRun) sameVerdict(c *specCommand) error {
	wasm, err := os.ReadFile(filepath.Join(run.folder, c.Filename))
	if err != nil {
		return err
	}
	_, original := run.r.InstantiateWithConfig(run.ctx, wasm, wazero.NewModuleConfig())
	_, rewritten := run.instantiate(wasm, "")
	if (original == nil) != (rewritten == nil) {
		return fmt.Errorf("original: %v, rewritten: %v", original, rewritten)
	}
	return nil
}

func (run *specRun) invoke(c *specCommand) ([]uint64, []api.ValueType, error) {
	mod := run.last
	if c.Action.Module != "" {
		mod = run.modules[c.Action.Module]
	}
	if c.Action.Type == "get" {
		g := mod.ExportedGlobal(c.Action.Field)
		if g == nil {
			return nil, nil, errors.New("no such global")
		}
		return []uint64{g.Get()}, []api.ValueType{g.Type()}, nil
	}
	fn := mod.ExportedFunction(c.Action.Field)
	if fn == nil {
		return nil, nil, errors.New("no such function")
	}
	var args []uint64
	for _, a := range c.Action.Args {
		args = append(args, a.words()...)
	}
	res, err := fn.Call(run.ctx, args...)
	return res, fn.Definition().ResultTypes(), err
}

func (run *specRun) expectReturn(c *specCommand) error {
	got, _, err := run.invoke(c)
	if err != nil {
		return err
	}
	for i, want := range c.Expected {
		n := 1
		if want.Type == "v128" {
			n = 2
		}
		if len(got) < n {
			return fmt.Errorf("%d results are missing", len(c.Expected)-i)
		}
		if !want.matches(got[:n]) {
			return fmt.Errorf("result %d is %x, want %s %s", i, got[:n], want.Type, want.Value)
		}
		got = got[n:]
	}
	if len(got) > 0 {
		return fmt.Errorf("%d results too many", len(got))
	}
	return nil
}

// lanes gives the width of a value's lanes and their texts; a scalar has one lane.
func (v specValue) lanes() (bits int, texts []string) {
	kind := v.Type
	if kind == "v128" {
		kind = v.Lane
		_ = json.Unmarshal(v.Value, &texts)
	} else {
		var text string
		_ = json.Unmarshal(v.Value, &text)
		texts = []string{text}
	}
	switch kind {
	case "i8":
		return 8, texts
	case "i16":
		return 16, texts
	case "i32", "f32":
		return 32, texts
	}
	return 64, texts
}

func (v specValue) words() []uint64 {
	bits, texts := v.lanes()
	words := make([]uint64, (len(texts)*bits+63)/64)
	for i, text := range texts {
		words[i*bits/64] |= v.lane(text, bits) << (i * bits % 64)
	}
	return words
}

func (v specValue) lane(text string, bits int) uint64 {
	if v.Type == "funcref" || v.Type == "externref" {
		if text == "null" || text == "" {
			return 0
		}
		n, _ := strconv.ParseUint(text, 10, 64)
		return n + 1 // in wazero 0 is the null reference
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		s, _ := strconv.ParseInt(text, 10, 64)
		n = uint64(s)
	}
	if bits < 64 {
		n &= 1<<bits - 1
	}
	return n
}

func (v specValue) matches(got []uint64) bool {
	bits, texts := v.lanes()
	for i, text := range texts {
		lane := got[i*bits/64] >> (i * bits % 64)
		if bits < 64 {
			lane &= 1<<bits - 1
		}
		if !strings.HasPrefix(text, "nan:") {
			if lane != v.lane(text, bits) {
				return false
			}
			continue
		}
		// canonical: the quiet bit and nothing else; arithmetic: the quiet bit at least.
		quiet, sign := uint64(0x7fc00000), uint64(1)<<31
		if bits == 64 {
			quiet, sign = 0x7ff8000000000000, 1<<63
		}
		if text == "nan:canonical" && lane&^sign != quiet || text == "nan:arithmetic" && lane&quiet != quiet {
			return false
		}
	}
	return true
}
