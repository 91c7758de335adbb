package udf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"

	"github.com/weirstream/weir/abi/manifest"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/wasmhost"
)

// Limits of what one call may do to hosted state.
const (
	MaxHostedWrites = 1 << 16
	MaxHostedBytes  = 16 << 20
)

// overlay serves a guest's imports. Writes to hosted state wait here until the
// call's causes are consumed, so that reads see them and those of a failed
// cause vanish.
type overlay struct {
	o       *Operator
	lists   []bool // by state: a list, else a map
	writes  []hostedWrite
	bytes   []byte // keys and values of writes
	index   hostedIndex
	appends map[hostedPlace]uint64 // list -> elements appended in this call
	page    []scanEntry
	cursor  state.Cursor

	writesPerCause, bytesPerCause int // of the last call
}

// most is how many causes a call may have, so that it stays well below the limits if they write as much as the last ones.
func (h *overlay) most() int {
	return min(MaxHostedWrites/2/(h.writesPerCause+1), MaxHostedBytes/2/(h.bytesPerCause+1))
}

type hostedOp uint8

const (
	opPut hostedOp = iota
	opDelete
	opAppend
	opClear
)

// hostedPlace is a hosted state of a key of the call.
type hostedPlace struct {
	id   state.ID
	slot uint32
}

type hostedWrite struct {
	place      hostedPlace
	cause      uint32
	op         hostedOp
	key, value span
}

// span is a piece of overlay.bytes.
type span struct{ from, to int }

// appendedKey marks keys of elements that the backend has not numbered yet:
// they sort behind every number that it gives.
const appendedKey = 1 << 63

func (h *overlay) open(o *Operator, f *manifest.Function) {
	h.o = o
	for i := range f.State {
		h.lists = append(h.lists, f.State[i].Kind == manifest.List)
	}
	h.appends = map[hostedPlace]uint64{}
}

func (h *overlay) begin() {
	if len(h.writes) == 0 {
		return
	}
	h.writes, h.bytes = h.writes[:0], h.bytes[:0]
	h.index.reset()
	clear(h.appends)
}

// apply writes what causes below consumed have done to the backend.
func (h *overlay) apply(consumed int) error {
	if consumed > 0 {
		h.writesPerCause, h.bytesPerCause = len(h.writes)/consumed, len(h.bytes)/consumed
	}
	s := h.o.ctx.State
	for i := range h.writes {
		w := &h.writes[i]
		if int(w.cause) >= consumed {
			continue
		}
		slot := h.o.table.slots[w.place.slot]
		var err error
		switch w.op {
		case opPut:
			err = s.PutEntry(slot, w.place.id, h.get(w.key), h.get(w.value))
		case opDelete:
			s.DeleteEntry(slot, w.place.id, h.get(w.key))
		case opAppend:
			err = s.AppendEntry(slot, w.place.id, h.get(w.value))
		case opClear:
			s.Clear(slot, w.place.id)
		}
		if err != nil {
			return fmt.Errorf("write state %s: %w", h.o.sig.States[w.place.id].Name, err)
		}
	}
	return nil
}

func (h *overlay) get(s span) []byte { return h.bytes[s.from:s.to] }

func (h *overlay) keep(b []byte) span {
	from := len(h.bytes)
	h.bytes = append(h.bytes, b...)
	return span{from, len(h.bytes)}
}

// place checks a state number and a slot.
func (h *overlay) place(number, slot uint32) (hostedPlace, error) {
	sig := h.o.sig
	switch {
	case int(number) >= len(sig.States):
		return hostedPlace{}, fmt.Errorf("state %d of function %s: it has %d", number, sig.Name, len(sig.States))
	case sig.States[number].Framed:
		return hostedPlace{}, fmt.Errorf("state %s of function %s is framed: it travels in the call", sig.States[number].Name, sig.Name)
	case int(slot) >= len(h.o.table.slots):
		return hostedPlace{}, fmt.Errorf("slot %d: the call has %d", slot, len(h.o.table.slots))
	}
	return hostedPlace{state.ID(number), slot}, nil
}

func (h *overlay) otherKind(number uint32) error {
	if h.lists[number] {
		return fmt.Errorf("state %s is a list: append to it, scan it or clear it", h.o.sig.States[number].Name)
	}
	return fmt.Errorf("state %s is a map: append is for lists", h.o.sig.States[number].Name)
}

func (h *overlay) write(at wasmhost.Access, number, slot uint32, op hostedOp, key, value []byte) error {
	p, err := h.place(number, slot)
	if err != nil {
		return err
	}
	switch {
	case op != opClear && h.lists[number] != (op == opAppend):
		return h.otherKind(number)
	case int(at.Cause) >= h.o.call.CauseCount():
		return fmt.Errorf("write of state %s outside of a cause: set the progress word first", h.o.sig.States[number].Name)
	case h.o.call.Slot(int(at.Cause)) != slot:
		return fmt.Errorf("write of state %s in slot %d under cause %d, whose slot is %d", h.o.sig.States[number].Name, slot, at.Cause, h.o.call.Slot(int(at.Cause)))
	case len(h.writes) >= MaxHostedWrites:
		return fmt.Errorf("%d writes of hosted state in a call, the limit: return more earlier", MaxHostedWrites)
	case len(h.bytes)+len(key)+len(value) > MaxHostedBytes:
		return fmt.Errorf("%d bytes written to hosted state in a call, the limit: return more earlier", MaxHostedBytes)
	}
	w := hostedWrite{place: p, cause: at.Cause, op: op}
	if op == opAppend {
		var numbered [8]byte
		binary.BigEndian.PutUint64(numbered[:], appendedKey|h.appends[p])
		h.appends[p]++
		w.key = h.keep(numbered[:])
	} else {
		w.key = h.keep(key)
	}
	w.value = h.keep(value)
	h.writes = append(h.writes, w)
	h.index.put(h, len(h.writes)-1)
	return nil
}

