package rewrite

// ReservedPrefix begins the names of exports that the rewriter adds. A module
// that has such an export is refused.
const ReservedPrefix = "weir:"

const (
	yieldModule = "weir"
	yieldName   = "yield"
)

// layout holds the indices of what the rewriter adds, in the new index spaces.
type layout struct {
	typeYield, typeNone, typeI32, typeI32I32, typeBulk uint32

	yield                             uint32 // import
	refill, chunk, charge, copy, fill uint32 // functions, after all others
	fuel                              uint32 // global, after all others
}

func (m *module) layout() *layout {
	t := uint32(len(m.types))
	f := uint32(m.numFuncs()) + 1
	return &layout{
		typeYield: t, typeNone: t + 1, typeI32: t + 2, typeI32I32: t + 3, typeBulk: t + 4,
		yield:  uint32(m.importedFuncs),
		refill: f, chunk: f + 1, charge: f + 2, copy: f + 3, fill: f + 4,
		fuel: uint32(len(m.globals)),
	}
}

// addedTypes are the function types of the layout, in its order.
var addedTypes = []funcType{
	{nil, []byte{valI32}},
	{nil, nil},
	{[]byte{valI32}, nil},
	{[]byte{valI32}, []byte{valI32}},
	{[]byte{valI32, valI32, valI32}, nil},
}

// added is a function that the rewriter appends.
type added struct {
	name string
	typ  uint32
	code []byte // with locals and end
}

// addedFuncs writes the appended functions, in the layout's order. The last two
// are left out of a module that needs neither.
func (m *module) addedFuncs(l *layout) []added {
	a := asm{l: l}
	fs := []added{
		// refill: fuel = yield()
		{"weir.refill", l.typeNone, a.begin(0).call(l.yield).globalSet(l.fuel).end()},
		// chunk(c): fuel += c - chunkFuel; if fuel < 0 { refill() }; return chunkFuel
		{"weir.chunk", l.typeI32I32, a.begin(0).
			globalGet(l.fuel).get(0).op(opI32Add).i32(chunkFuel).op(opI32Sub).tee(0).globalSet(l.fuel).
			refillIfNegative(0).i32(chunkFuel).end()},
		// charge(n): fuel -= min(n, bulkFuelMax); if fuel < 0 { refill() }
		{"weir.charge", l.typeI32, a.begin(0).
			globalGet(l.fuel).get(0).i32(bulkFuelMax).get(0).i32(bulkFuelMax).op(opI32LtU, opSelect).
			op(opI32Sub).tee(0).globalSet(l.fuel).refillIfNegative(0).end()},
	}
	if !m.bulkMemory {
		return fs
	}
	return append(fs,
		added{"weir.memory.copy", l.typeBulk, a.copyCode()},
		added{"weir.memory.fill", l.typeBulk, a.fillCode()})
}

// asm appends instructions to a body.
type asm struct {
	l   *layout
	out []byte
}

func (a asm) begin(locals byte) asm {
	a.out = nil
	if locals == 0 {
		return a.op(0)
	}
	return a.op(1, locals, valI32)
}
func (a asm) op(ops ...byte) asm           { a.out = append(a.out, ops...); return a }
func (a asm) u32(op byte, i uint32) asm    { a.out = appendU32(append(a.out, op), i); return a }
func (a asm) get(i uint32) asm             { return a.u32(opLocalGet, i) }
func (a asm) set(i uint32) asm             { return a.u32(opLocalSet, i) }
func (a asm) tee(i uint32) asm             { return a.u32(opLocalTee, i) }
func (a asm) globalGet(i uint32) asm       { return a.u32(opGlobalGet, i) }
func (a asm) globalSet(i uint32) asm       { return a.u32(opGlobalSet, i) }
func (a asm) call(i uint32) asm            { return a.u32(opCall, i) }
func (a asm) i32(v int32) asm              { a.out = appendS32(append(a.out, opI32Const), v); return a }
func (a asm) end() []byte                  { return append(a.out, opEnd) }
func (a asm) add(x, y uint32) asm          { return a.get(x).get(y).op(opI32Add) }
func (a asm) addImm(x uint32, v int32) asm { return a.get(x).i32(v).op(opI32Add) }
func (a asm) memoryCopy() asm              { return a.op(0xfc, 10, 0, 0) }
func (a asm) memoryFill() asm              { return a.op(0xfc, 11, 0) }
func (a asm) refillIfNegative(i uint32) asm {
	return a.get(i).op(opI32Const, 0, opI32LtS, opIf, 0x40).call(a.l.refill).op(opEnd)
}

// wraps leaves whether x+n passes 2^32.
func (a asm) wraps(x, n uint32) asm { return a.add(x, n).get(x).op(opI32LtU) }

// Arguments of the bulk functions; for fill, argSrc is the value.
const argDst, argSrc, argLen = 0, 1, 2

// fillCode is memory.fill in pieces. Out of bounds it must write nothing, so the
// end is probed with a fill of length 0, which traps just where the whole would.
func (a asm) fillCode() []byte {
	a = a.begin(0)
	a = a.wraps(argDst, argLen).op(opIf, 0x40).
		get(argDst).get(argSrc).get(argLen).memoryFill().op(opReturn, opEnd)
	a = a.add(argDst, argLen).get(argSrc).i32(0).memoryFill()
	a = a.op(opLoop, 0x40)
	a = a.get(argLen).i32(bulkPiece).op(opI32LeU, opIf, 0x40).
		get(argLen).i32(bulkFuelShift).op(opI32ShrU).call(a.l.charge).
		get(argDst).get(argSrc).get(argLen).memoryFill().op(opReturn, opEnd)
	a = a.i32(bulkPiece >> bulkFuelShift).call(a.l.charge)
	a = a.get(argDst).get(argSrc).i32(bulkPiece).memoryFill()
	a = a.addImm(argDst, bulkPiece).set(argDst).addImm(argLen, -bulkPiece).set(argLen)
	return a.op(opBr, 0, opEnd).end()
}

// copyCode is memory.copy in pieces: upwards if the destination lies below the
// source, else downwards, so that overlapping ranges come out right.
func (a asm) copyCode() []byte {
	a = a.begin(0)
	a = a.wraps(argDst, argLen).wraps(argSrc, argLen).op(opI32Or, opIf, 0x40).
		get(argDst).get(argSrc).get(argLen).memoryCopy().op(opReturn, opEnd)
	a = a.add(argDst, argLen).add(argSrc, argLen).i32(0).memoryCopy()
	a = a.op(opLoop, 0x40)
	a = a.get(argLen).i32(bulkPiece).op(opI32LeU, opIf, 0x40).
		get(argLen).i32(bulkFuelShift).op(opI32ShrU).call(a.l.charge).
		get(argDst).get(argSrc).get(argLen).memoryCopy().op(opReturn, opEnd)
	a = a.i32(bulkPiece >> bulkFuelShift).call(a.l.charge)
	a = a.addImm(argLen, -bulkPiece).set(argLen)
	a = a.get(argDst).get(argSrc).op(opI32LeU, opIf, 0x40).
		get(argDst).get(argSrc).i32(bulkPiece).memoryCopy().
		addImm(argDst, bulkPiece).set(argDst).addImm(argSrc, bulkPiece).set(argSrc)
	a = a.op(opElse).
		add(argDst, argLen).add(argSrc, argLen).i32(bulkPiece).memoryCopy().op(opEnd)
	return a.op(opBr, 0, opEnd).end()
}
