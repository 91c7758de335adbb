package rewrite

import "fmt"

func (m *module) section(id byte, r *reader) {
	switch id {
	case secCustom:
		name := r.name()
		if r.err == nil {
			m.customs = append(m.customs, custom{name, r.bytes(len(r.buf) - r.pos)})
		}
	case secType:
		m.typeSection(r)
	case secImport:
		m.importSection(r)
	case secFunction:
		m.funcs = make([]uint32, 0, r.peekCount())
		each(r, func() { m.funcs = append(m.funcs, r.u32()) })
	case secTable:
		each(r, func() { m.tables = append(m.tables, r.table()) })
	case secMemory:
		each(r, func() { m.memories = append(m.memories, r.limits(true)) })
		if len(m.memories) > 1 {
			r.failKind(UnsupportedFeature, 0, featMultiMemory.name, featMultiMemory.hint)
		}
	case secGlobal:
		each(r, func() {
			g := r.globalType()
			from := r.pos
			m.constExpr(r, nil)
			g.init = r.buf[min(from, r.pos):r.pos]
			m.globals = append(m.globals, g)
		})
	case secExport:
		each(r, func() {
			at := r.base + r.pos
			e := export{at: at, name: r.name(), kind: r.byte(), idx: r.u32()}
			if e.kind > kindGlobal {
				r.fail("unknown export kind")
			}
			m.exports = append(m.exports, e)
		})
	case secStart:
		m.start = int(r.u32())
	case secElement:
		each(r, func() { m.elemSegment(r) })
	case secDataCount:
		m.dataCount = int(r.u32())
	case secCode:
		m.codes = make([]body, 0, r.peekCount())
		each(r, func() {
			n := int(r.u32())
			at := r.base + r.pos
			m.codes = append(m.codes, body{r.bytes(n), at})
		})
	case secData:
		m.rawData = r.buf
		each(r, func() { m.dataSegment(r) })
	}
}

// each reads a vector's length and calls f for each element until an error.
func each(r *reader, f func()) {
	n := r.count()
	for i := 0; i < n && r.err == nil; i++ {
		f()
	}
}

func (r *reader) peekCount() int {
	p := *r
	return p.count()
}

func (m *module) typeSection(r *reader) {
	n := r.count()
	from := r.pos
	for i := 0; i < n && r.err == nil; i++ {
		if form := r.byte(); form != 0x60 && r.err == nil {
			if form == 0x5e || form == 0x5f || form == 0x4e || form == 0x4f || form == 0x50 {
				r.failKind(UnsupportedFeature, r.pos-1, featGC.name, featGC.hint)
			} else {
				r.fail(fmt.Sprintf("invalid function type 0x%x", form))
			}
			return
		}
		m.types = append(m.types, funcType{r.valTypes(), r.valTypes()})
	}
	m.rawTypes = r.buf[min(from, r.pos):r.pos]
}

func (r *reader) valTypes() []byte {
	b := r.bytes(r.count())
	for _, t := range b {
		r.checkValType(t)
	}
	return b
}

func (r *reader) checkValType(t byte) {
	switch t {
	case valI32, valI64, valF32, valF64, valV128, valFuncref, valExternref:
	case 0x69, 0x74:
		r.failKind(UnsupportedFeature, r.pos, featExceptions.name, featExceptions.hint)
	case 0x63, 0x64, 0x65, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x71, 0x72, 0x73:
		r.failKind(UnsupportedFeature, r.pos, featGC.name, featGC.hint)
	default:
		r.fail(fmt.Sprintf("invalid value type 0x%x", t))
	}
}

func (m *module) importSection(r *reader) {
	n := r.count()
	from := r.pos
	for i := 0; i < n && r.err == nil; i++ {
		at := r.base + r.pos
		im := importEntry{at: at, module: r.name(), name: r.name(), kind: r.byte()}
		switch im.kind {
		case kindFunc:
			im.typ = r.u32()
			m.importedFuncs++
		case kindTable:
			im.table = r.table()
			m.tables = append(m.tables, im.table)
			m.importedTables++
		case kindMemory:
			im.mem = r.limits(true)
			m.memories = append(m.memories, im.mem)
		case kindGlobal:
			im.global = r.globalType()
			m.globals = append(m.globals, im.global)
			m.importedGlobals++
		case 4:
			r.failKind(UnsupportedFeature, r.pos, featExceptions.name+" (tag import)", featExceptions.hint)
		default:
			r.fail("malformed import kind")
		}
		m.imports = append(m.imports, im)
	}
	m.rawImports = r.buf[min(from, r.pos):r.pos]
}

