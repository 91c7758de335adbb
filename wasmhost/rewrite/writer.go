package rewrite

// writer puts the new module together.
type writer struct {
	m      *module
	infos  []funcInfo
	lay    *layout
	policy Policy
	report *Report
	out    []byte
}

func (w *writer) section(id byte, body []byte) {
	w.out = append(w.out, id)
	w.out = appendU32(w.out, uint32(len(body)))
	w.out = append(w.out, body...)
}

func (w *writer) module(sizeHint int) []byte {
	m := w.m
	w.out = make([]byte, 0, sizeHint+sizeHint/3+1024)
	w.out = append(append(w.out, wasmMagic...), coreVersion...)
	added := m.addedFuncs(w.lay)

	w.section(secType, w.types())
	w.section(secImport, w.imports())
	b := appendU32(nil, uint32(len(m.funcs)+len(added)))
	for _, t := range m.funcs {
		b = appendU32(b, t)
	}
	for _, a := range added {
		b = appendU32(b, a.typ)
	}
	w.section(secFunction, b)
	if len(m.tables) > m.importedTables {
		w.section(secTable, w.tables())
	}
	w.memory()
	w.section(secGlobal, w.globals())
	w.section(secExport, w.exports())
	if m.start >= 0 {
		w.section(secStart, appendU32(nil, m.shift(uint32(m.start))))
	}
	if len(m.elems) > 0 {
		w.section(secElement, w.elements())
	}
	if m.dataCount >= 0 {
		w.section(secDataCount, appendU32(nil, uint32(m.dataCount)))
	}
	w.section(secCode, w.code(added))
	if m.rawData != nil {
		w.section(secData, m.rawData)
	}
	w.customs(added)
	return w.out
}

func (w *writer) types() []byte {
	b := appendU32(nil, uint32(len(w.m.types)+len(addedTypes)))
	b = append(b, w.m.rawTypes...)
	for _, t := range addedTypes {
		b = append(b, 0x60)
		b = append(appendU32(b, uint32(len(t.params))), t.params...)
		b = append(appendU32(b, uint32(len(t.results))), t.results...)
	}
	return b
}

func (w *writer) imports() []byte {
	b := appendU32(nil, uint32(len(w.m.imports)+1))
	b = append(b, w.m.rawImports...)
	b = appendName(appendName(b, yieldModule), yieldName)
	return appendU32(append(b, kindFunc), w.lay.typeYield)
}

// tables caps each table's growth at the policy's limit.
func (w *writer) tables() []byte {
	own := w.m.tables[w.m.importedTables:]
	b := appendU32(nil, uint32(len(own)))
	for _, t := range own {
		limit := w.policy.MaxTableElements
		if t.limits.hasMax {
			limit = min(limit, t.limits.max)
		}
		if !t.limits.hasMax && w.policy.OpenImports {
			b = appendU32(append(b, t.elem, 0), t.limits.min)
			continue
		}
		b = appendU32(append(b, t.elem, 1), t.limits.min)
		b = appendU32(b, max(limit, t.limits.min))
	}
	return b
}

func (w *writer) memory() {
	for i := range w.m.imports {
		if w.m.imports[i].kind == kindMemory {
			return
		}
	}
	if len(w.m.memories) == 0 {
		return
	}
	mem := w.m.memories[0]
	b := []byte{1, 0}
	if mem.hasMax {
		b[1] = 1
	}
	b = appendU32(b, mem.min)
	if mem.hasMax {
		b = appendU32(b, mem.max)
	}
	w.section(secMemory, b)
}

func (w *writer) globals() []byte {
	own := w.m.globals[w.m.importedGlobals:]
	b := appendU32(nil, uint32(len(own)+1))
	for _, g := range own {
		mut := byte(0)
		if g.mutable {
			mut = 1
		}
		b = append(b, g.typ, mut)
		w.m.constExpr(&reader{buf: g.init}, &b)
	}
	// The meter begins at zero: the first checkpoint yields and gets its fuel.
	return append(b, valI32, 1, opI32Const, 0, opEnd)
}

