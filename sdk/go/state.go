package weir

import (
	"errors"
	"reflect"
	"strconv"
	"time"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/guest"
	"github.com/weirstream/weir/sdk/go/internal/record"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// StateOption changes a declared state.
type StateOption func(*guest.State) error

// TTL lets a value end that long after it was last written; with OnReadWrite, after it was last read or written.
func TTL(d time.Duration, on ...Touch) StateOption {
	return func(s *guest.State) error {
		if d < time.Millisecond {
			return errors.New("a TTL of " + d.String() + ": want a millisecond or more")
		}
		s.TTLMs = d.Milliseconds()
		s.TTLRead = len(on) > 0 && on[0] == OnReadWrite
		return nil
	}
}

// Touch says what keeps a value with a TTL alive.
type Touch int

// What keeps a value alive.
const (
	OnWrite Touch = iota
	OnReadWrite
)

// MaxBytes limits one value of a framed state; 64 KiB without it, 1 MiB at most.
func MaxBytes(n int) StateOption {
	return func(s *guest.State) error {
		if n < 1 || n > abi.MaxFramedBytes {
			return errors.New("at most " + strconv.Itoa(n) + " bytes: want 1 to " + strconv.Itoa(abi.MaxFramedBytes) + "; keep more in a weir.MapOf or a list with weir.Hosted")
		}
		s.MaxBytes = n
		return nil
	}
}

// Hosted keeps a list with the host, where it may grow without limit; without it a list travels with each call as one value.
func Hosted() StateOption {
	return func(s *guest.State) error {
		if s.Kind != "list" {
			return errors.New("weir.Hosted is for lists; maps always are")
		}
		s.Hosted = true
		return nil
	}
}

// Version numbers the shape of the stored values; 1 without it.
func Version(n int) StateOption {
	return func(s *guest.State) error {
		if n < 1 {
			return errors.New("version " + strconv.Itoa(n) + ": want 1 or more")
		}
		s.Version = n
		return nil
	}
}

func newState(name, kind string, opts []StateOption) (*guest.State, error) {
	s := &guest.State{Name: name, Kind: kind, Codec: "row", Version: 1, MaxBytes: abi.DefaultMaxFramed}
	var errs []error
	for _, o := range opts {
		errs = append(errs, o(s))
	}
	if err := errors.Join(errs...); err != nil {
		return s, errors.New("state \"" + name + "\": " + err.Error())
	}
	return s, nil
}

// ValueState is a declared state with one value of type T a key.
type ValueState[T any] struct {
	fn        *guest.Function
	state     *guest.State
	row       *record.Row
	mutable   bool // a copy of a value shares memory with it
	vals      []T
	sizes     []int32  // what was booked for a slot; states without a fixed size only
	kept      T        // the slot's value before the current cause
	keptBytes []byte   // the same, mutable types
	current   uint32   // mutable types: 1 + the cause whose own copy vals holds
	encoded   [][]byte // mutable types: the slot's last written value
	scratch   []byte
	swept     bool // DecodeAll has run in this call
}

// ValueOf declares a state with one value of type T a key: a struct, whose fields are written with ids (their position, or the number in the tag: `weir:"count,3"`),
// or a single value. Fields may be added and dropped as long as ids keep their meaning.
func ValueOf[T any](f *Function, name string, opts ...StateOption) *ValueState[T] {
	return newValue[T](f, name, "value", opts)
}

func newValue[T any](f *Function, name, kind string, opts []StateOption) *ValueState[T] {
	v := &ValueState[T]{fn: f.fn}
	state, err := newState(name, kind, opts)
	f.fn.Fail(err)
	v.state = state
	if v.row, err = record.RowOf(reflect.TypeFor[T]()); err != nil {
		f.fn.Fail(errors.New("state \"" + name + "\": " + err.Error()))
		v.row = &record.Row{}
	} else {
		state.Value = v.row.Text()
	}
	v.mutable = v.row.Mutable
	state.Fixed = v.row.Fixed
	if v.mutable || state.Fixed > state.MaxBytes {
		state.Fixed = -1
	}
	state.Framed = v
	f.fn.AddState(state)
	return v
}

// load makes sure that the slot's value is decoded.
func (v *ValueState[T]) load(ctx *Context) *T {
	check(ctx, v.fn)
	slot := ctx.call.Slot
	if v.mutable {
		if v.current != ctx.call.Cause+1 {
			v.current = ctx.call.Cause + 1
			v.decode(ctx, slot, v.encoded[slot])
		}
	} else if v.state.Flags[slot]&guest.Loaded == 0 {
		v.loadSlot(ctx, slot)
	}
	return &v.vals[slot]
}

// loadSlot decodes at first all values of the call if it can, since each slot has a cause.
//
//go:noinline
func (v *ValueState[T]) loadSlot(ctx *Context, slot uint32) {
	if !v.swept && v.row.Flat() {
		v.swept = true
		clear(v.vals)
		v.row.DecodeAll(unsafe.Pointer(unsafe.SliceData(v.vals)), unsafe.Sizeof(v.vals[0]), &v.state.Column, v.state.Flags, guest.Loaded, guest.Loaded|guest.Present)
		if v.state.Flags[slot]&guest.Loaded != 0 {
			return
		}
	}
	v.decode(ctx, slot, nil)
}

func (v *ValueState[T]) decode(ctx *Context, slot uint32, written []byte) {
	p := &v.vals[slot]
	*p = *new(T)
	b := written
	if v.state.Flags[slot]&guest.Dirty == 0 {
		v.state.Flags[slot] |= guest.Loaded
		if b = v.state.Bytes(slot); b != nil {
			v.state.Flags[slot] |= guest.Present
		}
	}
	if v.state.Flags[slot]&guest.Present == 0 {
		return
	}
	if err := v.row.Decode(unsafe.Pointer(p), b); err != nil {
		ctx.call.Fault(abi.CodeStateUndecodable, errors.New("state \""+v.state.Name+"\": decode its value: "+err.Error()))
	}
}

// Get returns the value, and whether there is one. What it points to (slices, bytes) must not be changed without Set.
func (v *ValueState[T]) Get(ctx *Context) (T, bool) {
	check(ctx, v.fn)
	slot := ctx.call.Slot
	if v.mutable || v.state.Flags[slot]&guest.Loaded == 0 {
		v.load(ctx)
	}
	return v.vals[slot], v.state.Flags[slot]&guest.Present != 0
}

// Set writes the value.
func (v *ValueState[T]) Set(ctx *Context, value T) { *v.Edit(ctx) = value }

// Edit returns the value, or a new zero one, to be changed in place. It counts as written.
func (v *ValueState[T]) Edit(ctx *Context) *T {
	check(ctx, v.fn)
	c, s := &ctx.call, v.state
	slot := c.Slot
	if v.mutable || s.Flags[slot]&guest.Loaded == 0 {
		v.load(ctx)
	}
	// As State.BeginWrite. This is done for each row, and a call costs a module more than the work.
	flags := s.Flags[slot]
	if s.Touched != c.Cause+1 {
		s.Touched = c.Cause + 1
		s.OldFlags, s.OldLast = flags, s.Last[slot]
		switch {
		case flags&guest.Dirty == 0:
			s.CallDirty = true
			c.Bytes += s.Booked
		case v.mutable:
			v.keptBytes = v.encoded[slot]
		default:
			v.kept = v.vals[slot]
		}
	}
	s.Flags[slot] = flags | guest.Loaded | guest.Dirty | guest.Present
	s.Last[slot] = c.Cause
	return &v.vals[slot]
}

// Clear removes the value.
func (v *ValueState[T]) Clear(ctx *Context) {
	p := v.load(ctx)
	v.state.BeginWrite(&ctx.call)
	*p = *new(T)
	v.state.Flags[ctx.call.Slot] &^= guest.Present
}

// Begin implements guest.Framed.
func (v *ValueState[T]) Begin(slots int) {
	if cap(v.vals) < slots {
		v.vals = make([]T, slots, slots+slots/4)
	}
	v.vals = v.vals[:slots]
	v.current, v.swept = 0, false
	if v.state.Fixed < 0 {
		v.sizes = append(v.sizes[:0], make([]int32, slots)...)
	}
	if v.mutable {
		v.encoded = append(v.encoded[:0], make([][]byte, slots)...)
	}
}

// Keep implements guest.Framed.
func (v *ValueState[T]) Keep(slot uint32) {
	if v.mutable {
		v.keptBytes = v.encoded[slot]
		return
	}
	v.kept = v.vals[slot]
}

// Restore implements guest.Framed.
func (v *ValueState[T]) Restore(slot uint32, kept bool) {
	v.current = 0
	switch {
	case !kept:
	case v.mutable:
		v.encoded[slot] = v.keptBytes
	default:
		v.vals[slot] = v.kept
	}
}

const writeOverhead = 16

// Seal implements guest.Framed.
func (v *ValueState[T]) Seal(slot uint32) (grown, size int) {
	p := unsafe.Pointer(&v.vals[slot])
	if v.mutable {
		v.scratch = v.row.Append(v.scratch[:0], p)
		v.encoded[slot] = v.fn.Call.Arena.Copy(v.scratch)
		size = len(v.scratch)
	} else if size = v.row.Size(p); size > v.state.MaxBytes {
		v.scratch = v.row.Append(v.scratch[:0], p)
		size = len(v.scratch) // the bound is too high; this is the size
	}
	grown = size + writeOverhead - int(v.sizes[slot])
	v.sizes[slot] = int32(size + writeOverhead)
	return grown, size
}

// Store implements guest.Framed.
func (v *ValueState[T]) Store(w *wire.BlockWriter, writes []record.Write) {
	if v.row.Flat() {
		w.FillBytes(len(writes), len(writes)*v.row.Fixed, func(ends []uint32, buf []byte) int {
			return v.row.AppendAll(buf, unsafe.Pointer(unsafe.SliceData(v.vals)), unsafe.Sizeof(v.vals[0]), writes, v.state.Flags, guest.Present, ends)
		})
		return
	}
	w.AppendBytes(len(writes), func(i int, b []byte) []byte {
		slot := writes[i].Slot
		switch {
		case v.state.Flags[slot]&guest.Present == 0:
			return b
		case v.mutable:
			return append(b, v.encoded[slot]...)
		}
		return v.row.Append(b, unsafe.Pointer(&v.vals[slot]))
	})
}