// StatePut puts a map entry.
func (h *overlay) StatePut(at wasmhost.Access, number, slot uint32, key, value []byte) error {
	return h.write(at, number, slot, opPut, key, value)
}

// StateDelete removes a map entry.
func (h *overlay) StateDelete(at wasmhost.Access, number, slot uint32, key []byte) error {
	return h.write(at, number, slot, opDelete, key, nil)
}

// StateAppend adds an element to a list.
func (h *overlay) StateAppend(at wasmhost.Access, number, slot uint32, value []byte) error {
	return h.write(at, number, slot, opAppend, nil, value)
}

// StateClear empties a map or list.
func (h *overlay) StateClear(at wasmhost.Access, number, slot uint32) error {
	return h.write(at, number, slot, opClear, nil, nil)
}

// StateGet reads a map entry: this call's writes first, then the backend.
func (h *overlay) StateGet(_ wasmhost.Access, number, slot uint32, key, dst []byte) (int64, error) {
	p, err := h.place(number, slot)
	if err != nil {
		return 0, err
	}
	if h.lists[number] {
		return 0, h.otherKind(number)
	}
	value, ok := h.read(p, key)
	if !ok {
		return -1, nil
	}
	if len(value) <= len(dst) {
		copy(dst, value)
	}
	return int64(len(value)), nil
}

func (h *overlay) read(p hostedPlace, key []byte) ([]byte, bool) {
	cleared := h.index.cleared(h, p)
	if i := h.index.find(h, p, key); i > cleared {
		w := &h.writes[i]
		return h.get(w.value), w.op != opDelete
	}
	if cleared >= 0 {
		return nil, false
	}
	return h.o.ctx.State.GetEntry(h.o.table.slots[p.slot], p.id, key)
}

type scanEntry struct{ key, value []byte }

// StateScan writes a page: backend and this call's writes merged, in the order of keys.
func (h *overlay) StateScan(_ wasmhost.Access, number, slot uint32, after, dst []byte) (entries, size uint32, err error) {
	p, err := h.place(number, slot)
	if err != nil {
		return 0, 0, err
	}
	cleared := h.index.cleared(h, p)
	fresh := h.fresh(p, after, cleared)
	used := 0
	put := func(key, value []byte) bool {
		need := 8 + (len(key)+len(value)+7)&^7
		if used+need > len(dst) {
			if entries == 0 {
				size = uint32(need)
			}
			return false
		}
		b := dst[used : used+need]
		binary.LittleEndian.PutUint32(b, uint32(len(key)))
		binary.LittleEndian.PutUint32(b[4:], uint32(len(value)))
		n := 8 + copy(b[8:], key)
		n += copy(b[n:], value)
		clear(b[n:])
		used += need
		entries++
		size = uint32(used)
		return true
	}
	next := 0
	// upTo writes the fresh entries below a key; a deleted one is passed over.
	upTo := func(key []byte) bool {
		for ; next < len(fresh) && (key == nil || bytes.Compare(fresh[next].key, key) < 0); next++ {
			if fresh[next].value != nil && !put(fresh[next].key, fresh[next].value) {
				return false
			}
		}
		return true
	}
	if cleared < 0 {
		h.cursor.Begin(h.o.ctx.State, h.o.table.slots[p.slot], p.id, after)
		for key, value, ok := h.cursor.Next(); ok; key, value, ok = h.cursor.Next() {
			if !upTo(key) {
				return entries, size, nil
			}
			if next < len(fresh) && bytes.Equal(fresh[next].key, key) {
				continue // overwritten or deleted in this call; upTo takes it
			}
			if !put(key, value) {
				return entries, size, nil
			}
		}
	}
	upTo(nil)
	return entries, size, nil
}

// fresh gives the last write of every key of a place behind `after`, in order;
// a nil value is a deletion.
func (h *overlay) fresh(p hostedPlace, after []byte, cleared int) []scanEntry {
	h.page = h.page[:0]
	for i := cleared + 1; i < len(h.writes); i++ {
		w := &h.writes[i]
		key := h.get(w.key)
		if w.place != p || w.op == opClear || h.index.find(h, p, key) != i || after != nil && bytes.Compare(key, after) <= 0 {
			continue
		}
		e := scanEntry{key: key}
		if w.op != opDelete {
			e.value = h.bytes[w.value.from:w.value.to:w.value.to]
			if e.value == nil {
				e.value = emptyValue
			}
		}
		h.page = append(h.page, e)
	}
	slices.SortFunc(h.page, func(a, b scanEntry) int { return bytes.Compare(a.key, b.key) })
	return h.page
}

// Log passes a line of the guest on.
func (h *overlay) Log(level int, line []byte) {
	levels := [...]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
	h.o.ctx.Log.Log(noContext, levels[min(max(level, 0), len(levels)-1)], string(line))
}

// Metric passes a metric of the guest on.
func (h *overlay) Metric(kind int, name []byte, value float64) {
	if h.o.deps.Metrics != nil {
		h.o.deps.Metrics.Metric(h.o.ctx.PipelineUID, h.o.ctx.Operator, kind == wasmhost.MetricGauge, string(name), value)
	}
}
