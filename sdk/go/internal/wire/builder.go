package wire

import (
	"encoding/binary"
	"slices"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/abi"
)

// Builder writes a container into one buffer that it keeps from use to use.
type Builder struct {
	buf      []byte
	sections int
	room     int
}

// Reset begins a container with room for at most room sections.
func (b *Builder) Reset(kind uint16, room int) {
	b.buf = b.buf[:0]
	b.sections, b.room = 0, room
	clear(b.Grow(containerHeader + room*sectionEntry))
	binary.LittleEndian.PutUint32(b.buf, abi.Magic)
	binary.LittleEndian.PutUint16(b.buf[8:], kind)
}

// Grow appends n bytes of any content and returns them. They move when the builder grows again.
func (b *Builder) Grow(n int) []byte {
	at := len(b.buf)
	b.buf = slices.Grow(b.buf, n)[:at+n]
	return b.buf[at:]
}

// Len is the number of bytes written so far.
func (b *Builder) Len() int { return len(b.buf) }

// From is what was written since at.
func (b *Builder) From(at int) []byte { return b.buf[at:] }

// Append adds bytes.
func (b *Builder) Append(p []byte) { b.buf = append(b.buf, p...) }

// AppendString adds a string's bytes.
func (b *Builder) AppendString(s string) { b.buf = append(b.buf, s...) }

// Align pads with zeros to a multiple of 8.
func (b *Builder) Align() {
	if n := -len(b.buf) & 7; n != 0 {
		clear(b.Grow(n))
	}
}

// Begin opens a section; End closes it.
func (b *Builder) Begin(id uint16, flags uint16, index uint32) {
	b.Align()
	e := b.buf[containerHeader+b.sections*sectionEntry:]
	binary.LittleEndian.PutUint16(e, id)
	binary.LittleEndian.PutUint16(e[2:], flags)
	binary.LittleEndian.PutUint32(e[4:], index)
	binary.LittleEndian.PutUint32(e[8:], uint32(len(b.buf)))
	b.sections++
}

// End closes the section that Begin opened.
func (b *Builder) End() {
	e := b.buf[containerHeader+(b.sections-1)*sectionEntry:]
	binary.LittleEndian.PutUint32(e[12:], uint32(len(b.buf))-binary.LittleEndian.Uint32(e[8:]))
}

// Section writes a whole section.
func (b *Builder) Section(id uint16, flags uint16, index uint32, body []byte) {
	b.Begin(id, flags, index)
	b.Append(body)
	b.End()
}

// Finish returns the container, valid until Reset.
func (b *Builder) Finish() []byte {
	b.Align()
	binary.LittleEndian.PutUint32(b.buf[4:], uint32(len(b.buf)))
	binary.LittleEndian.PutUint16(b.buf[10:], uint16(b.sections))
	return b.buf
}

const (
	blockHeader = 16
	blockNode   = 24
)

// BlockWriter writes a column block at the end of a builder.
type BlockWriter struct {
	b    *Builder
	base int
	node int
}

// Block begins a block of nodes nodes.
func (b *Builder) Block(rows, nodes int) BlockWriter {
	b.Align()
	w := BlockWriter{b: b, base: len(b.buf), node: -1}
	head := b.Grow(blockHeader + nodes*blockNode)
	clear(head)
	binary.LittleEndian.PutUint32(head, uint32(rows))
	binary.LittleEndian.PutUint32(head[4:], uint32(nodes))
	return w
}

func (w *BlockWriter) put(field int, v uint32) {
	binary.LittleEndian.PutUint32(w.b.buf[w.base+blockHeader+w.node*blockNode+field:], v)
}

// Node begins the next node, of the given length.
func (w *BlockWriter) Node(length int) {
	w.node++
	w.put(0, uint32(length))
}

// Validity adds a validity buffer of n bits, all clear, and returns it.
func (w *BlockWriter) Validity(n int) []byte {
	w.b.Align()
	w.put(4, uint32(len(w.b.buf)-w.base))
	p := w.b.Grow((n + 7) / 8)
	clear(p)
	return p
}

// Values adds the values buffer and returns its n bytes, of any content.
func (w *BlockWriter) Values(n int) []byte {
	w.b.Align()
	w.put(8, uint32(len(w.b.buf)-w.base))
	return w.b.Grow(n)
}

// Bytes adds the bytes buffer of a utf8 or binary node and returns its n bytes.
func (w *BlockWriter) Bytes(n int) []byte {
	w.b.Align()
	w.put(12, uint32(len(w.b.buf)-w.base))
	w.put(16, uint32(n))
	return w.b.Grow(n)
}

// AppendBytes adds n offsets and a bytes buffer to which write appends value i.
func (w *BlockWriter) AppendBytes(n int, write func(i int, b []byte) []byte) {
	clear(w.Values(4 * (n + 1))[:4])
	at := len(w.b.buf) - 4*n
	w.b.Align()
	start := len(w.b.buf)
	w.put(12, uint32(start-w.base))
	for i := range n {
		w.b.buf = write(i, w.b.buf)
		binary.LittleEndian.PutUint32(w.b.buf[at+4*i:], uint32(len(w.b.buf)-start))
	}
	w.put(16, uint32(len(w.b.buf)-start))
}

// FillBytes adds n offsets and a bytes buffer that fill writes at once, at most room bytes: it notes the ends of the values and returns their length.
func (w *BlockWriter) FillBytes(n, room int, fill func(ends []uint32, buf []byte) int) {
	clear(w.Values(4 * (n + 1))[:4])
	at := len(w.b.buf) - 4*n
	w.b.Align()
	start := len(w.b.buf)
	w.put(12, uint32(start-w.base))
	buf := w.b.Grow(room)
	ends := unsafe.Slice((*uint32)(unsafe.Pointer(&w.b.buf[at])), n)
	size := fill(ends, buf)
	w.b.buf = w.b.buf[:start+size]
	w.put(16, uint32(size))
}

// Finish ends the block.
func (w *BlockWriter) Finish() {
	w.b.Align()
	binary.LittleEndian.PutUint32(w.b.buf[w.base+8:], uint32(len(w.b.buf)-w.base))
}
