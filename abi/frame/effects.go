package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/weirstream/weir/abi"
)

// What a guest can get wrong in its effects. Every error of Effects.Decode is an *EffectsError that wraps one of these,
// or ErrContainer, ErrUnknownSection, ErrBlock or ErrUTF8.
var (
	ErrSection    = errors.New("bad section")
	ErrResult     = errors.New("bad result")
	ErrCause      = errors.New("bad cause")
	ErrSlot       = errors.New("bad slot")
	ErrTimer      = errors.New("bad timer")
	ErrStateIndex = errors.New("no such framed state")
	ErrOutput     = errors.New("no such output")
	ErrStateSize  = errors.New("state value too large")
	ErrSize       = errors.New("effects too large")
)

// EffectsError says what of a guest's effects is wrong, and where.
type EffectsError struct {
	Function string
	Part     string // result, text, output, state, timers, container
	Index    int    // of the output or state
	Row      int    // -1: the part as a whole
	Err      error
}

func (e *EffectsError) Error() string {
	at := e.Part
	if e.Part == "output" || e.Part == "state" {
		at = fmt.Sprintf("%s %d", e.Part, e.Index)
	}
	if e.Row >= 0 {
		at = fmt.Sprintf("%s, row %d", at, e.Row)
	}
	return fmt.Sprintf("bad effects of function %s: %s: %v", e.Function, at, e.Err)
}

// Unwrap gives the kind of error.
func (e *EffectsError) Unwrap() error { return e.Err }

// Output is what a call put out on one output. Causes[i] caused row i. Times and Kinds are nil where left out: a row's
// time is then its cause's, its kind an insert.
type Output struct {
	Rows    int
	Columns []Column
	Causes  []uint32
	Times   []int64
	Kinds   []byte
}

// StateWrites is what a call wrote to one framed state: a null value clears.
type StateWrites struct {
	Rows   int
	Causes []int32
	Slots  []int32
	Value  Column

	cols []Column
}

// TimerChanges are the timers a call set and deleted: Kind is abi.TimerEvent or TimerProcessing, Op abi.TimerSet or
// TimerDelete.
type TimerChanges struct {
	Rows   int
	Causes []int32
	Slots  []int32
	Kinds  []int8
	Ops    []int8
	Timers []int16
	Times  []int64

	cols []Column
}

// Effects is the checked view on an effects container. It is reused: Decode allocates nothing once it has seen the
// function, and what it held before is void.
type Effects struct {
	Consumed int
	Status   uint32
	Code     uint32
	Text     []byte // why cause Consumed failed
	Outputs  []Output
	Writes   []StateWrites // by state number
	Timers   TimerChanges

	sig  *Signature
	call *Call
}

// Decode checks what the guest answered to the call: container, result, every block against the signature, utf8, causes
// (non-decreasing and below Consumed), slots (that of the cause), states, sizes and timers. Nothing in b is trusted. The
// result views b and is valid as long as b is, in a guest's memory until the next call.
func (e *Effects) Decode(sig *Signature, call *Call, b []byte) error {
	e.reset(sig, call)
	if most := call.outputLimit(); len(b) > most+abi.EffectsSlackBytes {
		return e.fault("container", 0, -1, fmt.Errorf("%w: %d bytes, max output bytes is %d: return more before it is passed", ErrSize, len(b), most))
	}
	if !aligned(b) {
		b = alignedCopy(b)
	}
	c, err := ReadContainer(b, KindEffects)
	if err != nil {
		return e.fault("container", 0, -1, err)
	}
	if err := e.result(c); err != nil {
		return e.fault("result", 0, -1, err)
	}
	for i := range c.Len() {
		if err := e.section(c, c.At(i)); err != nil {
			return err
		}
	}
	return nil
}

func (e *Effects) fault(part string, index, row int, err error) error {
	return &EffectsError{Function: e.sig.Name, Part: part, Index: index, Row: row, Err: err}
}

func (e *Effects) reset(sig *Signature, call *Call) {
	if e.sig != sig || len(e.Outputs) != len(sig.Outputs) || len(e.Writes) != len(sig.States) {
		*e = Effects{Outputs: make([]Output, len(sig.Outputs)), Writes: make([]StateWrites, len(sig.States))}
		for i, s := range sig.Outputs {
			e.Outputs[i].Columns = NewColumns(s)
		}
		for i := range e.Writes {
			e.Writes[i].cols = NewColumns(writeSchema)
		}
		e.Timers.cols = NewColumns(timerSchema)
	}
	e.sig, e.call = sig, call
	e.Consumed, e.Status, e.Code, e.Text = 0, 0, 0, nil
	for i := range e.Outputs {
		e.Outputs[i] = Output{Columns: e.Outputs[i].Columns}
	}
	for i := range e.Writes {
		e.Writes[i] = StateWrites{cols: e.Writes[i].cols}
	}
	e.Timers = TimerChanges{cols: e.Timers.cols}
}

