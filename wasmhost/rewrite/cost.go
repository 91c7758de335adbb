package rewrite

import "fmt"

// The meter's constants, in units of fuel: about one machine instruction each.
const (
	// maxCharge is the most that one checkpoint pays for, unless a single
	// instruction costs more. Small values make the bound tight where little of
	// what was paid for runs (Go's compiler turns every jump into a turn of a
	// loop around the whole function); large ones save checkpoints.
	maxCharge = 320
	// smallCost is the size up to which a function without loops and calls of
	// larger functions has no checkpoint of its own.
	smallCost = 24
	// chunkFuel is what a function with loops takes from the global at once,
	// firstChunkFuel what it takes when it is entered.
	chunkFuel      = 4096
	firstChunkFuel = 256

	// bulkInline is the number of bytes (or of table elements, an eighth) that
	// a bulk operation may move at its fixed cost. Larger ones are paid by
	// length, and those on memory are cut into pieces of bulkPiece bytes with a
	// chance to yield before each.
	bulkInline    = 1024
	bulkPiece     = 128 << 10
	bulkFuelShift = 3 // 8 bytes for a unit
	// tableFuelShift makes a table element cost 4 units.
	tableFuelShift = 2
	// bulkFuelMax caps what a length operand can cost. It is more than any
	// slice of fuel, so that the module yields; the operation itself traps.
	bulkFuelMax = 1 << 28

	costBulk       = 24
	costHostCall   = 100
	costCall       = 4
	costIndirect   = 8
	costMemoryGrow = 512
	costTableGrow  = 1 << 14 // the engine copies the whole table
	costDivide     = 8
	costFloatSlow  = 4
)

// costs maps one-byte opcodes to their cost. What leaves no machine code behind
// (constants, reading a local) is free; a loop head never is.
var costs = buildCosts()

func buildCosts() (t [256]uint8) {
	for i := range t {
		t[i] = 1
	}
	for _, free := range []int{0x01, opBlock, opElse, opEnd, 0x1a, opLocalGet, opI32Const, opI64Const, 0x43, 0x44, opRefNull} {
		t[free] = 0
	}
	for i := 0x6d; i <= 0x70; i++ { // i32.div_s ... i32.rem_u
		t[i], t[i+0x12] = costDivide, costDivide
	}
	for _, slow := range []int{0x91, 0x95, 0x9f, 0xa3} { // float sqrt and div
		t[slow] = costFloatSlow
	}
	for i := 0xa8; i <= 0xab; i++ { // truncations
		t[i], t[i+6] = costFloatSlow, costFloatSlow
	}
	t[opBrTable] = 3
	return t
}

// cost is an upper bound of the work of one instruction in a function that sees
// the given control frames.
func (m *module) cost(in *instr, ctl []frame, infos []funcInfo) int {
	switch in.op {
	case opCall:
		t := &m.types[m.funcTypeIndex(in.idx)]
		c := costCall + len(t.params) + len(t.results)
		if int(in.idx) < m.importedFuncs {
			return c + costHostCall
		}
		if info := &infos[int(in.idx)-m.importedFuncs]; info.small {
			c += info.cost
		}
		return c
	case opCallIndirect:
		t := &m.types[in.idx]
		return costIndirect + smallCost + len(t.params) + len(t.results)
	case opBr, opBrIf:
		return 1 + ctl[len(ctl)-1-int(in.idx)].arity
	case opBrTable:
		c := 0
		for _, l := range in.labels {
			c = max(c, ctl[len(ctl)-1-int(l)].arity)
		}
		return int(costs[opBrTable]) + c
	case opMemoryGrow:
		return costMemoryGrow
	case opTableGrow:
		return costTableGrow
	case opMemoryInit, opMemoryCopy, opMemoryFill, opTableInit, opTableCopy, opTableFill:
		return costBulk
	}
	if in.op < 0x100 {
		return int(costs[in.op])
	}
	return 2 // vector instructions, saturating truncations
}

// funcInfo is what the first pass learns about a defined function.
type funcInfo struct {
	hasLoop bool
	small   bool // its callers pay for it
	bulk    bool // it needs a local for length operands
	cost    int  // of everything in it, once; of small functions with what they call
	callees []uint32
	locals  int // parameters and locals
	codeAt  int // offset of the first instruction in the body
	groups  int // local declarations
	groupAt int // offset of the first local declaration
}

// maxLocals is the limit of wazero and of the browsers.
const maxLocals = 50000

