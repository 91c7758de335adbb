package snapshot

import (
	"errors"
	"fmt"
)

// Extent is a run of bytes: in an object, or inline. Object and Offset name it
// in both cases, and are never given twice.
//
// Inline bytes stand in the first manifest that holds them, whose object is Held.
// Later manifests refer to that instead of writing them again.
type Extent struct {
	Object string
	Offset int64
	Length int64
	Inline []byte // not nil: the bytes themselves, and there is no such object
	Held   string // not empty: the manifest in which they stand
	HeldAt int64
}

// keepInline is up to where bytes are written again in every manifest: a
// reference is hardly shorter, and would be one more read.
const keepInline = 2 << 10

// place is the object in which the bytes stand, and where.
func (x Extent) place() (name string, offset int64) {
	if x.Held != "" {
		return x.Held, x.HeldAt
	}
	return x.Object, x.Offset
}

// carried is the extent as the next manifest has it.
func (x Extent) carried() Extent {
	if x.Held != "" && x.Length > keepInline {
		x.Inline = nil
	}
	return x
}

func (x Extent) same(o Extent) bool { return x.Object == o.Object && x.Offset == o.Offset }

// SegmentRef is a segment, as far as it is alive.
type SegmentRef struct {
	Extent
	TailBytes  int64  // of index and footer
	Groups     Groups // entries outside are not alive here
	FirstHash  uint64
	LastHash   uint64
	Entries    int64
	Checkpoint uint64
}

// MaxChunkBytes limits one chunk: it is read whole.
const MaxChunkBytes = 64 << 20

// maxTailBytes is the index of a segment of several terabytes.
const maxTailBytes = 1 << 30

// Chunk is a run of bytes of an item.
type Chunk struct {
	Extent
	CRC uint32 // CRC32C
}

// ItemRef is an item whose bytes may lie in an object.
type ItemRef struct {
	Kind, Key string
	Chunks    []Chunk
}

// objectTable gives each object of a message a number; names are long.
type objectTable struct {
	numbers map[string]uint64
	names   []string
}

func (t *objectTable) number(name string) uint64 {
	n, known := t.numbers[name]
	if !known {
		if t.numbers == nil {
			t.numbers = map[string]uint64{}
		}
		n = uint64(len(t.names))
		t.numbers[name] = n
		t.names = append(t.names, name)
	}
	return n
}

// A message has a table of names before its body.
func (t *objectTable) encodeTo(e *encoder) {
	e.uvarint(uint64(len(t.names)))
	for _, name := range t.names {
		e.str(name)
	}
}

func decodeObjects(d *decoder) []string {
	names := make([]string, d.count(1))
	for i := range names {
		names[i] = d.str()
	}
	return names
}

func (e *encoder) extent(t *objectTable, x Extent) {
	e.uvarint(t.number(x.Object))
	e.uvarint(uint64(x.Offset))
	switch {
	case x.Inline != nil:
		e.u8(extentInline)
		e.bytes(x.Inline)
		return
	case x.Held != "":
		e.u8(extentHeld)
		e.uvarint(t.number(x.Held))
		e.uvarint(uint64(x.HeldAt))
	default:
		e.u8(extentInObject)
	}
	e.uvarint(uint64(x.Length))
}

const (
	extentInObject = iota
	extentInline
	extentHeld
)

func (d *decoder) object(objects []string) string {
	number := d.uvarint()
	if number >= uint64(len(objects)) {
		d.fail(fmt.Errorf("object %d of %d", number, len(objects)))
		return ""
	}
	return objects[number]
}

func (d *decoder) extent(objects []string) (x Extent) {
	x.Object, x.Offset = d.object(objects), int64(d.uvarint())
	switch d.u8() {
	case extentInObject:
		x.Length = int64(d.uvarint())
	case extentInline:
		x.Inline = append([]byte{}, d.bytes()...)
		x.Length = int64(len(x.Inline))
		if d.size > 0 {
			x.HeldAt = int64(d.size-len(d.b)) - x.Length
		}
	case extentHeld:
		x.Held, x.HeldAt, x.Length = d.object(objects), int64(d.uvarint()), int64(d.uvarint())
	default:
		d.fail(errors.New("an extent of a kind that is not known here"))
	}
	if x.Offset < 0 || x.Length < 0 || x.HeldAt < 0 {
		d.fail(fmt.Errorf("an extent of %d bytes at %d", x.Length, x.Offset))
	}
	return x
}

func (e *encoder) groups(g Groups) { e.u16(g.First); e.u16(g.Last) }

func (d *decoder) groups() Groups {
	g := Groups{d.u16(), d.u16()}
	if !g.valid() {
		d.fail(fmt.Errorf("key groups %s", g))
	}
	return g
}

func (e *encoder) segment(t *objectTable, s SegmentRef) {
	e.extent(t, s.Extent)
	e.uvarint(uint64(s.TailBytes))
	e.groups(s.Groups)
	e.u64(s.FirstHash)
	e.u64(s.LastHash)
	e.uvarint(uint64(s.Entries))
	e.uvarint(s.Checkpoint)
}

func (d *decoder) segment(objects []string) SegmentRef {
	s := SegmentRef{Extent: d.extent(objects), TailBytes: int64(d.uvarint()), Groups: d.groups(),
		FirstHash: d.u64(), LastHash: d.u64(), Entries: int64(d.uvarint()), Checkpoint: d.uvarint()}
	if s.TailBytes < footerBytes || s.TailBytes > min(s.Length, maxTailBytes) || s.Entries < 0 {
		d.fail(fmt.Errorf("a segment of %d bytes with a tail of %d", s.Length, s.TailBytes))
	}
	return s
}

func (e *encoder) segments(t *objectTable, list []SegmentRef) {
	e.uvarint(uint64(len(list)))
	for _, s := range list {
		e.segment(t, s)
	}
}

func (d *decoder) segments(objects []string) []SegmentRef {
	list := make([]SegmentRef, d.count(26))
	for i := range list {
		list[i] = d.segment(objects)
	}
	return list
}

func (e *encoder) items(t *objectTable, list []ItemRef) {
	e.uvarint(uint64(len(list)))
	for _, item := range list {
		e.str(item.Kind)
		e.str(item.Key)
		e.uvarint(uint64(len(item.Chunks)))
		for _, c := range item.Chunks {
			e.extent(t, c.Extent)
			e.u32(c.CRC)
		}
	}
}

func (d *decoder) items(objects []string) []ItemRef {
	list := make([]ItemRef, d.count(3))
	for i := range list {
		list[i] = ItemRef{Kind: d.str(), Key: d.str()}
		list[i].Chunks = make([]Chunk, d.count(8))
		for j := range list[i].Chunks {
			c := Chunk{Extent: d.extent(objects), CRC: d.u32()}
			if c.Length > MaxChunkBytes {
				d.fail(fmt.Errorf("a chunk of %d bytes, the limit is %d", c.Length, MaxChunkBytes))
			}
			list[i].Chunks[j] = c
		}
	}
	return list
}

func (e *encoder) timers(t NextTimers) { e.u64(uint64(t.Event)); e.u64(uint64(t.Processing)) }

func (d *decoder) timers() NextTimers { return NextTimers{int64(d.u64()), int64(d.u64())} }
