package frame

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/schema"
)

// Encoder writes columns, or a selection of their rows, as a block. It keeps scratch space between uses; the zero value
// is ready. An Encoder is not for concurrent use.
type Encoder struct {
	nodes   []plan
	scratch [][]int32 // row indices of children of selected lists, one per level
	depth   int
	size    int
}

// plan is what Size learned of one node and Put writes.
type plan struct {
	rows      int
	validity  bool
	bytesSize int
}

// Size is the number of bytes of a block of rows of cols: those in sel in its order, or the first rows if sel is nil.
// Callers compare it with the limit of the wrapper before they call Put; a block cannot be larger than 2 GiB.
func (e *Encoder) Size(s *schema.Schema, cols []Column, sel []int32, rows int) int {
	e.nodes = e.nodes[:0]
	e.depth = 0
	e.size = abi.BlockHeaderSize + abi.BlockNodeSize*s.Nodes()
	if sel != nil {
		rows = len(sel)
	}
	for i := range cols {
		e.measure(&cols[i], sel, rows)
	}
	return e.size
}

// Put writes the block that the last call of Size measured into dst, which has at least that size and begins at an
// address divisible by 8 of where it will be read, and returns the size. The arguments must be those of Size.
func (e *Encoder) Put(dst []byte, s *schema.Schema, cols []Column, sel []int32, rows int) int {
	if sel != nil {
		rows = len(sel)
	}
	dst = dst[:e.size]
	le := binary.LittleEndian
	le.PutUint32(dst, uint32(rows))
	le.PutUint32(dst[4:], uint32(s.Nodes()))
	le.PutUint32(dst[8:], uint32(e.size))
	le.PutUint32(dst[12:], 0)
	w := blockWriter{e: e, b: dst, at: abi.BlockHeaderSize + abi.BlockNodeSize*s.Nodes()}
	e.depth = 0
	for i := range cols {
		w.node(&cols[i], sel, rows)
	}
	return e.size
}

// Append appends the block to dst. The position in dst should be divisible by 8, as a block begins there.
func (e *Encoder) Append(dst []byte, s *schema.Schema, cols []Column, sel []int32, rows int) []byte {
	n := e.Size(s, cols, sel, rows)
	at := len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	e.Put(dst[at:], s, cols, sel, rows)
	return dst
}

// Size is Encoder.Size for a single use.
func Size(s *schema.Schema, cols []Column, sel []int32, rows int) int {
	var e Encoder
	return e.Size(s, cols, sel, rows)
}

// Append is Encoder.Append for a single use.
func Append(dst []byte, s *schema.Schema, cols []Column, sel []int32, rows int) []byte {
	var e Encoder
	return e.Append(dst, s, cols, sel, rows)
}

// Check tells whether cols are columns of the schema with that many rows or more, as Size and Put expect them.
func Check(s *schema.Schema, cols []Column, rows int) error {
	if len(cols) != len(s.Fields) {
		return fmt.Errorf("encode block: %d columns, the schema %s has %d", len(cols), s, len(s.Fields))
	}
	for i := range cols {
		t := &s.Fields[i].Type
		if cols[i].Type != t && !sameLayout(cols[i].Type, t) {
			return fmt.Errorf("encode block: column %d is %s, the schema says %s:%s", i, cols[i].Type, s.Fields[i].Name, t)
		}
		if cols[i].Length < rows {
			return fmt.Errorf("encode block: column %d has %d rows, want %d", i, cols[i].Length, rows)
		}
	}
	return nil
}

func sameLayout(a, b *schema.Type) bool {
	if a.Kind != b.Kind || a.Children() != b.Children() {
		return false
	}
	for i := range a.Children() {
		if !sameLayout(a.Child(i), b.Child(i)) {
			return false
		}
	}
	return true
}