func (e *Effects) result(c Container) error {
	b, ok := c.Section(abi.EffectsSectionResult, 0)
	if !ok || len(b) != abi.ResultSize {
		return fmt.Errorf("%w: the section has %d bytes, want %d", ErrResult, len(b), abi.ResultSize)
	}
	le := binary.LittleEndian
	consumed, causes := le.Uint32(b), e.call.CauseCount()
	e.Status, e.Code = le.Uint32(b[4:]), le.Uint32(b[8:])
	if uint64(consumed) > uint64(causes) {
		return fmt.Errorf("%w: consumed %d of %d causes", ErrResult, consumed, causes)
	}
	e.Consumed = int(consumed)
	switch e.Status {
	case abi.StatusDone:
		if e.Consumed != causes {
			return fmt.Errorf("%w: done, but consumed %d of %d causes", ErrResult, consumed, causes)
		}
	case abi.StatusMore:
		if e.Consumed == 0 || e.Consumed == causes {
			return fmt.Errorf("%w: more, but consumed %d of %d causes: some, not all, have to be", ErrResult, consumed, causes)
		}
	case abi.StatusFailed:
		if e.Consumed == causes {
			return fmt.Errorf("%w: failed, but consumed all %d causes", ErrResult, causes)
		}
		if e.Code > abi.CodeStateUnread {
			return fmt.Errorf("%w: unknown code %d: upgrade the host", ErrResult, e.Code)
		}
	default:
		return fmt.Errorf("%w: unknown status %d: upgrade the host", ErrResult, e.Status)
	}
	if e.Status != abi.StatusFailed && e.Code != 0 {
		return fmt.Errorf("%w: code %d with status %d", ErrResult, e.Code, e.Status)
	}
	return nil
}

func (e *Effects) section(c Container, s Section) error {
	switch s.ID {
	case abi.EffectsSectionText:
		if !utf8.Valid(s.Body) {
			return e.fault("text", 0, -1, ErrUTF8)
		}
		e.Text = s.Body
	case abi.EffectsSectionOutput:
		if uint64(s.Index) >= uint64(len(e.Outputs)) {
			return e.fault("output", int(s.Index), -1, fmt.Errorf("%w: the function has %d", ErrOutput, len(e.Outputs)))
		}
		return e.output(c, s)
	case abi.EffectsSectionCauses, abi.EffectsSectionTimes, abi.EffectsSectionKinds:
		if _, ok := c.Section(abi.EffectsSectionOutput, s.Index); !ok {
			return e.fault("output", int(s.Index), -1, fmt.Errorf("%w %d without rows of that output", ErrSection, s.ID))
		}
	case abi.EffectsSectionWrites:
		if uint64(s.Index) >= uint64(len(e.Writes)) || !e.sig.States[s.Index].Framed {
			return e.fault("state", int(s.Index), -1, fmt.Errorf("%w: only framed states are written by frame", ErrStateIndex))
		}
		return e.writes(int(s.Index), s.Body)
	case abi.EffectsSectionChanges:
		return e.timers(s.Body)
	}
	return nil
}

func (e *Effects) output(c Container, s Section) (err error) {
	o, index := &e.Outputs[s.Index], int(s.Index)
	if o.Rows, err = DecodeInto(e.sig.Outputs[index], s.Body, o.Columns); err != nil {
		return e.fault("output", index, -1, err)
	}
	if err := ValidateUTF8(o.Columns); err != nil {
		return e.fault("output", index, -1, err)
	}
	causes, ok := c.Section(abi.EffectsSectionCauses, s.Index)
	if !ok || len(causes) != 4*o.Rows {
		return e.fault("output", index, -1, fmt.Errorf("%w: causes have %d bytes, want 4 for each of %d rows", ErrSection, len(causes), o.Rows))
	}
	o.Causes = u32s(causes)
	prev := uint32(0)
	for i, cause := range o.Causes {
		if cause < prev || uint64(cause) >= uint64(e.Consumed) {
			return e.fault("output", index, i, e.causeFault(int64(cause), int64(prev)))
		}
		prev = cause
	}
	if b, ok := c.Section(abi.EffectsSectionTimes, s.Index); ok {
		if o.Times, err = timesOf(b, o.Rows); err != nil {
			return e.fault("output", index, -1, fmt.Errorf("%w: %w", ErrSection, err))
		}
	}
	if b, ok := c.Section(abi.EffectsSectionKinds, s.Index); ok {
		if !e.sig.Changelog {
			return e.fault("output", index, -1, fmt.Errorf("%w: row kinds without the capability %s", ErrSection, abi.CapabilityChangelog))
		}
		if o.Kinds, err = kindsOf(b, o.Rows); err != nil {
			return e.fault("output", index, -1, fmt.Errorf("%w: %w", ErrSection, err))
		}
	}
	return nil
}

