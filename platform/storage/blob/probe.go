package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
)

// probeFolder holds what Probe writes; no pipeline's uid is such a name.
const probeFolder = "weir-probe"

// Probe writes, reads and deletes a small object: what a store must allow.
func Probe(ctx context.Context, s Store) (err error) {
	content := make([]byte, 16)
	_, _ = rand.Read(content) // never fails, see crypto/rand
	name := probeFolder + "/" + hex.EncodeToString(content)
	if _, err := PutBytes(ctx, s, name, content); err != nil {
		return fmt.Errorf("try a write: %w", err)
	}
	defer func() {
		if derr := s.Delete(ctx, name); derr != nil {
			err = errors.Join(err, fmt.Errorf("try a delete: %w", derr))
		}
	}()
	got, err := ReadRange(ctx, s, name, 0, -1)
	if err != nil {
		return fmt.Errorf("try a read: %w", err)
	}
	if !bytes.Equal(got, content) {
		return fmt.Errorf("object %s was written and reads back as something else", name)
	}
	return nil
}
