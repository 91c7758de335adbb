package record

import (
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// Size is an upper bound of the bytes one struct takes in a block, nulls and offsets included.
func (c *Columns) Size(row unsafe.Pointer) int {
	n := c.fixed
	for _, off := range c.texts {
		n += len(*(*string)(unsafe.Add(row, off))) // a slice begins as a string does
	}
	for _, i := range c.others {
		n += c.columns[i].size(unsafe.Add(row, c.columns[i].off))
	}
	return n
}

func (col *column) size(p unsafe.Pointer) int {
	if col.nested != nil {
		return col.nested.size(reflect.NewAt(col.nested.typ, p).Elem())
	}
	if col.headers {
		n := 0
		for k, v := range *(*Headers)(p) {
			n += 10 + len(k) + len(v)
		}
		return n
	}
	if p = *(*unsafe.Pointer)(p); p == nil {
		return 0
	}
	return len(*(*string)(p))
}

// measure sorts the columns by how Size sees them.
func (c *Columns) measure() {
	for i := range c.columns {
		col := &c.columns[i]
		switch {
		case col.nested != nil:
			c.others = append(c.others, i)
		case col.headers || (col.kind == wire.Utf8 || col.kind == wire.Binary) && col.null == byPointer:
			c.others = append(c.others, i)
			c.fixed += 10
		case col.kind == wire.Utf8 || col.kind == wire.Binary:
			c.texts = append(c.texts, col.off)
			c.fixed += 5
		default:
			c.fixed += 1 + col.kind.Width()
		}
	}
}

// Own replaces what a copied struct shares with its original by copies, so that the user may go on changing that.
func (c *Columns) Own(row unsafe.Pointer, arena *wire.Arena) {
	for i := range c.columns {
		col := &c.columns[i]
		p := unsafe.Add(row, col.off)
		if col.nested != nil {
			col.nested.own(reflect.NewAt(col.nested.typ, p).Elem())
			continue
		}
		if col.null == byPointer {
			from := *(*unsafe.Pointer)(p)
			if from == nil {
				continue
			}
			*(*unsafe.Pointer)(p) = clonePointee(from, col.kind)
			p = *(*unsafe.Pointer)(p)
		}
		switch {
		case col.kind == wire.Binary:
			if b := (*[]byte)(p); *b != nil {
				*b = arena.Copy(*b)
			}
		case col.headers:
			if h := (*Headers)(p); *h != nil {
				own := make(Headers, len(*h))
				for k, v := range *h {
					own[k] = arena.Copy(v)
				}
				*h = own
			}
		}
	}
}

func clonePointee(p unsafe.Pointer, k wire.Kind) unsafe.Pointer {
	switch k {
	case wire.Bool:
		return clone[bool](p)
	case wire.Int8:
		return clone[int8](p)
	case wire.Int16:
		return clone[int16](p)
	case wire.Int32, wire.Date32:
		return clone[int32](p)
	case wire.Int64:
		return clone[int64](p)
	case wire.Float32:
		return clone[float32](p)
	case wire.Float64:
		return clone[float64](p)
	case wire.Timestamp:
		return clone[time.Time](p)
	case wire.Decimal:
		return clone[Decimal](p)
	case wire.Utf8:
		return clone[string](p)
	default:
		return clone[[]byte](p)
	}
}

func clone[T any](p unsafe.Pointer) unsafe.Pointer {
	v := *(*T)(p)
	return unsafe.Pointer(&v)
}

// Check finds values that a row cannot carry: a decimal with more digits than its column.
func (c *Columns) Check(row unsafe.Pointer) error {
	for i := range c.columns {
		col := &c.columns[i]
		if col.nested != nil {
			if err := col.nested.check(reflect.NewAt(col.nested.typ, unsafe.Add(row, col.off)).Elem()); err != nil {
				return errors.New("column " + strconv.Quote(col.name) + ": " + err.Error())
			}
		}
		if col.kind != wire.Decimal {
			continue
		}
		p := unsafe.Add(row, col.off)
		if col.null == byPointer {
			p = *(*unsafe.Pointer)(p)
		}
		if p == nil {
			continue
		}
		if _, ok := (*Decimal)(p).Rescale(uint8(col.scale)); !ok {
			return errors.New("column " + strconv.Quote(col.name) + ": a decimal with scale " + strconv.Itoa(int((*Decimal)(p).Scale)) + " does not fit " + col.text)
		}
	}
	return nil
}

// HasDecimals says whether Check can find anything.
func (c *Columns) HasDecimals() bool { return slices.Contains(c.Kinds, wire.Decimal) }

// Store writes n structs at rows, stride bytes apart, as a column block.
func (c *Columns) Store(b *wire.Builder, rows unsafe.Pointer, stride uintptr, n int) {
	w := b.Block(n, len(c.Kinds))
	for i := range c.columns {
		col := &c.columns[i]
		if col.nested != nil {
			values := make([]reflect.Value, n)
			for row := range values {
				values[row] = reflect.NewAt(col.nested.typ, unsafe.Add(rows, col.off+uintptr(row)*stride)).Elem()
			}
			col.nested.store(&w, values)
			continue
		}
		w.Node(n)
		if n == 0 {
			if col.headers {
				w.Node(0)
				w.Node(0)
				w.Node(0)
			}
			continue
		}
		p := unsafe.Add(rows, col.off)
		if col.null != notNull {
			col.storeNulls(&w, p, stride, n)
		}
		col.storeValues(&w, p, stride, n)
	}
	w.Finish()
}

func (col *column) isNull(p unsafe.Pointer) bool {
	switch col.null {
	case byPointer, byNil: // a nil slice begins with a nil pointer, a nil map is one
		return *(*unsafe.Pointer)(p) == nil
	case byFlag:
		return !*(*bool)(unsafe.Add(p, col.flag))
	}
	return false
}

func (col *column) storeNulls(w *wire.BlockWriter, p unsafe.Pointer, stride uintptr, n int) {
	first := 0
	for q := p; first < n && !col.isNull(q); first++ {
		q = unsafe.Add(q, stride)
	}
	if first == n {
		return
	}
	valid := w.Validity(n)
	for i := range n {
		if !col.isNull(p) {
			valid[i>>3] |= 1 << (i & 7)
		}
		p = unsafe.Add(p, stride)
	}
}

// value is where the value of a field stands; nil if it is null.
func (col *column) value(p unsafe.Pointer) unsafe.Pointer {
	if col.null == notNull {
		return p
	}
	if col.isNull(p) {
		return nil
	}
	if col.null == byPointer {
		return *(*unsafe.Pointer)(p)
	}
	return p
}

func storeFixed[T any](col *column, dst []byte, p unsafe.Pointer, stride uintptr, n int) {
	out := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(dst))), n)
	if col.null == notNull {
		for i := range out {
			out[i] = *(*T)(p)
			p = unsafe.Add(p, stride)
		}
		return
	}
	for i := range out {
		var v T
		if q := col.value(p); q != nil {
			v = *(*T)(q)
		}
		out[i] = v
		p = unsafe.Add(p, stride)
	}
}

