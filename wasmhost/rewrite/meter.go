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
	outerLvl  int // loop: level of the code around it
}

// meter writes one function body with checkpoints. Credit is what has been paid
// and not been used yet, on the poorest path to the current instruction. Code
// inside a loop has credit of its own (a level), which starts at the loop's head.
type meter struct {
	m     *module
	infos []funcInfo
	fn    *funcInfo
	lay   *layout
	out   []byte

	ctl    []frame
	credit int
	level  int
	left   []int // by level, in order of loop heads: cost of what is still ahead

	counter uint32 // local: fuel in hand
	length  uint32 // local: length operand of a bulk operation
	checks  int
}

// levelCosts sums the cost of the code of each level; level 0 is outside of loops.
func (mt *meter) levelCosts(b body, results int) {
	r := &reader{buf: b.raw, pos: mt.fn.codeAt}
	mt.left = append(mt.left[:0], mt.fn.locals/8)
	var in instr
	level, loops := 0, 0
	mt.ctl = append(mt.ctl[:0], frame{arity: results})
	for len(mt.ctl) > 0 {
		r.next(&in)
		mt.left[level] += mt.m.cost(&in, mt.ctl, mt.infos)
		switch in.op {
		case opBlock, opIf, opLoop:
			mt.ctl = append(mt.ctl, frame{op: in.op, arity: mt.m.labelArity(&in), outerLvl: level})
			if in.op == opLoop {
				loops++
				level = loops
				mt.left = append(mt.left, 0)
			}
		case opEnd:
			f := mt.ctl[len(mt.ctl)-1]
			mt.ctl = mt.ctl[:len(mt.ctl)-1]
			if f.op == opLoop {
				level = f.outerLvl
			}
		}
	}
}

