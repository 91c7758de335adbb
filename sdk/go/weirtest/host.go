package weirtest

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
)

// The imports of a module, as the harness serves them.

// imports is the harness as the function meets it.
type imports struct{ *Harness }

var levels = [...]string{"debug", "info", "warn", "error"}

// Log implements guest.Host.
func (h imports) Log(level uint32, line string) {
	if h.overlay != nil {
		h.overlay.lines = append(h.overlay.lines, levels[level]+": "+line)
	}
}

// Metric implements guest.Host.
func (h imports) Metric(kind uint32, name string, value float64) {
	h.overlay.sums = append(h.overlay.sums, metric{name, kind == 1, value})
}

// StateGet implements guest.Host.
func (h imports) StateGet(state, slot uint32, key, buf []byte) int {
	v, ok := h.hosted(state, slot)[string(key)]
	if !ok {
		return -1
	}
	if len(v) <= len(buf) {
		copy(buf, v)
	}
	return len(v)
}

// StatePut implements guest.Host.
func (h imports) StatePut(state, slot uint32, key, value []byte) {
	h.book(hostedOp{state: state, slot: slot, key: string(key), value: bytes.Clone(value)})
}

// StateDelete implements guest.Host.
func (h imports) StateDelete(state, slot uint32, key []byte) {
	h.book(hostedOp{state: state, slot: slot, key: string(key), drop: true})
}

// StateAppend implements guest.Host.
func (h imports) StateAppend(state, slot uint32, value []byte) {
	h.hosted(state, slot)
	id := [2]uint32{state, slot}
	key := binary.BigEndian.AppendUint64(nil, h.overlay.next[id])
	h.overlay.next[id]++
	h.book(hostedOp{state: state, slot: slot, key: string(key), value: bytes.Clone(value)})
}

// StateClear implements guest.Host.
func (h imports) StateClear(state, slot uint32) {
	h.book(hostedOp{state: state, slot: slot, clear: true})
}

// StateScan implements guest.Host. Pages are small, so that a function meets their ends.
func (h imports) StateScan(state, slot uint32, after, buf []byte) (entries, size int) {
	const page = 3
	m := h.hosted(state, slot)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if after != nil && k <= string(after) {
			continue
		}
		need := (8 + len(k) + len(m[k]) + 7) &^ 7
		if size+need > len(buf) {
			if entries == 0 {
				return 0, need
			}
			return entries, size
		}
		le.PutUint32(buf[size:], uint32(len(k)))
		le.PutUint32(buf[size+4:], uint32(len(m[k])))
		copy(buf[size+8:], k)
		copy(buf[size+8+len(k):], m[k])
		size += need
		if entries++; entries == page {
			break
		}
	}
	return entries, size
}