func (col *column) storeValues(w *wire.BlockWriter, p unsafe.Pointer, stride uintptr, n int) {
	switch col.kind {
	case wire.Bool:
		out := w.Values((n + 7) / 8)
		clear(out)
		for i := range n {
			if q := col.value(p); q != nil && *(*bool)(q) {
				out[i>>3] |= 1 << (i & 7)
			}
			p = unsafe.Add(p, stride)
		}
	case wire.Int8:
		storeFixed[int8](col, w.Values(n), p, stride, n)
	case wire.Int16:
		storeFixed[int16](col, w.Values(2*n), p, stride, n)
	case wire.Int32, wire.Date32:
		storeFixed[int32](col, w.Values(4*n), p, stride, n)
	case wire.Float32:
		storeFixed[float32](col, w.Values(4*n), p, stride, n)
	case wire.Int64:
		storeFixed[int64](col, w.Values(8*n), p, stride, n)
	case wire.Float64:
		storeFixed[float64](col, w.Values(8*n), p, stride, n)
	case wire.Timestamp:
		out := w.Values(8 * n)
		for i := range n {
			var v int64
			if q := col.value(p); q != nil {
				v = (*time.Time)(q).UnixMicro()
			}
			binary.LittleEndian.PutUint64(out[8*i:], uint64(v))
			p = unsafe.Add(p, stride)
		}
	case wire.Decimal:
		out := w.Values(16 * n)
		for i := range n {
			var v Decimal
			if q := col.value(p); q != nil {
				v, _ = (*Decimal)(q).Rescale(uint8(col.scale))
			}
			binary.LittleEndian.PutUint64(out[16*i:], v.Low)
			binary.LittleEndian.PutUint64(out[16*i+8:], uint64(v.High))
			p = unsafe.Add(p, stride)
		}
	case wire.Utf8, wire.Binary:
		col.storeStrings(w, p, stride, n)
	case wire.Map:
		storeHeaders(w, p, stride, n)
	}
}

// storeStrings serves utf8 and binary: a slice begins as a string does.
func (col *column) storeStrings(w *wire.BlockWriter, p unsafe.Pointer, stride uintptr, n int) {
	all := w.Values(4 * (n + 1))
	clear(all[:4])
	ends := unsafe.Slice((*uint32)(unsafe.Pointer(&all[4])), n)
	total := 0
	q := p
	for i := range ends {
		if col.null == notNull {
			total += len(*(*string)(q))
		} else if v := col.value(q); v != nil {
			total += len(*(*string)(v))
		}
		ends[i] = uint32(total)
		q = unsafe.Add(q, stride)
	}
	out := w.Bytes(total)
	for range n {
		if col.null == notNull {
			out = out[copy(out, *(*string)(p)):]
		} else if v := col.value(p); v != nil {
			out = out[copy(out, *(*string)(v)):]
		}
		p = unsafe.Add(p, stride)
	}
}

func storeHeaders(w *wire.BlockWriter, p unsafe.Pointer, stride uintptr, n int) {
	offsets := w.Values(4 * (n + 1))
	clear(offsets[:4])
	var keys []string
	var values [][]byte
	keyBytes, valueBytes := 0, 0
	for i := range n {
		h := *(*Headers)(p)
		from := len(keys)
		for k := range h {
			keys = append(keys, k)
		}
		// In key order, so that one call always has one answer.
		slices.Sort(keys[from:])
		for _, k := range keys[from:] {
			values = append(values, h[k])
			keyBytes += len(k)
			valueBytes += len(h[k])
		}
		binary.LittleEndian.PutUint32(offsets[4*i+4:], uint32(len(keys)))
		p = unsafe.Add(p, stride)
	}
	w.Node(len(keys))
	w.Node(len(keys))
	storeEntries(w, keys, keyBytes)
	w.Node(len(values))
	storeEntries(w, values, valueBytes)
}

func storeEntries[T string | []byte](w *wire.BlockWriter, entries []T, size int) {
	if len(entries) == 0 {
		return
	}
	offsets := w.Values(4 * (len(entries) + 1))
	clear(offsets[:4])
	end := 0
	for i, e := range entries {
		end += len(e)
		binary.LittleEndian.PutUint32(offsets[4*i+4:], uint32(end))
	}
	out := w.Bytes(size)
	at := 0
	for _, e := range entries {
		at += copy(out[at:], e)
	}
}
