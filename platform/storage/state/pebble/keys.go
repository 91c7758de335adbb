package pebble

import (
	"bytes"
	"errors"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/weirstream/weir/platform/storage/state"
)

// keysAtOnce is how many keys a scan of all keys brings to memory at a time.
const keysAtOnce = 256

// Keys yields every live key. The slot of one that is not in memory holds only
// for as long as a few hundred others are yielded.
func (b *Backend) Keys() iter.Seq[state.Slot] {
	return func(yield func(state.Slot) bool) {
		b.endLoad()
		for s := range b.hot.Keys() {
			if !yield(s) {
				return
			}
		}
		if b.cold.keys == 0 {
			return
		}
		snapshot := b.db.NewSnapshot()
		more := true
		for from := []byte{tagRow}; from != nil && more; {
			var slots []state.Slot
			var err error
			slots, from, err = b.coldKeys(snapshot, from)
			check(err)
			b.fill()
			for _, s := range slots {
				if more = !b.hot.IsLive(s) || yield(s); !more {
					break
				}
			}
			before := b.hot.Stats()
			for _, s := range slots {
				b.hot.EvictNow(s, b.going)
			}
			b.toCold(before)
		}
		check(snapshot.Close())
	}
}

// coldKeys makes slots for the next keys that are not in the tier, and says from
// where to go on; nil: there are no more.
func (b *Backend) coldKeys(s *pebble.Snapshot, from []byte) (slots []state.Slot, next []byte, err error) {
	it, err := s.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: []byte{tagRow + 1}})
	if err != nil {
		return nil, nil, err
	}
	var at row
	var last []byte // of the row before: up to its part
	for ok := it.First(); ok; ok = it.Next() {
		if last != nil && bytes.HasPrefix(it.Key(), last) {
			continue
		}
		at.parse(it.Key())
		// A hash is not left halfway: rows of its keys stand between each other.
		if len(slots) >= keysAtOnce && !bytes.HasPrefix(it.Key(), last[:prefixBytes]) {
			next = bytes.Clone(it.Key())
			break
		}
		last = appendKey(last[:0], at.hash, at.rank, at.key)
		if !b.hot.Has(at.key, at.hash) {
			slots = append(slots, b.hot.Slot(at.key, at.hash))
		}
	}
	return slots, next, errors.Join(it.Error(), it.Close())
}

// expiryWalk goes round the rows on disk for ever, so that what nobody reads
// goes away too when it has expired.
type expiryWalk struct {
	iter *pebble.Iterator
	left int // steps with this iterator
}

// expiryStep is how many rows an Advance looks at; expirySteps, how often with
// the same iterator, which keeps files from being deleted.
const (
	expiryStep  = 64
	expirySteps = 256
)

func (w *expiryWalk) close() error {
	if w.iter == nil {
		return nil
	}
	it := w.iter
	w.iter = nil
	return it.Close()
}

// expireCold brings keys to the tier of which something has expired, and takes
// that away, as any other change.
func (b *Backend) expireCold() {
	if b.cold.keys == 0 || !b.expires() {
		return
	}
	w := &b.expiry
	if w.left == 0 || w.iter == nil {
		check(b.renewWalk())
	}
	w.left--
	var at row
	var slots []state.Slot
	for range expiryStep {
		if !w.iter.Valid() {
			check(w.iter.Error())
			w.left = 0
			break
		}
		at.parse(w.iter.Key())
		if _, expires := b.value(at.rank, w.iter.Value()); expires != 0 && expires <= b.clock && !b.hot.Has(at.key, at.hash) {
			slots = append(slots, b.hot.Slot(at.key, at.hash))
		}
		w.iter.Next()
	}
	if slots == nil {
		return
	}
	b.fill()
	for _, s := range slots {
		b.hot.ExpireSlot(s)
	}
}

// renewWalk goes on from where the last iterator stood.
func (b *Backend) renewWalk() error {
	w := &b.expiry
	var from []byte
	if w.iter != nil && w.iter.Valid() {
		from = bytes.Clone(w.iter.Key())
	}
	if err := w.close(); err != nil {
		return err
	}
	it, err := b.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tagRow}, UpperBound: []byte{tagRow + 1}})
	if err != nil {
		return err
	}
	w.iter, w.left = it, expirySteps
	if from != nil {
		it.SeekGE(from)
	} else {
		it.First()
	}
	return nil
}
