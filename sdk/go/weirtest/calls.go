package weirtest

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/weirstream/weir/sdk/go/internal/guest"
)

const (
	causeEvent      = 2
	causeProcessing = 3
	maxOutput       = 8 << 20
	maxBatch        = 40
)

// batch is what a call is about, in causes that can be cut.
type batch struct {
	input   int
	rows    []queued
	firings []fired
}

func (b *batch) len() int { return max(len(b.rows), len(b.firings)) }

func (b *batch) cut(from, to int) *batch {
	c := &batch{input: b.input}
	if b.rows != nil {
		c.rows = b.rows[from:to]
	} else {
		c.firings = b.firings[from:to]
	}
	return c
}

// flush hands the queued rows to the function, cut at random.
func (h *Harness) flush() {
	h.t.Helper()
	for len(h.pending) > 0 {
		n := 1
		for n < len(h.pending) && h.pending[n].input == h.pending[0].input {
			n++
		}
		if !h.settled {
			n = 1 + h.rng.IntN(min(n, maxBatch))
		}
		b := &batch{input: h.pending[0].input, rows: h.pending[:n:n]}
		h.pending = h.pending[n:]
		for _, r := range b.rows {
			h.newest = max(h.newest, r.time)
		}
		h.run(b)
		h.fire()
		if h.lateness >= 0 && h.newest != noTime && (h.settled || h.rng.IntN(3) > 0) {
			// All rows newer than this watermark may still come; those at it may not.
			h.advance(max(h.watermark, h.newest-h.lateness.Microseconds()-1))
		}
	}
}

func (h *Harness) callFirings(due []fired) {
	h.t.Helper()
	for _, f := range due {
		delete(f.key.timers, f.timer)
	}
	h.run(&batch{firings: due})
}

// run calls until all causes of a batch are done.
func (h *Harness) run(b *batch) {
	h.t.Helper()
	for b.len() > 0 {
		if !h.settled && h.rng.IntN(4) == 0 {
			h.open()
		}
		frame, slots := h.encode(b)
		seen, answer, trap := h.call(frame, slots)
		if trap != "" {
			at := int(guest.Progress)
			if at >= b.len() {
				h.t.Fatalf("function %s: %s", h.fn.Name, trap)
			}
			// As the host does it: what was before it on a fresh instance, then the culprit is known.
			h.open()
			h.run(b.cut(0, at))
			h.fail(b, at, trap, true)
			b = b.cut(at+1, b.len())
			continue
		}
		// The second call always: a test with few calls should find a counter in a package variable too.
		if h.calls++; !h.settled && (h.calls == 2 || h.rng.IntN(3) == 0) {
			h.repeat(frame, slots, answer)
		}
		consumed, failed, err := h.take(b, seen, answer)
		if err != nil {
			h.t.Fatalf("function %s: effects: %v", h.fn.Name, err)
		}
		if failed != "" {
			h.fail(b, consumed, failed, false)
			consumed++
		}
		b = b.cut(consumed, b.len())
	}
}

func (h *Harness) fail(b *batch, at int, text string, trap bool) {
	f := Failure{Text: text, Trap: trap}
	if b.rows != nil {
		f.Input, f.Row = h.fn.Inputs[b.input].Name, b.rows[at].values
	} else {
		f.Row = b.firings[at].key.values
	}
	h.failures = append(h.failures, f)
}

// call runs one call. A panic comes back as trap.
func (h *Harness) call(frame []byte, slots []*keyState) (seen *overlay, answer []byte, trap string) {
	h.overlay = &overlay{slots: slots, copies: map[[2]uint32]map[string][]byte{}, next: map[[2]uint32]uint64{}}
	seen = h.overlay
	defer func() { h.overlay = nil }()
	// The guest may overwrite its argument; a repetition needs the original.
	argument := bytes.Clone(frame)
	guest.Enter(imports{h}, func() {
		defer func() {
			if r := recover(); r != nil {
				trap = fmt.Sprintf("panic: %v\n%s", r, debug.Stack())
			}
		}()
		answer = bytes.Clone(h.instance.Call(h.handle, argument))
	})
	// Rows were views of this memory: a function that kept one now reads this.
	for i := range argument {
		argument[i] = 0xdb
	}
	return seen, answer, trap
}

// repeat makes the call once more, on a fresh instance, as after a crash. A function that keeps nothing but its state answers the same.
func (h *Harness) repeat(frame []byte, slots []*keyState, answer []byte) {
	h.t.Helper()
	h.open()
	_, again, trap := h.call(frame, slots)
	if trap == "" && bytes.Equal(again, answer) {
		return
	}
	h.t.Fatalf("function %s answered the same call differently the second time: it keeps something outside of its state (a package variable, a cache), or depends on chance "+
		"other than Context.Rand (the order of a Go map, time.Now); seed %d", h.fn.Name, h.seed)
}

