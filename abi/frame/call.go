package frame

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weirstream/weir/abi"
)

// MaxCallBytes is the most bytes a call may have.
const MaxCallBytes = abi.MaxCallBytes

// ErrCall is wrapped by every refusal of a call, by the writer and by the reader; ErrCallSize by that of a call over
// MaxCallBytes, which is to be cut in two, or whose one record is to be refused.
var (
	ErrCall     = errors.New("bad call")
	ErrCallSize = errors.New("call too large")
)

// CallWriter writes calls in place. It keeps its memory between calls; the zero value is ready. Not for concurrent use.
//
//	size, err := w.Prepare(sig, call)
//	ptr := alloc(size)                     // the guest's weir_alloc
//	w.Write(memory[ptr:ptr+size])
type CallWriter struct {
	layout ContainerWriter
	parts  []callPart
	sig    *Signature
	call   *Call
	rows   Encoder
	keys   Encoder
	meta   Encoder
}

type callPart struct {
	id    uint16
	index int
}

// Prepare checks the call against the signature, lays it out and returns the size of its container.
func (w *CallWriter) Prepare(sig *Signature, c *Call) (size int, err error) {
	if err := checkCall(sig, c); err != nil {
		return 0, fmt.Errorf("%w of function %s: %w", ErrCall, sig.Name, err)
	}
	w.sig, w.call, w.parts = sig, c, w.parts[:0]
	w.layout.Reset(KindCall)
	rows := c.RowCount()
	w.reserve(abi.CallSectionCall, 0, abi.SectionMustUnderstand, abi.CallHeaderSize)
	if c.Columns != nil {
		s := sig.Inputs[c.Input]
		w.reserve(abi.CallSectionRows, c.Input, abi.SectionMustUnderstand, w.rows.Size(s, c.Columns, c.Selection, rows))
		if sig.Key != nil {
			w.reserve(abi.CallSectionSlots, 0, abi.SectionMustUnderstand, 4*rows)
		}
		if c.Times != nil {
			w.reserve(abi.CallSectionTimes, 0, 0, 8*rows)
		}
		if c.Meta != nil && sig.Positions {
			w.reserve(abi.CallSectionMeta, 0, 0, w.meta.Size(metaSchema, c.Meta, c.Selection, rows))
		}
		if c.Kinds != nil && sig.Changelog {
			w.reserve(abi.CallSectionKinds, 0, abi.SectionMustUnderstand, rows)
		}
	}
	if c.Causes != nil {
		w.reserve(abi.CallSectionCauses, 0, abi.SectionMustUnderstand, abi.CauseSize*len(c.Causes))
	}
	if sig.Key != nil {
		w.reserve(abi.CallSectionKeys, 0, abi.SectionMustUnderstand, w.keys.Size(sig.Key, c.Keys, c.KeySelection, c.Slots))
		for i := range sig.States {
			if sig.States[i].Framed {
				w.reserve(abi.CallSectionState, i, abi.SectionMustUnderstand, stateBlockSize(&c.States[i], c.Slots))
			}
		}
	}
	if n := w.layout.Size(); n > MaxCallBytes {
		return 0, fmt.Errorf("%w of function %s: %w: %d bytes for %d causes, the cap is %d: pass fewer rows, or refuse the one", ErrCall, sig.Name, ErrCallSize, n, c.CauseCount(), MaxCallBytes)
	}
	return w.layout.Size(), nil
}

func (w *CallWriter) reserve(id uint16, index int, flags uint16, size int) {
	w.layout.Reserve(id, uint32(index), flags, size)
	w.parts = append(w.parts, callPart{id, index})
}

// Write writes the prepared call into dst, which has its size and begins at an address divisible by 8, and returns the
// size.
func (w *CallWriter) Write(dst []byte) int {
	c, rows := w.call, w.call.RowCount()
	w.layout.Begin(dst)
	for i, p := range w.parts {
		body := w.layout.Body(i)
		switch p.id {
		case abi.CallSectionCall:
			putCallHeader(body, c)
		case abi.CallSectionRows:
			w.rows.Put(body, w.sig.Inputs[c.Input], c.Columns, c.Selection, rows)
		case abi.CallSectionSlots:
			copy(body, bytesOf(c.RowSlots[:rows]))
		case abi.CallSectionTimes:
			putTimes(body, c.Times, c.Selection, rows)
		case abi.CallSectionMeta:
			w.meta.Put(body, metaSchema, c.Meta, c.Selection, rows)
		case abi.CallSectionKinds:
			putKinds(body, c.Kinds, c.Selection, rows)
		case abi.CallSectionCauses:
			putCauses(body, c.Causes)
		case abi.CallSectionKeys:
			w.keys.Put(body, w.sig.Key, c.Keys, c.KeySelection, c.Slots)
		case abi.CallSectionState:
			putStateBlock(body, &c.States[p.index], c.Slots)
		}
	}
	return w.layout.Size()
}

