package rewrite

import "math"

// dead is the credit of code that cannot be reached.
const dead = math.MaxInt32

// frame is an open control construct.
type frame struct {
	op        int // opBlock, opLoop, opIf, opElse; 0 for the function itself
	arity     int // values that a branch to its label carries
	endCredit int // least credit among the branches to its end
	ifCredit  int // if: credit at its start, which the else arm starts with
	outer     int // loop: credit of the code around it
	loops     int // loops among this frame and those around it
}

// meter writes one function body with checkpoints. Credit is what has been paid
// and not been used yet, on the poorest path to the current instruction. Code
// inside a loop has credit of its own, which starts at the loop's head; after
// the loop the credit from before goes on, because nothing has used it.
type meter struct {
	m     *module
	infos []funcInfo
	fn    *funcInfo
	lay   *layout
	out   []byte
	code  []step // the instructions of the function

	ctl    []frame
	loops  []int // indices in ctl of the open loops
	credit int

	counter uint32 // local: fuel in hand
	length  uint32 // local: length operand of a bulk operation
	checks  int
}

// function appends the rewritten body, without its size.
func (mt *meter) function(i int, results int) {
	b := mt.m.codes[i]
	mt.fn = &mt.infos[i]
	mt.measure(b, results)
	mt.locals(b)

	mt.credit = 0
	entry := mt.fn.locals / 8
	switch {
	case mt.fn.small:
		mt.credit = mt.fn.cost
	case mt.fn.hasLoop:
		mt.credit = min(maxCharge, entry+mt.code[0].ahead)
		mt.payGlobal(mt.credit + firstChunkFuel)
		mt.out = appendS32(append(mt.out, opI32Const), firstChunkFuel)
		mt.out = appendU32(append(mt.out, opLocalSet), mt.counter)
	default:
		mt.credit = min(maxCharge, entry+mt.code[0].ahead)
		mt.payGlobal(mt.credit)
	}
	mt.spend(entry, entry)

	r := &reader{buf: b.raw, pos: mt.fn.codeAt}
	mt.ctl = append(mt.ctl[:0], frame{arity: results, endCredit: dead})
	mt.loops = mt.loops[:0]
	var in instr
	for k := 0; len(mt.ctl) > 0; k++ {
		r.next(&in)
		st := mt.code[k]
		if mt.credit != dead {
			mt.spend(st.cost, st.ahead)
		}
		mt.instruction(&in, b.raw[in.start:r.pos], st)
	}
}

func (mt *meter) instruction(in *instr, raw []byte, st step) {
	switch in.op {
	case opBlock, opIf:
		mt.ctl = append(mt.ctl, frame{op: in.op, arity: mt.m.labelArity(in), endCredit: dead, ifCredit: mt.credit, loops: len(mt.loops)})
	case opLoop:
		mt.loop(in, raw, st)
		return
	case opElse:
		f := &mt.ctl[len(mt.ctl)-1]
		f.endCredit = min(f.endCredit, mt.credit)
		f.op = opElse
		mt.credit = f.ifCredit
	case opEnd:
		mt.end()
	case opBr, opBrIf:
		l := st.label[0] // not in.idx: see dispatch
		mt.branch(l)
		mt.out = appendU32(append(mt.out, byte(in.op)), mt.label(l))
		if in.op == opBr {
			mt.credit = dead
		}
		return
	case opBrTable:
		mt.out = appendU32(append(mt.out, opBrTable), uint32(len(in.labels)-1))
		for _, l := range in.labels {
			mt.branch(l)
			mt.out = appendU32(mt.out, mt.label(l))
		}
		mt.credit = dead
		return
	case opReturn, opUnreachable:
		mt.credit = dead
	case opCall, opRefFunc:
		mt.out = appendU32(append(mt.out, byte(in.op)), mt.m.shift(in.idx))
		return
	case opMemoryCopy, opMemoryFill:
		mt.bulkMemory(in.op, raw)
		return
	case opMemoryInit:
		mt.bulkPaid(raw, bulkInline, bulkFuelShift, opI32ShrU)
		return
	case opTableInit, opTableCopy, opTableFill, opTableGrow:
		mt.bulkPaid(raw, bulkInline/8, tableFuelShift, opI32Shl)
		return
	}
	mt.out = append(mt.out, raw...)
}

