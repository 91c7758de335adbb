package pebble

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weirstream/weir/platform/storage/state"
)

const (
	// maxUnmerged bounds the generations that wait to be merged. A task that is
	// so far ahead of the disk waits for it.
	maxUnmerged = 4
	// ingestChanges is from when on a generation is a file of its own. A smaller
	// one goes through the memtable, in batches of at most batchBytes.
	ingestChanges = 8192
	batchBytes    = 1 << 20
)

// merge is a generation on its way to the LSM.
type merge struct {
	number uint32
	frozen *generation
	run    *run // to keep as well; nil: the barrier's own
}

// generation is a frozen generation of the tier, which is released when both
// the LSM and the checkpoint have it.
type generation struct {
	state.Frozen
	holds atomic.Int32
}

func (g *generation) letGo() {
	if g.holds.Add(-1) == 0 {
		g.Frozen.Release()
	}
}

// freeze ends the tier's generation and sends it to be merged.
func (b *Backend) freeze(holds int32, r *run) *generation {
	m := merge{number: b.hot.Generation(), run: r}
	m.frozen = &generation{Frozen: b.hot.Freeze()}
	m.frozen.holds.Store(holds)
	for b.unmerged >= maxUnmerged {
		b.settle(wait)
	}
	b.unmerged++
	b.merges <- m
	return m.frozen
}

type patience uint8

// Whether settle waits until a generation is merged.
const (
	noWait patience = iota
	wait
)

// settle learns which generations are merged.
func (b *Backend) settle(p patience) {
	for b.unmerged > 0 {
		var number uint32
		if p == wait {
			number = <-b.merged
		} else {
			select {
			case number = <-b.merged:
			default:
				return
			}
		}
		p = noWait
		if err := b.failure.Load(); err != nil {
			check(*err)
		}
		b.unmerged--
		b.hot.Merged(number)
	}
}

// mergeAll is the goroutine that merges, one generation after the other.
func (b *Backend) mergeAll() {
	for m := range b.merges {
		if b.failure.Load() == nil {
			if err := b.mergeOne(m); err != nil {
				err = fmt.Errorf("merge a generation: %w", err)
				b.failure.Store(&err)
			}
		}
		if m.run != nil {
			if err := b.failure.Load(); err != nil {
				m.run.err = *err
			}
			close(m.run.written)
		}
		m.frozen.letGo()
		b.epoch.Add(1)
		b.merged <- m.number
	}
}

func (b *Backend) mergeOne(m merge) error {
	defer func() { b.disk.Store(int64(b.db.Metrics().DiskSpaceUsage())) }()
	if m.run == nil && m.frozen.Len() < ingestChanges {
		return b.mergeByBatch(m.frozen)
	}
	w := b.newFiles(m.run)
	rank := -1
	for e := range m.frozen.Entries() {
		if rank = b.rankOf(e.State, rank); rank < 0 {
			continue
		}
		if err := w.add(&e, rank); err != nil {
			return errors.Join(err, w.abandon())
		}
	}
	return w.ingest()
}

func (b *Backend) mergeByBatch(f state.Frozen) (err error) {
	w := batchWriter{b: b, clears: clearing{db: b.db}}
	defer func() { err = errors.Join(err, w.close()) }()
	rank := -1
	for e := range f.Entries() {
		if rank = b.rankOf(e.State, rank); rank < 0 {
			continue
		}
		if err := w.add(&e, rank); err != nil {
			return err
		}
	}
	return w.finish()
}

// batchWriter writes entries in order through the memtable.
type batchWriter struct {
	b          *Backend
	batch      *pebble.Batch
	clears     clearing
	key, value []byte
}

func (w *batchWriter) remove(key []byte) error { return w.batch.Delete(key, nil) }

func (w *batchWriter) add(e *state.Entry, rank int) error {
	w.key = w.b.appendRow(w.key[:0], e, rank)
	if w.batch == nil {
		w.batch = w.b.db.NewBatchWithSize(64 << 10)
	}
	if err := w.clears.upTo(w.key, w.remove); err != nil {
		return err
	}
	switch {
	case w.b.isClear(e, rank):
		return w.clears.begin(w.key)
	case e.Tombstone:
		return w.remove(w.key)
	}
	w.value = w.b.appendValue(w.value[:0], e, rank)
	if err := w.batch.Set(w.key, w.value, nil); err != nil || w.batch.Len() < batchBytes {
		return err
	}
	return w.commit()
}

