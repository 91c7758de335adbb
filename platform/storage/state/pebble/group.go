package pebble

import (
	"bytes"

	"github.com/weirstream/weir/platform/storage/state"
)

// group is what there is of a hash while it is loaded: usually a few rows of one
// key. It counts keys, timers and bytes before and after.
type group struct {
	hash  uint64
	rows  []groupRow
	any   bool
	bytes []byte // of the rows' keys
	at    row
}

type groupRow struct {
	begin, end int // of its key in group.bytes
	size       int // of sub and data
	before     bool
	after      bool
}

func (g *group) empty() bool { return !g.any }

func (g *group) begin(hash uint64) {
	g.hash, g.any = hash, true
	g.rows, g.bytes = g.rows[:0], g.bytes[:0]
}

func (g *group) key(r *groupRow) []byte { return g.bytes[r.begin:r.end] }

func (g *group) append(key []byte, r groupRow) {
	r.begin = len(g.bytes)
	g.bytes = append(g.bytes, key...)
	r.end = len(g.bytes)
	g.rows = append(g.rows, r)
}

// had adds a row that is in the LSM.
func (g *group) had(b *Backend, key, value []byte) {
	g.at.parse(key)
	data, _ := b.value(g.at.rank, value)
	g.append(key, groupRow{size: b.sizeOf(g.at.rank, g.at.sub, data), before: true, after: true})
}

// sizeOf is what a row is counted with; timers are counted as such.
func (sc *schema) sizeOf(rank int, sub, data []byte) int {
	if sc.states[rank].form == 0 {
		return 0
	}
	return len(sub) + len(data)
}

// apply does what an entry does to the rows.
func (g *group) apply(b *Backend, e *state.Entry, rank int, key []byte) {
	clear := b.isClear(e, rank)
	found := -1
	for i := range g.rows {
		r := &g.rows[i]
		switch {
		case clear && bytes.HasPrefix(g.key(r), key[:len(key)-1]):
			r.after = false
		case r.before && bytes.Equal(g.key(r), key):
			// Only rows of the LSM can be equal: those of a run come in order.
			found = i
		}
	}
	switch {
	case clear:
	case found >= 0 && e.Tombstone:
		g.rows[found].after = false
	case e.Tombstone:
	default:
		if found >= 0 {
			g.rows[found].after = false // another takes its place
		}
		g.append(key, groupRow{size: b.sizeOf(rank, e.Sub, e.Value), after: true})
	}
}

// endGroup takes the difference to the disk's account.
func (l *loader) endGroup() error {
	g := &l.group
	if !g.any {
		return nil
	}
	g.any = false
	c := &l.b.cold
	for i := range g.rows {
		r := &g.rows[i]
		g.at.parse(g.key(r))
		timers := 0
		if l.b.states[g.at.rank].form == 0 {
			timers = 1
		}
		if r.before {
			c.bytes -= int64(r.size)
			c.timers -= timers
		}
		if r.after {
			c.bytes += int64(r.size)
			c.timers += timers
		}
	}
	l.countKeys()
	return nil
}

// countKeys counts the keys of a group, and lists their earliest timers.
func (l *loader) countKeys() {
	g := &l.group
	var seen [][]byte
	for i := range g.rows {
		g.at.parse(g.key(&g.rows[i]))
		known := false
		for _, k := range seen {
			known = known || bytes.Equal(k, g.at.key)
		}
		if !known {
			key := bytes.Clone(g.at.key)
			seen = append(seen, key)
			l.countKey(key)
		}
	}
}

func (l *loader) countKey(key []byte) {
	g := &l.group
	var before, after bool
	var first [2][2]*state.Timer // before and after, by kind
	for i := range g.rows {
		r := &g.rows[i]
		g.at.parse(g.key(r))
		if !bytes.Equal(g.at.key, key) {
			continue
		}
		before, after = before || r.before, after || r.after
		if l.b.states[g.at.rank].form != 0 {
			continue
		}
		t, err := state.ParseTimerSub(g.at.sub)
		check(err)
		for when, is := range [2]bool{r.before, r.after} {
			p := &first[when][t.Kind-state.EventTime]
			if is && (*p == nil || earlier(t, **p)) {
				*p = &t
			}
		}
	}
	c := &l.b.cold
	if before {
		c.keys--
		c.bytes -= int64(len(key))
	}
	if after {
		c.keys++
		c.bytes += int64(len(key))
	}
	for i := range first[0] {
		if t := first[0][i]; t != nil {
			l.b.timers.remove(l.b.db, coldTimer{t.Kind, t.Time, g.hash, t.Name, string(key)})
		}
		if t := first[1][i]; t != nil {
			l.b.timers.add(l.b.db, coldTimer{t.Kind, t.Time, g.hash, t.Name, string(key)})
		}
	}
}

func earlier(x, y state.Timer) bool {
	return x.Time < y.Time || x.Time == y.Time && x.Name < y.Name
}
