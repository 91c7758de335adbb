//go:build unix

package arena

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const canMap = true

func mapMemory(size int) []byte {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		// As when the Go heap cannot grow: there is no way to go on.
		panic(fmt.Sprintf("arena: map %d bytes of memory for state: %v", size, err))
	}
	return b
}

func unmapMemory(b []byte) {
	if err := unix.Munmap(b); err != nil {
		panic(fmt.Sprintf("arena: unmap %d bytes of memory: %v", len(b), err))
	}
}

// table gives a zeroed slice of a type without pointers.
func table[T slotRecord | uint64 | ref](s *source, n int) []T {
	if !s.mapped {
		return make([]T, n)
	}
	var t T
	b := s.bytes(n * int(unsafe.Sizeof(t)))
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}