func (r *reader) limits(memory bool) limits {
	flags := r.byte()
	switch {
	case flags&^7 != 0:
		r.fail("malformed limits flags")
	case flags&2 != 0:
		r.failKind(UnsupportedFeature, r.pos, featThreads.name+" (shared memory)", featThreads.hint)
	case flags&4 != 0:
		r.failKind(UnsupportedFeature, r.pos, featMemory64.name, featMemory64.hint)
	}
	l := limits{min: r.u32(), hasMax: flags&1 != 0}
	if l.hasMax {
		if l.max = r.u32(); l.min > l.max {
			r.fail("size minimum must not be greater than maximum")
		}
	}
	return l
}

func (r *reader) table() table {
	if r.pos < len(r.buf) && r.buf[r.pos] == 0x40 {
		r.failKind(UnsupportedFeature, r.pos, featGC.name, featGC.hint)
	}
	t := table{elem: r.byte()}
	if r.checkValType(t.elem); t.elem != valFuncref && t.elem != valExternref {
		r.fail("malformed reference type")
	}
	t.limits = r.limits(false)
	return t
}

func (r *reader) globalType() global {
	g := global{typ: r.byte()}
	r.checkValType(g.typ)
	mut := r.byte()
	if mut > 1 {
		r.fail("malformed mutability")
	}
	g.mutable = mut == 1
	return g
}

// constExpr reads a constant expression. Where out is not nil, the expression
// is appended to it with shifted function indices.
func (m *module) constExpr(r *reader, out *[]byte) {
	for r.err == nil {
		from := r.pos
		var in instr
		r.next(&in)
		if r.err != nil {
			return
		}
		switch in.op {
		case opEnd, opI32Const, opI64Const, 0x43, 0x44, opRefNull, 0xfd<<16 | 12:
		case opGlobalGet:
			if int(in.idx) >= len(m.globals) {
				r.failKind(Malformed, in.start, fmt.Sprintf("unknown global %d", in.idx), "")
			}
		case opRefFunc:
			if int(in.idx) >= m.numFuncs() {
				r.failKind(Malformed, in.start, fmt.Sprintf("unknown function %d", in.idx), "")
			} else if out != nil {
				*out = appendU32(append(*out, opRefFunc), m.shift(in.idx))
				continue
			}
		case opI32Add, opI32Sub, 0x6c, opI64Add, 0x7d, 0x7e:
			r.failKind(UnsupportedFeature, in.start, featExtendedConst.name, featExtendedConst.hint)
		default:
			r.failKind(Malformed, in.start, "constant expression required", "")
		}
		if r.err == nil && out != nil {
			*out = append(*out, r.buf[from:r.pos]...)
		}
		if in.op == opEnd {
			return
		}
	}
}

// shift maps a function index of the original module to the new one: the added
// import stands between the imported and the defined functions.
func (m *module) shift(idx uint32) uint32 {
	if int(idx) < m.importedFuncs {
		return idx
	}
	return idx + 1
}

func (m *module) elemSegment(r *reader) {
	from := r.pos
	seg := elemSegment{}
	m.walkElem(r, nil, &seg)
	seg.raw = r.buf[min(from, r.pos):r.pos]
	m.elems = append(m.elems, seg)
}

// walkElem reads a segment in any of its eight forms; with out it writes the
// segment with shifted function indices.
func (m *module) walkElem(r *reader, out *[]byte, seg *elemSegment) {
	copyFrom := r.pos
	flush := func() {
		if out != nil && r.err == nil {
			*out = append(*out, r.buf[copyFrom:r.pos]...)
		}
		copyFrom = r.pos
	}
	flags := r.u32()
	if flags > 7 {
		r.fail("malformed element segment flags")
		return
	}
	active, explicit, exprs := flags&1 == 0, flags&2 != 0, flags&4 != 0
	seg.passive = flags&3 == 1
	if active {
		if explicit {
			r.u32() // table
		}
		flush()
		m.constExpr(r, out)
		copyFrom = r.pos
	}
	if !active || explicit {
		r.byte() // element kind or reference type
	}
	flush()
	n := r.count()
	flush()
	for i := 0; i < n && r.err == nil; i++ {
		switch {
		case exprs:
			m.constExpr(r, out)
		default:
			idx := r.u32()
			if int(idx) >= m.numFuncs() {
				r.fail(fmt.Sprintf("unknown function %d", idx))
			}
			if out != nil {
				*out = appendU32(*out, m.shift(idx))
			}
		}
		copyFrom = r.pos
	}
}

func (m *module) dataSegment(r *reader) {
	flags := r.u32()
	switch flags {
	case 0:
		m.constExpr(r, nil)
	case 1:
	case 2:
		if r.u32() != 0 {
			r.failKind(UnsupportedFeature, r.pos, featMultiMemory.name, featMultiMemory.hint)
		}
		m.constExpr(r, nil)
	default:
		r.fail("malformed data segment flags")
	}
	n := int(r.u32())
	r.bytes(n)
	m.datas = append(m.datas, dataSegment{passive: flags == 1, size: n})
}
