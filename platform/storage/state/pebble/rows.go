package pebble

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/weirstream/weir/platform/storage/state"
)

// A row of the LSM is a line of a segment. Rows are ordered as lines are, so
// that a sorted generation is a sorted file, and key groups are ranges:
//
//	key:   | 1 | hash 8 | rank 1 | canonical key, escaped | 0 1 | part |
//	value: | expiry 8, if the state has a time to live | data |
//
// Rank is the place of the state's name among the sorted names. In a key's bytes
// 0 is escaped as 0 255. Part is nothing for a Single state, and 1 and the sub
// for entries and timers. The part 0 is never set: a run has its deletion where
// all entries of a state were cleared.
//
// A key that is not in the tier also has a row for its earliest timer of each
// kind, see timers.go.
const (
	tagRow   = 1
	tagTimer = 2

	prefixBytes = 9 // tag and hash: what filters know
	rankAt      = prefixBytes
	keyAt       = rankAt + 1
	expiryBytes = 8

	partClear = 0
	partEntry = 1
)

// schema ties states to ranks.
type schema struct {
	ranks  []uint8 // by id
	states []rank
}

type rank struct {
	name      string
	id        state.ID
	form      state.Form // 0: timers
	ttlMicros int64
}

func newSchema(descriptors []state.Descriptor) schema {
	sc := schema{ranks: make([]uint8, len(descriptors)), states: []rank{{name: state.TimerState}}}
	for i, d := range descriptors {
		r := rank{name: d.Name, id: state.ID(i), form: d.Form}
		if d.TTLOn != state.TTLNever {
			r.ttlMicros = d.TTLMs * 1000
		}
		sc.states = append(sc.states, r)
	}
	slices.SortFunc(sc.states, func(x, y rank) int { return bytes.Compare([]byte(x.name), []byte(y.name)) })
	for i, r := range sc.states {
		if r.form != 0 {
			sc.ranks[r.id] = uint8(i)
		}
	}
	return sc
}

// rankOf finds a state by its name, which is most often that of the last call.
func (sc *schema) rankOf(name string, last int) int {
	if last >= 0 && sc.states[last].name == name {
		return last
	}
	return slices.IndexFunc(sc.states, func(r rank) bool { return r.name == name })
}

func (sc *schema) expires() bool {
	return slices.ContainsFunc(sc.states, func(r rank) bool { return r.ttlMicros > 0 })
}

func appendPrefix(dst []byte, hash uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tagRow), hash)
}

// appendKey appends a row's key up to its part.
func appendKey(dst []byte, hash uint64, rank int, key []byte) []byte {
	dst = append(appendPrefix(dst, hash), byte(rank))
	for {
		i := bytes.IndexByte(key, 0)
		if i < 0 {
			return append(append(dst, key...), 0, 1)
		}
		dst = append(append(dst, key[:i]...), 0, 255)
		key = key[i+1:]
	}
}

func (sc *schema) appendRow(dst []byte, e *state.Entry, rank int) []byte {
	dst = appendKey(dst, e.Hash, rank, e.Key)
	switch {
	case sc.states[rank].form == state.Single:
		return dst
	case e.Sub == nil:
		return append(dst, partClear)
	}
	return append(append(dst, partEntry), e.Sub...)
}

func (sc *schema) appendValue(dst []byte, e *state.Entry, rank int) []byte {
	if sc.states[rank].ttlMicros > 0 {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Expires))
	}
	return append(dst, e.Value...)
}

// row is a row's key taken apart. Its slices are of that key, or of spare.
type row struct {
	hash  uint64
	rank  int
	key   []byte
	sub   []byte // nil: Single, or clear
	spare []byte
}

// parse takes rows apart that this process has written; files are checksummed.
func (r *row) parse(b []byte) {
	r.hash = binary.BigEndian.Uint64(b[1:])
	r.rank = int(b[rankAt])
	b = b[keyAt:]
	end := bytes.IndexByte(b, 0)
	if b[end+1] == 1 {
		r.key = b[:end]
	} else {
		r.spare = r.spare[:0]
		for b[end+1] == 255 {
			r.spare = append(append(r.spare, b[:end]...), 0)
			b = b[end+2:]
			end = bytes.IndexByte(b, 0)
		}
		r.spare = append(r.spare, b[:end]...)
		r.key = r.spare
	}
	part := b[end+2:]
	r.sub = nil
	if len(part) > 0 && part[0] == partEntry {
		r.sub = part[1:]
	}
}

// entry makes an entry of a row and its value.
func (sc *schema) entry(r *row, value []byte) state.Entry {
	e := state.Entry{Hash: r.hash, State: sc.states[r.rank].name, Key: r.key, Sub: r.sub}
	e.Value, e.Expires = sc.value(r.rank, value)
	return e
}

func (sc *schema) value(rank int, value []byte) (data []byte, expires int64) {
	if sc.states[rank].ttlMicros > 0 {
		return value[expiryBytes:], int64(binary.LittleEndian.Uint64(value))
	}
	return value, 0
}