func (e *Encoder) measure(c *Column, sel []int32, rows int) {
	at := len(e.nodes)
	p := plan{rows: rows, validity: c.Validity != nil && rows > 0}
	e.nodes = append(e.nodes, p)
	if p.validity {
		e.size += align8(bitmapSize(rows))
	}
	switch kind := c.Type.Kind; {
	case kind == schema.Struct:
		for i := range c.Children {
			e.measure(&c.Children[i], sel, rows)
		}
	case kind == schema.List || kind == schema.Map:
		if rows > 0 {
			e.size += align8((rows + 1) * 4)
		}
		childSel, childRows := e.children(c, sel, rows)
		e.measure(&c.Children[0], childSel, childRows)
		e.depth--
	case kind.VarLen():
		if rows > 0 {
			e.nodes[at].bytesSize = selectedBytes(c, sel, rows)
			e.size += align8((rows+1)*4) + align8(e.nodes[at].bytesSize)
		}
	case kind == schema.Bool:
		e.size += align8(bitmapSize(rows))
	default:
		e.size += align8(rows * kind.Width())
	}
}

// children lists the child rows of the selected lists, and takes one level of scratch that the caller gives back by
// e.depth--. A nil list with sel nil means the child's rows as they stand.
func (e *Encoder) children(c *Column, sel []int32, rows int) ([]int32, int) {
	if len(e.scratch) == e.depth {
		e.scratch = append(e.scratch, nil)
	}
	level := e.depth
	e.depth++
	if rows == 0 {
		return emptySelection, 0
	}
	if sel == nil && c.Validity == nil {
		return nil, int(c.Offsets()[rows])
	}
	out := e.scratch[level][:0]
	for i := range rows {
		r := i
		if sel != nil {
			r = int(sel[i])
		}
		if c.Null(r) {
			continue
		}
		from, to := c.span(r)
		for j := from; j < to; j++ {
			out = append(out, j)
		}
	}
	if out == nil {
		out = []int32{}
	}
	e.scratch[level] = out
	return out, len(out)
}

var emptySelection = []int32{}

func selectedBytes(c *Column, sel []int32, rows int) int {
	if sel == nil && c.Validity == nil {
		return int(c.Offsets()[rows])
	}
	n := 0
	if sel == nil {
		for i := range rows {
			if !c.Null(i) {
				from, to := c.span(i)
				n += int(to - from)
			}
		}
		return n
	}
	offsets := c.Offsets()
	if c.Validity == nil {
		for _, r := range sel {
			n += int(offsets[r+1] - offsets[r])
		}
		return n
	}
	for _, r := range sel {
		if !c.Null(int(r)) {
			n += int(offsets[r+1] - offsets[r])
		}
	}
	return n
}

type blockWriter struct {
	e    *Encoder
	b    []byte
	next int
	at   int
}

// take reserves size bytes for a buffer and zeroes its padding.
func (w *blockWriter) take(size int) (buf []byte, offset uint32) {
	from, end := w.at, w.at+size
	w.at = align8(end)
	clear(w.b[end:w.at])
	return w.b[from:end:end], uint32(from)
}

func (w *blockWriter) node(c *Column, sel []int32, rows int) {
	p := w.e.nodes[w.next]
	n := w.b[abi.BlockHeaderSize+abi.BlockNodeSize*w.next:][:abi.BlockNodeSize]
	w.next++
	clear(n)
	le := binary.LittleEndian
	le.PutUint32(n, uint32(rows))
	if p.validity {
		buf, off := w.take(bitmapSize(rows))
		le.PutUint32(n[4:], off)
		gatherBits(buf, c.Validity, sel, rows)
	}
	switch kind := c.Type.Kind; {
	case kind == schema.Struct:
		for i := range c.Children {
			w.node(&c.Children[i], sel, rows)
		}
	case kind == schema.List || kind == schema.Map:
		if rows > 0 {
			buf, off := w.take((rows + 1) * 4)
			le.PutUint32(n[8:], off)
			putOffsets(buf, c, sel, rows)
		}
		childSel, childRows := w.e.children(c, sel, rows)
		w.node(&c.Children[0], childSel, childRows)
		w.e.depth--
	case rows == 0:
	case kind.VarLen():
		buf, off := w.take((rows + 1) * 4)
		le.PutUint32(n[8:], off)
		bytes, off := w.take(p.bytesSize)
		if p.bytesSize > 0 {
			le.PutUint32(n[12:], off)
			le.PutUint32(n[16:], uint32(p.bytesSize))
		}
		gatherBytes(buf, bytes, c, sel, rows)
	case kind == schema.Bool:
		buf, off := w.take(bitmapSize(rows))
		le.PutUint32(n[8:], off)
		gatherBits(buf, c.Values, sel, rows)
		if p.validity {
			clearNullBits(buf, c, sel, rows)
		}
	default:
		buf, off := w.take(rows * kind.Width())
		le.PutUint32(n[8:], off)
		gatherFixed(buf, c, sel, rows)
		if p.validity {
			clearNulls(buf, kind.Width(), c, sel, rows)
		}
	}
}

