package udf

import (
	"encoding/binary"
	"fmt"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/manifest"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/functions"
)

// bindAddress checks that a function with an address is one, and that its outputs
// have room for the caller.
func (o *Operator) bindAddress(f *manifest.Function) error {
	if o.config.Address == "" {
		return nil
	}
	if f.Type != o.config.Address {
		return fmt.Errorf("function %s has the type %q, and is to be %s", f.Name, f.Type, o.config.Address)
	}
	for i, out := range o.sig.Outputs {
		if want := len(out.Fields) + 2; i >= len(o.ctx.Outputs) || len(o.ctx.Outputs[i].Fields) != want {
			return fmt.Errorf("output %s of function %s: want its columns and the caller's two", f.Outputs[i].Name, f.Name)
		}
	}
	return nil
}

// addCaller puts behind a function's own columns who it is that gave each row: the
// type, and the id that is the key of the row's cause. A guest does not say so itself.
func (o *Operator) addCaller(i int, b *batch.Batch, out *frame.Output) {
	s := o.ctx.Outputs[i]
	n := len(b.Columns)
	columns := append(b.Columns, o.constant(o.config.Address, b, out.Rows), o.callerIDs(b, out))
	for c := n; c < n+2; c++ {
		columns[c].Type = &s.Fields[c].Type
	}
	b.Schema = s
	b.SetColumns(columns, out.Rows)
}

// constant is a column with one text in every row.
func (o *Operator) constant(text string, b *batch.Batch, rows int) frame.Column {
	c, offsets := textColumn(b, rows, rows*len(text))
	for i := range rows {
		binary.LittleEndian.PutUint32(offsets[4*i+4:], uint32((i+1)*len(text)))
	}
	for at := copy(c.Bytes, text); at > 0 && at < len(c.Bytes); {
		at += copy(c.Bytes[at:], c.Bytes[:at])
	}
	return c
}

// callerIDs is the column of the keys of the rows' causes.
func (o *Operator) callerIDs(b *batch.Batch, out *frame.Output) frame.Column {
	ids := &o.call.Keys[0]
	size := 0
	for _, cause := range out.Causes {
		from, to := ids.Span(o.keyRow(cause))
		size += to - from
	}
	c, offsets := textColumn(b, out.Rows, size)
	at := 0
	for i, cause := range out.Causes {
		at += copy(c.Bytes[at:], ids.BytesAt(o.keyRow(cause)))
		binary.LittleEndian.PutUint32(offsets[4*i+4:], uint32(at))
	}
	return c
}

// keyRow is the row of the call's keys that has the key of a cause.
func (o *Operator) keyRow(cause uint32) int {
	slot := int(o.call.Slot(int(cause)))
	if o.call.KeySelection != nil {
		return int(o.call.KeySelection[slot])
	}
	return slot
}

// textColumn is a column of texts to be written, in memory that the batch keeps.
func textColumn(b *batch.Batch, rows, size int) (c frame.Column, offsets []byte) {
	head := (4*(rows+1) + 7) &^ 7
	buf := batch.NewBuffer(head + size)
	b.Keep(buf)
	offsets = buf.Bytes[:4*(rows+1)]
	binary.LittleEndian.PutUint32(offsets, 0)
	return frame.Column{Length: rows, Values: offsets, Bytes: buf.Bytes[head:]}, offsets
}

// addressOf is whom a message was for.
func (o *Operator) addressOf(b *batch.Batch, row int) string {
	return functions.Address{Type: o.config.Address, ID: b.Columns[functions.MessageID].StringAt(row)}.String()
}