// encode writes the frame of a call.
func (h *Harness) encode(b *batch) (frame []byte, slots []*keyState) {
	h.t.Helper()
	must := func(body []byte, err error) []byte {
		h.t.Helper()
		if err != nil {
			h.t.Fatalf("function %s: frame of a call: %v", h.fn.Name, err)
		}
		return body
	}
	var sections []section
	var rowSlots, causes, times, kinds []byte
	known := map[string]uint32{}
	slotOf := func(values []any) uint32 {
		id, k := h.keyOf(values)
		slot, ok := known[id]
		if !ok {
			slot = uint32(len(slots))
			known[id] = slot
			slots = append(slots, k)
			h.expire(k)
		}
		return slot
	}
	keyed := len(h.fn.key) > 0
	if b.rows != nil {
		in := h.fn.Inputs[b.input]
		columns := make([][]any, len(in.cols))
		for _, r := range b.rows {
			for i, v := range r.values {
				columns[i] = append(columns[i], v)
			}
			times = le.AppendUint64(times, uint64(r.time))
			kinds = append(kinds, byte(r.kind))
			if keyed {
				var key []any
				for _, k := range in.Key {
					key = append(key, r.values[indexOf(in.cols, k)])
				}
				rowSlots = le.AppendUint32(rowSlots, slotOf(key))
			}
		}
		sections = append(sections, section{id: 2, index: uint32(b.input), must: true, body: must(encodeBlock(in.cols, columns, len(b.rows)))}, section{id: 5, body: times})
		if h.changelog() {
			sections = append(sections, section{id: 9, must: true, body: kinds})
		}
		if keyed {
			sections = append(sections, section{id: 4, must: true, body: rowSlots})
		}
	}
	for _, f := range b.firings {
		kind := byte(causeEvent)
		if h.fn.Timers[f.number].Kind == "processing" {
			kind = causeProcessing
		}
		causes = append(causes, kind, 0)
		causes = le.AppendUint16(causes, uint16(f.number))
		causes = le.AppendUint32(causes, slotOf(f.key.values))
		causes = le.AppendUint64(causes, 0)
		causes = le.AppendUint64(causes, uint64(f.time))
	}
	if causes != nil {
		sections = append(sections, section{id: 3, must: true, body: causes})
	}
	if keyed {
		sections = append(sections, h.keySections(slots)...)
	}
	head := le.AppendUint64(nil, uint64(h.clock))
	head = le.AppendUint64(head, uint64(h.watermark))
	head = le.AppendUint64(head, h.rng.Uint64())
	for _, v := range []int{b.len(), len(slots), 1, 0, 255, maxOutput, 0} {
		head = le.AppendUint32(head, uint32(v))
	}
	head = append(head, make([]byte, 64-len(head))...)
	sections = append([]section{{id: 1, must: true, body: head}}, sections...)
	return encodeContainer(1, sections...), slots
}

var stateSchema = []column{{"value", typ{name: "binary", null: true}}}

func (h *Harness) keySections(slots []*keyState) []section {
	h.t.Helper()
	columns := make([][]any, len(h.fn.key))
	for _, k := range slots {
		for i, v := range k.values {
			columns[i] = append(columns[i], v)
		}
	}
	keys, err := encodeBlock(h.fn.key, columns, len(slots))
	if err != nil {
		h.t.Fatalf("function %s: keys: %v", h.fn.Name, err)
	}
	sections := []section{{id: 6, must: true, body: keys}}
	for i, s := range h.fn.State {
		if s.Form != "framed" {
			continue
		}
		values := make([]any, len(slots))
		for j, k := range slots {
			if k.framed[i] != nil {
				values[j] = k.framed[i]
			}
		}
		body, err := encodeBlock(stateSchema, [][]any{values}, len(slots))
		if err != nil {
			h.t.Fatalf("function %s: state %s: %v", h.fn.Name, s.Name, err)
		}
		sections = append(sections, section{id: 7, index: uint32(i), must: true, body: body})
	}
	return sections
}

// Timestamp is a timestamp column's value as a time.
func Timestamp(v any) time.Time {
	us, ok := v.(int64)
	if !ok {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func isSorted(causes []uint32, consumed int) bool {
	return slices.IsSorted(causes) && (len(causes) == 0 || int(causes[len(causes)-1]) < consumed)
}
