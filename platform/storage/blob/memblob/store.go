// Package memblob keeps objects in memory, for tests and throw-away servers. It
// must not know what the bytes mean.
package memblob

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"

	"github.com/tidwall/btree"

	"github.com/weirstream/weir/platform/storage/blob"
)

// Options of a memory store.
type Options struct {
	MaxBytes int64 // of all objects; 0: no limit
}

// Store is a blob.Store in memory.
type Store struct {
	maxBytes int64

	mu        sync.RWMutex
	sizeBytes int64
	objects   btree.Map[string, []byte]
}

var _ blob.Store = (*Store)(nil)

// New makes an empty store.
func New(opts Options) *Store { return &Store{maxBytes: opts.MaxBytes} }

// Put reads an object whole, then makes it visible.
func (s *Store) Put(ctx context.Context, name string, r io.Reader) (blob.Info, error) {
	if err := blob.CheckName(name); err != nil {
		return blob.Info{}, err
	}
	b, err := io.ReadAll(r)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return blob.Info{}, fmt.Errorf("put object %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.free(name); err != nil {
		return blob.Info{}, fmt.Errorf("put object %s: %w", name, err)
	}
	if s.maxBytes > 0 && s.sizeBytes+int64(len(b)) > s.maxBytes {
		return blob.Info{}, fmt.Errorf("put object %s of %d bytes: %w: %d of %d are in use; delete objects or raise the limit",
			name, len(b), blob.ErrFull, s.sizeBytes, s.maxBytes)
	}
	s.objects.Set(name, b)
	s.sizeBytes += int64(len(b))
	return blob.Info{Name: name, SizeBytes: int64(len(b))}, nil
}

// free is nil if the name can be given: not taken, no folder of a name and not
// below one, as in a folder of files.
func (s *Store) free(name string) error {
	if _, taken := s.objects.Get(name); taken {
		return blob.ErrExists
	}
	var err error
	s.objects.Ascend(name+"/", func(below string, _ []byte) bool {
		if strings.HasPrefix(below, name+"/") {
			err = fmt.Errorf("%w below it: %s", blob.ErrExists, below)
		}
		return false
	})
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		if _, taken := s.objects.Get(name[:i]); taken {
			return fmt.Errorf("%w above it: %s", blob.ErrExists, name[:i])
		}
	}
	return err
}

// Get opens a range of an object.
func (s *Store) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	b, err := s.object(ctx, "get", name)
	if err != nil {
		return nil, err
	}
	if offset > int64(len(b)) {
		return nil, fmt.Errorf("get object %s: offset %d is behind the end at %d", name, offset, len(b))
	}
	b = b[offset:]
	if length >= 0 && length < int64(len(b)) {
		b = b[:length]
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// Stat describes an object.
func (s *Store) Stat(ctx context.Context, name string) (blob.Info, error) {
	b, err := s.object(ctx, "stat", name)
	if err != nil {
		return blob.Info{}, err
	}
	return blob.Info{Name: name, SizeBytes: int64(len(b))}, nil
}

func (s *Store) object(ctx context.Context, verb, name string) ([]byte, error) {
	if err := blob.CheckName(name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s object %s: %w", verb, name, err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, ok := s.objects.Get(name)
	if !ok {
		return nil, fmt.Errorf("%s object %s: %w", verb, name, blob.ErrNotFound)
	}
	return b, nil
}

// List yields what stood under the prefix when it began.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		var infos []blob.Info
		s.mu.RLock()
		s.objects.Ascend(prefix, func(name string, b []byte) bool {
			if !strings.HasPrefix(name, prefix) {
				return false
			}
			infos = append(infos, blob.Info{Name: name, SizeBytes: int64(len(b))})
			return true
		})
		s.mu.RUnlock()
		if err := ctx.Err(); err != nil {
			yield(blob.Info{}, fmt.Errorf("list objects under %s: %w", prefix, err))
			return
		}
		for _, info := range infos {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Delete removes an object.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := blob.CheckName(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete object %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, _ := s.objects.Delete(name)
	s.sizeBytes -= int64(len(b))
	return nil
}

// Close does nothing: the objects go with the store.
func (s *Store) Close() error { return nil }
