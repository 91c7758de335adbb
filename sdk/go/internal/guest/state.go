package guest

import (
	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/record"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// Flags of a slot of a framed state.
const (
	Loaded  = 1 << iota // its value is decoded
	Present             // it has a value
	Dirty               // it was written in this call
)

// State is one declared state. For a framed one it is also the table of the call's slots.
//
// A cause belongs to one slot, so what a failed cause has to undo in a state is one slot: BeginWrite keeps its flags, and Framed its value if an earlier cause of the
// call wrote it. A slot that was clean needs nothing kept, since the frame still has its value.
type State struct {
	Name     string
	Kind     string
	Hosted   bool
	Codec    string
	Value    string
	Key      string
	Version  int
	TTLMs    int64
	TTLRead  bool
	MaxBytes int
	Framed   Framed // nil: hosted
	// Fixed is the bound of an encoded value if it has one, else -1: such states are sealed after each cause that wrote them.
	Fixed int

	Column wire.Column // the frame's values, by slot
	Flags  []uint8
	Last   []uint32 // cause of the last write, where Dirty

	block  wire.Block
	writer wire.BlockWriter // here, because it would escape through Framed
	// Of the cause that wrote last; exported, because Edit is inlined by hand.
	Touched   uint32 // 1 + that cause
	OldFlags  uint8  // the slot's flags and Last before it
	OldLast   uint32
	Booked    int  // what a first write adds to the effects, if that is always the same
	CallDirty bool // a slot was written in this call
}

// Framed is the typed half of a framed state.
type Framed interface {
	// Begin makes room for the slots of a call, none loaded.
	Begin(slots int)
	// Keep saves the slot's value, which an earlier cause wrote, before the current cause changes it.
	Keep(slot uint32)
	// Restore undoes the current cause's change; kept says whether Keep was called.
	Restore(slot uint32, kept bool)
	// Seal is called after a cause that wrote the slot succeeded; it returns by how many bytes the effects grew and the bytes of the value.
	Seal(slot uint32) (grown, size int)
	// Store adds the values of written slots to a block.
	Store(w *wire.BlockWriter, writes []record.Write)
}

const perWrite = 16 // cause, slot, offset and validity of a write

// BeginWrite marks the slot as written by the current cause. ValueState.Edit does the same without a call.
func (s *State) BeginWrite(c *Call) {
	if s.Touched != c.Cause+1 {
		s.keep(c)
	}
	s.Flags[c.Slot] |= Loaded | Dirty
	s.Last[c.Slot] = c.Cause
}

// keep notes what the cause's failure would have to restore.
func (s *State) keep(c *Call) {
	slot := c.Slot
	flags := s.Flags[slot]
	s.Touched = c.Cause + 1
	s.OldFlags, s.OldLast = flags, s.Last[slot]
	if flags&Dirty != 0 {
		s.Framed.Keep(slot)
		return
	}
	s.CallDirty = true
	c.Bytes += s.Booked
}

func (s *State) begin(body []byte, slots int) error {
	if err := s.block.Parse(body, stateKinds[:]); err != nil {
		return err
	}
	s.Column = s.block.Columns[0]
	if s.Column.Length < slots {
		return errShortState
	}
	s.Flags = resize(s.Flags, slots)
	clear(s.Flags)
	s.Last = resize(s.Last, slots)
	s.Touched = 0
	s.CallDirty = false
	s.Booked = 0
	if s.Fixed >= 0 {
		s.Booked = perWrite + s.Fixed
	}
	s.Framed.Begin(slots)
	return nil
}

func (s *State) rollback(c *Call) {
	if s.Touched != c.Cause+1 {
		return
	}
	s.Framed.Restore(c.Slot, s.OldFlags&Dirty != 0)
	s.Flags[c.Slot], s.Last[c.Slot] = s.OldFlags, s.OldLast
	if s.OldFlags&Dirty == 0 {
		s.Flags[c.Slot] = 0 // to be decoded again
	}
}

// Bytes is the slot's value in the frame; nil if it is absent.
func (s *State) Bytes(slot uint32) []byte {
	if s.Column.IsNull(int(slot)) {
		return nil
	}
	b, ok := s.Column.Slice(int(slot))
	if !ok {
		Fatal("state " + quote(s.Name) + ": wrong offsets in the frame")
	}
	return b
}

// writes appends the section of the slots that causes before consumed wrote.
func (s *State) writes(c *Call, index int, consumed uint32) {
	if !s.CallDirty {
		return
	}
	nulls := s.collect(c, consumed)
	if len(c.writes) == 0 {
		return
	}
	c.out.Begin(abi.SectionStateWrites, must, uint32(index))
	n := len(c.writes)
	s.writer = c.out.Block(n, 3)
	w := &s.writer
	w.Node(n)
	causes := u32s(w.Values(4 * n))
	for i, x := range c.writes {
		causes[i] = x.Cause
	}
	w.Node(n)
	slots := u32s(w.Values(4 * n))
	for i, x := range c.writes {
		slots[i] = x.Slot
	}
	w.Node(n)
	if nulls {
		valid := w.Validity(n)
		for i, x := range c.writes {
			valid[i>>3] |= s.Flags[x.Slot] & Present / Present << (i & 7)
		}
	}
	s.Framed.Store(w, c.writes)
	w.Finish()
	c.out.End()
}

// collect lists the last write of each written slot, in the order of its cause, and says whether one clears.
func (s *State) collect(c *Call, consumed uint32) (nulls bool) {
	writes := resize(c.writes, int(consumed))
	n := 0
	flags, last := s.Flags, s.Last
	for cause := range consumed {
		var slot uint32
		if c.causes == nil {
			slot = c.slots[cause]
		} else {
			slot = c.causeAt(cause).slot
		}
		if f := flags[slot]; f&Dirty != 0 && last[slot] == cause {
			writes[n] = record.Write{Cause: cause, Slot: slot}
			n++
			nulls = nulls || f&Present == 0
		}
	}
	c.writes = writes[:n]
	return nulls
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}
