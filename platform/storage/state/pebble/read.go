package pebble

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/weirstream/weir/platform/storage/state"
)

// A batch's misses are read by up to maxReaders at a time, each of which has at
// least readerMisses: fewer do not pay for the start of a goroutine.
const (
	maxReaders   = 4
	readerMisses = 64
)

// miss is a slot that is to be filled.
type miss struct {
	hash uint64
	slot state.Slot
}

// reader reads a part of a batch's misses.
type reader struct {
	db     *pebble.DB
	iter   *pebble.Iterator
	epoch  uint64 // of the iterator
	misses []miss
	prefix []byte
	row    row
	bytes  []byte // of found
	found  []found
	err    error
}

// found is a row: its slices lie one behind the other in reader.bytes.
type found struct {
	miss                 uint32
	rank                 uint8
	key, sub, value, end uint32
}

func (r *reader) close() error {
	if r.iter == nil {
		return nil
	}
	it := r.iter
	r.iter = nil
	return it.Close()
}

// renew opens an iterator that sees all that was merged. An older one is as
// good, and costs nothing, as long as nothing was.
func (r *reader) renew(b *Backend) error {
	epoch := b.epoch.Load()
	if r.iter != nil && r.epoch == epoch {
		return nil
	}
	if err := r.close(); err != nil {
		return err
	}
	var err error
	r.db, r.epoch = b.db, epoch
	r.iter, err = b.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tagRow}, UpperBound: []byte{tagRow + 1}, UseL6Filters: b.store.filters(b.cold.keys)})
	return err
}

// rest closes an iterator that is not used now and does not see what is there.
func (r *reader) rest(b *Backend) error {
	if r.epoch == b.epoch.Load() {
		return nil
	}
	return r.close()
}

func (r *reader) read(b *Backend) {
	r.bytes, r.found = r.bytes[:0], r.found[:0]
	if r.err = r.renew(b); r.err != nil {
		return
	}
	for i, m := range r.misses {
		if i > 0 && m.hash == r.misses[i-1].hash {
			continue // its rows were found with the other's
		}
		r.prefix = appendPrefix(r.prefix[:0], m.hash)
		for ok := r.iter.SeekPrefixGE(r.prefix); ok; ok = r.iter.Next() {
			value, err := r.iter.ValueAndErr()
			if err != nil {
				r.err = err
				return
			}
			r.row.parse(r.iter.Key())
			f := found{miss: uint32(i), rank: uint8(r.row.rank), key: uint32(len(r.bytes))}
			r.bytes = append(r.bytes, r.row.key...)
			f.sub = uint32(len(r.bytes))
			r.bytes = append(r.bytes, r.row.sub...)
			f.value = uint32(len(r.bytes))
			r.bytes = append(r.bytes, value...)
			f.end = uint32(len(r.bytes))
			r.found = append(r.found, f)
		}
	}
	r.err = r.iter.Error()
}

// fill brings to the slots that are new what is on disk of them, and says how
// many they were.
func (b *Backend) fill() int {
	fresh := b.hot.Fresh()
	if len(fresh) == 0 {
		return 0
	}
	b.filled += len(fresh)
	b.misc = b.misc[:0]
	for _, s := range fresh {
		if b.cold.keys == 0 {
			b.hot.Filled(s)
			continue
		}
		_, hash := b.hot.Key(s)
		b.misc = append(b.misc, miss{hash, s})
	}
	if len(b.misc) == 0 {
		return len(fresh)
	}
	n := len(fresh)
	slices.SortFunc(b.misc, func(x, y miss) int { return cmp.Compare(x.hash, y.hash) })
	b.readMisses()
	for i := range b.readers {
		b.take(&b.readers[i])
	}
	for _, m := range b.misc {
		b.filledFrom(m.slot)
	}
	for _, s := range b.hot.Fresh() { // other keys of the same hashes
		b.filledFrom(s)
	}
	b.timers.commit()
	return n
}

// readMisses deals the misses out in ranges that no hash is in two of.
func (b *Backend) readMisses() {
	if b.readers == nil {
		b.readers = make([]reader, maxReaders)
	}
	n := min(maxReaders, 1+len(b.misc)/readerMisses)
	rest := b.misc
	for i := range b.readers {
		part := len(rest) / max(1, n-i)
		for part > 0 && part < len(rest) && rest[part].hash == rest[part-1].hash {
			part++
		}
		b.readers[i].misses, rest = rest[:part], rest[part:]
	}
	var errs []error
	for i := n; i < len(b.readers); i++ {
		errs = append(errs, b.readers[i].rest(b)) // it would keep files that were merged into others
	}
	var beside sync.WaitGroup
	for i := 1; i < n; i++ {
		r := &b.readers[i]
		beside.Go(func() { r.read(b) })
	}
	b.readers[0].read(b)
	beside.Wait()
	for i := range n {
		errs = append(errs, b.readers[i].err)
	}
	check(errors.Join(errs...))
}

// take brings a reader's rows into their slots. Rows of keys of the same hash
// stand between each other; those of a key that was here before are passed over,
// since it may have changed.
func (b *Backend) take(r *reader) {
	for i := range r.found {
		f := &r.found[i]
		m := r.misses[f.miss]
		key, sub, value := r.bytes[f.key:f.sub], r.bytes[f.sub:f.value:f.value], r.bytes[f.value:f.end]
		s := m.slot
		if known, _ := b.hot.Key(s); !bytes.Equal(known, key) {
			s = b.hot.Slot(key, m.hash)
		}
		if b.hot.IsFresh(s) {
			b.bring(s, int(f.rank), sub, value)
		}
	}
	r.found = r.found[:0]
}

// filledFrom ends what Fresh began: a key of which something was found is in the
// tier now.
func (b *Backend) filledFrom(s state.Slot) {
	if b.hot.HoldsSomething(s) {
		key, _ := b.hot.Key(s)
		b.cold.keys--
		b.cold.bytes -= int64(len(key))
	}
	b.hot.Filled(s)
}

// bring takes a row from the disk's account to the tier's.
func (b *Backend) bring(s state.Slot, rank int, sub, value []byte) {
	d := &b.states[rank]
	if d.form == 0 {
		t, err := state.ParseTimerSub(sub)
		check(err)
		if _, any := b.hot.FirstTimer(s, t.Kind); !any {
			key, hash := b.hot.Key(s)
			b.timers.remove(b.db, coldTimer{t.Kind, t.Time, hash, t.Name, string(key)})
		}
		b.hot.BringTimer(s, t)
		b.cold.timers--
		return
	}
	data, expires := b.value(rank, value)
	check(b.hot.Bring(s, d.id, sub, data, expires))
	b.cold.bytes -= int64(len(sub) + len(data))
}
