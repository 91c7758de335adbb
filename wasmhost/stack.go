package wasmhost

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/tetratelabs/wazero/api"
)

// MaxStackBytes is how deep a guest's calls may be nested, in bytes of machine
// stack: some ten thousand calls, eight times what other engines grant.
//
// wazero begins with 10 KiB and doubles the stack by copying it, up to about
// 100 MB, in the middle of guest code. The copy is as long as the stack is deep,
// and no deadline can end it: the limit keeps it to a millisecond or two.
const MaxStackBytes = 4 << 20

// stackTopField is where wazero's compiling engine keeps the address of a
// stack's outermost end; a test holds it against the engine.
const stackTopField = "stackTop"

// export is a function of the guest that the host calls.
type export struct {
	api.Function
	top reflect.Value // address of the end of its stack; invalid: the engine tells none
}

// export looks a function up. The engine moves a stack when it grows it, so that
// the end is read anew each time. The interpreter, which runs where wazero has no
// compiler, has no such stack, and a limit of its own.
func (in *Instance) export(name string) export {
	f := in.mod.ExportedFunction(name)
	if engine := reflect.ValueOf(f); engine.Kind() == reflect.Pointer && engine.Elem().Kind() == reflect.Struct {
		if top := engine.Elem().FieldByName(stackTopField); top.Kind() == reflect.Uintptr {
			return export{f, top}
		}
	}
	return export{Function: f}
}

// depth is how much stack lies between the export's first frame and the
// arguments of an import, which the engine passes on that stack.
func (e export) depth(arguments []uint64) uintptr {
	if !e.top.IsValid() {
		return 0
	}
	return uintptr(e.top.Uint()) - uintptr(unsafe.Pointer(unsafe.SliceData(arguments)))
}

// checkStack ends a call that is nested too deep. Only the meter asks: what nests
// without end comes by, because each call pays fuel.
func (in *Instance) checkStack(arguments []uint64) {
	if depth := in.running.depth(arguments); depth > MaxStackBytes {
		panic(&stop{kind: ErrStack, detail: fmt.Sprintf("calls are nested %d KiB deep, the limit is %d KiB; end the recursion sooner, or keep what it has to do in a list",
			depth>>10, MaxStackBytes>>10)})
	}
}
