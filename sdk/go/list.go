package weir

import (
	"encoding/binary"
	"errors"
	"iter"
	"reflect"
	"slices"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/guest"
	"github.com/weirstream/weir/sdk/go/internal/record"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// ListState is a declared state with a list of T a key.
type ListState[T any] struct {
	fn     *guest.Function
	state  *guest.State
	number uint32
	elem   *record.Shape // framed
	row    *record.Row   // hosted: an element is a row
	slots  []listSlot
	kept   listSlot
	buf    []byte
}

// listSlot is a framed list as it is encoded: appending decodes nothing.
type listSlot struct {
	count  int
	elems  []byte
	owned  bool // elems is ours; otherwise a view of the frame
	booked int
}

// ListOf declares a state with a list of T a key. It travels with each call as one value, within MaxBytes; with Hosted it stays with the host and may grow.
func ListOf[T any](f *Function, name string, opts ...StateOption) *ListState[T] {
	l := &ListState[T]{fn: f.fn}
	state, err := newState(name, "list", opts)
	f.fn.Fail(err)
	l.state = state
	t := reflect.TypeFor[T]()
	if state.Hosted {
		if l.row, err = record.RowOf(t); err == nil {
			state.Value = l.row.Text()
		}
	} else {
		if l.elem, err = record.ElementOf(t); err == nil {
			state.Value = "1:value:list<" + l.elem.TypeText() + ">"
		}
		state.Framed = l
		state.Fixed = -1
	}
	if err != nil {
		f.fn.Fail(errors.New("state \"" + name + "\": " + err.Error()))
	}
	l.number = uint32(f.fn.AddState(state))
	return l
}

// Append adds elements at the end.
func (l *ListState[T]) Append(ctx *Context, elems ...T) {
	check(ctx, l.fn)
	if l.state.Framed == nil {
		for i := range elems {
			l.buf = l.row.Append(l.buf[:0], unsafe.Pointer(&elems[i]))
			guest.StateAppend(l.number, ctx.call.Slot, l.buf)
		}
		return
	}
	s := l.write(ctx)
	if !s.owned {
		s.elems = append(ctx.call.Arena.Bytes(len(s.elems) + 64)[:0], s.elems...)
		s.owned = true
	}
	for i := range elems {
		s.elems = l.elem.AppendValue(append(s.elems, 1), unsafe.Pointer(&elems[i]))
	}
	s.count += len(elems)
}

// All goes through the elements in order. The list must not be changed meanwhile.
func (l *ListState[T]) All(ctx *Context) iter.Seq[T] {
	check(ctx, l.fn)
	if l.state.Framed == nil {
		return l.hosted(ctx)
	}
	return func(yield func(T) bool) {
		s := l.load(ctx)
		b := s.elems
		for range s.count {
			var v T
			if b = l.next(ctx, &v, b); b == nil || !yield(v) {
				return
			}
		}
	}
}

// next decodes one element and returns what follows, nil if it is damaged.
func (l *ListState[T]) next(ctx *Context, v *T, b []byte) []byte {
	var err error
	if len(b) == 0 {
		err = errors.New("it ends early")
	} else if b[0] == 0 {
		return b[1:]
	} else if b, err = l.elem.DecodeValue(unsafe.Pointer(v), b[1:]); err == nil {
		return b[:len(b):len(b)]
	}
	ctx.call.Fault(abi.CodeStateUndecodable, errors.New("state \""+l.state.Name+"\": decode an element: "+err.Error()))
	return nil
}

func (l *ListState[T]) hosted(ctx *Context) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, value := range entries(&ctx.call, l.number) {
			var v T
			if err := l.row.Decode(unsafe.Pointer(&v), value); err != nil {
				ctx.call.Fault(abi.CodeStateUndecodable, errors.New("state \""+l.state.Name+"\": decode an element: "+err.Error()))
				return
			}
			if !yield(v) {
				return
			}
		}
	}
}

// Slice is the whole list.
func (l *ListState[T]) Slice(ctx *Context) []T { return slices.Collect(l.All(ctx)) }

// Len is the count of elements. For a hosted list it goes through them.
func (l *ListState[T]) Len(ctx *Context) int {
	check(ctx, l.fn)
	if l.state.Framed != nil {
		return l.load(ctx).count
	}
	n := 0
	for range entries(&ctx.call, l.number) {
		n++
	}
	return n
}

// Set replaces the list.
func (l *ListState[T]) Set(ctx *Context, elems []T) {
	l.Clear(ctx)
	if len(elems) > 0 {
		l.Append(ctx, elems...)
	}
}

