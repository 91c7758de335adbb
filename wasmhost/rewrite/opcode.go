package rewrite

import "fmt"

// imm is the shape of an instruction's immediate operands.
type imm uint8

const (
	immBad imm = iota
	immNone
	immBlock
	immLabel
	immBrTable
	immFunc
	immCallIndirect
	immLocal
	immGlobal
	immTable
	immMemarg
	immMemIndex
	immI32
	immI64
	immF32
	immF64
	immSelectT
	immRefType
	immDataMem
	immData
	immMemMem
	immElemTable
	immElem
	immTableTable
	imm16Bytes
	immLane
	immMemargLane
	immPrefixFC
	immPrefixFD
	immRefused
)

// Opcodes that the rewriter treats by name. Prefixed ones are prefix<<16 | code.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opSelect       = 0x1b
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableSet     = 0x26
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opI32LtS       = 0x48
	opI32LtU       = 0x49
	opI32GtU       = 0x4b
	opI32LeU       = 0x4d
	opI32GeS       = 0x4e
	opI32Add       = 0x6a
	opI32Sub       = 0x6b
	opI32Or        = 0x72
	opI32Shl       = 0x74
	opI32ShrU      = 0x76
	opI64Add       = 0x7c
	opRefNull      = 0xd0
	opRefFunc      = 0xd2

	opMemoryInit = 0xfc<<16 | 8
	opDataDrop   = 0xfc<<16 | 9
	opMemoryCopy = 0xfc<<16 | 10
	opMemoryFill = 0xfc<<16 | 11
	opTableInit  = 0xfc<<16 | 12
	opElemDrop   = 0xfc<<16 | 13
	opTableCopy  = 0xfc<<16 | 14
	opTableGrow  = 0xfc<<16 | 15
	opTableFill  = 0xfc<<16 | 17
)

// opImm maps one-byte opcodes to their immediates.
var opImm = buildOpImm()

func buildOpImm() (t [256]imm) {
	set := func(from, to int, k imm) {
		for i := from; i <= to; i++ {
			t[i] = k
		}
	}
	set(0x00, 0x01, immNone)
	set(0x02, 0x04, immBlock)
	t[0x05] = immNone
	set(0x06, 0x0a, immRefused)
	t[0x0b] = immNone
	set(0x0c, 0x0d, immLabel)
	t[0x0e] = immBrTable
	t[0x0f] = immNone
	t[0x10] = immFunc
	t[0x11] = immCallIndirect
	set(0x12, 0x15, immRefused)
	set(0x18, 0x19, immRefused)
	set(0x1a, 0x1b, immNone)
	t[0x1c] = immSelectT
	t[0x1f] = immRefused
	set(0x20, 0x22, immLocal)
	set(0x23, 0x24, immGlobal)
	set(0x25, 0x26, immTable)
	set(0x28, 0x3e, immMemarg)
	set(0x3f, 0x40, immMemIndex)
	t[0x41], t[0x42], t[0x43], t[0x44] = immI32, immI64, immF32, immF64
	set(0x45, 0xc4, immNone)
	t[0xd0], t[0xd1], t[0xd2] = immRefType, immNone, immFunc
	set(0xd3, 0xd6, immRefused)
	t[0xfb], t[0xfe] = immRefused, immRefused
	t[0xfc], t[0xfd] = immPrefixFC, immPrefixFD
	return t
}

func immFC(code uint32) imm {
	switch {
	case code <= 7:
		return immNone
	case code == 8:
		return immDataMem
	case code == 9:
		return immData
	case code == 10:
		return immMemMem
	case code == 11:
		return immMemIndex
	case code == 12:
		return immElemTable
	case code == 13:
		return immElem
	case code == 14:
		return immTableTable
	case code <= 17:
		return immTable
	}
	return immBad
}

func immFD(code uint32) imm {
	switch {
	case code <= 11, code == 92, code == 93:
		return immMemarg
	case code <= 13:
		return imm16Bytes
	case code <= 20:
		return immNone
	case code <= 34:
		return immLane
	case code >= 84 && code <= 91:
		return immMemargLane
	case code <= 255:
		return immNone
	}
	return immRefused
}

// instr is one decoded instruction. Only what the rewriter asks for is kept.
type instr struct {
	op      int
	start   int // offset of the opcode in the body
	idx     uint32
	idx2    uint32
	labels  []uint32 // br_table: all targets, the default one last
	blockTy int64    // block, loop, if: the raw signed block type
	value   int64    // i32.const
}

// next decodes one instruction, or leaves an error in r.
func (r *reader) next(in *instr) {
	in.start = r.pos
	b := r.byte()
	in.op = int(b)
	k := opImm[b]
	switch k {
	case immPrefixFC:
		code := r.u32()
		in.op, k = 0xfc<<16|int(code&0xffff), immFC(code)
	case immPrefixFD:
		code := r.u32()
		in.op, k = 0xfd<<16|int(code&0xffff), immFD(code)
	}
	switch k {
	case immNone:
	case immBlock:
		in.blockTy = r.sleb(33)
	case immLabel, immFunc, immLocal, immGlobal, immTable, immData, immElem:
		in.idx = r.u32()
	case immBrTable:
		n := r.count() + 1
		in.labels = in.labels[:0]
		for i := 0; i < n && r.err == nil; i++ {
			in.labels = append(in.labels, r.u32())
		}
	case immCallIndirect, immElemTable, immTableTable:
		in.idx = r.u32()
		in.idx2 = r.u32()
	case immMemarg:
		r.memarg(in.start)
	case immMemargLane:
		r.memarg(in.start)
		r.byte()
	case immMemIndex:
		r.memIndex(in.start)
	case immDataMem:
		in.idx = r.u32()
		r.memIndex(in.start)
	case immMemMem:
		r.memIndex(in.start)
		r.memIndex(in.start)
	case immI32:
		in.value = r.sleb(32)
	case immI64:
		r.sleb(64)
	case immF32:
		r.bytes(4)
	case immF64:
		r.bytes(8)
	case immSelectT:
		r.bytes(r.count())
	case immRefType, immLane:
		r.byte()
	case imm16Bytes:
		r.bytes(16)
	case immRefused:
		f := featureOfOpcode(in.op)
		r.failKind(UnsupportedFeature, in.start, f.name+fmt.Sprintf(" (instruction 0x%x)", in.op), f.hint)
	default:
		if r.err == nil {
			r.failKind(Malformed, in.start, fmt.Sprintf("unknown instruction 0x%x", in.op), "")
		}
	}
}

func (r *reader) memarg(at int) {
	if align := r.u32(); align&0x40 != 0 {
		r.failKind(UnsupportedFeature, at, featMultiMemory.name, featMultiMemory.hint)
	}
	r.u32()
}

func (r *reader) memIndex(at int) {
	if r.byte() != 0 && r.err == nil {
		r.failKind(UnsupportedFeature, at, featMultiMemory.name, featMultiMemory.hint)
	}
}
