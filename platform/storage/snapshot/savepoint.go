package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weirstream/weir/platform/storage/blob"
)

// SavepointPrefix is where the manifests of savepoints are kept, outside the
// prefixes of pipelines: a savepoint outlives its pipeline.
const SavepointPrefix = "savepoints/"

// SavepointName is where the manifest of a savepoint is kept.
func SavepointName(pipeline string, checkpoint uint64, digest Digest) string {
	return fmt.Sprintf("%s%s/%020d/manifest-%s", SavepointPrefix, pipeline, checkpoint, digest.String()[:32])
}

// ForSavepoint is a published checkpoint's manifest as that of a savepoint: without
// its transactions, which are visible all, and with the inline bytes in it that it has.
func (m *Manifest) ForSavepoint() *Manifest {
	s := m.WithoutItems(KindTransaction)
	s.Meta.Kind = Savepoint
	return s
}

// WithoutItems is the manifest less all items of a kind.
func (m *Manifest) WithoutItems(kind string) *Manifest {
	s := &Manifest{Meta: m.Meta}
	for i := range m.Operators {
		o := m.Operators[i].clone()
		for j := range o.Tasks {
			o.Tasks[j].Items = slices.DeleteFunc(o.Tasks[j].Items, func(item ItemRef) bool { return item.Kind == kind })
		}
		s.Operators = append(s.Operators, *o)
	}
	return s
}

// WriteSavepoint stores a savepoint's manifest. Writing an equal one again is writing the same object.
func WriteSavepoint(ctx context.Context, store blob.Store, m *Manifest) (Digest, error) {
	b, digest := m.Encode()
	name := SavepointName(m.Meta.Pipeline, m.Meta.Checkpoint, digest)
	_, err := blob.PutBytes(ctx, store, name, b)
	if errors.Is(err, blob.ErrExists) {
		_, err = ReadManifest(ctx, store, name, digest)
	}
	if err != nil {
		return digest, fmt.Errorf("write savepoint of checkpoint %d: %w", m.Meta.Checkpoint, err)
	}
	return digest, nil
}

// Bytes is the size of everything that an operator names, each piece once.
func (o *OperatorState) Bytes() uint64 {
	type piece struct {
		object string
		offset int64
	}
	seen, total := map[piece]bool{}, uint64(0)
	o.extents(func(_ string, x *Extent) {
		if p := (piece{x.Object, x.Offset}); !seen[p] {
			seen[p] = true
			total += uint64(x.Length)
		}
	})
	return total
}

// Relocated is the manifest with every byte that is not inline elsewhere, as place says.
func (m *Manifest) Relocated(pipeline string, place func(Extent) (Extent, error)) (*Manifest, error) {
	moved := &Manifest{Meta: m.Meta}
	moved.Meta.Pipeline = pipeline
	for i := range m.Operators {
		moved.Operators = append(moved.Operators, *m.Operators[i].clone())
	}
	var err error
	moved.extents(func(_ string, x *Extent) {
		if err == nil {
			*x, err = place(*x)
		}
	})
	return moved, err
}

// CopyExtent gives the bytes of an extent to write, piece by piece.
func CopyExtent(ctx context.Context, store blob.Store, x Extent, write func([]byte) error) error {
	for at := int64(0); at < x.Length; at += copyBytes {
		b, err := readExtent(ctx, store, x, at, min(copyBytes, x.Length-at))
		if err != nil {
			return err
		}
		if err := write(b); err != nil {
			return err
		}
	}
	return nil
}

const copyBytes = 1 << 20
