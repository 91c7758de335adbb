package weirtest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
)

type section struct {
	id    uint16
	index uint32
	must  bool
	body  []byte
}

// encodeContainer writes a container. Its bytes begin at a multiple of 8, as in a guest's memory.
func encodeContainer(kind uint16, sections ...section) []byte {
	size := 16 + 16*len(sections)
	for _, s := range sections {
		size = (size+7)&^7 + len(s.body)
	}
	b := make([]byte, 0, (size+7)&^7)
	b = append(b, "WRC1"...)
	b = le.AppendUint32(b, uint32(cap(b)))
	b = le.AppendUint16(b, kind)
	b = le.AppendUint16(b, uint16(len(sections)))
	b = le.AppendUint32(b, 0)
	at := 16 + 16*len(sections)
	for _, s := range sections {
		at = (at + 7) &^ 7
		flags := uint16(0)
		if s.must {
			flags = 1
		}
		b = le.AppendUint16(b, s.id)
		b = le.AppendUint16(b, flags)
		b = le.AppendUint32(b, s.index)
		b = le.AppendUint32(b, uint32(at))
		b = le.AppendUint32(b, uint32(len(s.body)))
		at += len(s.body)
	}
	for _, s := range sections {
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
		b = append(b, s.body...)
	}
	return b[:cap(b)]
}

// decodeContainer reads a container of a kind.
func decodeContainer(kind uint16, b []byte) ([]section, error) {
	if len(b) < 16 || string(b[:4]) != "WRC1" || le.Uint16(b[8:]) != kind || int(le.Uint32(b[4:])) != len(b) || len(b)%8 != 0 {
		return nil, fmt.Errorf("%d bytes are no container of kind %d", len(b), kind)
	}
	var sections []section
	for i := range int(le.Uint16(b[10:])) {
		if 32+16*i > len(b) {
			return nil, fmt.Errorf("the table of sections does not fit")
		}
		e := b[16+16*i:]
		s := section{id: le.Uint16(e), must: le.Uint16(e[2:])&1 != 0, index: le.Uint32(e[4:])}
		at, n := uint64(le.Uint32(e[8:])), uint64(le.Uint32(e[12:]))
		if at%8 != 0 || at+n > uint64(len(b)) {
			return nil, fmt.Errorf("section %d lies outside of its container", s.id)
		}
		s.body = b[at : at+n]
		sections = append(sections, s)
	}
	return sections, nil
}

func find(sections []section, id uint16, index uint32) []byte {
	for _, s := range sections {
		if s.id == id && s.index == index {
			return s.body
		}
	}
	return nil
}

// canonicalKey writes the canonical bytes of a key.
func canonicalKey(cols []column, values []any) []byte {
	var b []byte
	for i, v := range values {
		if v == nil {
			b = append(b, 1)
			continue
		}
		b = append(b, 2)
		switch x := v.(type) {
		case bool:
			if x {
				b = append(b, 1)
			} else {
				b = append(b, 0)
			}
		case int64:
			b = binary.BigEndian.AppendUint64(b, uint64(x)+1<<63)
		case float64:
			b = binary.BigEndian.AppendUint64(b, orderedFloat(x))
		case string:
			b = keyText(b, x, i == len(values)-1)
		case []byte:
			b = keyText(b, string(x), i == len(values)-1)
		case *big.Int:
			b = append(b, keyDecimal(x, cols[i].typ.scale)...)
		}
	}
	return b
}

func orderedFloat(f float64) uint64 {
	switch {
	case math.IsNaN(f):
		return 0xfff8000000000000
	case f == 0:
		return 1 << 63
	case f < 0:
		return ^math.Float64bits(f)
	}
	return math.Float64bits(f) | 1<<63
}

func keyText(b []byte, s string, last bool) []byte {
	if last {
		return append(b, s...)
	}
	for i := range len(s) {
		b = append(b, s[i])
		if s[i] == 0 {
			b = append(b, 0xff)
		}
	}
	return append(b, 0, 1)
}

func keyDecimal(d *big.Int, scale int) []byte {
	if d.Sign() == 0 {
		return []byte{1}
	}
	digits := new(big.Int).Abs(d).String()
	exponent := len(digits) - scale
	for digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	if len(digits)%2 == 1 {
		digits += "0"
	}
	b := []byte{2, byte(exponent + 128)}
	for i := 0; i < len(digits); i += 2 {
		b = append(b, 1+10*(digits[i]-'0')+digits[i+1]-'0')
	}
	b = append(b, 0)
	if d.Sign() < 0 {
		b[0] = 0
		for i := 1; i < len(b); i++ {
			b[i] = ^b[i]
		}
	}
	return b
}
