package rewrite_test

import "math/rand/v2"

// generator writes random valid functions of type (i32 i32) -> i32: nested
// blocks, loops, branches of all kinds, calls, globals, memory and bulk
// operations. Whether they end, nobody knows.
type generator struct {
	r     *rand.Rand
	out   []byte
	kinds []byte // open constructs, as their opcodes
	left  int    // statements still to write
	self  int    // index of the function; calls go to smaller ones, but for a few
}

const (
	genFuncs   = 4
	genLocals  = 5 // two parameters among them
	genGlobals = 2
)

func (g *generator) op(b ...byte) { g.out = append(g.out, b...) }

func (g *generator) module() []byte {
	m := mod{
		types:    [][]byte{typ(tI32+tI32, tI32), typ("", "")},
		tables:   [][]byte{{0x70, 0, genFuncs}},
		memories: [][]byte{{1, 1, 2}},
		globals:  [][]byte{{0x7f, 1, 0x41, 7, 0x0b}, {0x7f, 1, 0x41, 9, 0x0b}},
		elems:    [][]byte{{0, 0x41, 0, 0x0b, genFuncs, 0, 1, 2, 3}},
		exports:  [][]byte{cat(name("memory"), []byte{2, 0}), cat(name("g0"), []byte{3, 0}), cat(name("g1"), []byte{3, 1})},
	}
	for i := range byte(genFuncs) {
		g.out, g.left, g.self = nil, 5+g.r.IntN(40), int(i)
		for g.left > 0 {
			g.statement()
		}
		g.expr(2)
		m.funcs = append(m.funcs, []byte{0})
		m.codes = append(m.codes, code([]byte{1, genLocals - 2, 0x7f}, g.out...))
		m.exports = append(m.exports, cat(name("f"+string('0'+i)), []byte{0, i}))
	}
	return m.bytes()
}

func (g *generator) expr(depth int) {
	if depth == 0 {
		switch g.r.IntN(3) {
		case 0:
			g.op(0x41, byte(g.r.IntN(64)))
		case 1:
			g.op(0x20, byte(g.r.IntN(genLocals)))
		case 2:
			g.op(0x23, byte(g.r.IntN(genGlobals)))
		}
		return
	}
	switch g.r.IntN(9) {
	case 0:
		g.expr(depth - 1)
		g.op(0x41, 0xff, 0x7f, 0x71) // and -1
	case 1: // a load that stays in bounds
		g.expr(depth - 1)
		g.op(0x41, 0xff, 0xff, 0x03, 0x71, 0x28, 2, 0)
	case 2: // a division that may trap
		g.expr(depth - 1)
		g.expr(depth - 1)
		g.op(0x6e)
	case 3: // an if with a value
		g.expr(depth - 1)
		g.op(0x04, 0x7f)
		g.expr(depth - 1)
		g.op(0x05)
		g.expr(depth - 1)
		g.op(0x0b)
	case 4: // a direct call
		if g.self == 0 {
			g.expr(0)
			return
		}
		g.expr(0)
		g.expr(0)
		g.op(0x10, byte(g.r.IntN(g.self)))
	case 5: // an indirect one, perhaps a recursion
		if g.r.IntN(8) > 0 {
			g.expr(0)
			return
		}
		g.expr(0)
		g.expr(0)
		g.expr(0)
		g.op(0x41, 3, 0x71, 0x11, 0, 0)
	default:
		g.expr(depth - 1)
		g.expr(depth - 1)
		g.op([]byte{0x6a, 0x6b, 0x6c, 0x73, 0x49}[g.r.IntN(5)])
	}
}

func (g *generator) statement() {
	g.left--
	switch g.r.IntN(12) {
	case 0, 1:
		g.expr(2)
		g.op(0x21, byte(g.r.IntN(genLocals)))
	case 2:
		g.expr(1)
		g.op(0x24, byte(g.r.IntN(genGlobals)))
	case 3:
		g.expr(1)
		g.op(0x41, 0xff, 0xff, 0x03, 0x71)
		g.expr(2)
		g.op(0x36, 2, 0)
	case 4, 5:
		g.nest(0x02)
	case 6, 7:
		g.nest(0x03)
	case 8:
		g.expr(1)
		g.nest(0x04)
	case 9:
		if len(g.kinds) > 0 {
			g.expr(1)
			g.op(0x0d, byte(g.r.IntN(len(g.kinds))))
		}
	case 10:
		if n := len(g.kinds); n > 0 { // a br_table, and dead code behind it
			g.op(0x02, 0x40)
			g.expr(1)
			g.op(0x0e, 2, byte(g.r.IntN(n+1)), byte(g.r.IntN(n+1)), 0)
			if g.r.IntN(2) == 0 {
				g.op(0x41, 1, 0x1a)
			}
			g.op(0x0b)
		}
	case 11: // memory.fill or memory.copy of up to 60 KiB
		g.expr(0)
		g.expr(0)
		g.expr(0)
		g.op(0x41, 0xff, 0x07, 0x6c, 0x41, 0xff, 0xdf, 0x03, 0x71) // * 1023 & 61439
		if g.r.IntN(2) == 0 {
			g.op(0xfc, 11, 0)
		} else {
			g.op(0xfc, 10, 0, 0)
		}
	}
}

func (g *generator) nest(op byte) {
	g.op(op, 0x40)
	g.kinds = append(g.kinds, op)
	for n := g.r.IntN(4); n > 0 && g.left > 0; n-- {
		g.statement()
	}
	if op == 0x04 && g.r.IntN(2) == 0 {
		g.op(0x05)
		g.statement()
	}
	g.op(0x0b)
	g.kinds = g.kinds[:len(g.kinds)-1]
}
