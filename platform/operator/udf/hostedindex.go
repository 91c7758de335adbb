package udf

import (
	"bytes"
	"context"

	"github.com/weirstream/weir/abi/key"
)

var noContext = context.Background()

// hostedIndex finds the last write of a key in an overlay: an open-addressed
// table of positions in overlay.writes, emptied with the call. Clears stand under the empty key of
// their own kind, so that the last clear of a place is found the same way.
type hostedIndex struct {
	table []int32 // position + 1; 0: free
	used  int
}

func (x *hostedIndex) reset() {
	clear(x.table)
	x.used = 0
}

// find gives the position of the last put, deletion or append of a key, or -1.
func (x *hostedIndex) find(h *overlay, p hostedPlace, k []byte) int { return x.lookup(h, p, k, false) }

// cleared gives the position of the last clear of a place, or -1.
func (x *hostedIndex) cleared(h *overlay, p hostedPlace) int { return x.lookup(h, p, nil, true) }

func (x *hostedIndex) lookup(h *overlay, p hostedPlace, k []byte, clears bool) int {
	if x.used == 0 {
		return -1
	}
	return int(x.table[x.place(h, p, k, clears)]) - 1
}

// put makes write i the last one of its key.
func (x *hostedIndex) put(h *overlay, i int) {
	if 2*(x.used+1) > len(x.table) {
		x.grow(h)
	}
	w := &h.writes[i]
	at := x.place(h, w.place, h.get(w.key), w.op == opClear)
	if x.table[at] == 0 {
		x.used++
	}
	x.table[at] = int32(i + 1)
}

func (x *hostedIndex) grow(h *overlay) {
	old := x.table
	x.table = make([]int32, max(64, 2*len(old)))
	for _, e := range old {
		if e != 0 {
			w := &h.writes[e-1]
			x.table[x.place(h, w.place, h.get(w.key), w.op == opClear)] = e
		}
	}
}

// place is where the key stands, or would.
func (x *hostedIndex) place(h *overlay, p hostedPlace, k []byte, clears bool) int {
	hash := key.Hash(k) ^ uint64(p.slot)*0x9e3779b97f4a7c15 ^ uint64(p.id)<<32
	if clears {
		hash = ^hash
	}
	mask := len(x.table) - 1
	for at := int(hash>>17) & mask; ; at = (at + 1) & mask {
		e := x.table[at]
		if e == 0 {
			return at
		}
		w := &h.writes[e-1]
		if w.place == p && (w.op == opClear) == clears && bytes.Equal(h.get(w.key), k) {
			return at
		}
	}
}