func gatherBits(dst, src []byte, sel []int32, rows int) {
	if sel == nil {
		copy(dst, src[:len(dst)])
		if rest := rows & 7; rest != 0 {
			dst[len(dst)-1] &= 1<<rest - 1
		}
		return
	}
	clear(dst)
	for i, r := range sel {
		dst[i>>3] |= (src[r>>3] >> (r & 7) & 1) << (i & 7)
	}
}

func clearNullBits(dst []byte, c *Column, sel []int32, rows int) {
	for i := range rows {
		if c.Null(at(sel, i)) {
			dst[i>>3] &^= 1 << (i & 7)
		}
	}
}

// clearNulls zeroes the values under nulls, so that what a guest or a file left there travels no further.
func clearNulls(dst []byte, width int, c *Column, sel []int32, rows int) {
	for i := range rows {
		if c.Null(at(sel, i)) {
			clear(dst[i*width : (i+1)*width])
		}
	}
}

func at(sel []int32, i int) int {
	if sel == nil {
		return i
	}
	return int(sel[i])
}

func gatherFixed(dst []byte, c *Column, sel []int32, rows int) {
	width := c.Type.Kind.Width()
	src := c.Values[:c.Length*width]
	if sel == nil {
		copy(dst, src[:rows*width])
		return
	}
	switch width {
	case 8:
		gather[uint64](dst, src, sel)
	case 4:
		gather[uint32](dst, src, sel)
	case 2:
		gather[int16](dst, src, sel)
	case 1:
		for i, r := range sel {
			dst[i] = src[r]
		}
	default:
		for i, r := range sel {
			copy(dst[i*width:(i+1)*width], src[int(r)*width:])
		}
	}
}

func gather[T fixed](dst, src []byte, sel []int32) {
	n := len(sel)
	if !aligned(dst) || !aligned(src) {
		width := len(dst) / n
		for i, r := range sel {
			copy(dst[i*width:(i+1)*width], src[int(r)*width:])
		}
		return
	}
	out := view[T](dst, n)[:n]
	in := view[T](src, len(src)/(len(dst)/n))
	for i, r := range sel {
		out[i] = in[r]
	}
}

func gatherBytes(offsets, dst []byte, c *Column, sel []int32, rows int) {
	if sel == nil && c.Validity == nil {
		copy(offsets, c.Values[:len(offsets)])
		copy(dst, c.Bytes[:len(dst)])
		return
	}
	le := binary.LittleEndian
	src, from := c.Offsets(), c.Bytes
	end := 0
	le.PutUint32(offsets, 0)
	if c.Validity == nil {
		for i, r := range sel {
			v := from[src[r]:src[r+1]]
			copy(dst[end:], v)
			end += len(v)
			le.PutUint32(offsets[i*4+4:], uint32(end))
		}
		return
	}
	for i := range rows {
		if r := at(sel, i); !c.Null(r) {
			end += copy(dst[end:], from[src[r]:src[r+1]])
		}
		le.PutUint32(offsets[i*4+4:], uint32(end))
	}
}

func putOffsets(dst []byte, c *Column, sel []int32, rows int) {
	le := binary.LittleEndian
	le.PutUint32(dst, 0)
	end := int32(0)
	for i := range rows {
		if r := at(sel, i); !c.Null(r) {
			from, to := c.span(r)
			end += to - from
		}
		le.PutUint32(dst[i*4+4:], uint32(end))
	}
}
