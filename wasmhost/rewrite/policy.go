package rewrite

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Version is part of every key under which a compiled module is cached. Raise
// it whenever the rewriter's output changes.
const Version = 1

// Limits of a Policy that leaves them at zero.
const (
	DefaultMaxTableElements = 1 << 18 // 2 MiB of the host's memory
	DefaultMaxTables        = 16
	DefaultMaxGlobals       = 4096
	DefaultMaxPassiveBytes  = 8 << 20 // memory.init is not cut into pieces
	DefaultMaxFunctionBytes = 2 << 20 // compilers need more than linear time
)

// FuncType is a function signature in text: "i32 i32" to "i64".
type FuncType struct{ Params, Results string }

// Policy says what a module may import and must export.
type Policy struct {
	// Imports maps "module.name" of every function that may be imported to its
	// type. A module that imports nothing but functions of it is accepted.
	Imports map[string]FuncType
	// Exports maps the name of every function that must be exported to its type.
	Exports map[string]FuncType
	// RequireMemory asks for an exported memory of this name; empty: no.
	RequireMemory string
	// OpenImports admits any import, of any kind. It is for running test suites.
	OpenImports bool

	MaxTableElements uint32 // of each table, also after growth
	MaxTables        int
	MaxGlobals       int
	MaxPassiveBytes  int // of one passive data segment
	MaxFunctionBytes int // of one function's code
}

func (p Policy) withDefaults() Policy {
	if p.MaxTableElements == 0 {
		p.MaxTableElements = DefaultMaxTableElements
	}
	if p.MaxTables == 0 {
		p.MaxTables = DefaultMaxTables
	}
	if p.MaxGlobals == 0 {
		p.MaxGlobals = DefaultMaxGlobals
	}
	if p.MaxPassiveBytes == 0 {
		p.MaxPassiveBytes = DefaultMaxPassiveBytes
	}
	if p.MaxFunctionBytes == 0 {
		p.MaxFunctionBytes = DefaultMaxFunctionBytes
	}
	return p
}

func (p Policy) check(m *module) error {
	for i := range m.imports {
		if err := p.checkImport(m, &m.imports[i]); err != nil {
			return err
		}
	}
	for _, e := range m.exports {
		if strings.HasPrefix(e.name, ReservedPrefix) {
			return &Error{Kind: ReservedName, Offset: e.at, Msg: fmt.Sprintf("export %q begins with %q", e.name, ReservedPrefix),
				Hint: "rename it: the prefix belongs to the host"}
		}
	}
	if err := p.checkLimits(m); err != nil {
		return err
	}
	return p.checkExports(m)
}

func (p Policy) checkImport(m *module, im *importEntry) error {
	if im.module == yieldModule && im.name == yieldName {
		return &Error{Kind: UnknownImport, Offset: im.at, Msg: "weir.yield belongs to the host",
			Hint: "remove the import: metering calls it by itself"}
	}
	if p.OpenImports {
		return nil
	}
	name := im.module + "." + im.name
	if im.kind != kindFunc {
		kind := [...]string{"function", "table", "memory", "global"}[im.kind]
		return &Error{Kind: UnknownImport, Offset: im.at, Msg: fmt.Sprintf("import %s is a %s", name, kind),
			Hint: "define it in the module; only functions can be imported (clang: no -Wl,--import-memory)"}
	}
	want, ok := p.Imports[name]
	if !ok {
		return &Error{Kind: UnknownImport, Offset: im.at, Msg: fmt.Sprintf("import %s is not granted", name), Hint: p.hint(im.module)}
	}
	if got := textType(m.types[im.typ]); got != want {
		return &Error{Kind: UnknownImport, Offset: im.at,
			Msg:  fmt.Sprintf("import %s has type (%s) -> (%s), want (%s) -> (%s)", name, got.Params, got.Results, want.Params, want.Results),
			Hint: "build against the SDK of this server's version"}
	}
	return nil
}

func (p Policy) hint(module string) string {
	var names []string
	for n := range p.Imports {
		if strings.HasPrefix(n, module+".") {
			names = append(names, strings.TrimPrefix(n, module+"."))
		}
	}
	if len(names) == 0 {
		return fmt.Sprintf("there is no module %q: build for wasip1 with the SDK and nothing else (JavaScript and emscripten glue is not available)", module)
	}
	sort.Strings(names)
	if len(names) > 16 {
		names = append(names[:16], "...")
	}
	return fmt.Sprintf("module %q offers %s", module, strings.Join(names, ", "))
}

func textType(t funcType) FuncType { return FuncType{valNames(t.params), valNames(t.results)} }

func (p Policy) checkLimits(m *module) error {
	over := func(what string, n, limit int, hint string) error {
		return &Error{Kind: OverLimit, Offset: -1, Msg: fmt.Sprintf("%s: %d, the limit is %d", what, n, limit), Hint: hint}
	}
	if len(m.tables) > p.MaxTables {
		return over("tables", len(m.tables), p.MaxTables, "use fewer tables")
	}
	for _, t := range m.tables {
		if t.limits.min > p.MaxTableElements {
			return over("table elements", int(t.limits.min), int(p.MaxTableElements), "split the module")
		}
	}
	if len(m.globals) > p.MaxGlobals {
		return over("globals", len(m.globals), p.MaxGlobals, "keep data in memory")
	}
	for _, c := range m.codes {
		if len(c.raw) > p.MaxFunctionBytes {
			return over("bytes of a function", len(c.raw), p.MaxFunctionBytes, "split the function, or inline less")
		}
	}
	for _, d := range m.datas {
		if d.passive && d.size > p.MaxPassiveBytes {
			return over("bytes of a passive data segment", d.size, p.MaxPassiveBytes, "upload large data as an asset, or use an active segment")
		}
	}
	return nil
}

func (p Policy) checkExports(m *module) error {
	names := make([]string, 0, len(p.Exports))
	for n := range p.Exports {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		i := slices.IndexFunc(m.exports, func(e export) bool { return e.name == n })
		if i < 0 || m.exports[i].kind != kindFunc {
			return &Error{Kind: MissingExport, Offset: -1, Msg: fmt.Sprintf("function %s is not exported", n),
				Hint: "build against the SDK as a reactor: Go -buildmode=c-shared, clang -mexec-model=reactor"}
		}
		want := p.Exports[n]
		if got := textType(m.types[m.funcTypeIndex(m.exports[i].idx)]); got != want {
			return &Error{Kind: MissingExport, Offset: m.exports[i].at,
				Msg:  fmt.Sprintf("export %s has type (%s) -> (%s), want (%s) -> (%s)", n, got.Params, got.Results, want.Params, want.Results),
				Hint: "build against the SDK of this server's version"}
		}
	}
	if p.RequireMemory != "" && !slices.ContainsFunc(m.exports, func(e export) bool { return e.kind == kindMemory && e.name == p.RequireMemory }) {
		return &Error{Kind: MissingExport, Offset: -1, Msg: fmt.Sprintf("memory %q is not exported", p.RequireMemory),
			Hint: "clang and rustc export it by default; do not strip exports"}
	}
	return nil
}
