// Package pebble is the state backend for state that outgrows memory. What is
// being read and written is a tier of the arena; the rest stands in an LSM of
// Pebble below it.
//
// Reading. A key that is not in the tier is brought there whole when Resolve
// names it, all misses of a batch in the order of the files and several at a
// time. From then on every method is the arena's.
//
// Writing. A barrier freezes the tier's generation, which is the segment. Beside
// the task it is also merged into the LSM, as a sorted file that is taken in
// whole if it is large. What has changed stays in the tier until then; what has
// not may be evicted, by a clock with a second chance. A generation that grows
// too large before its barrier is frozen early: it is spilled to a run, a file
// that the barrier's segment is merged from.
//
// The LSM has no log and is never synced. It is a cache of one attempt, deleted
// on opening: what lasts are the checkpoint's segments.
//
// A key is the unit of residence: one with more entries or timers than fit into
// memory is not for this backend.
//
// It must not know tasks, barriers' alignment, or where segments are kept.
package pebble

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// StoreOptions are the settings of a process.
type StoreOptions struct {
	// Dir is a folder of our own. What is in it is deleted.
	Dir string
	// MemoryBytes is shared by all backends: their tiers, and the blocks of files
	// that are kept in memory. 0 is DefaultMemoryBytes.
	MemoryBytes int64
	Log         *slog.Logger
}

// Memory of a process for state on disk.
const (
	DefaultMemoryBytes = 256 << 20
	MinMemoryBytes     = 16 << 20
	// cacheShare is how much of it holds blocks of files, indexes and filters
	// above all, since keys that are in use are in the tier. The blocks are on the
	// heap, which the collector lets grow to twice of what is live.
	cacheShare  = 5
	heapPerByte = 2
	// MinBackendBytes is the memory of one backend at least, with its share of
	// blocks. One more than there is memory for is refused.
	MinBackendBytes = 1 << 20
	// minTierBytes is what its tier has of that.
	minTierBytes = MinBackendBytes - heapPerByte*MinBackendBytes/cacheShare
)

// Store is what the backends of a process share: a folder and its memory.
type Store struct {
	dir    string
	log    *slog.Logger
	most   int64 // backends
	tiers  int64 // bytes
	least  int64 // bytes of a tier
	blocks int64 // bytes of the cache
	cache  *pebble.Cache
	files  *pebble.FileCache
	open   atomic.Int64

	mu   sync.Mutex
	next int // number of the next folder
}

// OpenStore makes an empty store, and deletes what was left by a former process.
func OpenStore(o StoreOptions) (*Store, error) {
	if o.MemoryBytes == 0 {
		o.MemoryBytes = DefaultMemoryBytes
	}
	if o.MemoryBytes < MinMemoryBytes {
		return nil, fmt.Errorf("state memory of %d bytes: at least %d MiB are needed", o.MemoryBytes, MinMemoryBytes>>20)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.RemoveAll(o.Dir); err != nil {
		return nil, fmt.Errorf("empty the state cache: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the state cache: %w", err)
	}
	cacheBytes := o.MemoryBytes / cacheShare
	return &Store{
		dir: o.Dir, log: o.Log, most: o.MemoryBytes / MinBackendBytes, tiers: o.MemoryBytes - heapPerByte*cacheBytes, blocks: cacheBytes, least: minTierBytes,
		cache: pebble.NewCache(cacheBytes), files: pebble.NewFileCache(fileCacheShards, maxOpenFiles),
	}, nil
}

// admit counts a backend in, unless there is no memory for it.
func (s *Store) admit() error {
	if n := s.open.Add(1); n > s.most {
		s.open.Add(-1)
		return fmt.Errorf("open state on disk: %d operators of tasks have theirs here, and there is memory for no more; each needs %d MiB: start the worker with --state-memory %d or more, or add workers",
			s.most, MinBackendBytes>>20, n*MinBackendBytes>>20)
	}
	return nil
}

// folder makes a folder for a backend.
func (s *Store) folder() (string, error) {
	s.mu.Lock()
	s.next++
	dir := filepath.Join(s.dir, strconv.Itoa(s.next))
	s.mu.Unlock()
	return dir, os.Mkdir(dir, 0o755)
}

// share is the memory of one tier.
func (s *Store) share() int64 {
	return max(s.least, s.tiers/max(1, s.open.Load()))
}

// filters says whether the cache has room for the filters of the lowest level
// of a backend with so many keys. They save reading a block for a key that is
// nowhere; without room for them a filter would be read instead, which is larger.
func (s *Store) filters(keys int) bool {
	return int64(keys)*bloomBits/8 <= s.blocks/2/max(1, s.open.Load())
}

// Close comes after all backends are closed.
func (s *Store) Close() error {
	s.cache.Unref()
	s.files.Unref()
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("remove the state cache: %w", err)
	}
	return nil
}
