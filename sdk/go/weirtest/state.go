package weirtest

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/guest"
	"github.com/weirstream/weir/sdk/go/internal/record"
)

// keyState is all the harness keeps for one key.
type keyState struct {
	values []any
	framed [][]byte // by state; nil: absent
	hosted []map[string][]byte
	next   []uint64 // by state: the number of a list's next element
	stamps []int64  // framed, by state: the clock when its TTL began
	since  []map[string]int64
	timers map[timer]bool
}

type timer struct {
	number int
	time   int64
}

func (h *Harness) keyOf(values []any) (string, *keyState) {
	id := string(canonicalKey(h.fn.key, values))
	k := h.keys[id]
	if k == nil {
		n := len(h.fn.State)
		k = &keyState{values: values, framed: make([][]byte, n), hosted: make([]map[string][]byte, n), next: make([]uint64, n), stamps: make([]int64, n),
			since: make([]map[string]int64, n), timers: map[timer]bool{}}
		h.keys[id] = k
	}
	return id, k
}

// expire drops what has outlived its TTL.
func (h *Harness) expire(k *keyState) {
	for i, s := range h.fn.State {
		if s.TTLMs == 0 {
			continue
		}
		ttl := s.TTLMs * 1000
		if k.framed[i] != nil {
			if h.clock >= k.stamps[i]+ttl {
				k.framed[i] = nil
			} else if s.TTLOn == "read_write" {
				k.stamps[i] = h.clock
			}
		}
		for key, since := range k.since[i] {
			if h.clock >= since+ttl {
				delete(k.hosted[i], key)
				delete(k.since[i], key)
			}
		}
	}
}

type fired struct {
	id  string
	key *keyState
	timer
}

// fire fires what is due: the earliest of each key, call by call, until nothing is.
func (h *Harness) fire() {
	h.t.Helper()
	const limit = 1_000_000
	for round := 0; ; round++ {
		var due []fired
		for id, k := range h.keys {
			best := fired{id: id, key: k, timer: timer{number: -1}}
			for t := range k.timers {
				if now := h.now(t.number); t.time > now || now == noTime {
					continue
				}
				if best.number < 0 || t.time < best.time || t.time == best.time && t.number < best.number {
					best.timer = t
				}
			}
			if best.number >= 0 {
				due = append(due, best)
			}
		}
		if len(due) == 0 {
			return
		}
		if round == limit {
			h.t.Fatalf("function %s: timers fire without end: a handler sets one that is due at once", h.fn.Name)
		}
		slices.SortFunc(due, func(a, b fired) int { return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.id, b.id)) })
		if !h.settled {
			due = due[:1+h.rng.IntN(len(due))]
		}
		h.callFirings(due)
	}
}

func (h *Harness) now(number int) int64 {
	if h.fn.Timers[number].Kind == "processing" {
		return h.clock
	}
	return h.watermark
}

// SetTimer is a timer that is set for a key.
type SetTimer struct {
	Name string
	Time time.Time
}

// Timers returns the timers set for a key, earliest first. The key's columns are given in order.
func (h *Harness) Timers(key ...any) []SetTimer {
	h.t.Helper()
	k := h.lookUp(key)
	if k == nil {
		return nil
	}
	set := slices.SortedFunc(maps.Keys(k.timers), func(a, b timer) int { return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.number, b.number)) })
	var timers []SetTimer
	for _, t := range set {
		timers = append(timers, SetTimer{h.fn.Timers[t.number].Name, time.UnixMicro(t.time).UTC()})
	}
	return timers
}

func (h *Harness) lookUp(key []any) *keyState {
	h.t.Helper()
	h.flush()
	values := make([]any, len(key))
	for i, k := range key {
		v, err := toValue(reflect.ValueOf(k))
		if err != nil {
			h.t.Fatalf("key column %d: %v", i, err)
		}
		values[i] = v
	}
	k := h.keys[string(canonicalKey(h.fn.key, values))]
	if k != nil {
		h.expire(k)
	}
	return k
}

