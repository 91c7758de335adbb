package rewrite_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/wasmhost/rewrite"
)

// body makes a module of one function () -> () with these instructions.
func bodyOf(instrs ...byte) []byte {
	return mod{types: [][]byte{typ("", "")}, funcs: [][]byte{{0}}, memories: [][]byte{{0, 1}}, codes: [][]byte{code(nil, instrs...)}}.bytes()
}

func TestWhatIsBeyondWebAssembly2IsRefusedByNameAndFlag(t *testing.T) {
	for _, c := range []struct {
		name string
		wasm []byte
		kind rewrite.Kind
		text string
	}{
		{"an atomic load", bodyOf(0x41, 0, 0xfe, 0x10, 2, 0, 0x1a), rewrite.UnsupportedFeature, "-mno-atomics"},
		{"a shared memory", mod{memories: [][]byte{{3, 1, 1}}}.bytes(), rewrite.UnsupportedFeature, "threads"},
		{"a 64-bit memory", mod{memories: [][]byte{{4, 1}}}.bytes(), rewrite.UnsupportedFeature, "wasm32"},
		{"two memories", mod{memories: [][]byte{{0, 1}, {0, 1}}}.bytes(), rewrite.UnsupportedFeature, "multimemory"},
		{"a load from memory 1", bodyOf(0x41, 0, 0x28, 0x42, 1, 0, 0x1a), rewrite.UnsupportedFeature, "multimemory"},
		{"a tail call", bodyOf(0x12, 0), rewrite.UnsupportedFeature, "-mno-tail-call"},
		{"try_table", bodyOf(0x1f, 0x40, 0, 0x0b), rewrite.UnsupportedFeature, "-fno-exceptions"},
		{"a tag section", append(mod{}.bytes(), 13, 1, 0), rewrite.UnsupportedFeature, "-fno-exceptions"},
		{"an exnref", mod{types: [][]byte{typ("\x69", "")}}.bytes(), rewrite.UnsupportedFeature, "-fno-exceptions"},
		{"a struct type", mod{types: [][]byte{{0x5f, 0}}}.bytes(), rewrite.UnsupportedFeature, "--disable-gc"},
		{"a GC instruction", bodyOf(0xfb, 0, 0), rewrite.UnsupportedFeature, "--disable-gc"},
		{"relaxed SIMD", bodyOf(0xfd, 0x80, 0x02), rewrite.UnsupportedFeature, "-mno-relaxed-simd"},
		{"an extended constant", mod{globals: [][]byte{{0x7f, 0, 0x41, 1, 0x41, 1, 0x6a, 0x0b}}}.bytes(), rewrite.UnsupportedFeature, "-mno-extended-const"},
		{"a component", []byte("\x00asm\x0d\x00\x01\x00"), rewrite.UnsupportedFeature, "core module"},
		{"no module", []byte("#!/bin/sh"), rewrite.Malformed, ".wasm"},
		{"nothing", nil, rewrite.Malformed, ""},
	} {
		t.Run(c.name, func(t *testing.T) { wantRefusal(t, c.wasm, rewrite.Policy{}, c.kind, c.text) })
	}
}

func wantRefusal(t *testing.T, wasm []byte, p rewrite.Policy, kind rewrite.Kind, text string) {
	t.Helper()
	_, err := rewrite.Rewrite(wasm, p)
	var refusal *rewrite.Error
	if !errors.As(err, &refusal) || refusal.Kind != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want %v with %q", err, kind, text)
	}
}

