package pebble

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/weirstream/weir/platform/storage/state"
)

// ingestLoadBytes is from when on a run of Load is a file of its own.
const ingestLoadBytes = 1 << 20

// loader is a run of entries that come in order, on their way to the LSM: as a
// batch if they are few, as files that are taken in at once if they are many. To
// count what is there it looks where the LSM holds something of a hash already,
// which is nowhere as long as each comes once.
type loader struct {
	b     *Backend
	iter  *pebble.Iterator // what was there when the run began
	group group            // the hash that is coming in
	last  []byte           // the row before
	row   []byte
	batch batchWriter // at first
	files *files      // once it is large
	bytes int
	wrote uint64 // the hash written last
}

// Load brings in an entry of a segment: in the order of segments it is quickest.
func (b *Backend) Load(e state.Entry) error {
	if b.used {
		return fmt.Errorf("load state %s: the backend is in use; load before the first Resolve", e.State)
	}
	return b.load(&e)
}

// LoadLate is Load while the backend is in use, of a key that it does not hold.
// Entries of a few keys at a time go through the memtable; a whole key group in
// the order of segments is taken in as files. What came in is seen by the next
// Resolve.
func (b *Backend) LoadLate(e state.Entry) error {
	if b.used && b.loading == state.LoadChanged {
		return fmt.Errorf("load state %s late: the backend's first checkpoint is to hold everything; load before the first Resolve", e.State)
	}
	return b.load(&e)
}

func (b *Backend) load(e *state.Entry) error {
	rank := b.rankOf(e.State, -1)
	if rank < 0 {
		return nil
	}
	d := &b.states[rank]
	switch {
	case d.form == 0:
		if _, err := state.ParseTimerSub(e.Sub); err != nil {
			return err
		}
	case e.Sub != nil && d.form != state.Entries, e.Sub == nil && !e.Tombstone && d.form != state.Single:
		return fmt.Errorf("load state %s: it was kept in another form (one value a key, or entries); give the new state another name", e.State)
	}
	if len(e.Value) > state.MaxValueBytes {
		return fmt.Errorf("load state %s: an entry of %d bytes: %w of %d", e.State, len(e.Value), state.ErrTooLarge, state.MaxValueBytes)
	}
	if b.hot.Has(e.Key, e.Hash) {
		return fmt.Errorf("load state %s: its key is in use", e.State)
	}
	entry := *e
	switch {
	case d.ttlMicros == 0:
		entry.Expires = 0
	case entry.Expires == 0:
		entry.Expires = b.clock + d.ttlMicros
	}
	return b.loadRow(&entry, rank)
}

func (b *Backend) loadRow(e *state.Entry, rank int) error {
	if b.loader == nil {
		l, err := newLoader(b)
		if err != nil {
			return err
		}
		b.loader = l
	}
	l := b.loader
	l.row = b.appendRow(l.row[:0], e, rank)
	if l.last != nil && bytes.Compare(l.row, l.last) <= 0 {
		if err := l.finish(); err != nil {
			return err
		}
		b.loader = nil
		return b.loadRow(e, rank)
	}
	l.last = append(l.last[:0], l.row...)
	return l.add(e, rank)
}

func newLoader(b *Backend) (*loader, error) {
	it, err := b.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tagRow}, UpperBound: []byte{tagRow + 1}})
	if err != nil {
		return nil, err
	}
	it.First()
	return &loader{b: b, iter: it, batch: batchWriter{b: b, clears: clearing{db: b.db}}}, nil
}

// add counts a row and writes it.
func (l *loader) add(e *state.Entry, rank int) error {
	if l.group.hash != e.Hash || l.group.empty() {
		if err := l.endGroup(); err != nil {
			return err
		}
		l.group.begin(e.Hash)
		if err := l.meet(e.Hash); err != nil {
			return err
		}
	}
	l.group.apply(l.b, e, rank, l.row)
	return l.write(e, rank)
}

// meet gathers the rows that are there of a hash.
func (l *loader) meet(hash uint64) error {
	prefix := appendPrefix(nil, hash)
	if l.iter.Valid() && bytes.Compare(l.iter.Key(), prefix) < 0 {
		l.iter.SeekGE(prefix)
	}
	for ; l.iter.Valid() && bytes.HasPrefix(l.iter.Key(), prefix); l.iter.Next() {
		l.group.had(l.b, l.iter.Key(), l.iter.Value())
	}
	return l.iter.Error()
}

// write writes a row to the batch, and from some size on to files.
func (l *loader) write(e *state.Entry, rank int) error {
	if l.files == nil && l.bytes > ingestLoadBytes && e.Hash != l.wrote {
		if err := l.batch.finish(); err != nil {
			return err
		}
		l.files = l.b.newFiles(nil)
	}
	l.wrote = e.Hash
	l.bytes += len(l.row) + len(e.Value)
	if l.files != nil {
		return l.files.add(e, rank)
	}
	return l.batch.add(e, rank)
}

// finish gives the run to the LSM.
func (l *loader) finish() error {
	err := errors.Join(l.endGroup(), l.iter.Close(), l.batch.finish(), l.batch.close())
	if l.files != nil {
		if err != nil {
			return errors.Join(err, l.files.abandon())
		}
		err = l.files.ingest()
	}
	l.b.timers.commit()
	l.b.epoch.Add(1)
	return err
}

func (l *loader) abandon() {
	_ = l.iter.Close()
	_ = l.batch.close()
	if l.files != nil {
		_ = l.files.abandon()
	}
}

// endLoad ends a run, and with the first use the time for Load. A backend that
// was loaded as changed keeps a view of it all for its first barrier.
func (b *Backend) endLoad() {
	if b.loader != nil {
		l := b.loader
		b.loader = nil
		check(l.finish())
	}
	if !b.used && b.loading == state.LoadChanged && b.cold.keys > 0 {
		b.whole = b.db.NewSnapshot()
	}
	b.used = true
}
