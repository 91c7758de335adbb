package weirtest

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
)

// A value of a column is nil, bool, int64 (all integers, date32 days, timestamp microseconds), float64 (both floats), string, []byte, *big.Int (a decimal's unscaled number)
// or, for map<utf8,binary>, map[string][]byte. A list is []any, a struct map[string]any, another map []entry in the order of its keys.

var le = binary.LittleEndian

type nodeBytes struct {
	length                int
	valid, values, bytes_ []byte
}

// encodeBlock writes columns of rows values each.
func encodeBlock(cols []column, values [][]any, rows int) ([]byte, error) {
	var nodes []nodeBytes
	for i, c := range cols {
		var err error
		if nodes, err = encodeColumn(nodes, c.typ, values[i]); err != nil {
			return nil, fmt.Errorf("column %s: %w", c.name, err)
		}
	}
	b := make([]byte, 16+24*len(nodes))
	put := func(at, field int, body []byte) {
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
		le.PutUint32(b[at+field:], uint32(len(b)))
		b = append(b, body...)
	}
	for i, n := range nodes {
		at := 16 + 24*i
		le.PutUint32(b[at:], uint32(n.length))
		if n.valid != nil {
			put(at, 4, n.valid)
		}
		if n.values != nil {
			put(at, 8, n.values)
		}
		if n.bytes_ != nil {
			put(at, 12, n.bytes_)
			le.PutUint32(b[at+16:], uint32(len(n.bytes_)))
		}
	}
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	le.PutUint32(b, uint32(rows))
	le.PutUint32(b[4:], uint32(len(nodes)))
	le.PutUint32(b[8:], uint32(len(b)))
	return b, nil
}

func encodeColumn(nodes []nodeBytes, t typ, values []any) ([]nodeBytes, error) {
	n := nodeBytes{length: len(values)}
	for i, v := range values {
		if v != nil {
			continue
		}
		if !t.null {
			return nil, fmt.Errorf("value %d is null; the column may not be", i)
		}
		if n.valid == nil {
			n.valid = make([]byte, (len(values)+7)/8)
			for j := range values {
				if values[j] != nil {
					n.valid[j/8] |= 1 << (j % 8)
				}
			}
		}
	}
	switch {
	case t.isHeaders():
		return encodeHeaders(nodes, n, values)
	case t.name == "list" || t.name == "map" || t.name == "struct":
		return encodeNested(nodes, n, t, values)
	}
	if len(values) == 0 {
		return append(nodes, n), nil // offset 0 for all buffers
	}
	if t.name == "utf8" || t.name == "binary" {
		n.values, n.bytes_ = make([]byte, 4), []byte{}
	}
	if t.name == "bool" {
		n.values = make([]byte, (len(values)+7)/8)
	}
	for i, v := range values {
		if err := n.add(t, i, v); err != nil {
			return nil, fmt.Errorf("value %d: %w", i, err)
		}
	}
	return append(nodes, n), nil
}

func (n *nodeBytes) add(t typ, i int, v any) error {
	wrong := fmt.Errorf("a %T is no %s", v, t.name)
	switch t.name {
	case "bool":
		b, ok := v.(bool)
		if !ok && v != nil {
			return wrong
		}
		if b {
			n.values[i/8] |= 1 << (i % 8)
		}
	case "utf8", "binary":
		switch x := v.(type) {
		case string:
			n.bytes_ = append(n.bytes_, x...)
		case []byte:
			n.bytes_ = append(n.bytes_, x...)
		case nil:
		default:
			return wrong
		}
		n.values = le.AppendUint32(n.values, uint32(len(n.bytes_)))
	case "float32", "float64":
		f, ok := v.(float64)
		if !ok && v != nil {
			return wrong
		}
		if t.name == "float32" {
			n.values = le.AppendUint32(n.values, math.Float32bits(float32(f)))
		} else {
			n.values = le.AppendUint64(n.values, math.Float64bits(f))
		}
	case "decimal":
		d, ok := v.(*big.Int)
		if !ok && v != nil {
			return wrong
		}
		n.values = append(n.values, decimalBytes(d)...)
	default:
		x, ok := v.(int64)
		if !ok && v != nil {
			return wrong
		}
		n.values = append(n.values, le.AppendUint64(nil, uint64(x))[:widths[t.name]]...)
	}
	return nil
}

// decimalBytes is two's complement in 16 bytes.
func decimalBytes(d *big.Int) []byte {
	out := make([]byte, 16)
	if d == nil {
		return out
	}
	m := new(big.Int).Set(d)
	if m.Sign() < 0 {
		m.Add(m, new(big.Int).Lsh(big.NewInt(1), 128))
	}
	m.FillBytes(out)
	slices.Reverse(out)
	return out
}

