package guest

import (
	"errors"
	"strconv"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/record"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

const (
	must        = abi.MustUnderstand
	causeBytes  = abi.CauseSize
	headerBytes = abi.CallHeaderSize
)

var (
	stateKinds    = [...]wire.Kind{wire.Binary}
	metaKinds     = []wire.Kind{wire.Int32, wire.Int64, wire.Int32}
	errShortState = errors.New("fewer values than slots")
)

// Progress is the progress word: the cause being handled. The host reads it after a trap.
var Progress uint32 = abi.NoProgress

type timerOp struct {
	cause, slot uint32
	time        int64
	timer       uint16
	kind, op    uint8
}

// Output is one declared output and its rows of the call.
type Output struct {
	Name    string
	Columns *record.Columns
	Rows    Rows
	Causes  []uint32
	Times   []int64
	Timed   bool    // a time was set that is not the cause's own
	Kinds   []uint8 // with the capability changelog; nil until a row is no insert
}

// Rows is the typed half of an output.
type Rows interface {
	Truncate(n int)
	Store(b *wire.Builder)
}

// Call is one call of one function: what the frame says, and the effects so far. It is reused from call to call.
type Call struct {
	// Of the cause being handled.
	Cause uint32
	Slot  uint32
	Row   uint32
	Time  int64

	// Of the call.
	Clock, Watermark int64
	Seed             uint64
	Causes, Slots    uint32
	Attempt          uint32
	FirstGroup       uint32
	LastGroup        uint32
	Rows             wire.Block
	Keys             wire.Block
	Meta             wire.Block
	HasMeta          bool
	Arena            wire.Arena
	Config           any
	Assets           []any
	Bytes            int // upper bound of the effects so far
	Fn               *Function
	Randomized       uint32 // 1 + the cause for which Rand was seeded
	fault            error
	code             uint32
	soft, max        int
	consumed, status uint32
	text             string
	frame            wire.Container
	slots            []uint32
	times            []int64
	causes           []byte
	kinds            []byte
	sized            []*State
	writes           []record.Write
	timers           []timerOp
	out              wire.Builder
	input            int
}

// Begin makes cause i, with row i, the current one.
func (c *Call) Begin(i uint32) {
	Progress = i
	c.Cause, c.Row = i, i
	if c.slots != nil {
		c.Slot = c.slots[i]
	}
	if c.times != nil {
		c.Time = c.times[i]
	}
}

// Kind is what the row being handled does to the changelog it is part of.
func (c *Call) Kind() uint8 {
	if int(c.Row) >= len(c.kinds) {
		return abi.RowInsert
	}
	return c.kinds[c.Row]
}

// Quiet says that a cause which returned no error needs nothing more: no fault, no value to measure, room for output.
func (c *Call) Quiet() bool { return c.fault == nil && len(c.sized) == 0 && c.Bytes <= c.soft }

// End finishes the current cause. It returns false if the call ends here.
func (c *Call) End(err error) bool {
	if err != nil || c.fault != nil {
		c.fail(err)
		return false
	}
	for _, s := range c.sized {
		if s.Touched == c.Cause+1 && !c.seal(s) {
			return false
		}
	}
	if c.Bytes > c.soft {
		return c.full()
	}
	return true
}

func (c *Call) seal(s *State) bool {
	if s.Flags[c.Slot]&Present == 0 {
		return true
	}
	grown, size := s.Framed.Seal(c.Slot)
	c.Bytes += grown
	if size > s.MaxBytes {
		c.Fault(abi.CodeStateTooLarge, errors.New("state "+quote(s.Name)+": the value would have "+strconv.Itoa(size)+" bytes; the limit is "+strconv.Itoa(s.MaxBytes)+
			": raise it with weir.MaxBytes, or keep the entries hosted, in a weir.MapOf or a list with weir.Hosted"))
		c.fail(nil)
		return false
	}
	return true
}

// full returns early once half of the output is used, so that the next cause never has to be taken back for lack of room.
func (c *Call) full() bool {
	if c.Bytes > c.max {
		if c.Cause > 0 {
			// Its effects go; the host calls again with it as the first cause.
			c.rollback()
			c.consumed, c.status = c.Cause, abi.StatusMore
			return false
		}
		c.Fault(abi.CodeUser, errors.New("one cause has effects of about "+strconv.Itoa(c.Bytes)+" bytes; the limit of a call is "+strconv.Itoa(c.max)+": emit less for one row"))
		c.fail(nil)
		return false
	}
	if c.Cause+1 < c.Causes {
		c.consumed, c.status = c.Cause+1, abi.StatusMore
		return false
	}
	return true
}

// Fault notes an error that a handler could not see; it fails the cause.
func (c *Call) Fault(code uint32, err error) {
	if c.fault == nil {
		c.fault, c.code = err, code
	}
}

func (c *Call) fail(err error) {
	if c.fault != nil {
		err = c.fault
	}
	c.rollback()
	c.consumed, c.status, c.text = c.Cause, abi.StatusFailed, err.Error()
}

// rollback drops the effects of the current cause.
func (c *Call) rollback() {
	for _, s := range c.Fn.States {
		if s.Framed != nil {
			s.rollback(c)
		}
	}
	for _, o := range c.Fn.Outputs {
		n := len(o.Causes)
		for n > 0 && o.Causes[n-1] == c.Cause {
			n--
		}
		o.Causes, o.Times = o.Causes[:n], o.Times[:n]
		o.Kinds = o.Kinds[:min(n, len(o.Kinds))]
		o.Rows.Truncate(n)
	}
	n := len(c.timers)
	for n > 0 && c.timers[n-1].cause == c.Cause {
		n--
	}
	c.timers = c.timers[:n]
}

const perTimer = 20

// Timer sets or deletes a timer of the current key.
func (c *Call) Timer(number int, kind, op uint8, at int64) {
	c.timers = append(c.timers, timerOp{cause: c.Cause, slot: c.Slot, time: at, timer: uint16(number), kind: kind, op: op})
	c.Bytes += perTimer
}

type cause struct {
	kind   uint8
	number uint16
	slot   uint32
	row    uint32
	time   int64
}

func (c *Call) causeAt(i uint32) cause {
	p := c.causes[causeBytes*i:]
	return cause{kind: p[0], number: le.Uint16(p[2:]), slot: le.Uint32(p[4:]), row: le.Uint32(p[8:]), time: int64(le.Uint64(p[16:]))}
}

func u32s(b []byte) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

func i64s(b []byte) []int64 {
	return unsafe.Slice((*int64)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/8)
}
