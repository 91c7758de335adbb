package c_test

import "encoding/binary"

// Frames written and read by hand from abi/README.md, so that nothing but the text stands between the header and the test.

var le = binary.LittleEndian

type section struct {
	id    uint16
	index uint32
	body  []byte
}

func pad8(b []byte) []byte {
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

func container(kind uint16, sections ...section) []byte {
	b := make([]byte, 16+16*len(sections))
	le.PutUint32(b, 0x31435257)
	le.PutUint16(b[8:], kind)
	le.PutUint16(b[10:], uint16(len(sections)))
	for i, s := range sections {
		d := b[16+16*i:]
		le.PutUint16(d, s.id)
		le.PutUint16(d[2:], 1)
		le.PutUint32(d[4:], s.index)
		le.PutUint32(d[8:], uint32(len(b)))
		le.PutUint32(d[12:], uint32(len(s.body)))
		b = pad8(append(b, s.body...))
	}
	le.PutUint32(b[4:], uint32(len(b)))
	return b
}

func sectionsOf(b []byte) map[place][]byte {
	out := map[place][]byte{}
	if len(b) < 16 {
		return out
	}
	for i := range int(le.Uint16(b[10:])) {
		d := b[16+16*i:]
		offset, length := le.Uint32(d[8:]), le.Uint32(d[12:])
		out[place{le.Uint16(d), le.Uint32(d[4:])}] = b[offset : offset+length]
	}
	return out
}

type place struct {
	id    uint16
	index uint32
}

// column holds a block's column as it will stand in it; empty buffers are left out.
type column struct{ validity, values, bytes []byte }

func block(rows int, columns ...column) []byte {
	b := make([]byte, 16+24*len(columns))
	le.PutUint32(b, uint32(rows))
	le.PutUint32(b[4:], uint32(len(columns)))
	for i, c := range columns {
		put := func(field int, p []byte) {
			if len(p) > 0 {
				le.PutUint32(b[16+24*i+field:], uint32(len(b)))
				b = pad8(append(b, p...))
			}
		}
		le.PutUint32(b[16+24*i:], uint32(rows))
		put(4, c.validity)
		put(8, c.values)
		put(12, c.bytes)
		le.PutUint32(b[16+24*i+16:], uint32(len(c.bytes)))
	}
	le.PutUint32(b[8:], uint32(len(b)))
	return b
}

func bits(set ...bool) []byte {
	b := make([]byte, (len(set)+7)/8)
	for i, on := range set {
		if on {
			b[i/8] |= 1 << (i % 8)
		}
	}
	return b
}

func i64s(v ...int64) (b []byte) {
	for _, x := range v {
		b = le.AppendUint64(b, uint64(x))
	}
	return b
}

func u32s(v ...uint32) (b []byte) {
	for _, x := range v {
		b = le.AppendUint32(b, x)
	}
	return b
}

func texts(v ...string) column {
	c := column{values: u32s(0)}
	for _, s := range v {
		c.bytes = append(c.bytes, s...)
		c.values = le.AppendUint32(c.values, uint32(len(c.bytes)))
	}
	return c
}

// cells reads a column of a block: fixed-width values as little-endian integers, texts as strings, nulls as nil.
func cells(b []byte, col, width int) []any {
	rows, d := int(le.Uint32(b)), b[16+24*col:]
	validity, values, bytes := le.Uint32(d[4:]), b[le.Uint32(d[8:]):], b[le.Uint32(d[12:]):]
	var out []any
	for i := range rows {
		switch {
		case validity != 0 && b[int(validity)+i/8]>>(i%8)&1 == 0:
			out = append(out, nil)
		case width == 0:
			out = append(out, string(bytes[le.Uint32(values[4*i:]):le.Uint32(values[4*i+4:])]))
		default:
			var v int64
			for k := range width {
				v |= int64(values[i*width+k]) << (8 * k)
			}
			out = append(out, v)
		}
	}
	return out
}
