//go:build !linux

package wasmhost

import (
	"bytes"
	"fmt"
)

// frozen is a copy of a memory; clones copy it in turn.
type frozen struct {
	content   []byte
	heldBytes uint64
}

func freeze(mem []byte, limitBytes uint64) (*frozen, error) {
	if uint64(len(mem)) > limitBytes {
		return nil, fmt.Errorf("image of %d bytes, the limit is %d: %w", len(mem), limitBytes, errImageTooLarge)
	}
	return &frozen{content: bytes.Clone(mem), heldBytes: uint64(len(mem))}, nil
}

func (f *frozen) thaw(mem []byte) error {
	copy(mem, f.content)
	return nil
}

func (f *frozen) free() {}
