package join

import (
	"encoding/binary"
	"fmt"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/row"
	"github.com/weirstream/weir/abi/schema"
)

// A stored row is its event time, 8 bytes little-endian, and the columns that
// appear in the output as abi/row has them, with ids from 1.
const timeBytes = 8

// appendRow stores a row of a batch.
func (s *side) appendRow(dst []byte, columns []frame.Column, at int, time int64) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(time))
	for i, c := range s.columns {
		col := &columns[c]
		if col.Null(at) {
			continue
		}
		id := i + 1
		switch t := &s.fields[i].Type; t.Kind {
		case schema.Bool:
			dst = row.AppendBool(dst, id, col.Bool(at))
		case schema.Float32:
			dst = row.AppendFloat32(dst, id, float32(col.FloatAt(at)))
		case schema.Float64:
			dst = row.AppendFloat64(dst, id, col.FloatAt(at))
		case schema.Decimal:
			hi, lo := col.Decimal(at)
			dst = row.AppendDecimal(dst, id, t.Scale, hi, lo)
		case schema.Utf8, schema.Binary:
			dst = row.AppendBytes(dst, id, col.BytesAt(at))
		default:
			dst = row.AppendInt(dst, id, col.IntAt(at))
		}
	}
	return dst
}

func timeOf(stored []byte) int64 { return int64(binary.LittleEndian.Uint64(stored)) }

// copyRow appends a row of a batch to the side's columns of the output.
func (s *side) copyRow(out *frame.Builder, columns []frame.Column, at int) {
	for i, c := range s.columns {
		out.Column(s.first+i).AppendFrom(&columns[c], at)
	}
}

// readRow appends a stored row to the side's columns of the output.
func (s *side) readRow(out *frame.Builder, stored []byte) error {
	if len(stored) < timeBytes {
		return fmt.Errorf("a stored row has %d bytes: %w", len(stored), row.ErrRow)
	}
	r := row.NewReader(stored[timeBytes:])
	next := 0
	for {
		id, _, ok := r.Next()
		if !ok {
			break
		}
		if id > len(s.fields) {
			continue
		}
		for ; next < id-1; next++ {
			out.Column(s.first + next).AppendNull()
		}
		next = id
		c := out.Column(s.first + id - 1)
		switch s.fields[id-1].Type.Kind {
		case schema.Bool:
			c.AppendBool(r.Bool())
		case schema.Float32:
			c.AppendFloat32(float32(r.Float64()))
		case schema.Float64:
			c.AppendFloat64(r.Float64())
		case schema.Decimal:
			_, hi, lo := r.Decimal()
			c.AppendDecimal(hi, lo)
		case schema.Utf8, schema.Binary:
			c.AppendBytes(r.Bytes())
		default:
			if v := r.Int(); !c.AppendInt(v) {
				return fmt.Errorf("a stored row has %d in column %s: %w", v, s.fields[id-1].Name, row.ErrRow)
			}
		}
	}
	for ; next < len(s.fields); next++ {
		out.Column(s.first + next).AppendNull()
	}
	return r.Err()
}