// function appends the rewritten body, without its size.
func (mt *meter) function(i int, results int) {
	b := mt.m.codes[i]
	mt.fn = &mt.infos[i]
	mt.levelCosts(b, results)
	mt.locals(b)

	mt.credit, mt.level = 0, 0
	switch {
	case mt.fn.small:
		mt.credit = mt.fn.cost
	case mt.fn.hasLoop:
		mt.enterLooping()
	default:
		mt.credit = min(maxCharge, mt.left[0])
		mt.payGlobal(mt.credit)
	}
	mt.spend(mt.fn.locals / 8)

	r := &reader{buf: b.raw, pos: mt.fn.codeAt}
	mt.ctl = append(mt.ctl[:0], frame{arity: results, endCredit: dead})
	var in instr
	loops := 0
	for len(mt.ctl) > 0 {
		r.next(&in)
		if mt.credit != dead {
			mt.spend(mt.m.cost(&in, mt.ctl, mt.infos))
		} else {
			mt.left[mt.level] -= mt.m.cost(&in, mt.ctl, mt.infos)
		}
		raw := b.raw[in.start:r.pos]
		switch in.op {
		case opBlock, opIf:
			mt.out = append(mt.out, raw...)
			mt.ctl = append(mt.ctl, frame{op: in.op, arity: mt.m.labelArity(&in), endCredit: dead, ifCredit: mt.credit})
		case opLoop:
			mt.out = append(mt.out, raw...)
			mt.ctl = append(mt.ctl, frame{op: opLoop, arity: mt.m.labelArity(&in), endCredit: dead, outer: mt.credit, outerLvl: mt.level})
			loops++
			mt.level = loops
			if mt.credit != dead {
				mt.credit = max(1, min(maxCharge, mt.left[mt.level]))
				mt.payLocal(mt.credit)
			}
		case opElse:
			mt.out = append(mt.out, raw...)
			f := &mt.ctl[len(mt.ctl)-1]
			f.endCredit = min(f.endCredit, mt.credit)
			f.op = opElse
			mt.credit = f.ifCredit
		case opEnd:
			mt.out = append(mt.out, raw...)
			mt.end()
		case opBr:
			mt.branch(in.idx)
			mt.out = append(mt.out, raw...)
			mt.credit = dead
		case opBrIf:
			mt.branch(in.idx)
			mt.out = append(mt.out, raw...)
		case opBrTable:
			for _, l := range in.labels {
				mt.branch(l)
			}
			mt.out = append(mt.out, raw...)
			mt.credit = dead
		case opReturn, opUnreachable:
			mt.out = append(mt.out, raw...)
			mt.credit = dead
		case opCall, opRefFunc:
			mt.out = appendU32(append(mt.out, byte(in.op)), mt.m.shift(in.idx))
		case opMemoryCopy, opMemoryFill:
			mt.bulkMemory(in.op, raw)
		case opMemoryInit:
			mt.bulkPaid(raw, bulkInline, bulkFuelShift)
		case opTableInit, opTableCopy, opTableFill, opTableGrow:
			mt.bulkPaid(raw, bulkInline/8, 0)
		default:
			mt.out = append(mt.out, raw...)
		}
	}
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

// spend uses credit and places a checkpoint where it does not suffice.
func (mt *meter) spend(cost int) {
	if cost > mt.credit {
		pay := max(cost-mt.credit, min(maxCharge, mt.left[mt.level]))
		if mt.fn.hasLoop {
			mt.payLocal(pay)
		} else {
			mt.payGlobal(pay)
		}
		mt.credit += pay
	}
	mt.credit -= cost
	mt.left[mt.level] -= cost
}

// branch notes that control may reach the label with the credit at hand. A
// branch out of loops has the credit that the outermost of them was entered
// with; one to a loop's head needs none, because the head pays.
func (mt *meter) branch(label uint32) {
	if mt.credit == dead {
		return
	}
	target := len(mt.ctl) - 1 - int(label)
	credit := mt.credit
	for i := len(mt.ctl) - 1; i > target; i-- {
		if mt.ctl[i].op == opLoop {
			credit = mt.ctl[i].outer
		}
	}
	if f := &mt.ctl[target]; f.op != opLoop {
		f.endCredit = min(f.endCredit, credit)
	}
}

func (mt *meter) end() {
	f := mt.ctl[len(mt.ctl)-1]
	mt.ctl = mt.ctl[:len(mt.ctl)-1]
	switch f.op {
	case opLoop:
		mt.level = f.outerLvl
		if mt.credit != dead {
			mt.credit = f.outer
		}
	case opIf: // without else: the condition may be false
		mt.credit = min(mt.credit, f.endCredit, f.ifCredit)
	default:
		mt.credit = min(mt.credit, f.endCredit)
	}
}

// enterLooping pays for the entry and fills the local counter.
func (mt *meter) enterLooping() {
	mt.credit = min(maxCharge, mt.left[0])
	mt.payGlobal(mt.credit + firstChunkFuel)
	mt.out = appendS32(append(mt.out, opI32Const), firstChunkFuel)
	mt.out = appendU32(append(mt.out, opLocalSet), mt.counter)
}

// payGlobal takes fuel from the global:
//
//	fuel -= n; if fuel < 0 { refill() }
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
	o = append(o, opI32Const, 0, opI32LtS, opIf, 0x40)
	o = appendU32(append(o, opCall), mt.lay.refill)
	mt.out = append(o, opEnd)
}

// payLocal takes fuel from the local counter:
//
//	counter -= n; if counter < 0 { counter = chunk(counter) }
func (mt *meter) payLocal(n int) {
	mt.checks++
	o := mt.out
	o = appendU32(append(o, opLocalGet), mt.counter)
	o = appendS32(append(o, opI32Const), int32(n))
	o = appendU32(append(o, opI32Sub, opLocalTee), mt.counter)
	o = append(o, opI32Const, 0, opI32LtS, opIf, 0x40)
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
func (mt *meter) bulkPaid(raw []byte, inline int32, shift byte) {
	mt.longerThan(inline)
	o := append(mt.out, opIf, 0x40)
	o = appendU32(append(o, opLocalGet), mt.length)
	o = append(o, opI32Const, shift, opI32ShrU)
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
