package frame

import (
	"encoding/binary"
	"fmt"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/schema"
)

// CallReader reads call containers: recorded calls, and calls for functions that run outside of a sandbox. It keeps its
// memory; what Read returns is valid until the next Read.
type CallReader struct {
	call   Call
	cols   [][]Column // by input
	keys   []Column
	meta   []Column
	states []Column
	values []StateValues
	causes []Cause
}

// Read checks a call container against the signature. The result views b.
func (r *CallReader) Read(sig *Signature, b []byte) (*Call, error) {
	c, err := ReadContainer(b, KindCall)
	if err == nil {
		err = r.read(sig, c)
	}
	if err != nil {
		return nil, fmt.Errorf("%w of function %s: %w", ErrCall, sig.Name, err)
	}
	return &r.call, nil
}

func (r *CallReader) read(sig *Signature, c Container) error {
	head, ok := c.Section(abi.CallSectionCall, 0)
	if !ok || len(head) < abi.CallHeaderSize {
		return fmt.Errorf("call section has %d bytes, want %d", len(head), abi.CallHeaderSize)
	}
	le := binary.LittleEndian
	causes := int(le.Uint32(head[24:]))
	r.call = Call{
		Clock: int64(le.Uint64(head)), Watermark: int64(le.Uint64(head[8:])), Seed: le.Uint64(head[16:]),
		Slots: int(le.Uint32(head[28:])), Attempt: le.Uint32(head[32:]), FirstGroup: le.Uint32(head[36:]),
		LastGroup: le.Uint32(head[40:]), MaxOutput: le.Uint32(head[44:]), Flags: le.Uint32(head[48:]),
	}
	if len(r.cols) != len(sig.Inputs) {
		r.cols = make([][]Column, len(sig.Inputs))
	}
	if err := r.readRows(sig, c); err != nil {
		return err
	}
	if body, ok := c.Section(abi.CallSectionCauses, 0); ok {
		if err := r.readCauses(sig, body); err != nil {
			return err
		}
	}
	if r.call.CauseCount() != causes || causes == 0 {
		return fmt.Errorf("call section says %d causes, have %d", causes, r.call.CauseCount())
	}
	if sig.Key == nil {
		if r.call.Slots != 0 {
			return fmt.Errorf("%d slots, the function is not keyed", r.call.Slots)
		}
		return nil
	}
	return r.readKeyed(sig, c)
}

func (r *CallReader) readRows(sig *Signature, c Container) (err error) {
	call := &r.call
	found := false
	for i := range c.Len() {
		sec := c.At(i)
		if sec.ID != abi.CallSectionRows {
			continue
		}
		if found || int(sec.Index) >= len(sig.Inputs) {
			return fmt.Errorf("rows of input %d: one input of %d a call", sec.Index, len(sig.Inputs))
		}
		found = true
		call.Input = int(sec.Index)
		s := sig.Inputs[sec.Index]
		if r.cols[sec.Index] == nil {
			r.cols[sec.Index] = NewColumns(s)
		}
		call.Columns = r.cols[sec.Index]
		if call.Rows, err = DecodeInto(s, sec.Body, call.Columns); err != nil {
			return err
		}
	}
	if !found {
		return nil
	}
	if b, ok := c.Section(abi.CallSectionTimes, 0); ok {
		if call.Times, err = timesOf(b, call.Rows); err != nil {
			return err
		}
	}
	if b, ok := c.Section(abi.CallSectionKinds, 0); ok {
		if call.Kinds, err = kindsOf(b, call.Rows); err != nil {
			return err
		}
	}
	if b, ok := c.Section(abi.CallSectionMeta, 0); ok {
		if r.meta == nil {
			r.meta = NewColumns(metaSchema)
		}
		n, err := DecodeInto(metaSchema, b, r.meta)
		if err != nil {
			return fmt.Errorf("meta: %w", err)
		}
		if n != call.Rows {
			return fmt.Errorf("meta has %d rows, want %d", n, call.Rows)
		}
		call.Meta = r.meta
	}
	return nil
}

func (r *CallReader) readCauses(sig *Signature, b []byte) error {
	if len(b) == 0 || len(b)%abi.CauseSize != 0 {
		return fmt.Errorf("causes section has %d bytes, want %d for each", len(b), abi.CauseSize)
	}
	le := binary.LittleEndian
	r.causes = r.causes[:0]
	for ; len(b) > 0; b = b[abi.CauseSize:] {
		c := Cause{Kind: b[0], Number: le.Uint16(b[2:]), Slot: le.Uint32(b[4:]), Row: le.Uint32(b[8:]), Time: int64(le.Uint64(b[16:]))}
		switch {
		case c.Kind == abi.CauseRow && (int(c.Row) >= r.call.Rows || int(c.Number) != r.call.Input):
			return fmt.Errorf("cause is row %d of input %d, have %d rows of input %d", c.Row, c.Number, r.call.Rows, r.call.Input)
		case firing(c.Kind) && (int(c.Number) >= len(sig.Timers) || sig.Timers[c.Number].Kind != c.Kind || r.call.Columns != nil):
			return fmt.Errorf("cause of kind %d is no firing of a timer %d", c.Kind, c.Number)
		case c.Kind != abi.CauseRow && c.Kind != abi.CauseEndOfInput && !firing(c.Kind):
			return fmt.Errorf("unknown cause kind %d: upgrade the guest", c.Kind)
		case c.Kind != abi.CauseEndOfInput && sig.Key != nil && uint64(c.Slot) >= uint64(r.call.Slots):
			return fmt.Errorf("cause has slot %d of %d", c.Slot, r.call.Slots)
		}
		r.causes = append(r.causes, c)
	}
	r.call.Causes = r.causes
	return nil
}

func (r *CallReader) readKeyed(sig *Signature, c Container) error {
	call := &r.call
	if call.Columns != nil {
		b, _ := c.Section(abi.CallSectionSlots, 0)
		if len(b) != 4*call.Rows {
			return fmt.Errorf("slots section has %d bytes for %d rows", len(b), call.Rows)
		}
		call.RowSlots = u32s(b)
		for i, s := range call.RowSlots {
			if uint64(s) >= uint64(call.Slots) {
				return fmt.Errorf("row %d has slot %d of %d", i, s, call.Slots)
			}
		}
	}
	if r.keys == nil {
		r.keys = NewColumns(sig.Key)
	}
	b, _ := c.Section(abi.CallSectionKeys, 0)
	if err := decodeRows(sig.Key, b, r.keys, call.Slots); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	call.Keys = r.keys
	if len(r.states) != len(sig.States) {
		r.states, r.values = make([]Column, len(sig.States)), make([]StateValues, len(sig.States))
	}
	for i := range sig.States {
		if !sig.States[i].Framed {
			continue
		}
		b, _ := c.Section(abi.CallSectionState, uint32(i))
		if err := decodeRows(stateSchema, b, r.states[i:i+1], call.Slots); err != nil {
			return fmt.Errorf("state %s: %w", sig.States[i].Name, err)
		}
		r.values[i] = StateValues{Column: &r.states[i]}
	}
	call.States = r.values
	return nil
}

func decodeRows(s *schema.Schema, b []byte, cols []Column, want int) error {
	n, err := DecodeInto(s, b, cols)
	if err == nil && n != want {
		err = fmt.Errorf("%d rows for %d slots", n, want)
	}
	return err
}

func u32s(b []byte) []uint32 {
	if !aligned(b) {
		b = alignedCopy(b)
	}
	return view[uint32](b, len(b)/4)
}