func (e *Effects) causeFault(cause, prev int64) error {
	if cause < 0 || cause >= int64(e.Consumed) {
		return fmt.Errorf("%w: %d, consumed is %d", ErrCause, cause, e.Consumed)
	}
	return fmt.Errorf("%w: %d after %d: causes do not decrease", ErrCause, cause, prev)
}

// keyed checks the columns cause and slot that state writes and timers begin with.
func (e *Effects) keyed(causes, slots []int32) (row int, err error) {
	prev := int32(0)
	for i, cause := range causes {
		if cause < prev || int(cause) >= e.Consumed {
			return i, e.causeFault(int64(cause), int64(prev))
		}
		prev = cause
		if uint32(slots[i]) >= uint32(e.call.Slots) || uint32(slots[i]) != e.call.Slot(int(cause)) {
			return i, e.slotFault(int(cause), slots[i])
		}
	}
	return 0, nil
}

func (e *Effects) slotFault(cause int, slot int32) error {
	if slot < 0 || int(slot) >= e.call.Slots {
		return fmt.Errorf("%w: %d, the call has %d", ErrSlot, slot, e.call.Slots)
	}
	return fmt.Errorf("%w: %d under cause %d, whose slot is %d: a function touches the state of its cause's key only", ErrSlot, slot, cause, e.call.Slot(cause))
}

func (e *Effects) writes(index int, b []byte) (err error) {
	w := &e.Writes[index]
	if w.Rows, err = DecodeInto(writeSchema, b, w.cols); err != nil {
		return e.fault("state", index, -1, err)
	}
	w.Causes, w.Slots, w.Value = w.cols[0].Int32s(), w.cols[1].Int32s(), w.cols[2]
	if row, err := e.keyed(w.Causes, w.Slots); err != nil {
		return e.fault("state", index, row, err)
	}
	limit := int32(e.sig.States[index].MaxBytes)
	offsets := w.Value.Offsets()
	for i := range w.Rows {
		if size := offsets[i+1] - offsets[i]; size > limit && !w.Value.Null(i) {
			return e.fault("state", index, i, fmt.Errorf("%w: %s has %d bytes, max_bytes is %d: raise it (at most %d) or declare the state hosted",
				ErrStateSize, e.sig.States[index].Name, size, limit, abi.MaxStateValueBytes))
		}
	}
	return nil
}

func (e *Effects) timers(b []byte) (err error) {
	t := &e.Timers
	if t.Rows, err = DecodeInto(timerSchema, b, t.cols); err != nil {
		return e.fault("timers", 0, -1, err)
	}
	t.Causes, t.Slots = t.cols[0].Int32s(), t.cols[1].Int32s()
	t.Kinds, t.Ops = t.cols[2].Int8s(), t.cols[3].Int8s()
	t.Timers, t.Times = t.cols[4].Int16s(), t.cols[5].Int64s()
	if row, err := e.keyed(t.Causes, t.Slots); err != nil {
		return e.fault("timers", 0, row, err)
	}
	for i, n := range t.Timers {
		switch {
		case n < 0 || int(n) >= len(e.sig.Timers):
			return e.fault("timers", 0, i, fmt.Errorf("%w: number %d, the function has %d", ErrTimer, n, len(e.sig.Timers)))
		case uint8(t.Kinds[i]) != e.sig.Timers[n].Kind:
			return e.fault("timers", 0, i, fmt.Errorf("%w: %s has kind %d, not %d", ErrTimer, e.sig.Timers[n].Name, e.sig.Timers[n].Kind, t.Kinds[i]))
		case t.Ops[i] != abi.TimerSet && t.Ops[i] != abi.TimerDelete:
			return e.fault("timers", 0, i, fmt.Errorf("%w: operation %d, want 0 set or 1 delete", ErrTimer, t.Ops[i]))
		case t.Times[i] == abi.NoTime:
			return e.fault("timers", 0, i, fmt.Errorf("%w: %s has no time", ErrTimer, e.sig.Timers[n].Name))
		}
	}
	return nil
}
