package pebble

import (
	"cmp"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/tidwall/btree"

	"github.com/weirstream/weir/platform/storage/state"
)

// Timers of a key stand with its other rows and are in the tier when it is. Of a
// key that is not, the earliest timer of each kind has a row of its own, ordered
// by time, so that what is due next is known without the keys:
//
//	key: | 2 | kind 1 | time 8, sign flipped | hash 8 | name 2 | canonical key |
//
// The first of these rows of each kind, the window, are in memory.
const (
	windowTimers  = 4096
	timerKeyBytes = 20
)

type coldTimer struct {
	kind state.TimerKind
	time int64
	hash uint64
	name uint16
	key  string
}

func (t coldTimer) append(dst []byte) []byte {
	dst = append(dst, tagTimer, byte(t.kind))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.time)^1<<63)
	dst = binary.BigEndian.AppendUint64(dst, t.hash)
	dst = binary.BigEndian.AppendUint16(dst, t.name)
	return append(dst, t.key...)
}

func parseColdTimer(b []byte) coldTimer {
	return coldTimer{
		kind: state.TimerKind(b[1]), time: int64(binary.BigEndian.Uint64(b[2:]) ^ 1<<63),
		hash: binary.BigEndian.Uint64(b[10:]), name: binary.BigEndian.Uint16(b[18:]), key: string(b[timerKeyBytes:]),
	}
}

func compareCold(x, y coldTimer) int {
	return cmp.Or(cmp.Compare(x.time, y.time), cmp.Compare(x.hash, y.hash), cmp.Compare(x.name, y.name), strings.Compare(x.key, y.key))
}

// coldTimers are the rows of keys that are not in the tier.
type coldTimers struct {
	windows [2]window
	batch   *pebble.Batch // not committed yet
	row     []byte
}

// window holds the rows of a kind that come before end.
type window struct {
	timers *btree.BTreeG[coldTimer]
	end    coldTimer
	whole  bool // there is no end: the window holds every row
}

func (c *coldTimers) init() {
	for i := range c.windows {
		c.windows[i] = window{
			timers: btree.NewBTreeGOptions(func(x, y coldTimer) bool { return compareCold(x, y) < 0 }, btree.Options{NoLocks: true}),
			whole:  true,
		}
	}
}

func (c *coldTimers) of(kind state.TimerKind) *window { return &c.windows[kind-state.EventTime] }

// add is for a key that leaves the tier.
func (c *coldTimers) add(db *pebble.DB, t coldTimer) {
	c.begin(db)
	c.row = t.append(c.row[:0])
	check(c.batch.Set(c.row, nil, nil))
	w := c.of(t.kind)
	if !w.whole && compareCold(t, w.end) >= 0 {
		return
	}
	w.timers.Set(t)
	if w.timers.Len() > 2*windowTimers {
		w.whole = false
		for w.timers.Len() > windowTimers {
			w.end, _ = w.timers.PopMax()
		}
	}
}

// remove is for a key that comes to the tier.
func (c *coldTimers) remove(db *pebble.DB, t coldTimer) {
	c.begin(db)
	c.row = t.append(c.row[:0])
	check(c.batch.Delete(c.row, nil))
	c.of(t.kind).timers.Delete(t)
}

func (c *coldTimers) begin(db *pebble.DB) {
	if c.batch != nil && c.batch.Len() > batchBytes {
		c.commit()
	}
	if c.batch == nil {
		c.batch = db.NewBatch()
	}
}

func (c *coldTimers) commit() {
	if c.batch == nil {
		return
	}
	check(errors.Join(c.batch.Commit(pebble.NoSync), c.batch.Close()))
	c.batch = nil
}

// first is the earliest row of a kind.
func (c *coldTimers) first(db *pebble.DB, kind state.TimerKind) (coldTimer, bool) {
	w := c.of(kind)
	if w.timers.Len() == 0 && !w.whole {
		c.commit()
		check(c.move(db, w, kind))
	}
	return w.timers.Min()
}

// move reads the rows that follow the window's end.
func (c *coldTimers) move(db *pebble.DB, w *window, kind state.TimerKind) error {
	w.end.kind = kind
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: w.end.append(nil), UpperBound: []byte{tagTimer, byte(kind) + 1}})
	if err != nil {
		return err
	}
	w.whole = true
	for ok := it.First(); ok; ok = it.Next() {
		t := parseColdTimer(it.Key())
		if w.timers.Len() == windowTimers {
			w.end, w.whole = t, false
			break
		}
		w.timers.Set(t)
	}
	return errors.Join(it.Error(), it.Close())
}

// Due brings the keys to the tier whose timers may be among those that it yields.
func (b *Backend) Due(kind state.TimerKind, upTo int64, limit int, out []state.Firing) []state.Firing {
	b.endLoad()
	for range limit {
		t, any := b.timers.first(b.db, kind)
		if !any || t.time > upTo {
			break
		}
		b.timers.of(kind).timers.Delete(t)
		b.hot.Slot([]byte(t.key), t.hash)
	}
	b.fill()
	return b.hot.Due(kind, upTo, limit, out)
}

// NextTimer is the earliest timer of a kind.
func (b *Backend) NextTimer(kind state.TimerKind) (int64, bool) {
	b.endLoad()
	at, any := b.hot.NextTimer(kind)
	if cold, more := b.timers.first(b.db, kind); more && (!any || cold.time < at) {
		return cold.time, true
	}
	return at, any
}
