package rewrite

import (
	"bytes"
	"fmt"
)

// External kinds, as the binary format numbers them.
const (
	kindFunc   = 0
	kindTable  = 1
	kindMemory = 2
	kindGlobal = 3
)

// Section ids of the binary format.
const (
	secCustom    = 0
	secType      = 1
	secImport    = 2
	secFunction  = 3
	secTable     = 4
	secMemory    = 5
	secGlobal    = 6
	secExport    = 7
	secStart     = 8
	secElement   = 9
	secCode      = 10
	secData      = 11
	secDataCount = 12
	secTag       = 13
)

// sectionRank gives the order in which sections must come.
var sectionRank = [...]int{
	secType: 1, secImport: 2, secFunction: 3, secTable: 4, secMemory: 5, secGlobal: 6,
	secExport: 7, secStart: 8, secElement: 9, secDataCount: 10, secCode: 11, secData: 12,
}

const (
	valI32       = 0x7f
	valI64       = 0x7e
	valF32       = 0x7d
	valF64       = 0x7c
	valV128      = 0x7b
	valFuncref   = 0x70
	valExternref = 0x6f
)

type funcType struct {
	params, results []byte
}

func (t funcType) String() string {
	return fmt.Sprintf("(%s) -> (%s)", valNames(t.params), valNames(t.results))
}

func valNames(ts []byte) string {
	var s string
	for i, t := range ts {
		if i > 0 {
			s += " "
		}
		s += valName(t)
	}
	return s
}

func valName(t byte) string {
	switch t {
	case valI32:
		return "i32"
	case valI64:
		return "i64"
	case valF32:
		return "f32"
	case valF64:
		return "f64"
	case valV128:
		return "v128"
	case valFuncref:
		return "funcref"
	case valExternref:
		return "externref"
	}
	return fmt.Sprintf("0x%x", t)
}

type limits struct {
	min, max uint32
	hasMax   bool
}

type table struct {
	elem   byte
	limits limits
}

type global struct {
	typ     byte
	mutable bool
	init    []byte // constant expression with its end; nil for an imported one
}

type importEntry struct {
	module, name string
	kind         byte
	typ          uint32 // kindFunc
	table        table
	mem          limits
	global       global
	at           int
}

type export struct {
	name string
	kind byte
	idx  uint32
	at   int
}

type elemSegment struct {
	raw     []byte // the whole segment
	passive bool
}

type dataSegment struct {
	passive bool
	size    int
}

type body struct {
	raw  []byte // locals and code, without the size
	base int
}

type custom struct {
	name string
	data []byte
}

// module is a parsed module. Sections that need no change stay raw.
type module struct {
	types     []funcType
	imports   []importEntry
	funcs     []uint32 // type indices of defined functions
	tables    []table  // imported ones first
	memories  []limits
	globals   []global // imported ones first
	exports   []export
	start     int // -1: none
	elems     []elemSegment
	dataCount int // -1: no section
	codes     []body
	datas     []dataSegment
	customs   []custom

	bulkMemory bool // memory.copy or memory.fill is used somewhere

	importedFuncs, importedTables, importedGlobals int

	rawTypes   []byte // the type entries, without the count
	rawImports []byte
	rawData    []byte // the section's body
}

func (m *module) funcTypeIndex(idx uint32) uint32 {
	if int(idx) < m.importedFuncs {
		for i := range m.imports {
			if m.imports[i].kind == kindFunc {
				if idx == 0 {
					return m.imports[i].typ
				}
				idx--
			}
		}
	}
	return m.funcs[int(idx)-m.importedFuncs]
}

func (m *module) numFuncs() int { return m.importedFuncs + len(m.funcs) }

var (
	wasmMagic     = []byte{0, 'a', 's', 'm'}
	coreVersion   = []byte{1, 0, 0, 0}
	componentMark = []byte{0x0d, 0, 1, 0}
)

func parse(wasm []byte) (*module, error) {
	r := &reader{buf: wasm}
	m := &module{start: -1, dataCount: -1}
	if !bytes.Equal(r.bytes(4), wasmMagic) {
		return nil, &Error{Kind: Malformed, Offset: 0, Msg: "no WebAssembly module: the magic is missing",
			Hint: "upload the .wasm file that the toolchain wrote"}
	}
	version := r.bytes(4)
	if bytes.Equal(version, componentMark) {
		return nil, &Error{Kind: UnsupportedFeature, Offset: 4, Msg: featComponent.name, Hint: featComponent.hint}
	}
	if !bytes.Equal(version, coreVersion) {
		return nil, &Error{Kind: Malformed, Offset: 4, Msg: "unknown binary version"}
	}
	last := 0
	for !r.done() {
		at := r.pos
		id := r.byte()
		size := int(r.u32())
		s := r.sub(size)
		if r.err != nil {
			return nil, r.err
		}
		if id == secTag {
			return nil, &Error{Kind: UnsupportedFeature, Offset: at, Msg: featExceptions.name + " (tag section)", Hint: featExceptions.hint}
		}
		if id != secCustom {
			if int(id) >= len(sectionRank) {
				return nil, &Error{Kind: Malformed, Offset: at, Msg: fmt.Sprintf("unknown section %d", id)}
			}
			if sectionRank[id] <= last {
				return nil, &Error{Kind: Malformed, Offset: at, Msg: fmt.Sprintf("section %d out of order", id)}
			}
			last = sectionRank[id]
		}
		m.section(id, s)
		if s.err == nil && !s.done() {
			s.fail("section size mismatch")
		}
		if s.err != nil {
			return nil, s.err
		}
	}
	if len(m.funcs) != len(m.codes) {
		return nil, &Error{Kind: Malformed, Offset: -1, Msg: "function and code section have inconsistent lengths"}
	}
	if err := m.checkIndices(); err != nil {
		return nil, err
	}
	return m, nil
}

// checkIndices refuses every index outside the module that is not inside code.
// It must be exact: an index that is out of range now may be a thing of ours
// after rewriting.
func (m *module) checkIndices() error {
	bad := func(at int, what string, idx uint32) error {
		return &Error{Kind: Malformed, Offset: at, Msg: fmt.Sprintf("unknown %s %d", what, idx)}
	}
	for i := range m.imports {
		if im := &m.imports[i]; im.kind == kindFunc && int(im.typ) >= len(m.types) {
			return bad(im.at, "type", im.typ)
		}
	}
	for _, t := range m.funcs {
		if int(t) >= len(m.types) {
			return bad(-1, "type", t)
		}
	}
	for _, e := range m.exports {
		n := map[byte]int{kindFunc: m.numFuncs(), kindTable: len(m.tables), kindMemory: len(m.memories), kindGlobal: len(m.globals)}[e.kind]
		if int(e.idx) >= n {
			return bad(e.at, "exported index", e.idx)
		}
	}
	if m.start >= m.numFuncs() {
		return bad(-1, "start function", uint32(m.start))
	}
	if m.dataCount >= 0 && m.dataCount != len(m.datas) {
		return &Error{Kind: Malformed, Offset: -1, Msg: "data count and data section have inconsistent lengths"}
	}
	return nil
}