func (h *Harness) stateNumber(name string) int {
	h.t.Helper()
	for i, s := range h.fn.State {
		if s.Name == name {
			return i
		}
	}
	h.t.Fatalf("function %s has no state %s", h.fn.Name, name)
	return -1
}

// State returns the value of a framed state for a key, and whether there is one. A list is a []T.
func State[T any](h *Harness, name string, key ...any) (T, bool) {
	h.t.Helper()
	var v T
	k := h.lookUp(key)
	i := h.stateNumber(name)
	if k == nil || k.framed[i] == nil {
		return v, false
	}
	decode(h, name, &v, k.framed[i])
	return v, true
}

func decode[T any](h *Harness, name string, v *T, b []byte) {
	h.t.Helper()
	row, err := record.RowOf(reflect.TypeFor[T]())
	if err == nil {
		err = row.Decode(unsafe.Pointer(v), slices.Clone(b))
	}
	if err != nil {
		h.t.Fatalf("state %s: %v", name, err)
	}
}

// Entries returns the values of a hosted state for a key, in the order of their keys.
func Entries[T any](h *Harness, name string, key ...any) []T {
	h.t.Helper()
	k := h.lookUp(key)
	i := h.stateNumber(name)
	if k == nil {
		return nil
	}
	var all []T
	for _, id := range slices.Sorted(maps.Keys(k.hosted[i])) {
		var v T
		decode(h, name, &v, k.hosted[i][id])
		all = append(all, v)
	}
	return all
}

// overlay is what one call sees of hosted state: the keys of its slots, and its own accesses, each booked on a cause.
type overlay struct {
	slots  []*keyState
	copies map[[2]uint32]map[string][]byte
	next   map[[2]uint32]uint64
	ops    []hostedOp
	lines  []string
	sums   []metric
}

type hostedOp struct {
	cause       uint32
	state, slot uint32
	clear, drop bool
	key         string
	value       []byte
}

type metric struct {
	name  string
	gauge bool
	value float64
}

func (h *Harness) hosted(state, slot uint32) map[string][]byte {
	id := [2]uint32{state, slot}
	m, ok := h.overlay.copies[id]
	if !ok {
		if int(state) >= len(h.fn.State) || h.fn.State[state].Form != "hosted" || int(slot) >= len(h.overlay.slots) {
			panic(fmt.Sprintf("weirtest: state %d, slot %d is no hosted state of the call", state, slot))
		}
		k := h.overlay.slots[slot]
		m = maps.Clone(k.hosted[state])
		if m == nil {
			m = map[string][]byte{}
		}
		h.overlay.copies[id] = m
		h.overlay.next[id] = k.next[state]
	}
	return m
}

func (h *Harness) book(op hostedOp) {
	op.cause = guest.Progress
	h.overlay.ops = append(h.overlay.ops, op)
	m := h.hosted(op.state, op.slot)
	switch {
	case op.clear:
		clear(m)
	case op.drop:
		delete(m, op.key)
	default:
		m[op.key] = op.value
	}
}

// apply does the accesses of the causes before consumed.
func (h *Harness) apply(o *overlay, consumed uint32) {
	for _, op := range o.ops {
		if op.cause >= consumed {
			continue
		}
		k := o.slots[op.slot]
		if k.hosted[op.state] == nil {
			k.hosted[op.state] = map[string][]byte{}
			k.since[op.state] = map[string]int64{}
		}
		switch {
		case op.clear:
			clear(k.hosted[op.state])
			clear(k.since[op.state])
		case op.drop:
			delete(k.hosted[op.state], op.key)
			delete(k.since[op.state], op.key)
		default:
			k.hosted[op.state][op.key] = op.value
			k.since[op.state][op.key] = h.clock
			if h.fn.State[op.state].Kind == "list" {
				k.next[op.state]++
			}
		}
	}
	h.logs = append(h.logs, o.lines...)
	for _, m := range o.sums {
		if m.gauge {
			h.metrics[m.name] = m.value
		} else {
			h.metrics[m.name] += m.value
		}
	}
}