func decimalValue(b []byte) *big.Int {
	be := slices.Clone(b[:16])
	slices.Reverse(be)
	m := new(big.Int).SetBytes(be)
	if m.Bit(127) == 1 {
		m.Sub(m, new(big.Int).Lsh(big.NewInt(1), 128))
	}
	return m
}

func encodeHeaders(nodes []nodeBytes, n nodeBytes, values []any) ([]nodeBytes, error) {
	n.values = make([]byte, 4)
	var ks, vs []any
	for i, v := range values {
		h, ok := v.(map[string][]byte)
		if !ok && v != nil {
			return nil, fmt.Errorf("value %d: a %T is no map of headers", i, v)
		}
		for _, k := range slices.Sorted(maps.Keys(h)) {
			ks, vs = append(ks, k), append(vs, h[k])
		}
		n.values = le.AppendUint32(n.values, uint32(len(ks)))
	}
	nodes = append(nodes, n, nodeBytes{length: len(ks)})
	nodes, err := encodeColumn(nodes, typ{name: "utf8"}, ks)
	if err != nil {
		return nil, err
	}
	return encodeColumn(nodes, typ{name: "binary"}, vs)
}

// blockReader checks everything it reads: the block may come from a faulty guest.
type blockReader struct {
	data []byte
	node int
	size int
}

// decodeBlock reads the columns of a block.
func decodeBlock(cols []column, b []byte) (values [][]any, rows int, err error) {
	defer func() {
		// Slices out of range are the block's fault: every offset in it is foreign.
		if r := recover(); r != nil {
			err = fmt.Errorf("column block: %v", r)
		}
	}()
	if len(b) < 16 {
		return nil, 0, fmt.Errorf("column block of %d bytes", len(b))
	}
	rows = int(le.Uint32(b))
	r := &blockReader{data: b[:le.Uint32(b[8:])], size: int(le.Uint32(b[4:]))}
	for _, c := range cols {
		vs, err := r.column(c.typ)
		if err == nil && len(vs) != rows {
			err = fmt.Errorf("%d values for %d rows", len(vs), rows)
		}
		if err != nil {
			return nil, 0, fmt.Errorf("column %s: %w", c.name, err)
		}
		values = append(values, vs)
	}
	if r.node != r.size {
		return nil, 0, fmt.Errorf("column block of %d nodes; the schema has %d", r.size, r.node)
	}
	return values, rows, nil
}

func (r *blockReader) column(t typ) ([]any, error) {
	e := r.data[16+24*r.node:]
	r.node++
	length := int(le.Uint32(e))
	if length > 8*len(r.data) {
		return nil, fmt.Errorf("length %d is beyond the block", length)
	}
	var valid []byte
	if at := le.Uint32(e[4:]); at != 0 {
		if !t.null {
			return nil, fmt.Errorf("it has a validity buffer, though it may not be null")
		}
		valid = r.data[at : int(at)+(length+7)/8]
	}
	at := le.Uint32(e[8:])
	if at%8 != 0 {
		return nil, fmt.Errorf("values at %d, no multiple of 8", at)
	}
	body := r.data[at:]
	size := le.Uint32(e[16:])
	bytesAt := le.Uint32(e[12:])
	text := r.data[bytesAt : bytesAt+size]
	values := make([]any, length)
	var keys, contents []any
	if t.name == "list" || t.name == "struct" || t.name == "map" && !t.isHeaders() {
		return r.nested(t, length, valid, body)
	}
	if t.name == "map" {
		r.node++
		var err error
		if keys, err = r.column(typ{name: "utf8"}); err != nil {
			return nil, err
		}
		if contents, err = r.column(typ{name: "binary"}); err != nil {
			return nil, err
		}
	}
	for i := range length {
		if valid != nil && valid[i/8]>>(i%8)&1 == 0 {
			continue
		}
		switch t.name {
		case "bool":
			values[i] = body[i/8]>>(i%8)&1 == 1
		case "utf8":
			values[i] = string(text[le.Uint32(body[4*i:]):le.Uint32(body[4*i+4:])])
		case "binary":
			values[i] = slices.Clone(text[le.Uint32(body[4*i:]):le.Uint32(body[4*i+4:])])
		case "float32":
			values[i] = float64(math.Float32frombits(le.Uint32(body[4*i:])))
		case "float64":
			values[i] = math.Float64frombits(le.Uint64(body[8*i:]))
		case "decimal":
			values[i] = decimalValue(body[16*i:])
		case "map":
			h := map[string][]byte{}
			for j := le.Uint32(body[4*i:]); j < le.Uint32(body[4*i+4:]); j++ {
				h[keys[j].(string)] = contents[j].([]byte)
			}
			values[i] = h
		default:
			w := widths[t.name]
			wide := make([]byte, 8)
			copy(wide, body[w*i:w*i+w])
			shift := 64 - 8*w
			values[i] = int64(le.Uint64(wide)) << shift >> shift
		}
	}
	return values, nil
}
