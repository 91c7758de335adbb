package rewrite

// step is what the meter knows about an instruction before it writes it.
type step struct {
	cost  int
	ahead int // longest path from here to the end of this level or to a loop's head
	body  int // loop: the longest path through its body
	op    int32
	frame int32 // end: the opcode of what it ends
	label []uint32
}

// pathCap keeps sums of costs from overflowing. It is far above maxCharge.
const pathCap = 1 << 20

// measure fills mt.code: first the costs, forwards, then the longest paths,
// backwards. A path ends where its level does: at the head of a loop that it
// returns to, and where it leaves the loop around it; what follows there is paid
// for by the code around the loop.
func (mt *meter) measure(b body, results int) {
	r := &reader{buf: b.raw, pos: mt.fn.codeAt}
	mt.code = mt.code[:0]
	mt.ctl = append(mt.ctl[:0], frame{arity: results})
	var in instr
	var jumps finder
	for len(mt.ctl) > 0 {
		in.labels = nil
		r.next(&in)
		if l, ok := jumps.step(&in, len(mt.ctl)); ok {
			in.idx = l
		}
		st := step{cost: mt.m.cost(&in, mt.ctl, mt.infos), op: int32(in.op)}
		switch in.op {
		case opBlock, opIf, opLoop:
			mt.ctl = append(mt.ctl, frame{op: in.op, arity: mt.m.labelArity(&in)})
		case opElse:
			mt.ctl[len(mt.ctl)-1].op = opElse
		case opEnd:
			st.frame = int32(mt.ctl[len(mt.ctl)-1].op)
			mt.ctl = mt.ctl[:len(mt.ctl)-1]
		case opBr, opBrIf:
			st.label = []uint32{in.idx}
		case opBrTable:
			st.label = in.labels
		}
		mt.code = append(mt.code, st)
	}
	mt.longestPaths()
}

// pathFrame is a construct whose end has been seen and whose start has not.
type pathFrame struct {
	op     int32
	atEnd  int // longest path from its end, in the level around a loop
	elseIn int // if with else: longest path from the start of the else arm
	loops  int // loops among this frame and those around it
}

// pathFrames are the open constructs, and where among them the loops are. The
// latter keeps the work linear in modules that are nested deeply on purpose.
type pathFrames struct {
	all   []pathFrame
	loops []int
}

func (p *pathFrames) top() *pathFrame { return &p.all[len(p.all)-1] }

func (p *pathFrames) push(op int32, atEnd int) {
	if op == opLoop {
		p.loops = append(p.loops, len(p.all))
	}
	p.all = append(p.all, pathFrame{op: op, atEnd: atEnd, elseIn: -1, loops: len(p.loops)})
}

func (p *pathFrames) pop() pathFrame {
	f := *p.top()
	p.all = p.all[:len(p.all)-1]
	if f.op == opLoop {
		p.loops = p.loops[:len(p.loops)-1]
	}
	return f
}

func (mt *meter) longestPaths() {
	var open pathFrames
	ahead := 0
	for k := len(mt.code) - 1; k >= 0; k-- {
		st := &mt.code[k]
		switch st.op {
		case opEnd:
			open.push(st.frame, ahead)
			if st.frame == opLoop {
				ahead = 0
			}
		case opElse:
			f := open.top()
			f.elseIn = ahead
			ahead = f.atEnd
		case opIf:
			f := open.pop()
			ahead = max(ahead, f.elseIn)
			if f.elseIn < 0 {
				ahead = max(ahead, f.atEnd)
			}
		case opBlock:
			open.pop()
		case opLoop:
			st.body = ahead
			ahead = open.pop().atEnd
		case opReturn, opUnreachable:
			ahead = 0
		case opBr, opBrTable:
			ahead = 0
			for _, l := range st.label {
				ahead = max(ahead, open.jump(l))
			}
		case opBrIf:
			ahead = max(ahead, open.jump(st.label[0]))
		}
		ahead = min(ahead+st.cost, pathCap)
		st.ahead = ahead
	}
}

// jump is the longest path from a branch's target, in the branch's own level.
// Where the branch leaves loops, the outermost of them learns of the path.
func (p *pathFrames) jump(label uint32) int {
	target := &p.all[len(p.all)-1-int(label)]
	if target.op == opLoop {
		return 0
	}
	if target.loops < len(p.loops) {
		outermost := &p.all[p.loops[target.loops]]
		outermost.atEnd = max(outermost.atEnd, target.atEnd)
		return 0
	}
	return target.atEnd
}
