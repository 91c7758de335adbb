package frame

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weirstream/weir/abi"
)

// ErrContainer is wrapped by every refusal of a container, ErrUnknownSection by that of a section which must be
// understood and is not.
var (
	ErrContainer      = errors.New("bad container")
	ErrUnknownSection = errors.New("unknown section")
)

// Kind is the kind of a container.
type Kind uint16

// The kinds of container.
const (
	KindCall     Kind = abi.ContainerCall
	KindEffects  Kind = abi.ContainerEffects
	KindOpen     Kind = abi.ContainerOpen
	KindOpened   Kind = abi.ContainerOpened
	KindDescribe Kind = abi.ContainerDescribe
	KindStored   Kind = abi.ContainerStored
)

var kinds = [...]struct {
	name   string
	known  uint16 // the last section id this version knows; ids begin at 1
	reader string // who reads it, and so has to be upgraded to read more
}{
	KindCall:     {"call", abi.CallSectionKinds, "guest"},
	KindEffects:  {"effects", abi.EffectsSectionChanges, "host"},
	KindOpen:     {"open", abi.OpenSectionAsset, "guest"},
	KindOpened:   {"opened", abi.OpenedSectionError, "host"},
	KindDescribe: {"describe", abi.DescribeSectionParams, "guest"},
	KindStored:   {"stored body", abi.StoredSectionKinds, "host"},
}

func (k Kind) String() string {
	if int(k) < len(kinds) && kinds[k].name != "" {
		return kinds[k].name
	}
	return fmt.Sprintf("kind %d", uint16(k))
}

// Section is one section of a container: its identity and its body, a view.
type Section struct {
	ID    uint16
	Flags uint16
	Index uint32
	Body  []byte
}

// Container is a checked view on a container. The zero value has no sections.
type Container struct {
	b []byte
	n int
}

// ReadContainer checks a container of the kind: header, table, bounds, overlap, uniqueness, and that no unknown section
// must be understood. It copies and allocates nothing.
func ReadContainer(b []byte, kind Kind) (Container, error) {
	le := binary.LittleEndian
	if len(b) < abi.ContainerHeaderSize {
		return Container{}, fmt.Errorf("%w: %d bytes, the header of %s has %d", ErrContainer, len(b), kind, abi.ContainerHeaderSize)
	}
	if m := le.Uint32(b); m != abi.MagicContainer {
		return Container{}, fmt.Errorf("%w: magic %08x, want %08x (WRC1) of %s", ErrContainer, m, uint32(abi.MagicContainer), kind)
	}
	size, n := le.Uint32(b[4:]), int(le.Uint16(b[10:]))
	switch {
	case uint64(size) != uint64(len(b)) || size%8 != 0:
		return Container{}, fmt.Errorf("%w: size of %s is %d, have %d bytes, and it must be divisible by 8", ErrContainer, kind, size, len(b))
	case size > abi.MaxContainerBytes:
		return Container{}, fmt.Errorf("%w: %s of %d bytes, the limit is %d: send less at once", ErrContainer, kind, size, abi.MaxContainerBytes)
	case Kind(le.Uint16(b[8:])) != kind:
		return Container{}, fmt.Errorf("%w: it is %s, want %s", ErrContainer, Kind(le.Uint16(b[8:])), kind)
	case n > abi.MaxSections:
		return Container{}, fmt.Errorf("%w: %d sections in %s, the limit is %d", ErrContainer, n, kind, abi.MaxSections)
	case le.Uint32(b[12:]) != 0:
		return Container{}, fmt.Errorf("%w: reserved bytes 12..15 of %s are not zero", ErrContainer, kind)
	case abi.ContainerHeaderSize+n*abi.ContainerEntrySize > len(b):
		return Container{}, fmt.Errorf("%w: %d sections in %s of %d bytes", ErrContainer, n, kind, len(b))
	}
	c := Container{b: b, n: n}
	for i := range n {
		if err := c.check(i, kind); err != nil {
			return Container{}, err
		}
	}
	return c, nil
}

func (c Container) entry(i int) []byte {
	return c.b[abi.ContainerHeaderSize+i*abi.ContainerEntrySize:][:abi.ContainerEntrySize]
}

