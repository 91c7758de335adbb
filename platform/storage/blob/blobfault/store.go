// Package blobfault wraps a store so that a chosen operation goes wrong, in the
// ways in which disks and networks do. It is for tests, of this repository and
// of others. It must not know what the bytes mean.
package blobfault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/weirstream/weir/platform/storage/blob"
)

// ErrInjected is within every error that this package makes up.
var ErrInjected = errors.New("injected fault")

// Kind is a way to go wrong.
type Kind uint8

// The kinds of faults. What does not fit an operation is a Fail there.
const (
	Fail Kind = iota + 1 // nothing happens but an error
	Full                 // a write finds no space
	Torn                 // half of a write appears under its name, and an error
	Late                 // a write or delete succeeds, and its caller hears of a time-out
	Flip                 // a read gives one wrong byte and no error
	Cut                  // a read ends halfway with an error
)

func (k Kind) String() string {
	return [...]string{"none", "fail", "full", "torn", "late", "flip", "cut"}[k]
}

// Plan says which operations go wrong; the first is 1. Every Put, Get, Stat,
// List and Delete is one operation.
type Plan struct {
	From, Count int // Count 0 means none, -1 all from From on
	Kind        Kind
}

// Store is a blob.Store with a plan.
type Store struct {
	inner blob.Store

	mu   sync.Mutex
	plan Plan
	done int
}

var _ blob.Store = (*Store)(nil)

// New wraps a store.
func New(inner blob.Store, plan Plan) *Store { return &Store{inner: inner, plan: plan} }

// Arm sets a new plan and counts operations from one again.
func (s *Store) Arm(plan Plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan, s.done = plan, 0
}

// Operations is how many operations there were since New or Arm.
func (s *Store) Operations() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

func (s *Store) next() Kind {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done++
	p := s.plan
	if s.done < p.From || p.Count >= 0 && s.done >= p.From+p.Count {
		return 0
	}
	return p.Kind
}

func fault(verb, name string, k Kind, cause error) error {
	return fmt.Errorf("%s object %s: %w (%s): %w", verb, name, ErrInjected, k, cause)
}

// Put writes, or not, or half, or says that it did not.
func (s *Store) Put(ctx context.Context, name string, r io.Reader) (blob.Info, error) {
	switch k := s.next(); k {
	case 0:
		return s.inner.Put(ctx, name, r)
	case Full:
		return blob.Info{}, fault("put", name, k, blob.ErrFull)
	case Torn:
		b, err := io.ReadAll(r)
		if err == nil {
			_, err = s.inner.Put(ctx, name, bytes.NewReader(b[:len(b)/2]))
		}
		return blob.Info{}, fault("put", name, k, errors.Join(io.ErrShortWrite, err))
	case Late:
		_, err := s.inner.Put(ctx, name, r)
		return blob.Info{}, fault("put", name, k, errors.Join(context.DeadlineExceeded, err))
	default:
		return blob.Info{}, fault("put", name, k, io.ErrClosedPipe)
	}
}

// Get reads, or not, or wrongly.
func (s *Store) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	k := s.next()
	if k == 0 {
		return s.inner.Get(ctx, name, offset, length)
	}
	if k != Flip && k != Cut {
		return nil, fault("get", name, k, io.ErrUnexpectedEOF)
	}
	b, err := blob.ReadRange(ctx, s.inner, name, offset, length)
	if err != nil {
		return nil, err
	}
	if k == Cut {
		return io.NopCloser(io.MultiReader(bytes.NewReader(b[:len(b)/2]), failing{fault("read", name, k, io.ErrUnexpectedEOF)})), nil
	}
	if len(b) > 0 {
		b = bytes.Clone(b)
		b[len(b)/2] ^= 0x40
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Stat describes, or not.
func (s *Store) Stat(ctx context.Context, name string) (blob.Info, error) {
	if k := s.next(); k != 0 {
		return blob.Info{}, fault("stat", name, k, io.ErrUnexpectedEOF)
	}
	return s.inner.Stat(ctx, name)
}

// List lists, or not.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	if k := s.next(); k != 0 {
		return func(yield func(blob.Info, error) bool) {
			yield(blob.Info{}, fault("list", prefix, k, io.ErrUnexpectedEOF))
		}
	}
	return s.inner.List(ctx, prefix)
}

// Delete removes, or not, or says that it did not.
func (s *Store) Delete(ctx context.Context, name string) error {
	switch k := s.next(); k {
	case 0:
		return s.inner.Delete(ctx, name)
	case Late:
		err := s.inner.Delete(ctx, name)
		return fault("delete", name, k, errors.Join(context.DeadlineExceeded, err))
	default:
		return fault("delete", name, k, io.ErrUnexpectedEOF)
	}
}

// Close closes the store within.
func (s *Store) Close() error { return s.inner.Close() }