// loop opens a loop and one around it. At the inner head the counter goes down;
// below zero, control goes to the outer head, which gets more:
//
//	loop                                    ;; of the same type
//	  if counter >= 0 {} else { counter = chunk(counter) }
//	  loop
//	    counter -= n; if counter >= 0 {} else { br to the outer loop }
//
// The last line is not a br_if, because wazero joins comparison and jump only
// where the jump's edge is not critical.
// So there is no call inside the inner loop, and wazero's register allocator
// keeps its variables in registers.
func (mt *meter) loop(in *instr, raw []byte, st step) {
	mt.loops = append(mt.loops, len(mt.ctl))
	mt.ctl = append(mt.ctl, frame{op: opLoop, arity: mt.m.labelArity(in), endCredit: dead, outer: mt.credit, loops: len(mt.loops)})
	mt.out = append(mt.out, raw...)
	if mt.credit == dead {
		mt.out = append(mt.out, raw...)
		return
	}
	mt.checks++
	mt.credit = max(1, min(maxCharge, st.body))
	mt.out = appendU32(append(mt.out, opLocalGet), mt.counter)
	mt.refillCounter()
	mt.out = append(mt.out, raw...)
	mt.lowerCounter(mt.credit)
	if mt.ctl[len(mt.ctl)-1].arity > 0 {
		mt.out = append(mt.out, opI32Const, 0, opI32LtS, opBrIf, 1) // it carries the parameters
		return
	}
	mt.out = append(mt.out, opI32Const, 0, opI32GeS, opIf, 0x40, opElse, opBr, 2, opEnd)
}

// label translates a branch target: each loop that is crossed has been doubled.
func (mt *meter) label(l uint32) uint32 {
	target := len(mt.ctl) - 1 - int(l)
	return l + uint32(len(mt.loops)-mt.ctl[target].loops)
}

// locals copies the local declarations and adds those of the meter.
func (mt *meter) locals(b body) {
	added := 0
	if !mt.fn.small {
		added++
	}
	if mt.fn.bulk {
		added++
	}
	mt.counter, mt.length = uint32(mt.fn.locals), uint32(mt.fn.locals)+1
	if added == 0 {
		mt.out = append(mt.out, b.raw[:mt.fn.codeAt]...)
		return
	}
	mt.out = appendU32(mt.out, uint32(mt.fn.groups)+1)
	mt.out = append(mt.out, b.raw[mt.fn.groupAt:mt.fn.codeAt]...)
	mt.out = append(appendU32(mt.out, uint32(added)), valI32)
}

// spend uses credit and places a checkpoint where it does not suffice. Ahead is
// the cost of the longest path from here, this cost included.
func (mt *meter) spend(cost, ahead int) {
	if cost > mt.credit {
		pay := max(cost-mt.credit, min(maxCharge, ahead))
		if mt.fn.hasLoop {
			mt.payLocal(pay)
		} else {
			mt.payGlobal(pay)
		}
		mt.credit += pay
	}
	mt.credit -= cost
}

// branch notes that control may reach the label with the credit at hand. A
// branch out of loops has the credit that the outermost of them was entered
// with; one to a loop's head needs none, because the head pays.
func (mt *meter) branch(label uint32) {
	if mt.credit == dead {
		return
	}
	target := len(mt.ctl) - 1 - int(label)
	f := &mt.ctl[target]
	credit := mt.credit
	if f.loops < len(mt.loops) {
		credit = mt.ctl[mt.loops[f.loops]].outer
	}
	if f.op != opLoop {
		f.endCredit = min(f.endCredit, credit)
	}
}

