package pebble

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/arena"
)

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// hot are the keys in memory. Methods that are not written here are its own.
type hot = arena.Tier

// Backend is a state.Backend on disk.
type Backend struct {
	hot
	schema
	store   *Store
	dir     string
	db      *pebble.DB
	options *pebble.Options
	holds   atomic.Int32 // of db: the backend, and generations that read it

	clock  int64
	cold   sizes // of keys that are not in the tier
	hits   int64
	misses int64
	timers coldTimers
	expiry expiryWalk

	misc    []miss // of the batch, in order of hashes
	readers []reader
	filled  int // slots, since the last Advance

	loading state.Loading
	used    bool    // a Resolve came
	loader  *loader // nil when no run of Load is under way
	whole   *pebble.Snapshot

	merges   chan merge
	merging  sync.WaitGroup
	unmerged int          // sent and not known to be done
	merged   chan uint32  // generations
	runs     []*run       // spilled since the last barrier
	folders  atomic.Int64 // of files on their way, ever
	epoch    atomic.Uint64
	disk     atomic.Int64
	failure  atomic.Pointer[error]
}

var (
	_ state.LateLoader = (*Backend)(nil)
	_ state.Warmer     = (*Backend)(nil)
	_ state.Pager      = (*Backend)(nil)
)

// sizes are the part of state.Stats that is kept by tier.
type sizes struct {
	keys, timers int
	bytes        int64
}

// Open makes an empty backend.
func (s *Store) Open(o state.Options) (*Backend, error) {
	tier, err := arena.OpenTier(o.Descriptors)
	if err != nil {
		return nil, err
	}
	if err := s.admit(); err != nil {
		return nil, errors.Join(err, tier.Close())
	}
	dir, db, options, err := s.openLSM()
	if err != nil {
		s.open.Add(-1)
		return nil, errors.Join(fmt.Errorf("open state on disk: %w", err), tier.Close())
	}
	b := &Backend{
		hot: tier, schema: newSchema(o.Descriptors), store: s, dir: dir, db: db, options: options, loading: o.Loading,
		merges: make(chan merge, maxUnmerged), merged: make(chan uint32, maxUnmerged+1),
	}
	b.timers.init()
	b.holds.Store(1)
	b.merging.Go(b.mergeAll)
	return b, nil
}

// openLSM opens an empty LSM in a folder of its own.
func (s *Store) openLSM() (dir string, db *pebble.DB, options *pebble.Options, err error) {
	if dir, err = s.folder(); err != nil {
		return "", nil, nil, err
	}
	options = s.options()
	if db, err = pebble.Open(filepath.Join(dir, "lsm"), options); err != nil {
		return "", nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, db, options, nil
}

// Advance sets the clock, and does a bounded share of the work that waits.
func (b *Backend) Advance(clockMicros int64) {
	b.clock = max(b.clock, clockMicros)
	b.hot.Advance(b.clock)
	if b.loader != nil {
		return
	}
	b.settle(noWait)
	b.expireCold()
	b.makeRoom()
}

// Resolve finds or makes slots; keys that are on disk are brought to memory.
func (b *Backend) Resolve(keys state.Keys, hashes []uint64, out []state.Slot) []state.Slot {
	b.endLoad()
	out = b.hot.Resolve(keys, hashes, out)
	missed := b.fill()
	b.hits += int64(len(out) - missed)
	b.misses += int64(missed)
	return out
}

// Stats are the sizes now.
func (b *Backend) Stats() state.Stats {
	b.endLoad()
	st := b.hot.Stats()
	st.Keys += b.cold.keys
	st.Timers += b.cold.timers
	st.StateBytes += b.cold.bytes
	st.DiskBytes, st.Hits, st.Misses = b.disk.Load(), b.hits, b.misses
	return st
}

// Close waits for what is being merged. Generations in flight stay readable.
func (b *Backend) Close() error {
	if b.merges == nil {
		return nil
	}
	if b.loader != nil {
		b.loader.abandon()
		b.loader = nil
	}
	close(b.merges)
	b.merging.Wait()
	b.merges = nil
	var errs []error
	for i := range b.readers {
		errs = append(errs, b.readers[i].close())
	}
	errs = append(errs, b.expiry.close())
	for _, r := range b.runs {
		r.release()
	}
	if b.whole != nil {
		errs = append(errs, b.whole.Close())
	}
	b.store.open.Add(-1)
	errs = append(errs, b.hot.Close(), b.letGo())
	return errors.Join(errs...)
}

// letGo closes the LSM after its last reader.
func (b *Backend) letGo() error {
	if b.holds.Add(-1) > 0 {
		return nil
	}
	if err := errors.Join(b.db.Close(), os.RemoveAll(b.dir)); err != nil {
		return fmt.Errorf("close state on disk: %w", err)
	}
	return nil
}

// check ends the task if the disk failed it.
func check(err error) {
	if err != nil {
		panic(state.Failure{Err: fmt.Errorf("state on disk: %w", err)})
	}
}