// Retain keeps the elements for which keep is true: a sliding window in one pass.
func (l *ListState[T]) Retain(ctx *Context, keep func(*T) bool) {
	check(ctx, l.fn)
	if l.state.Framed == nil {
		kept := []T{}
		for v := range l.hosted(ctx) {
			if keep(&v) {
				kept = append(kept, v)
			}
		}
		l.Set(ctx, kept)
		return
	}
	s := *l.load(ctx)
	var out []byte
	count := 0
	b := s.elems
	for range s.count {
		var v T
		rest := l.next(ctx, &v, b)
		if rest == nil {
			return
		}
		if keep(&v) {
			if out == nil {
				out = ctx.call.Arena.Bytes(len(b) + 64)[:0]
			}
			out = append(out, b[:len(b)-len(rest)]...)
			count++
		}
		b = rest
	}
	if count == s.count {
		return
	}
	if count == 0 {
		l.Clear(ctx)
		return
	}
	w := l.write(ctx)
	w.count, w.elems, w.owned = count, out, true
}

// Clear removes the list.
func (l *ListState[T]) Clear(ctx *Context) {
	check(ctx, l.fn)
	if l.state.Framed == nil {
		guest.StateClear(l.number, ctx.call.Slot)
		return
	}
	s := l.write(ctx)
	// New memory for what comes next: the old may have to come back.
	s.count, s.elems, s.owned = 0, nil, false
	l.state.Flags[ctx.call.Slot] &^= guest.Present
}

func (l *ListState[T]) write(ctx *Context) *listSlot {
	s := l.load(ctx)
	l.state.BeginWrite(&ctx.call)
	l.state.Flags[ctx.call.Slot] |= guest.Present
	return s
}

const listTag = 1<<3 | 2

// load finds the count and the elements of the slot's value.
func (l *ListState[T]) load(ctx *Context) *listSlot {
	check(ctx, l.fn)
	slot := ctx.call.Slot
	s := &l.slots[slot]
	if l.state.Flags[slot]&guest.Loaded != 0 {
		return s
	}
	l.state.Flags[slot] |= guest.Loaded
	*s = listSlot{booked: s.booked}
	b := l.state.Bytes(slot)
	if len(b) == 0 {
		return s
	}
	l.state.Flags[slot] |= guest.Present
	size, n := wire.Uvarint(b[1:])
	if b[0] == listTag && n > 0 && size <= uint64(len(b)-1-n) {
		if count, m := wire.Uvarint(b[1+n:]); m > 0 && count <= size {
			s.count, s.elems = int(count), b[1+n+m:1+n+int(size)]
			return s
		}
	}
	ctx.call.Fault(abi.CodeStateUndecodable, errors.New("state \""+l.state.Name+"\": its value is no list"))
	return s
}

// Begin implements guest.Framed.
func (l *ListState[T]) Begin(slots int) {
	l.slots = append(l.slots[:0], make([]listSlot, slots)...)
}

// Keep implements guest.Framed.
func (l *ListState[T]) Keep(slot uint32) { l.kept = l.slots[slot] }

// Restore implements guest.Framed.
func (l *ListState[T]) Restore(slot uint32, kept bool) {
	if kept {
		l.slots[slot] = l.kept
	}
}

// Seal implements guest.Framed.
func (l *ListState[T]) Seal(slot uint32) (grown, size int) {
	s := &l.slots[slot]
	var head [24]byte
	size = len(listHead(head[:0], s)) + len(s.elems)
	grown = size + writeOverhead - s.booked
	s.booked = size + writeOverhead
	return grown, size
}

func listHead(b []byte, s *listSlot) []byte {
	var count [10]byte
	c := wire.AppendUvarint(count[:0], uint64(s.count))
	b = wire.AppendUvarint(append(b, listTag), uint64(len(c)+len(s.elems)))
	return append(b, c...)
}

// Store implements guest.Framed.
func (l *ListState[T]) Store(w *wire.BlockWriter, writes []record.Write) {
	w.AppendBytes(len(writes), func(i int, b []byte) []byte {
		s := &l.slots[writes[i].Slot]
		if l.state.Flags[writes[i].Slot]&guest.Present == 0 {
			return b
		}
		return append(listHead(b, s), s.elems...)
	})
}

const scanPage = 16 << 10

// entries goes through a hosted state of the current slot, page by page.
func entries(c *guest.Call, number uint32) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		var after []byte
		room := scanPage
		for {
			page := c.Arena.Bytes(room)
			n, size := guest.StateScan(number, c.Slot, after, page)
			if n == 0 {
				if size == 0 {
					return
				}
				room = size
				continue
			}
			page = page[:size]
			for range n {
				k, v := int(binary.LittleEndian.Uint32(page)), int(binary.LittleEndian.Uint32(page[4:]))
				after = page[8 : 8+k : 8+k]
				if !yield(after, page[8+k:8+k+v:8+k+v]) {
					return
				}
				page = page[(8+k+v+7)&^7:]
			}
		}
	}
}
