package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxNameBytes limits an object's name.
const MaxNameBytes = 512

// ErrName is a name that CheckName refuses.
var ErrName = errors.New("object name is not valid")

// CheckName accepts one or more parts between slashes, each of [A-Za-z0-9._-]
// and not beginning with a dot: such names mean the same in every store, and a
// folder store keeps its own files under names that begin with a dot.
func CheckName(name string) error {
	if len(name) > MaxNameBytes {
		return fmt.Errorf("%w: %.40q... has %d bytes, the limit is %d; use shorter names", ErrName, name, len(name), MaxNameBytes)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' {
			return fmt.Errorf("%w: %q has a part that is empty or begins with a dot", ErrName, name)
		}
		for i := range len(part) {
			if !nameByte(part[i]) {
				return fmt.Errorf("%w: %q has a byte %q; use A-Z a-z 0-9 . _ -", ErrName, name, part[i])
			}
		}
	}
	return nil
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

// ReadRange reads a range of an object whole; length -1 reads to the end.
func ReadRange(ctx context.Context, s Store, name string, offset, length int64) ([]byte, error) {
	r, err := s.Get(ctx, name, offset, length)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if length < 0 {
		b, err := io.ReadAll(r)
		if err != nil {
			return nil, fmt.Errorf("read object %s: %w", name, err)
		}
		return b, nil
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read object %s at %d, %d bytes: %w", name, offset, length, err)
	}
	return b, nil
}

// PutBytes writes an object from memory.
func PutBytes(ctx context.Context, s Store, name string, b []byte) (Info, error) {
	return s.Put(ctx, name, bytes.NewReader(b))
}