func TestThePolicyNamesWhatIsWrongAndTheWayOut(t *testing.T) {
	p := rewrite.Policy{
		Imports:       map[string]rewrite.FuncType{"weir.log": {Params: "i32 i32 i32"}},
		Exports:       map[string]rewrite.FuncType{"run": {Params: "i32", Results: "i64"}},
		RequireMemory: "memory",
		MaxTables:     1, MaxTableElements: 10, MaxGlobals: 1, MaxPassiveBytes: 2, MaxFunctionBytes: 20,
	}
	imported := func(module, field string, kind ...byte) mod {
		return mod{types: [][]byte{typ("", "")}, imports: [][]byte{cat(name(module), name(field), kind)}}
	}
	run := mod{types: [][]byte{typ(tI32, tI64)}, funcs: [][]byte{{0}}, codes: [][]byte{code(nil, 0x42, 0)},
		exports: [][]byte{cat(name("run"), []byte{0, 0})}}
	with := func(change func(*mod)) []byte { m := run; change(&m); return m.bytes() }
	memory := func(m *mod) {
		m.memories = [][]byte{{0, 1}}
		m.exports = append(m.exports[:1:1], cat(name("memory"), []byte{2, 0}))
	}
	for _, c := range []struct {
		name string
		wasm []byte
		kind rewrite.Kind
		text string
	}{
		{"an unknown module", imported("env", "abort", 0, 0).bytes(), rewrite.UnknownImport, "import env.abort is not granted"},
		{"an unknown function", imported("weir", "fly", 0, 0).bytes(), rewrite.UnknownImport, `module "weir" offers log`},
		{"a function of another type", imported("weir", "log", 0, 0).bytes(), rewrite.UnknownImport, "want (i32 i32 i32) -> ()"},
		{"the meter's own import", imported("weir", "yield", 0, 0).bytes(), rewrite.UnknownImport, "belongs to the host"},
		{"an imported memory", imported("env", "memory", 2, 0, 1).bytes(), rewrite.UnknownImport, "is a memory"},
		{"no exports", mod{}.bytes(), rewrite.MissingExport, "function run is not exported"},
		{"an export of another type", with(func(m *mod) { m.types = [][]byte{typ("", tI64)} }), rewrite.MissingExport, "has type () -> (i64)"},
		{"no memory", run.bytes(), rewrite.MissingExport, `memory "memory" is not exported`},
		{"a reserved name", with(func(m *mod) { memory(m); m.exports = append(m.exports, cat(name("weir:fuel"), []byte{0, 0})) }), rewrite.ReservedName, "weir:fuel"},
		{"a large table", with(func(m *mod) { memory(m); m.tables = [][]byte{{0x70, 0, 11}} }), rewrite.OverLimit, "the limit is 10"},
		{"two tables", with(func(m *mod) { memory(m); m.tables = [][]byte{{0x70, 0, 1}, {0x70, 0, 1}} }), rewrite.OverLimit, "the limit is 1"},
		{"two globals", with(func(m *mod) { memory(m); m.globals = [][]byte{{0x7f, 0, 0x41, 0, 0x0b}, {0x7f, 0, 0x41, 0, 0x0b}} }), rewrite.OverLimit, "the limit is 1"},
		{"a large function", with(func(m *mod) { memory(m); m.codes = [][]byte{code(nil, bytes.Repeat([]byte{1}, 30)...)} }), rewrite.OverLimit, "the limit is 20"},
		{"a large passive segment", with(func(m *mod) { memory(m); m.datas = [][]byte{{1, 3, 1, 2, 3}} }), rewrite.OverLimit, "asset"},
	} {
		t.Run(c.name, func(t *testing.T) { wantRefusal(t, c.wasm, p, c.kind, c.text) })
	}
	if _, err := rewrite.Rewrite(with(memory), p); err != nil {
		t.Errorf("a module that keeps to the policy: %v", err)
	}
}

// After rewriting, the first index past the end is a thing of ours.
func TestAnIndexPastTheEndCannotReachWhatTheRewriterAdds(t *testing.T) {
	for text, wasm := range map[string][]byte{
		"unknown function 1": bodyOf(0x10, 1),
		"unknown global 0":   bodyOf(0x41, 0, 0x24, 0),
		"unknown local 0":    bodyOf(0x20, 0, 0x1a),
		"unknown type 1":     bodyOf(0x02, 1, 0x0b),
		"unknown label 1":    bodyOf(0x0c, 1),
		"unknown exported":   mod{types: [][]byte{typ("", "")}, funcs: [][]byte{{0}}, codes: [][]byte{code(nil)}, exports: [][]byte{cat(name("f"), []byte{0, 1})}}.bytes(),
		"unknown start":      mod{types: [][]byte{typ("", "")}, funcs: [][]byte{{0}}, codes: [][]byte{code(nil)}, start: []byte{1}}.bytes(),
		"unknown function 2": mod{types: [][]byte{typ("", "")}, funcs: [][]byte{{0}}, codes: [][]byte{code(nil)}, tables: [][]byte{{0x70, 0, 1}},
			elems: [][]byte{{0, 0x41, 0, 0x0b, 1, 2}}}.bytes(),
	} {
		wantRefusal(t, wasm, rewrite.Policy{}, rewrite.Malformed, text)
	}
}

// Nested blocks with a branch out of all of them, and loops likewise, are where a
// careless rewriter takes quadratic time.
func TestDeepNestingIsRewrittenInLinearTime(t *testing.T) {
	const depth = 100_000
	for _, op := range []byte{0x02, 0x03} {
		var instrs []byte
		for range depth {
			instrs = append(instrs, op, 0x40)
		}
		for range depth {
			instrs = append(instrs, 0x41, 0, 0x0d, 0xa0, 0x8d, 0x06) // br_if 100000
		}
		instrs = append(instrs, bytes.Repeat([]byte{0x0b}, depth)...)
		from := time.Now()
		if _, err := rewrite.Rewrite(bodyOf(instrs...), rewrite.Policy{}); err != nil {
			t.Error(err)
		}
		if took := time.Since(from); took > 5*time.Second {
			t.Errorf("opcode %#x: %v", op, took)
		}
	}
}
