package rewrite

// feature is a proposal beyond WebAssembly 2.0, with the way to build without it.
type feature struct{ name, hint string }

var (
	featThreads = feature{"threads and atomics",
		"build without them: clang -mno-atomics and no -pthread, rustc -C target-feature=-atomics"}
	featExceptions = feature{"exception handling",
		"build without it: clang -fno-exceptions -fno-wasm-exceptions, rustc -C panic=abort"}
	featTailCall = feature{"tail calls",
		"build without them: clang -mno-tail-call, rustc -C target-feature=-tail-call"}
	featGC = feature{"garbage-collected types and typed function references",
		"use a toolchain that targets linear memory, or binaryen's wasm-opt --disable-gc"}
	featMemory64 = feature{"64-bit memory",
		"target wasm32 instead of wasm64: clang --target=wasm32-wasi"}
	featMultiMemory = feature{"more than one memory",
		"build without it: clang -mno-multimemory, wasm-opt --disable-multimemory"}
	featExtendedConst = feature{"extended constant expressions",
		"build without them: clang -mno-extended-const, rustc -C target-feature=-extended-const"}
	featRelaxedSIMD = feature{"relaxed SIMD",
		"build without it: clang -mno-relaxed-simd, rustc -C target-feature=-relaxed-simd"}
	featComponent = feature{"the component model",
		"upload a core module; `wasm-tools component unbundle` takes one out of a component"}
)

func featureOfOpcode(op int) feature {
	switch {
	case op == 0x12 || op == 0x13:
		return featTailCall
	case op == 0x14 || op == 0x15 || op >= 0xd3 && op <= 0xd6 || op == 0xfb:
		return featGC
	case op == 0xfe:
		return featThreads
	case op>>16 == 0xfd:
		return featRelaxedSIMD
	}
	return featExceptions
}
