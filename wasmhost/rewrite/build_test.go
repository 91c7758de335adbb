package rewrite_test

// A small builder of modules, for what no compiler writes.

// mod collects the entries of a module's sections.
type mod struct {
	types, imports, funcs, tables, memories, globals, exports, elems, codes, datas [][]byte
	start                                                                          []byte
	dataCount                                                                      []byte
	customs                                                                        [][]byte
}

func uleb(v int) []byte {
	var b []byte
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func cat(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func name(s string) []byte { return append(uleb(len(s)), s...) }

func sized(b []byte) []byte { return append(uleb(len(b)), b...) }

// typ is a function type of value type bytes.
func typ(params, results string) []byte {
	return cat([]byte{0x60}, name(params), name(results))
}

// code is a function body with the given local declarations and instructions.
func code(locals []byte, instrs ...byte) []byte {
	if locals == nil {
		locals = []byte{0}
	}
	return sized(cat(locals, instrs, []byte{0x0b}))
}

func (m mod) bytes() []byte {
	b := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, entries [][]byte) {
		if len(entries) > 0 {
			b = append(append(b, id), sized(cat(append([][]byte{uleb(len(entries))}, entries...)...))...)
		}
	}
	section(1, m.types)
	section(2, m.imports)
	section(3, m.funcs)
	section(4, m.tables)
	section(5, m.memories)
	section(6, m.globals)
	section(7, m.exports)
	if m.start != nil {
		b = append(append(b, 8), sized(m.start)...)
	}
	section(9, m.elems)
	if m.dataCount != nil {
		b = append(append(b, 12), sized(m.dataCount)...)
	}
	section(10, m.codes)
	section(11, m.datas)
	for _, c := range m.customs {
		b = append(append(b, 0), sized(c)...)
	}
	return b
}

const (
	tI32 = "\x7f"
	tI64 = "\x7e"
)
