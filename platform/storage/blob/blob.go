// Package blob keeps immutable byte objects under names: segments, manifests,
// modules, graphs. A store is a folder, memory, or a bucket. It must not know
// what the bytes mean.
package blob

import (
	"context"
	"errors"
	"io"
	"iter"
)

// Errors that callers branch on.
var (
	ErrNotFound = errors.New("object not found")
	ErrExists   = errors.New("object exists") // names are never reused
	ErrFull     = errors.New("no space left for objects")
)

// Info describes a stored object.
type Info struct {
	Name      string
	SizeBytes int64
}

// Store keeps objects. Put is atomic: an object is whole or absent, also after
// a crash; a store that syncs has it on the disk before Put returns. Names are
// as CheckName says, and callers give none that is a folder of another: a folder
// refuses it with ErrExists, a bucket does not look. All methods may be used by
// many goroutines.
type Store interface {
	// Put writes an object that does not exist yet; ErrExists otherwise.
	Put(ctx context.Context, name string, r io.Reader) (Info, error)
	// Get opens a range; length -1 reads to the end. ErrNotFound if absent.
	Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error)
	Stat(ctx context.Context, name string) (Info, error)
	// List yields every object under a prefix in order of names.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Delete removes an object; absent is no error.
	Delete(ctx context.Context, name string) error
	Close() error
}