func (w *writer) exports() []byte {
	extra := w.report.Globals
	b := appendU32(nil, uint32(len(w.m.exports)+len(extra)+1))
	for _, e := range w.m.exports {
		b = append(appendName(b, e.name), e.kind)
		idx := e.idx
		if e.kind == kindFunc {
			idx = w.m.shift(idx)
		}
		b = appendU32(b, idx)
	}
	for i, g := range w.m.globals {
		if !g.mutable || i < w.m.importedGlobals || g.typ == valFuncref || g.typ == valExternref || g.typ == valV128 {
			continue
		}
		b = appendU32(append(appendName(b, globalName(i)), kindGlobal), uint32(i))
	}
	return appendU32(append(appendName(b, FuelGlobal), kindGlobal), w.lay.fuel)
}

func (w *writer) elements() []byte {
	b := appendU32(nil, uint32(len(w.m.elems)))
	for _, e := range w.m.elems {
		var seg elemSegment
		w.m.walkElem(&reader{buf: e.raw}, &b, &seg)
	}
	return b
}

func (w *writer) code(added []added) []byte {
	b := appendU32(nil, uint32(len(w.m.codes)+len(added)))
	mt := &meter{m: w.m, infos: w.infos, lay: w.lay}
	for i := range w.m.codes {
		mt.out = mt.out[:0]
		mt.function(i, len(w.m.types[w.m.funcs[i]].results))
		b = append(appendU32(b, uint32(len(mt.out))), mt.out...)
	}
	w.report.Checkpoints = mt.checks
	for _, a := range added {
		b = append(appendU32(b, uint32(len(a.code))), a.code...)
	}
	return b
}

func (w *writer) customs(added []added) {
	for _, c := range w.m.customs {
		if !dropped(c.name) {
			w.section(secCustom, append(appendName(nil, c.name), c.data...))
		}
	}
	w.section(secCustom, append(appendName(nil, "name"), w.names(added)...))
}

// names rewrites the name section: function and local names. A malformed one is
// dropped, as engines do; so are the module's own name and what else no report
// shows.
func (w *writer) names(added []added) []byte {
	var funcs, locals []byte
	funcCount := 0
	for _, c := range w.m.customs {
		if c.name != "name" {
			continue
		}
		r := &reader{buf: c.data}
		for !r.done() {
			id := r.byte()
			s := r.sub(int(r.u32()))
			switch id {
			case 1:
				funcs, funcCount = funcs[:0], s.count()
				for i := 0; i < funcCount && s.err == nil; i++ {
					funcs = appendU32(funcs, w.m.shift(s.u32()))
					funcs = appendName(funcs, s.name())
				}
			case 2:
				n := s.count()
				locals = appendU32(locals[:0], uint32(n))
				for i := 0; i < n && s.err == nil; i++ {
					locals = appendU32(locals, w.m.shift(s.u32()))
					from := s.pos
					for k := s.count(); k > 0 && s.err == nil; k-- {
						s.u32()
						s.name()
					}
					locals = append(locals, s.buf[min(from, s.pos):s.pos]...)
				}
			}
			if s.err != nil {
				r.err = s.err
				break
			}
		}
		if r.err != nil {
			funcs, locals, funcCount = nil, nil, 0
		}
	}
	for i, a := range added {
		funcs = appendName(appendU32(funcs, w.lay.refill+uint32(i)), a.name)
	}
	head := appendU32(nil, uint32(funcCount+len(added)))
	b := appendU32([]byte{1}, uint32(len(head)+len(funcs)))
	b = append(append(b, head...), funcs...)
	if locals != nil {
		b = append(appendU32(append(b, 2), uint32(len(locals))), locals...)
	}
	return b
}