func checkCall(sig *Signature, c *Call) error {
	rows := c.RowCount()
	switch {
	case c.Columns != nil && len(c.Causes) > 0 && c.Causes[0].Kind != abi.CauseRow:
		return errors.New("rows and firings together: they are two calls")
	case c.Columns == nil && c.Causes == nil:
		return errors.New("neither rows nor firings")
	case c.CauseCount() == 0 || rows > MaxRows:
		return fmt.Errorf("%d causes with %d rows, want 1 to %d", c.CauseCount(), rows, MaxRows)
	case c.Columns != nil && (c.Input < 0 || c.Input >= len(sig.Inputs)):
		return fmt.Errorf("input %d, the function has %d", c.Input, len(sig.Inputs))
	case sig.Key == nil && c.Slots != 0 || sig.Key != nil && c.Slots == 0 && c.Columns != nil:
		return fmt.Errorf("%d slots", c.Slots)
	case sig.Key != nil && c.Columns != nil && len(c.RowSlots) != rows:
		return fmt.Errorf("%d row slots for %d rows", len(c.RowSlots), rows)
	case sig.Key != nil && len(c.States) != len(sig.States):
		return fmt.Errorf("values of %d states, the function has %d", len(c.States), len(sig.States))
	}
	if c.Columns != nil {
		most := rows
		if c.Selection != nil {
			most = 0
		}
		if err := Check(sig.Inputs[c.Input], c.Columns, most); err != nil {
			return err
		}
	}
	if sig.Key == nil {
		return nil
	}
	if err := Check(sig.Key, c.Keys, 0); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	for i := range sig.States {
		if v := &c.States[i]; sig.States[i].Framed && (v.Column == nil && len(v.Values) != c.Slots || v.Column != nil && v.Column.Length != c.Slots) {
			return fmt.Errorf("state %s has not one value per slot, %d", sig.States[i].Name, c.Slots)
		}
	}
	return nil
}

func putCallHeader(b []byte, c *Call) {
	le := binary.LittleEndian
	clear(b)
	le.PutUint64(b, uint64(c.Clock))
	le.PutUint64(b[8:], uint64(c.Watermark))
	le.PutUint64(b[16:], c.Seed)
	le.PutUint32(b[24:], uint32(c.CauseCount()))
	le.PutUint32(b[28:], uint32(c.Slots))
	le.PutUint32(b[32:], c.Attempt)
	le.PutUint32(b[36:], c.FirstGroup)
	le.PutUint32(b[40:], c.LastGroup)
	le.PutUint32(b[44:], c.MaxOutput)
	le.PutUint32(b[48:], c.Flags)
}

func putCauses(b []byte, causes []Cause) {
	le := binary.LittleEndian
	for i := range causes {
		c, e := &causes[i], b[i*abi.CauseSize:][:abi.CauseSize]
		e[0], e[1] = c.Kind, 0
		le.PutUint16(e[2:], c.Number)
		le.PutUint32(e[4:], c.Slot)
		le.PutUint32(e[8:], c.Row)
		le.PutUint32(e[12:], 0)
		le.PutUint64(e[16:], uint64(c.Time))
	}
}

// The state block is written straight from the views that the state store hands out: most calls are mostly state.

func stateBlockSize(v *StateValues, slots int) int {
	size := abi.BlockHeaderSize + abi.BlockNodeSize
	if slots == 0 {
		return size
	}
	bytes := 0
	if v.Column != nil {
		bytes = selectedBytes(v.Column, nil, slots)
	} else {
		for _, b := range v.Values {
			bytes += len(b)
		}
	}
	return size + align8(bitmapSize(slots)) + align8(4*(slots+1)) + align8(bytes)
}

func putStateBlock(b []byte, v *StateValues, slots int) {
	le := binary.LittleEndian
	clear(b[:abi.BlockHeaderSize+abi.BlockNodeSize])
	le.PutUint32(b, uint32(slots))
	le.PutUint32(b[4:], 1)
	le.PutUint32(b[8:], uint32(len(b)))
	if slots == 0 {
		return
	}
	node := b[abi.BlockHeaderSize:]
	validity := abi.BlockHeaderSize + abi.BlockNodeSize
	offsets := validity + align8(bitmapSize(slots))
	bytes := offsets + align8(4*(slots+1))
	le.PutUint32(node, uint32(slots))
	le.PutUint32(node[4:], uint32(validity))
	le.PutUint32(node[8:], uint32(offsets))
	clear(b[validity:offsets])
	clear(b[offsets+4*(slots+1) : bytes])
	le.PutUint32(b[offsets:], 0)
	end := 0
	for i := range slots {
		var value []byte
		if v.Column == nil {
			value = v.Values[i]
		} else if !v.Column.Null(i) {
			value = v.Column.BytesAt(i)
		}
		if value != nil {
			b[validity+i>>3] |= 1 << (i & 7)
			end += copy(b[bytes+end:], value)
		}
		le.PutUint32(b[offsets+4*i+4:], uint32(end))
	}
	clear(b[bytes+end:])
	if end > 0 {
		le.PutUint32(node[12:], uint32(bytes))
		le.PutUint32(node[16:], uint32(end))
	}
}
