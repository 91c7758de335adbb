package aggregate

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/key"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/storage/state"
)

// stateRef is a declared state; id 0 is none, since accumulators come first.
type stateRef struct {
	id   int
	name string
}

func (r stateRef) state() state.ID { return state.ID(r.id) }

// extreme is a minimum or a maximum. A fixed-width one stands in the accumulator
// in a form whose order is that of 128-bit integers; text has a state of its own:
//
//	accumulator: | values 8 | extreme 16 | 1 if there is one 8 |
//
// Over a changelog every value stands in a map with its count, the best first:
//
//	entry key:   canonical key bytes of the value, inverted for a maximum
//	entry value: | count 8 | the value as the accumulator or the text state has it |
type extreme struct {
	column
	max    bool
	text   stateRef
	values stateRef

	sub   []byte
	entry []byte
	page  []state.Element
	fixed [wideBytes]byte
}

func (e *extreme) shape() string {
	if e.retracting {
		return e.column.shape() + " of all values"
	}
	return e.column.shape()
}

func (e *extreme) width() int {
	if e.text.id != 0 {
		return valuesBytes
	}
	return valuesBytes + wideBytes + 8
}

func (e *extreme) fold(w *work, i int) error {
	row := int(w.rows[i])
	_, col, ok := e.value(w, i)
	if !ok {
		return nil
	}
	v := e.form(col, row)
	slot := w.slots[w.keys[i]]
	if !e.retracting {
		return e.improve(w, w.keys[i], v)
	}
	e.sub = key.AppendColumn(e.sub[:0], col, row, key.Inner)
	if e.max {
		for j := range e.sub {
			e.sub[j] = ^e.sub[j]
		}
	}
	count := int64(0)
	if entry, ok := w.backend.GetEntry(slot, e.values.state(), e.sub); ok {
		count = load(entry)
	}
	count += w.sign(i)
	switch {
	case count < 0:
		return &native.RowError{Text: fmt.Sprintf("%s: a row takes back a value of column %s that was never there; the input is no consistent changelog", e.aggregate.As, e.aggregate.Column)}
	case count > 0:
		e.entry = binary.LittleEndian.AppendUint64(e.entry[:0], uint64(count))
		e.entry = append(e.entry, v...)
		if err := w.backend.PutEntry(slot, e.values.state(), e.sub, e.entry); err != nil {
			return fmt.Errorf("%s: keep a value of column %s: %w", e.aggregate.As, e.aggregate.Column, err)
		}
		if w.sign(i) > 0 {
			return e.improve(w, w.keys[i], v)
		}
		return nil
	}
	w.backend.DeleteEntry(slot, e.values.state(), e.sub)
	if present, ok := e.present(w, w.keys[i]); !ok || string(present) != string(v) {
		return nil
	}
	e.page = state.ScanPage(w.backend, slot, e.values.state(), nil, 1, e.page[:0])
	if len(e.page) == 0 {
		e.forget(w, w.keys[i])
		return nil
	}
	e.entry = append(e.entry[:0], e.page[0].Value[8:]...) // a view does not outlive a write
	return e.keep(w, w.keys[i], e.entry)
}

// improve takes v if it is the first value or better than the present one.
func (e *extreme) improve(w *work, k uint32, v []byte) error {
	if present, ok := e.present(w, k); ok && !e.better(v, present) {
		return nil
	}
	return e.keep(w, k, v)
}

// present is the extreme so far; false if there is no value.
func (e *extreme) present(w *work, k uint32) ([]byte, bool) {
	if e.text.id != 0 {
		return w.backend.Get(w.slots[k], e.text.state())
	}
	acc := w.accs[k][e.offset+valuesBytes:]
	return acc[:wideBytes], load(acc[wideBytes:]) != 0
}

func (e *extreme) keep(w *work, k uint32, v []byte) error {
	if e.text.id == 0 {
		acc := w.accs[k][e.offset+valuesBytes:]
		copy(acc[:wideBytes], v)
		store(acc[wideBytes:], 1)
		return nil
	}
	if err := w.backend.Put(w.slots[k], e.text.state(), v); err != nil {
		return fmt.Errorf("%s: keep the %s of column %s: %w", e.aggregate.As, e.aggregate.Fn, e.aggregate.Column, err)
	}
	return nil
}

func (e *extreme) forget(w *work, k uint32) {
	if e.text.id == 0 {
		clear(w.accs[k][e.offset+valuesBytes : e.offset+e.width()])
		return
	}
	w.backend.Clear(w.slots[k], e.text.state())
}

func (e *extreme) better(v, than []byte) bool {
	if e.text.id != 0 {
		return e.max == (string(v) > string(than)) && string(v) != string(than)
	}
	a, b := loadWide(v), loadWide(than)
	if e.max {
		a, b = b, a
	}
	return a.less(b)
}

// form is a value as it is kept: text as it is, all else as an ordered integer.
func (e *extreme) form(col *frame.Column, row int) []byte {
	var v wide
	switch e.typ.Kind {
	case schema.Utf8, schema.Binary:
		return col.BytesAt(row)
	case schema.Decimal:
		v.hi, v.lo = col.Decimal(row)
	case schema.Float32, schema.Float64:
		v.hi = orderedFloat(col.FloatAt(row))
	default:
		v.hi = col.IntAt(row)
	}
	storeWide(e.fixed[:], v)
	return e.fixed[:]
}

func (e *extreme) read(w *work, k uint32, v *vector, at int) error {
	acc, ok := e.acc(w, k)
	if !ok {
		v.null(at)
		return nil
	}
	switch e.typ.Kind {
	case schema.Utf8, schema.Binary:
		text, _ := w.backend.Get(w.slots[k], e.text.state())
		if len(v.heap)+len(text) > MaxTextBytes {
			return &native.RowError{Text: fmt.Sprintf("%s: the results of one batch have more than %d MiB of column %s; say per: batch, or shorten the values upstream", e.aggregate.As, MaxTextBytes>>20, e.aggregate.Column)}
		}
		v.bytes(at, text)
	case schema.Decimal:
		v.decimal(at, loadWide(acc))
	case schema.Float32, schema.Float64:
		v.float(at, floatOfOrdered(loadWide(acc).hi))
	default:
		v.integer(at, loadWide(acc).hi)
	}
	return nil
}

// orderedFloat maps floats to integers of the same order: -0 is 0, there is one
// NaN, and it is greater than everything, as in keys.
func orderedFloat(f float64) int64 {
	switch {
	case f == 0:
		return 0
	case f != f:
		return math.MaxInt64
	}
	b := int64(math.Float64bits(f))
	return b ^ int64(uint64(b>>63)>>1)
}

func floatOfOrdered(v int64) float64 {
	if v == math.MaxInt64 {
		return math.NaN()
	}
	return math.Float64frombits(uint64(v ^ int64(uint64(v>>63)>>1)))
}
