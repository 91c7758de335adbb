package pebble

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/weirstream/weir/platform/storage/state"
)

// run is a generation that was frozen before its barrier, in files. The task
// hands it to the barrier's view, which may be read while it is being written.
type run struct {
	written chan struct{} // closed when it can be read
	err     error
	readers []*sstable.Reader
}

func newRun() *run { return &run{written: make(chan struct{})} }

// open opens the files, which may be deleted from then on.
func (r *run) open(b *Backend, paths []string) error {
	for _, path := range paths {
		file, err := b.options.FS.Open(path)
		if err != nil {
			return err
		}
		readable, err := sstable.NewSimpleReadable(file)
		if err != nil {
			return errors.Join(err, file.Close())
		}
		reader, err := sstable.NewReader(context.Background(), readable, b.options.MakeReaderOptions())
		if err != nil {
			return errors.Join(err, readable.Close())
		}
		r.readers = append(r.readers, reader)
	}
	return nil
}

// release comes when nothing reads it any more.
func (r *run) release() {
	<-r.written
	for _, reader := range r.readers {
		_ = reader.Close() // it was only read
	}
	r.readers = nil
}

// entries yields what a run holds. Where it deletes all entries of a state there
// is a deletion of a part that is never set.
func (r *run) entries(sc *schema, fail *error) iter.Seq[state.Entry] {
	return func(yield func(state.Entry) bool) {
		<-r.written
		if *fail = r.err; r.err != nil {
			return
		}
		var at row
		for _, reader := range r.readers {
			it, err := reader.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
			if err != nil {
				*fail = err
				return
			}
			for kv := it.First(); kv != nil; kv = it.Next() {
				at.parse(kv.K.UserKey)
				e := state.Entry{Hash: at.hash, State: sc.states[at.rank].name, Key: at.key, Sub: at.sub}
				if e.Tombstone = kv.Kind() == pebble.InternalKeyKindDelete; !e.Tombstone {
					value, _, err := kv.Value(nil)
					if err != nil {
						*fail = errors.Join(err, it.Close())
						return
					}
					e.Value, e.Expires = sc.value(at.rank, value)
				}
				if !yield(e) {
					*fail = it.Close()
					return
				}
			}
			if *fail = errors.Join(it.Error(), it.Close()); *fail != nil {
				return
			}
		}
	}
}

// frozen is what changed between two barriers: runs, oldest first, and the
// generation that the barrier ended.
type frozen struct {
	b        *Backend
	whole    *pebble.Snapshot // of a backend that was loaded as changed: older than all
	runs     []*run
	last     *generation
	released atomic.Bool

	mu  sync.Mutex
	err error
}

var _ state.Failing = (*frozen)(nil)

// Freeze ends the generation of a barrier.
func (b *Backend) Freeze() state.Frozen {
	b.endLoad()
	f := &frozen{b: b, whole: b.whole, runs: b.runs, last: b.freeze(2, nil)}
	if b.whole != nil {
		b.holds.Add(1)
	}
	b.whole, b.runs = nil, nil
	return f
}

// Release ends the view.
func (f *frozen) Release() {
	if f.released.Swap(true) {
		return
	}
	f.last.letGo()
	for _, r := range f.runs {
		r.release()
	}
	if f.whole != nil {
		if err := errors.Join(f.whole.Close(), f.b.letGo()); err != nil {
			f.b.store.log.Error("release a generation", "err", err)
		}
	}
}

// Len counts what changed, more than once if it changed in several runs.
func (f *frozen) Len() int {
	n := f.last.Len() + len(f.runs)
	if f.whole != nil {
		n++
	}
	return n
}

// Err is why the last Entries ended early.
func (f *frozen) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Entries merges the runs and the generation.
func (f *frozen) Entries() iter.Seq[state.Entry] {
	if len(f.runs) == 0 && f.whole == nil {
		return f.last.Entries()
	}
	return func(yield func(state.Entry) bool) {
		fails := make([]error, len(f.runs)+1)
		var oldestFirst []iter.Seq[state.Entry]
		if f.whole != nil {
			oldestFirst = append(oldestFirst, f.b.entriesOf(f.whole, &fails[len(f.runs)]))
		}
		for i, r := range f.runs {
			oldestFirst = append(oldestFirst, r.entries(&f.b.schema, &fails[i]))
		}
		mergeRuns(append(oldestFirst, f.last.Entries()), func(e state.Entry) bool {
			// A source that fails ends: nothing of what follows may be taken for whole.
			return errors.Join(fails...) == nil && yield(e)
		})
		f.mu.Lock()
		f.err = errors.Join(fails...)
		f.mu.Unlock()
	}
}

// entriesOf yields all rows of a snapshot.
func (b *Backend) entriesOf(s *pebble.Snapshot, fail *error) iter.Seq[state.Entry] {
	return func(yield func(state.Entry) bool) {
		it, err := s.NewIter(&pebble.IterOptions{LowerBound: []byte{tagRow}, UpperBound: []byte{tagRow + 1}})
		if err != nil {
			*fail = err
			return
		}
		var at row
		for ok := it.First(); ok; ok = it.Next() {
			at.parse(it.Key())
			if !yield(b.entry(&at, it.Value())) {
				break
			}
		}
		*fail = errors.Join(it.Error(), it.Close())
	}
}

// source is a sorted stream of entries; a higher age is newer.
type source struct {
	next func() (state.Entry, bool)
	at   state.Entry
	ok   bool
}

// mergeRuns yields the newest of each thing. A deletion of all entries of a
// state ends what older sources hold of them.
func mergeRuns(oldestFirst []iter.Seq[state.Entry], yield func(state.Entry) bool) {
	sources := make([]source, len(oldestFirst))
	for i, seq := range oldestFirst {
		next, stop := iter.Pull(seq)
		defer stop()
		sources[i].next = next
		sources[i].at, sources[i].ok = next()
	}
	var cleared state.Entry // by the source clearedBy; a copy
	clearedBy := -1
	for {
		newest := -1
		for i := range sources {
			if s := &sources[i]; s.ok && (newest < 0 || compare(&s.at, &sources[newest].at) <= 0) {
				newest = i
			}
		}
		if newest < 0 {
			return
		}
		e := sources[newest].at
		if e.Tombstone && e.Sub == nil {
			cleared.Hash, cleared.State, cleared.Key = e.Hash, e.State, append(cleared.Key[:0], e.Key...)
			clearedBy = newest
		}
		gone := newest < clearedBy && e.Sub != nil &&
			e.Hash == cleared.Hash && e.State == cleared.State && bytes.Equal(e.Key, cleared.Key)
		if !gone && !yield(e) {
			return
		}
		for i := range newest {
			if s := &sources[i]; s.ok && compare(&s.at, &e) == 0 {
				s.at, s.ok = s.next()
			}
		}
		s := &sources[newest]
		s.at, s.ok = s.next()
	}
}

// compare is the order of segments.
func compare(x, y *state.Entry) int {
	if c := cmp.Compare(x.Hash, y.Hash); c != 0 {
		return c
	}
	if c := strings.Compare(x.State, y.State); c != 0 {
		return c
	}
	if c := bytes.Compare(x.Key, y.Key); c != 0 {
		return c
	}
	switch {
	case x.Sub == nil && y.Sub == nil:
		return 0
	case x.Sub == nil:
		return -1
	case y.Sub == nil:
		return 1
	}
	return bytes.Compare(x.Sub, y.Sub)
}
