package rewrite

import (
	"fmt"
	"strings"
)

// Result is a rewritten module and what the rewriter saw in it.
type Result struct {
	Wasm   []byte
	Report Report
}

// Report describes a module.
type Report struct {
	Functions   int
	Checkpoints int // places where the module looks at its fuel
	Imports     []string
	Exports     []string
	// MemoryMin and MemoryMax are in pages of 64 KiB; MemoryMax is 0 where the module names none.
	MemoryMin, MemoryMax uint32
	// Globals are the module's own mutable globals, exported for images.
	Globals []GlobalExport
	// ImageObstacles says why an image of an instance's memory and globals
	// would not be the whole of its state. Empty: it is.
	ImageObstacles []string
	// CopiesByLoop is set where the module has no bulk memory instruction, so
	// that its toolchain copies byte by byte: it works, slowly.
	CopiesByLoop bool
	// HasStart tells that the module runs code when it is instantiated.
	HasStart bool
}

// GlobalExport is a mutable global and the name under which it can be reached.
type GlobalExport struct {
	Name string
	Type string // "i32", "i64", "f32", "f64"
}

// FuelGlobal is the export name of the meter's own global.
const FuelGlobal = ReservedPrefix + "fuel"

// Rewrite checks a module against the policy and adds the meter. Its error is
// an *Error. It does not check types of instructions: the engine that compiles
// the result does.
func Rewrite(wasm []byte, policy Policy) (*Result, error) {
	policy = policy.withDefaults()
	m, err := parse(wasm)
	if err != nil {
		return nil, err
	}
	if err := policy.check(m); err != nil {
		return nil, err
	}
	infos := make([]funcInfo, len(m.codes))
	report := m.report()
	for i := range m.codes {
		if err := m.survey(i, infos, &report); err != nil {
			return nil, err
		}
	}
	m.findSmall(infos)
	w := &writer{m: m, infos: infos, lay: m.layout(), policy: policy, report: &report}
	out := w.module(len(wasm))
	return &Result{Wasm: out, Report: report}, nil
}

func (m *module) report() Report {
	rep := Report{Functions: len(m.codes), HasStart: m.start >= 0, CopiesByLoop: len(m.memories) > 0}
	for i := range m.imports {
		rep.Imports = append(rep.Imports, m.imports[i].module+"."+m.imports[i].name)
	}
	for _, e := range m.exports {
		rep.Exports = append(rep.Exports, e.name)
	}
	if len(m.memories) > 0 {
		rep.MemoryMin, rep.MemoryMax = m.memories[0].min, m.memories[0].max
	}
	for i, g := range m.globals {
		switch {
		case !g.mutable:
		case i < m.importedGlobals:
			rep.obstacle("imports a mutable global")
		case g.typ == valFuncref || g.typ == valExternref || g.typ == valV128:
			rep.obstacle("has a mutable global of type " + valName(g.typ))
		default:
			rep.Globals = append(rep.Globals, GlobalExport{globalName(i), valName(g.typ)})
		}
	}
	return rep
}

func (rep *Report) obstacle(s string) {
	for _, o := range rep.ImageObstacles {
		if o == s {
			return
		}
	}
	rep.ImageObstacles = append(rep.ImageObstacles, s)
}

// note records what an instruction means for images and copying.
func (rep *Report) note(op int) {
	switch op {
	case opTableSet, opTableGrow, opTableFill, opTableCopy, opTableInit:
		rep.obstacle("changes tables at run time")
	case opElemDrop:
		rep.obstacle("drops element segments at run time")
	case opDataDrop:
		rep.obstacle("drops data segments at run time")
	case opMemoryInit:
		rep.obstacle("uses passive data segments at run time")
		rep.CopiesByLoop = false
	case opMemoryCopy, opMemoryFill:
		rep.CopiesByLoop = false
	}
}

func globalName(i int) string { return fmt.Sprintf("%sglobal:%d", ReservedPrefix, i) }

// dropped tells which custom sections cannot be right after rewriting, because
// they hold offsets or indices of the old code.
func dropped(name string) bool {
	for _, p := range []string{".debug_", "reloc.", "linking", "dylink", "sourceMappingURL", "external_debug_info", "name", "metadata.code."} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}
