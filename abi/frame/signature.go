package frame

import (
	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/schema"
)

// Signature is what host and guest know of a function before a call: the order of each list is the index used in frames.
type Signature struct {
	Name      string
	Inputs    []*schema.Schema
	Outputs   []*schema.Schema
	Key       *schema.Schema // of the key columns; nil: the function is not keyed
	States    []StateSignature
	Timers    []TimerSignature
	Changelog bool // rows have kinds, in and out
	Positions bool // rows have partition, sequence and row
}

// StateSignature is one state of a function.
type StateSignature struct {
	Name     string
	Framed   bool // its values travel in calls; else they are asked for by import
	MaxBytes int  // of a framed value
}

// TimerSignature is one timer of a function; Kind is abi.TimerEvent or abi.TimerProcessing.
type TimerSignature struct {
	Name string
	Kind uint8
}

// Schemas that are the same for every function.
var (
	stateSchema = schema.MustParse("value:binary?")
	metaSchema  = schema.MustParse("partition:int32,sequence:int64,row:int32")
	writeSchema = schema.MustParse("cause:int32,slot:int32,value:binary?")
	timerSchema = schema.MustParse("cause:int32,slot:int32,kind:int8,op:int8,timer:int16,time:int64")
)

// StateSchema is the schema of a state section of a call.
func StateSchema() *schema.Schema { return stateSchema }

// MetaSchema is the schema of the meta section of a call.
func MetaSchema() *schema.Schema { return metaSchema }

// WriteSchema is the schema of a state writes section of effects.
func WriteSchema() *schema.Schema { return writeSchema }

// TimerSchema is the schema of the timers section of effects.
func TimerSchema() *schema.Schema { return timerSchema }

// Cause is one reason for a call. Number is the input, or the timer of a firing.
type Cause struct {
	Kind   uint8
	Number uint16
	Slot   uint32
	Row    uint32
	Time   int64
}

// Call is everything one call carries, by reference: nothing is copied before CallWriter.Write. It holds rows of one
// input, or firings, never both.
//
// Columns, Times, Kinds and Meta are of a whole batch; Selection picks the rows of the call, in its order (nil: the first
// Rows). RowSlots has one entry per picked row. Keys is indexed by slot through KeySelection (nil: row i is slot i).
type Call struct {
	Clock, Watermark      int64
	Seed                  uint64
	Attempt               uint32
	FirstGroup, LastGroup uint32
	MaxOutput             uint32 // bytes; 0: abi.DefaultEffectsBytes
	Flags                 uint32

	Input     int
	Rows      int
	Columns   []Column
	Selection []int32
	Times     []int64
	Kinds     []byte
	Meta      []Column

	Causes []Cause // nil: cause i is row i

	Slots        int
	RowSlots     []uint32
	Keys         []Column
	KeySelection []int32
	States       []StateValues // by state number; entries of hosted states are not looked at
}

// StateValues is the value of one framed state in each slot, in one of two forms: a `value:binary?` column with a row per
// slot, or a list of views in which nil means absent.
type StateValues struct {
	Column *Column
	Values [][]byte
}

// RowCount is the number of rows the call picks.
func (c *Call) RowCount() int {
	if c.Selection != nil {
		return len(c.Selection)
	}
	return c.Rows
}

// CauseCount is the number of causes.
func (c *Call) CauseCount() int {
	if c.Causes != nil {
		return len(c.Causes)
	}
	return c.RowCount()
}

// Slot is the slot of cause i.
func (c *Call) Slot(i int) uint32 {
	if c.Causes != nil {
		return c.Causes[i].Slot
	}
	return c.RowSlots[i]
}

func (c *Call) outputLimit() int {
	if c.MaxOutput == 0 {
		return abi.DefaultEffectsBytes
	}
	return int(c.MaxOutput)
}

// firing tells whether a cause of the kind is a timer's.
func firing(kind uint8) bool {
	return kind == abi.CauseEventTimer || kind == abi.CauseProcessingTimer
}