// survey runs over a body once, checks its indices and its nesting.
func (m *module) survey(i int, infos []funcInfo, rep *Report) error {
	b := m.codes[i]
	r := &reader{buf: b.raw, base: b.base}
	info := &infos[i]
	t := &m.types[m.funcs[i]]
	locals := uint64(len(t.params))
	info.groups = r.count()
	info.groupAt = r.pos
	for g := 0; g < info.groups && r.err == nil; g++ {
		locals += uint64(r.u32())
		r.checkValType(r.byte())
	}
	if locals > maxLocals {
		r.failKind(OverLimit, 0, fmt.Sprintf("function has %d locals, the limit is %d", locals, maxLocals), "split the function")
	}
	info.locals, info.codeAt = int(locals), r.pos
	info.cost = info.locals / 8
	var in instr
	ctl := []frame{{arity: len(t.results)}}
	for r.err == nil {
		r.next(&in)
		if r.err != nil {
			break
		}
		m.checkInstr(r, &in, info, len(ctl))
		if r.err != nil {
			break
		}
		switch in.op {
		case opBlock, opLoop, opIf:
			ctl = append(ctl, frame{op: in.op, arity: m.labelArity(&in)})
			info.hasLoop = info.hasLoop || in.op == opLoop
		case opElse:
			if ctl[len(ctl)-1].op != opIf {
				r.failKind(Malformed, in.start, "else without if", "")
			}
			ctl[len(ctl)-1].op = opElse
		case opEnd:
			ctl = ctl[:len(ctl)-1]
			if len(ctl) == 0 {
				if !r.done() {
					r.fail("code after the function's end")
				} else if r.err == nil {
					return nil
				}
				continue
			}
		case opCall:
			info.callees = append(info.callees, in.idx)
		case opCallIndirect:
			info.callees = append(info.callees, ^uint32(0))
		case opMemoryInit, opMemoryCopy, opMemoryFill, opTableInit, opTableCopy, opTableFill, opTableGrow:
			info.bulk = true
			m.bulkMemory = m.bulkMemory || in.op == opMemoryCopy || in.op == opMemoryFill
		}
		rep.note(in.op)
		info.cost = min(info.cost+m.cost(&in, ctl, infos), 1<<30)
	}
	if r.err == nil {
		r.fail("function without end")
	}
	return r.err
}

func (m *module) checkInstr(r *reader, in *instr, info *funcInfo, depth int) {
	bad := func(what string, idx uint32) {
		r.failKind(Malformed, in.start, fmt.Sprintf("unknown %s %d", what, idx), "")
	}
	switch in.op {
	case opBr, opBrIf:
		if int64(in.idx) >= int64(depth) {
			bad("label", in.idx)
		}
	case opBrTable:
		for _, l := range in.labels {
			if int64(l) >= int64(depth) {
				bad("label", l)
				return
			}
		}
	case opCall, opRefFunc:
		if int64(in.idx) >= int64(m.numFuncs()) {
			bad("function", in.idx)
		}
	case opCallIndirect:
		if int64(in.idx) >= int64(len(m.types)) {
			bad("type", in.idx)
		}
	case opLocalGet, opLocalSet, opLocalTee:
		if int64(in.idx) >= int64(info.locals) {
			bad("local", in.idx)
		}
	case opGlobalGet, opGlobalSet:
		if int64(in.idx) >= int64(len(m.globals)) {
			bad("global", in.idx)
		}
	case opBlock, opLoop, opIf:
		if in.blockTy >= int64(len(m.types)) {
			bad("type", uint32(in.blockTy))
		}
	}
}

// labelArity is the number of values that a branch to the label carries.
func (m *module) labelArity(in *instr) int {
	switch {
	case in.blockTy >= 0 && in.op == opLoop:
		return len(m.types[in.blockTy].params)
	case in.blockTy >= 0:
		return len(m.types[in.blockTy].results)
	case in.blockTy == -64 || in.op == opLoop: // 0x40: no result
		return 0
	}
	return 1
}

// findSmall marks the functions that their callers pay for.
func (m *module) findSmall(infos []funcInfo) {
	const (
		unseen = iota
		open   // on the path: a call of it is a recursion
		closed
	)
	state := make([]uint8, len(infos))
	var visit func(i, depth int) bool
	visit = func(i, depth int) bool {
		info := &infos[i]
		if state[i] != unseen {
			return state[i] == closed && info.small
		}
		state[i] = open
		// No small function has a longer chain of calls below it than this.
		ok := depth <= smallCost/costCall && !info.hasLoop && !info.bulk && info.cost <= smallCost
		total := info.cost
		for _, c := range info.callees {
			if !ok {
				break
			}
			if c == ^uint32(0) || int(c) < m.importedFuncs || !visit(int(c)-m.importedFuncs, depth+1) {
				ok = false
				break
			}
			total += infos[int(c)-m.importedFuncs].cost
		}
		state[i] = closed
		if info.small = ok && total <= smallCost; info.small {
			info.cost = total
		}
		return info.small
	}
	for i := range infos {
		visit(i, 0)
	}
}