func (c Container) check(i int, kind Kind) error {
	le := binary.LittleEndian
	e := c.entry(i)
	id, flags, index, off, length := le.Uint16(e), le.Uint16(e[2:]), le.Uint32(e[4:]), uint64(le.Uint32(e[8:])), uint64(le.Uint32(e[12:]))
	data := uint64(abi.ContainerHeaderSize + c.n*abi.ContainerEntrySize)
	if off%8 != 0 || off < data || off > uint64(len(c.b)) || length > uint64(len(c.b))-off {
		return fmt.Errorf("%w: section %d (%d) of %s at %d with %d bytes is outside of %d..%d or not divisible by 8",
			ErrContainer, id, index, kind, off, length, data, len(c.b))
	}
	if flags&abi.SectionMustUnderstand != 0 && !knows(kind, id) {
		return fmt.Errorf("%w %d in %s: upgrade the %s", ErrUnknownSection, id, kind, kinds[kind].reader)
	}
	for j := range i {
		o := c.entry(j)
		if le.Uint16(o) == id && le.Uint32(o[4:]) == index {
			return fmt.Errorf("%w: section %d (%d) of %s stands twice", ErrContainer, id, index, kind)
		}
		oOff, oLen := uint64(le.Uint32(o[8:])), uint64(le.Uint32(o[12:]))
		if length > 0 && oLen > 0 && off < oOff+oLen && oOff < off+length {
			return fmt.Errorf("%w: sections %d (%d) and %d (%d) of %s overlap", ErrContainer, le.Uint16(o), le.Uint32(o[4:]), id, index, kind)
		}
	}
	return nil
}

func knows(kind Kind, id uint16) bool {
	return int(kind) < len(kinds) && id >= 1 && id <= kinds[kind].known
}

// Len is the number of sections, unknown ones included.
func (c Container) Len() int { return c.n }

// At is section i in the order of the table.
func (c Container) At(i int) Section {
	le := binary.LittleEndian
	e := c.entry(i)
	off, length := le.Uint32(e[8:]), le.Uint32(e[12:])
	return Section{ID: le.Uint16(e), Flags: le.Uint16(e[2:]), Index: le.Uint32(e[4:]), Body: c.b[off : off+length : off+length]}
}

// Section is the body of the section of that id and index; ok is false if there is none.
func (c Container) Section(id uint16, index uint32) (body []byte, ok bool) {
	le := binary.LittleEndian
	for i := range c.n {
		if e := c.entry(i); le.Uint16(e) == id && le.Uint32(e[4:]) == index {
			return c.At(i).Body, true
		}
	}
	return nil, false
}

// Each calls fn for every section until it returns false.
func (c Container) Each(fn func(Section) bool) {
	for i := range c.n {
		if !fn(c.At(i)) {
			return
		}
	}
}

// ContainerWriter lays a container out, so that it can be sized first and then written in place, into a guest's memory
// for instance: Reset, Reserve for each section, Size, Begin, and then Body of each. It keeps its memory.
type ContainerWriter struct {
	kind     Kind
	sections []reserved
	end      int // of the last body, from the first body, padded
	dst      []byte
}

type reserved struct {
	id, flags   uint16
	index       uint32
	off, length int
}

// Reset begins a new container of the kind.
func (w *ContainerWriter) Reset(kind Kind) {
	w.kind, w.sections, w.end, w.dst = kind, w.sections[:0], 0, nil
}

// Reserve adds a section whose body has length bytes and returns its number, for Body.
func (w *ContainerWriter) Reserve(id uint16, index uint32, flags uint16, length int) int {
	w.sections = append(w.sections, reserved{id: id, flags: flags, index: index, off: w.end, length: length})
	w.end += align8(length)
	return len(w.sections) - 1
}

// Size is the number of bytes of the container with what was reserved so far.
func (w *ContainerWriter) Size() int {
	return abi.ContainerHeaderSize + len(w.sections)*abi.ContainerEntrySize + w.end
}

// Begin writes header, table and padding into dst, which has Size bytes or more. Bodies are not cleared.
func (w *ContainerWriter) Begin(dst []byte) {
	le := binary.LittleEndian
	w.dst = dst[:w.Size()]
	le.PutUint32(dst, abi.MagicContainer)
	le.PutUint32(dst[4:], uint32(w.Size()))
	le.PutUint16(dst[8:], uint16(w.kind))
	le.PutUint16(dst[10:], uint16(len(w.sections)))
	le.PutUint32(dst[12:], 0)
	base := w.base()
	for i, s := range w.sections {
		e := dst[abi.ContainerHeaderSize+i*abi.ContainerEntrySize:][:abi.ContainerEntrySize]
		le.PutUint16(e, s.id)
		le.PutUint16(e[2:], s.flags)
		le.PutUint32(e[4:], s.index)
		le.PutUint32(e[8:], uint32(base+s.off))
		le.PutUint32(e[12:], uint32(s.length))
		clear(w.dst[base+s.off+s.length : base+s.off+align8(s.length)])
	}
}

// Body is where the body of section i of Reserve belongs.
func (w *ContainerWriter) Body(i int) []byte {
	s := w.sections[i]
	from := w.base() + s.off
	return w.dst[from : from+s.length : from+s.length]
}

func (w *ContainerWriter) base() int {
	return abi.ContainerHeaderSize + len(w.sections)*abi.ContainerEntrySize
}
