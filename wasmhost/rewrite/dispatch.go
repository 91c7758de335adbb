package rewrite

// Go's compiler writes a function as one loop around nested blocks, one for each
// basic block, with a br_table on a local at the loop's head; a jump sets the
// local to a constant and returns to the head. A jump forwards is the same as a
// branch to the end of the block that the table names for the constant. Writing
// it so saves the meter a turn of the loop, and the processor an indirect branch:
// metered Go code is about as fast as unmetered.

// dispatch is a loop of that form. It is recognised by its instructions alone:
//
//	loop; block; ... block; local.get p; br_table
//
// where loop and blocks have no parameters and results.
type dispatch struct {
	at      int    // index of the loop's frame
	blocks  int    // blocks opened at the loop's head
	open    int    // those whose end has not been passed
	local   uint32 // p
	targets []uint32
}

// finder follows the instructions of a function and recognises dispatch loops
// and jumps in them.
type finder struct {
	loops []dispatch // open ones, outermost first
	state int        // what has been seen of a head or of a jump
	local uint32
	value uint32
	head  dispatch
}

const (
	seenNothing = iota
	seenLoop    // loop and perhaps blocks
	seenGet     // ... and local.get
	seenConst   // i32.const
	seenSet     // i32.const, local.set
)

const blockVoid = -64

// step takes the next instruction; depth is the number of open frames before it.
// For a jump forwards it returns the label that the jump amounts to.
func (f *finder) step(in *instr, depth int) (label uint32, ok bool) {
	was := f.state
	f.state = seenNothing
	switch in.op {
	case opLoop:
		if in.blockTy == blockVoid {
			f.state = seenLoop
			f.head = dispatch{at: depth}
		}
	case opBlock:
		if was == seenLoop && in.blockTy == blockVoid {
			f.state = seenLoop
			f.head.blocks++
		}
	case opLocalGet:
		if was == seenLoop && f.head.blocks > 0 {
			f.state = seenGet
			f.head.local = in.idx
		}
	case opBrTable:
		if was == seenGet {
			f.head.targets = in.labels
			f.head.open = f.head.blocks
			f.loops = append(f.loops, f.head)
		}
	case opI32Const:
		f.state = seenConst
		f.value = uint32(in.value)
	case opLocalSet:
		if was == seenConst {
			f.state = seenSet
			f.local = in.idx
		}
	case opBr:
		if was == seenSet {
			return f.jump(depth-1-int(in.idx), depth)
		}
	case opEnd:
		f.end(depth - 1)
	}
	return 0, false
}

// jump resolves a branch to the frame at index target. Only the innermost
// dispatch loop is looked at: Go writes one for a function.
func (f *finder) jump(target, depth int) (uint32, bool) {
	if len(f.loops) == 0 {
		return 0, false
	}
	d := &f.loops[len(f.loops)-1]
	if d.at != target || d.local != f.local {
		return 0, false
	}
	l := int64(d.targets[min(int64(f.value), int64(len(d.targets)-1))])
	// The label was written inside all blocks of the head. The block is still
	// open if the code has not passed its end: a jump forwards.
	if l >= int64(d.blocks) {
		return 0, false // the loop itself or beyond
	}
	pos := d.at + d.blocks - int(l)
	if pos > d.at+d.open {
		return 0, false // its end lies behind: a jump backwards
	}
	return uint32(depth - 1 - pos), true
}

// end notes that the frame at index at is closed.
func (f *finder) end(at int) {
	if len(f.loops) == 0 {
		return
	}
	d := &f.loops[len(f.loops)-1]
	switch {
	case at == d.at:
		f.loops = f.loops[:len(f.loops)-1]
	case at == d.at+d.open:
		d.open--
	}
}
