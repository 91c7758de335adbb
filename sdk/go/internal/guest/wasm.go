//go:build wasip1

package guest

import (
	"runtime/debug"
	"strconv"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/abi"
)

// The raw exports and imports: the only file that speaks WebAssembly.

const (
	// A collection costs about a millisecond whatever the heap, so a module waits until its garbage is a few times its live memory ...
	gcPercent = 400
	// ... unless that would come near the 64 MiB an instance has by default.
	memoryLimit = 48 << 20
)

var (
	instance = Instance{Module: &Default}
	// argument is the buffer for the host's next argument. Words, so that it begins at a multiple of 8.
	argument []uint64
)

func init() {
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryLimit)
}

func address(p unsafe.Pointer) uint32 { return uint32(uintptr(p)) }

func received(ptr, size uint32) []byte {
	base := address(unsafe.Pointer(unsafe.SliceData(argument)))
	whole := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(argument))), 8*len(argument))
	if ptr < base || uint64(ptr-base)+uint64(size) > uint64(len(whole)) {
		Fatal("the host passed " + strconv.Itoa(int(size)) + " bytes at an address that weir_alloc did not return")
	}
	return whole[ptr-base : ptr-base+size]
}

func packed(b []byte) int64 {
	return int64(address(unsafe.Pointer(unsafe.SliceData(b))))<<32 | int64(len(b))
}

//go:wasmexport weir_abi_v1
func exportVersion() int32 { return abi.Minor }

//go:wasmexport weir_alloc
func exportAlloc(size uint32) uint32 {
	words := int(size+7) / 8
	if words > len(argument) {
		argument = nil
		argument = make([]uint64, max(words+words/4, 512))
	}
	return address(unsafe.Pointer(unsafe.SliceData(argument)))
}

var described []byte // kept until the next export is called

//go:wasmexport weir_describe
func exportDescribe(ptr, size uint32) int64 {
	described = instance.Module.Describe(received(ptr, size))
	return packed(described)
}

//go:wasmexport weir_open
func exportOpen(ptr, size uint32) int64 { return packed(instance.Open(received(ptr, size))) }

//go:wasmexport weir_call
func exportCall(handle int32, ptr, size uint32) int64 {
	return packed(instance.Call(int(handle), received(ptr, size)))
}

//go:wasmimport weir log
func importLog(level uint32, ptr unsafe.Pointer, size uint32)

//go:wasmimport weir metric
func importMetric(kind uint32, ptr unsafe.Pointer, size uint32, value float64)

//go:wasmimport weir state_get
func importGet(state, slot uint32, kptr unsafe.Pointer, klen uint32, ptr unsafe.Pointer, room uint32) int64

//go:wasmimport weir state_put
func importPut(state, slot uint32, kptr unsafe.Pointer, klen uint32, ptr unsafe.Pointer, size uint32)

//go:wasmimport weir state_delete
func importDelete(state, slot uint32, kptr unsafe.Pointer, klen uint32)

//go:wasmimport weir state_append
func importAppend(state, slot uint32, ptr unsafe.Pointer, size uint32)

//go:wasmimport weir state_clear
func importClear(state, slot uint32)

//go:wasmimport weir state_scan
func importScan(state, slot uint32, kptr unsafe.Pointer, klen int32, ptr unsafe.Pointer, room uint32) int64

// Log writes a line to the host's log.
func Log(level uint32, line string) {
	line = line[:min(len(line), abi.MaxLogBytes)]
	importLog(level, unsafe.Pointer(unsafe.StringData(line)), uint32(len(line)))
}

// SendMetric hands a metric to the host.
func SendMetric(kind uint32, name string, value float64) {
	importMetric(kind, unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)), value)
}

func data(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

// StateGet reads a map entry into buf if it fits and returns its length; -1 if it is absent.
func StateGet(state, slot uint32, key, buf []byte) int {
	return int(importGet(state, slot, data(key), uint32(len(key)), data(buf), uint32(len(buf))))
}

// StatePut writes a map entry.
func StatePut(state, slot uint32, key, value []byte) {
	importPut(state, slot, data(key), uint32(len(key)), data(value), uint32(len(value)))
}

// StateDelete deletes a map entry.
func StateDelete(state, slot uint32, key []byte) {
	importDelete(state, slot, data(key), uint32(len(key)))
}

// StateAppend adds to a list.
func StateAppend(state, slot uint32, value []byte) {
	importAppend(state, slot, data(value), uint32(len(value)))
}

// StateClear empties a map or list.
func StateClear(state, slot uint32) { importClear(state, slot) }

// StateScan reads a page of entries after a key, nil for the first.
func StateScan(state, slot uint32, after, buf []byte) (entries, size int) {
	n := int32(len(after))
	if after == nil {
		n = -1
	}
	r := importScan(state, slot, data(after), n, data(buf), uint32(len(buf)))
	return int(uint64(r) >> 32), int(uint32(r))
}

func confirmWorking() bool { return true }

// Enter is for native tests. In a module the host is there already.
func Enter(Host, func()) {
	panic("weir: weirtest runs functions natively: run the tests without GOOS=wasip1")
}
