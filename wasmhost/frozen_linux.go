package wasmhost

import (
	"bytes"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// frozen is the content of a memory in an anonymous file, which the kernel holds
// unchangeable. Clones map it privately: they share its pages until they write.
type frozen struct {
	file      int
	sizeBytes int    // of the memory
	heldBytes uint64 // of pages that are not all zero, which is what the file takes
}

// frozenPageBytes is the grain in which zeroes are left out.
const frozenPageBytes = 4096

var zeroPage [frozenPageBytes]byte

// freeze copies a memory, unless that takes more than the limit.
func freeze(mem []byte, limitBytes uint64) (*frozen, error) {
	file, err := unix.MemfdCreate("weir-image", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("create file for image: %w", err)
	}
	f := &frozen{file: file, sizeBytes: len(mem)}
	if err := f.fill(mem, limitBytes); err != nil {
		f.free()
		return nil, err
	}
	return f, nil
}

func (f *frozen) fill(mem []byte, limitBytes uint64) error {
	if err := unix.Ftruncate(f.file, int64(len(mem))); err != nil {
		return fmt.Errorf("size image of %d bytes: %w", len(mem), err)
	}
	for at := 0; at < len(mem); {
		end := at
		for end < len(mem) && !bytes.Equal(mem[end:end+frozenPageBytes], zeroPage[:]) {
			end += frozenPageBytes
		}
		if f.heldBytes += uint64(end - at); f.heldBytes > limitBytes {
			return fmt.Errorf("image of more than %d bytes: %w", limitBytes, errImageTooLarge)
		}
		for at < end {
			n, err := unix.Pwrite(f.file, mem[at:end], int64(at))
			if err != nil {
				return fmt.Errorf("write image: %w", err)
			}
			at += n
		}
		at += frozenPageBytes // the zero page that ended the run
	}
	// From here on nobody can change what clones share.
	if _, err := unix.FcntlInt(uintptr(f.file), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL); err != nil {
		return fmt.Errorf("seal image: %w", err)
	}
	return nil
}

// thaw puts the content over the start of a memory of its own.
func (f *frozen) thaw(mem []byte) error {
	if f.sizeBytes == 0 {
		return nil
	}
	_, err := unix.MmapPtr(f.file, 0, unsafe.Pointer(unsafe.SliceData(mem)), uintptr(f.sizeBytes),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_NORESERVE)
	if err != nil {
		return fmt.Errorf("map image: %w", err)
	}
	return nil
}

// free gives the file back. Clones that have mapped it keep its pages.
func (f *frozen) free() { _ = unix.Close(f.file) }