func (mt *meter) end() {
	f := mt.ctl[len(mt.ctl)-1]
	mt.ctl = mt.ctl[:len(mt.ctl)-1]
	switch f.op {
	case opLoop:
		mt.out = append(mt.out, opEnd)
		mt.loops = mt.loops[:len(mt.loops)-1]
		if mt.credit != dead {
			mt.credit = f.outer
		}
	case opIf: // without else: the condition may be false
		mt.credit = min(mt.credit, f.endCredit, f.ifCredit)
	default:
		mt.credit = min(mt.credit, f.endCredit)
	}
}

// payGlobal takes fuel from the global:
//
//	fuel -= n; if fuel >= 0 {} else { refill() }
//
// The usual case comes first: wazero's register allocator takes the state at
// the join from the first arm, and lets the second one restore it.
func (mt *meter) payGlobal(n int) {
	if n == 0 {
		return
	}
	mt.checks++
	o := mt.out
	o = appendU32(append(o, opGlobalGet), mt.lay.fuel)
	o = appendS32(append(o, opI32Const), int32(n))
	o = appendU32(append(o, opI32Sub, opLocalTee), mt.counter)
	o = appendU32(append(o, opGlobalSet), mt.lay.fuel)
	o = appendU32(append(o, opLocalGet), mt.counter)
	o = append(o, opI32Const, 0, opI32GeS, opIf, 0x40, opElse)
	o = appendU32(append(o, opCall), mt.lay.refill)
	mt.out = append(o, opEnd)
}

// payLocal takes fuel from the local counter, in the middle of code:
//
//	counter -= n; if counter >= 0 {} else { counter = chunk(counter) }
func (mt *meter) payLocal(n int) {
	mt.checks++
	mt.lowerCounter(n)
	mt.refillCounter()
}

// lowerCounter leaves the lowered counter on the stack, too.
func (mt *meter) lowerCounter(n int) {
	o := appendU32(append(mt.out, opLocalGet), mt.counter)
	o = appendS32(append(o, opI32Const), int32(n))
	mt.out = appendU32(append(o, opI32Sub, opLocalTee), mt.counter)
}

// refillCounter takes the counter from the stack.
func (mt *meter) refillCounter() {
	o := append(mt.out, opI32Const, 0, opI32GeS, opIf, 0x40, opElse)
	o = appendU32(append(o, opLocalGet), mt.counter)
	o = appendU32(append(o, opCall), mt.lay.chunk)
	o = appendU32(append(o, opLocalSet), mt.counter)
	mt.out = append(o, opEnd)
}

// bulkMemory sends a large memory.copy or memory.fill to a function that cuts
// it into pieces. Its three operands stay on the stack, as block parameters.
func (mt *meter) bulkMemory(op int, raw []byte) {
	helper := mt.lay.fill
	if op == opMemoryCopy {
		helper = mt.lay.copy
	}
	mt.longerThan(bulkInline)
	mt.out = appendS32(append(mt.out, opIf), int32(mt.lay.typeBulk))
	mt.out = appendU32(append(mt.out, opCall), helper)
	mt.out = append(mt.out, opElse)
	mt.out = append(mt.out, raw...)
	mt.out = append(mt.out, opEnd)
}

// bulkPaid pays for a large operation by its length, then runs it whole.
func (mt *meter) bulkPaid(raw []byte, inline int32, shift, direction byte) {
	mt.longerThan(inline)
	o := append(mt.out, opIf, 0x40)
	o = appendU32(append(o, opLocalGet), mt.length)
	o = append(o, opI32Const, shift, direction)
	o = appendU32(append(o, opCall), mt.lay.charge)
	o = append(o, opEnd)
	mt.out = append(o, raw...)
}

// longerThan leaves the operands and a truth value on the stack.
func (mt *meter) longerThan(n int32) {
	o := appendU32(append(mt.out, opLocalTee), mt.length)
	o = appendU32(append(o, opLocalGet), mt.length)
	o = appendS32(append(o, opI32Const), n)
	mt.out = append(o, opI32GtU)
}
