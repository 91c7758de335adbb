package rewrite_test

import (
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/weirstream/weir/wasmhost/rewrite"
)

func TestMutableGlobalsAreExportedAndCanBeSet(t *testing.T) {
	m := mod{
		types: [][]byte{typ("", tI32)}, funcs: [][]byte{{0}},
		globals: [][]byte{{0x7f, 0, 0x41, 1, 0x0b}, {0x7f, 1, 0x41, 2, 0x0b}, {0x7e, 1, 0x42, 3, 0x0b}},
		exports: [][]byte{cat(name("f"), []byte{0, 0})},
		codes:   [][]byte{code(nil, 0x23, 1)},
	}
	res, err := rewrite.Rewrite(m.bytes(), rewrite.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	want := []rewrite.GlobalExport{{Name: "weir:global:1", Type: "i32"}, {Name: "weir:global:2", Type: "i64"}}
	if !slices.Equal(res.Report.Globals, want) || len(res.Report.ImageObstacles) > 0 {
		t.Fatalf("report %+v", res.Report)
	}
	ctx := t.Context()
	r := wazero.NewRuntime(ctx)
	defer r.Close(ctx)
	yieldModule(ctx, t, r, func() {}, 1000)
	in, err := r.Instantiate(ctx, res.Wasm)
	if err != nil {
		t.Fatal(err)
	}
	in.ExportedGlobal("weir:global:1").(api.MutableGlobal).Set(77)
	if got, err := in.ExportedFunction("f").Call(ctx); err != nil || got[0] != 77 {
		t.Errorf("the function reads %v, %v", got, err)
	}
}

func TestWhatAnImageWouldMissIsReported(t *testing.T) {
	one := func(change func(*mod), instrs ...byte) mod {
		m := mod{types: [][]byte{typ("", "")}, funcs: [][]byte{{0}}, tables: [][]byte{{0x6f, 0, 1}}, memories: [][]byte{{0, 1}},
			codes: [][]byte{code(nil, instrs...)}}
		if change != nil {
			change(&m)
		}
		return m
	}
	passive := func(m *mod) { m.datas, m.dataCount = [][]byte{{1, 1, 0}}, []byte{1} }
	for want, m := range map[string]mod{
		"changes tables at run time":             one(nil, 0x41, 0, 0xd0, 0x6f, 0x26, 0),
		"uses passive data segments at run time": one(passive, 0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 8, 0, 0),
		"drops data segments at run time":        one(passive, 0xfc, 9, 0),
		"has a mutable global of type externref": one(func(m *mod) { m.globals = [][]byte{{0x6f, 1, 0xd0, 0x6f, 0x0b}} }),
	} {
		res, err := rewrite.Rewrite(m.bytes(), rewrite.Policy{})
		if err != nil {
			t.Errorf("%s: %v", want, err)
		} else if !slices.Contains(res.Report.ImageObstacles, want) {
			t.Errorf("obstacles %q, want %q", res.Report.ImageObstacles, want)
		}
	}
}

func TestNamesFollowTheirFunctions(t *testing.T) {
	m := mod{
		types:   [][]byte{typ("", "")},
		imports: [][]byte{cat(name("env"), name("imported"), []byte{0, 0})},
		funcs:   [][]byte{{0}},
		exports: [][]byte{cat(name("f"), []byte{0, 1})},
		codes:   [][]byte{code(nil, 0x00)},
		customs: [][]byte{
			cat(name("name"), []byte{1}, sized(cat([]byte{2, 0}, name("outside"), []byte{1}, name("inside")))),
			cat(name(".debug_info"), []byte("offsets")),
			cat(name("producers"), []byte{0}),
		},
	}
	res, err := rewrite.Rewrite(m.bytes(), rewrite.Policy{OpenImports: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCustomSections(true))
	defer r.Close(ctx)
	compiled, err := r.CompileModule(ctx, res.Wasm)
	if err != nil {
		t.Fatal(err)
	}
	if got := compiled.ExportedFunctions()["f"].Name(); got != "inside" {
		t.Errorf("the function is named %q", got)
	}
	var sections []string
	for _, s := range compiled.CustomSections() {
		sections = append(sections, s.Name())
	}
	if !slices.Equal(sections, []string{"producers"}) {
		t.Errorf("custom sections %q", sections)
	}
}

// In wasm each of the eight forms of an element segment names functions, which
// move by one.
func TestAllFormsOfElementSegmentsFollowTheirFunctions(t *testing.T) {
	expr := []byte{0xd2, 1, 0x0b} // ref.func 1
	at0 := []byte{0x41, 0, 0x0b}
	for form, seg := range [][]byte{
		cat([]byte{0}, at0, []byte{1, 1}),
		{1, 0, 1, 1},
		cat([]byte{2, 0}, at0, []byte{0, 1, 1}),
		{3, 0, 1, 1},
		cat([]byte{4}, at0, []byte{1}, expr),
		cat([]byte{5, 0x70, 1}, expr),
		cat([]byte{6, 0}, at0, []byte{0x70, 1}, expr),
		cat([]byte{7, 0x70, 1}, expr),
	} {
		passive, declarative := form == 1 || form == 5, form == 3 || form == 7
		call := []byte{0x41, 0, 0x11, 0, 0} // call_indirect
		if passive {
			call = cat([]byte{0x41, 0, 0x41, 0, 0x41, 1, 0xfc, 12, 0, 0}, call)
		} else if declarative {
			call = cat([]byte{0x41, 0, 0xd2, 1, 0x26, 0}, call)
		}
		m := mod{
			types: [][]byte{typ("", tI32)}, funcs: [][]byte{{0}, {0}, {0}},
			tables: [][]byte{{0x70, 0, 1}}, elems: [][]byte{seg},
			exports: [][]byte{cat(name("f"), []byte{0, 2})},
			codes:   [][]byte{code(nil, 0x41, 10), code(nil, 0x41, 11), code(nil, call...)},
		}
		res, err := rewrite.Rewrite(m.bytes(), rewrite.Policy{})
		if err != nil {
			t.Errorf("form %d: %v", form, err)
			continue
		}
		ctx := t.Context()
		r := wazero.NewRuntime(ctx)
		yieldModule(ctx, t, r, func() {}, 1000)
		in, err := r.Instantiate(ctx, res.Wasm)
		if err != nil {
			t.Errorf("form %d: %v", form, err)
		} else if got, err := in.ExportedFunction("f").Call(ctx); err != nil || got[0] != 11 {
			t.Errorf("form %d: %v, %v, want 11", form, got, err)
		}
		r.Close(ctx)
	}
}
