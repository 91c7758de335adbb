package wire

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"unsafe"
)

// Column is one node of a block: views of its buffers.
type Column struct {
	Length int
	Valid  []byte // nil: no nulls
	Values []byte
	Bytes  []byte
}

// Block is a parsed column block over bytes that it does not own.
type Block struct {
	Rows    int
	Columns []Column
}

// Parse checks the block's header and buffers against the kinds of its nodes, in preorder. Offsets are checked where they are read.
func (b *Block) Parse(data []byte, kinds []Kind) error {
	if len(data) < blockHeader {
		return errors.New("column block: " + strconv.Itoa(len(data)) + " bytes are too few")
	}
	if uintptr(unsafe.Pointer(unsafe.SliceData(data)))%8 != 0 {
		return errors.New("column block: its address is no multiple of 8")
	}
	rows := int(binary.LittleEndian.Uint32(data))
	nodes := int(binary.LittleEndian.Uint32(data[4:]))
	size := int(binary.LittleEndian.Uint32(data[8:]))
	if nodes != len(kinds) {
		return errors.New("column block: " + strconv.Itoa(nodes) + " nodes; the schema has " + strconv.Itoa(len(kinds)))
	}
	if size > len(data) || size < blockHeader+nodes*blockNode || size%8 != 0 {
		return errors.New("column block: size " + strconv.Itoa(size) + " does not fit its " + strconv.Itoa(len(data)) + " bytes")
	}
	data = data[:size]
	b.Rows = rows
	b.Columns = b.Columns[:0]
	for i, kind := range kinds {
		e := data[blockHeader+i*blockNode:]
		c := Column{Length: int(binary.LittleEndian.Uint32(e))}
		if c.Length > 0 {
			if err := c.parse(data, e, kind); err != nil {
				return errors.New("column block: node " + strconv.Itoa(i) + ": " + err.Error())
			}
		}
		b.Columns = append(b.Columns, c)
	}
	return nil
}

func (c *Column) parse(data, e []byte, kind Kind) error {
	var err error
	if at := binary.LittleEndian.Uint32(e[4:]); at != 0 {
		if c.Valid, err = buffer(data, at, (c.Length+7)/8); err != nil {
			return err
		}
	}
	n := c.Length * kind.Width()
	switch {
	case kind == Struct:
		return nil
	case kind == Bool:
		n = (c.Length + 7) / 8
	case kind.HasOffsets():
		n = 4 * (c.Length + 1)
	}
	if c.Values, err = buffer(data, binary.LittleEndian.Uint32(e[8:]), n); err != nil {
		return err
	}
	if kind.HasBytes() {
		c.Bytes, err = buffer(data, binary.LittleEndian.Uint32(e[12:]), int(binary.LittleEndian.Uint32(e[16:])))
	}
	return err
}

func buffer(data []byte, at uint32, n int) ([]byte, error) {
	if at%8 != 0 || int(at)+n > len(data) || (n > 0 && at < blockHeader) {
		return nil, errors.New("a buffer of " + strconv.Itoa(n) + " bytes at " + strconv.Itoa(int(at)) + " lies outside of the block")
	}
	return data[at : int(at)+n : int(at)+n], nil
}

// IsNull says whether value i is absent.
func (c *Column) IsNull(i int) bool { return c.Valid != nil && c.Valid[i>>3]>>(i&7)&1 == 0 }

// Span is where the elements of value i of a list or map stand, or false if its offsets are wrong.
func (c *Column) Span(i int) (from, to int, ok bool) {
	a, b := binary.LittleEndian.Uint32(c.Values[4*i:]), binary.LittleEndian.Uint32(c.Values[4*i+4:])
	return int(a), int(b), a <= b && b <= math.MaxInt32
}

// Slice returns value i of a utf8 or binary column, or false if its offsets are wrong.
func (c *Column) Slice(i int) ([]byte, bool) {
	from, to := binary.LittleEndian.Uint32(c.Values[4*i:]), binary.LittleEndian.Uint32(c.Values[4*i+4:])
	if from > to || uint64(to) > uint64(len(c.Bytes)) {
		return nil, false
	}
	return c.Bytes[from:to:to], true
}