func (w *batchWriter) commit() error {
	if w.batch == nil {
		return nil
	}
	batch := w.batch
	w.batch = nil
	return errors.Join(batch.Commit(pebble.NoSync), batch.Close())
}

func (w *batchWriter) finish() error {
	if err := w.clears.upTo(nil, w.remove); err != nil {
		return err
	}
	return w.commit()
}

func (w *batchWriter) close() error {
	err := w.clears.close()
	if w.batch != nil {
		err = errors.Join(err, w.batch.Close())
	}
	return err
}

// isClear says that an entry takes away all entries of a state.
func (sc *schema) isClear(e *state.Entry, rank int) bool {
	return e.Tombstone && e.Sub == nil && sc.states[rank].form == state.Entries
}

// files writes sorted entries to files, each of which can be taken in by the LSM
// where no file of it overlaps with another.
type files struct {
	b          *Backend
	run        *run
	dir        string
	paths      []string
	w          *sstable.Writer
	bytes      int
	hash       uint64
	key, value []byte
	clears     clearing
}

func (b *Backend) newFiles(r *run) *files {
	return &files{b: b, run: r, clears: clearing{db: b.db}, dir: filepath.Join(b.dir, fmt.Sprintf("in-%d", b.folders.Add(1)))}
}

// add adds an entry behind those before.
func (f *files) add(e *state.Entry, rank int) error {
	f.key = f.b.appendRow(f.key[:0], e, rank)
	if err := f.clears.upTo(f.key, f.remove); err != nil {
		return err
	}
	if err := f.room(e.Hash); err != nil {
		return err
	}
	switch {
	case f.b.isClear(e, rank):
		if err := f.clears.begin(f.key); err != nil || f.run == nil {
			return err
		}
		return f.remove(f.key) // so that the run knows
	case e.Tombstone:
		return f.remove(f.key)
	}
	f.value = f.b.appendValue(f.value[:0], e, rank)
	return f.set(f.key, f.value)
}

func (f *files) remove(key []byte) error { return f.w.Delete(key) }

func (f *files) set(key, value []byte) error {
	f.bytes += len(key) + len(value)
	return f.w.Set(key, value)
}

// room begins a file; within a hash there is no other.
func (f *files) room(hash uint64) error {
	if f.w != nil && (f.bytes < spillFileBytes || hash == f.hash) {
		f.hash = hash
		return nil
	}
	if err := f.closeFile(); err != nil {
		return err
	}
	if len(f.paths) == 0 {
		if err := os.Mkdir(f.dir, 0o755); err != nil {
			return err
		}
	}
	path := filepath.Join(f.dir, fmt.Sprintf("%d.sst", len(f.paths)))
	file, err := f.b.options.FS.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	f.paths = append(f.paths, path)
	f.hash, f.bytes = hash, 0
	f.w = sstable.NewWriter(objstorageprovider.NewFileWritable(vfs.NewSyncingFile(file, vfs.SyncingFileOptions{NoSyncOnClose: true, BytesPerSync: writtenBytes})),
		f.b.options.MakeWriterOptions(0, f.b.db.TableFormat()))
	return nil
}

func (f *files) closeFile() error {
	if f.w == nil {
		return nil
	}
	w := f.w
	f.w = nil
	return w.Close()
}

// ingest gives the files to the LSM, and keeps them for the run if there is one.
func (f *files) ingest() error {
	if err := errors.Join(f.clears.upTo(nil, f.remove), f.clears.close(), f.closeFile()); err != nil {
		return err
	}
	if len(f.paths) == 0 {
		return nil
	}
	if f.run != nil {
		if err := f.run.open(f.b, f.paths); err != nil {
			return err
		}
	}
	if err := f.b.db.Ingest(context.Background(), f.paths); err != nil {
		return err
	}
	return os.RemoveAll(f.dir)
}

func (f *files) abandon() error {
	return errors.Join(f.clears.close(), f.closeFile(), os.RemoveAll(f.dir))
}
