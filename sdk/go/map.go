package weir

import (
	"errors"
	"iter"
	"reflect"
	"time"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/guest"
	"github.com/weirstream/weir/sdk/go/internal/record"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// MapKey is what a map may be keyed by.
type MapKey interface {
	bool | int | int8 | int16 | int32 | int64 | float32 | float64 | string | time.Time | Date
}

// MapState is a declared state with a map a key. It stays with the host: every access is a call to it, and the map may grow.
type MapState[K MapKey, V any] struct {
	fn     *guest.Function
	state  *guest.State
	number uint32
	row    *record.Row
	key    []byte
	buf    []byte
}

// MapOf declares a state with a map from K to V a key.
func MapOf[K MapKey, V any](f *Function, name string, opts ...StateOption) *MapState[K, V] {
	m := &MapState[K, V]{fn: f.fn}
	state, err := newState(name, "map", opts)
	f.fn.Fail(err)
	m.state = state
	state.Hosted = true
	if m.row, err = record.RowOf(reflect.TypeFor[V]()); err == nil {
		state.Value = m.row.Text()
		var key *record.Shape
		if key, err = record.ElementOf(reflect.TypeFor[K]()); err == nil {
			state.Key = key.TypeText()
		}
	}
	if err != nil {
		f.fn.Fail(errors.New("state \"" + name + "\": " + err.Error()))
	}
	m.number = uint32(f.fn.AddState(state))
	return m
}

const valueRoom = 256

// Get returns the value of a key, and whether there is one.
func (m *MapState[K, V]) Get(ctx *Context, key K) (V, bool) {
	var v V
	k := m.encode(ctx, key)
	c := &ctx.call
	buf := c.Arena.Bytes(valueRoom)
	n := guest.StateGet(m.number, c.Slot, k, buf)
	if n > len(buf) {
		buf = c.Arena.Bytes(n)
		n = guest.StateGet(m.number, c.Slot, k, buf)
	}
	if n < 0 || n > len(buf) {
		return v, false
	}
	m.decode(ctx, &v, buf[:n:n])
	return v, true
}

// Has says whether the key has a value.
func (m *MapState[K, V]) Has(ctx *Context, key K) bool {
	return guest.StateGet(m.number, ctx.call.Slot, m.encode(ctx, key), nil) >= 0
}

// Put writes the value of a key.
func (m *MapState[K, V]) Put(ctx *Context, key K, value V) {
	k := m.encode(ctx, key)
	m.buf = m.row.Append(m.buf[:0], unsafe.Pointer(&value))
	guest.StatePut(m.number, ctx.call.Slot, k, m.buf)
}

// Delete removes a key.
func (m *MapState[K, V]) Delete(ctx *Context, key K) {
	guest.StateDelete(m.number, ctx.call.Slot, m.encode(ctx, key))
}

// Clear removes all keys.
func (m *MapState[K, V]) Clear(ctx *Context) {
	check(ctx, m.fn)
	guest.StateClear(m.number, ctx.call.Slot)
}

// All goes through the entries in the order of their keys.
func (m *MapState[K, V]) All(ctx *Context) iter.Seq2[K, V] {
	check(ctx, m.fn)
	return func(yield func(K, V) bool) {
		for kb, vb := range entries(&ctx.call, m.number) {
			var v V
			k, ok := decodeKey[K](kb)
			if !ok {
				ctx.call.Fault(abi.CodeStateUndecodable, errors.New("state \""+m.state.Name+"\": a key is no "+m.state.Key))
				return
			}
			m.decode(ctx, &v, vb)
			if !yield(k, v) {
				return
			}
		}
	}
}

func (m *MapState[K, V]) decode(ctx *Context, v *V, b []byte) {
	if err := m.row.Decode(unsafe.Pointer(v), b); err != nil {
		ctx.call.Fault(abi.CodeStateUndecodable, errors.New("state \""+m.state.Name+"\": decode a value: "+err.Error()))
	}
}

func (m *MapState[K, V]) encode(ctx *Context, key K) []byte {
	check(ctx, m.fn)
	b := m.key[:0]
	switch k := any(&key).(type) {
	case *string:
		b = wire.AppendKeyString(b, *k)
	case *int64:
		b = wire.AppendKeyInt(b, *k)
	case *int:
		b = wire.AppendKeyInt(b, int64(*k))
	case *int32:
		b = wire.AppendKeyInt(b, int64(*k))
	case *int16:
		b = wire.AppendKeyInt(b, int64(*k))
	case *int8:
		b = wire.AppendKeyInt(b, int64(*k))
	case *Date:
		b = wire.AppendKeyInt(b, int64(*k))
	case *time.Time:
		b = wire.AppendKeyInt(b, k.UnixMicro())
	case *bool:
		b = wire.AppendKeyBool(b, *k)
	case *float32:
		b = wire.AppendKeyFloat(b, float64(*k))
	case *float64:
		b = wire.AppendKeyFloat(b, *k)
	}
	m.key = b
	return b
}

func decodeKey[K MapKey](b []byte) (key K, ok bool) {
	i, integer := wire.KeyInt(b)
	switch k := any(&key).(type) {
	case *string:
		s, ok := wire.KeyString(b)
		*k = unsafe.String(unsafe.SliceData(s), len(s))
		return key, ok
	case *int64:
		*k = i
	case *int:
		*k = int(i)
	case *int32:
		*k = int32(i)
	case *int16:
		*k = int16(i)
	case *int8:
		*k = int8(i)
	case *Date:
		*k = Date(i)
	case *time.Time:
		*k = time.UnixMicro(i).UTC()
	case *bool:
		*k, integer = wire.KeyBool(b)
	case *float32:
		f, ok := wire.KeyFloat(b)
		*k = float32(f)
		return key, ok
	case *float64:
		*k, integer = wire.KeyFloat(b)
	}
	return key, integer
}
