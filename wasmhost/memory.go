package wasmhost

import (
	"fmt"

	"github.com/tetratelabs/wazero/experimental"
)

// memory is the linear memory of one instance: address space for the whole cap
// is reserved at once, so that it never moves, and pages cost nothing until the
// guest touches them.
type memory struct {
	capBytes uint64
	buf      []byte // of length capBytes, once allocated
	size     uint64
	scratch  []byte // if set, what the engine gets until the memory grows
	denied   bool   // the guest asked for more than the cap
	wanted   uint64 // how much
}

// Allocate implements experimental.MemoryAllocator.
func (m *memory) Allocate(_, _ uint64) experimental.LinearMemory { return m }

// Reallocate implements experimental.LinearMemory.
func (m *memory) Reallocate(size uint64) []byte {
	if size > m.capBytes {
		m.denied, m.wanted = true, size
		return nil
	}
	if uint64(len(m.scratch)) == size && m.buf == nil {
		return m.scratch[:size:size]
	}
	if m.buf == nil {
		buf, err := reserve(int(m.capBytes))
		if err != nil {
			m.denied, m.wanted = true, size
			return nil
		}
		m.buf = buf
	}
	m.size = size
	return m.buf[:size:size]
}

// Free implements experimental.LinearMemory.
func (m *memory) Free() {
	if m.buf != nil {
		release(m.buf)
		m.buf = nil
	}
}

func (m *memory) detail() string {
	return fmt.Sprintf("asked for %d MiB, the limit is %d MiB; keep less in memory, or raise the function's memory limit",
		m.wanted>>20, m.capBytes>>20)
}
