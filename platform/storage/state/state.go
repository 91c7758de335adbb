// Package state is the contract of keyed state: what an operator may do with
// the state of the keys it owns, and how that state becomes files. A backend
// (arena in memory, pebble on disk) serves one operator of one task and is used
// by that task's goroutine alone, except where a method says otherwise. Every
// backend writes and reads the same segments. It must not know operators,
// tasks, barriers' alignment or where files are kept.
package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"
)

// Slot names a key within a backend. It is valid until the next Advance or
// Freeze, which may drop keys that hold nothing.
type Slot uint32

// ID numbers a state of an operator, in the order of Options.Descriptors.
type ID uint16

// Form says how a state is kept: one value a key, or many entries a key.
type Form uint8

// The forms of state. A list is entries whose keys are 8 bytes big-endian.
const (
	Single  Form = iota + 1 // value, reducing, aggregating, framed list: one byte string
	Entries                 // hosted map and list: an ordered map of byte strings
)

// TTLOn says what restarts a state's time to live.
type TTLOn uint8

// When a time to live starts anew.
const (
	TTLNever TTLOn = iota
	TTLOnWrite
	TTLOnReadWrite
)

// Descriptor is one named state. Name and not position ties it to what is in
// files, so that states may be added, dropped and reordered.
type Descriptor struct {
	Name  string
	Form  Form
	TTLMs int64
	TTLOn TTLOn
}

// Options open a backend. ID i is Descriptors[i].
type Options struct {
	Descriptors []Descriptor
	Loading     Loading
}

// Loading says what Load makes of entries.
type Loading uint8

// LoadUnchanged is for a job that goes on from its own checkpoint: what was
// loaded stands in files already. LoadChanged is for a job that starts from
// another's state: its first checkpoint must hold everything.
const (
	LoadUnchanged Loading = iota
	LoadChanged
)

// Limits of keyed state. Keys are refused by who computes them; a backend
// refuses values and entry keys.
const (
	MaxStates        = 64
	MaxKeyBytes      = 4096
	MaxEntryKeyBytes = 4096
	MaxValueBytes    = 1 << 20
)

// Errors of this package that callers branch on.
var (
	ErrTooLarge = errors.New("state value is over its limit")
	ErrDamaged  = errors.New("state segment is damaged")
)

// Keys is a batch of canonical keys: key i is Bytes[Offsets[i]:Offsets[i+1]].
type Keys struct {
	Bytes   []byte
	Offsets []int32
}

// Backend holds the keyed state and the timers of one operator of one task.
//
// Byte slices that it returns are views: they hold until the next call of any
// method that writes, and must not be changed, save those of Mutable. Slices
// given to it are copied.
type Backend interface {
	// Advance sets the clock that times to live are measured by (processing
	// time in microseconds, never running back) and drops a bounded number of
	// what has expired.
	Advance(clockMicros int64)

	// Resolve finds or makes the slot of every key; out[i] belongs to key i.
	// Once a batch; it allocates nothing when the keys are known.
	Resolve(keys Keys, hashes []uint64, out []Slot) []Slot
	// Key gives back the canonical key and hash of a slot.
	Key(s Slot) (key []byte, hash uint64)

	// Get reads a Single state; false if absent or expired. With TTLOnReadWrite
	// reading restarts the time to live, which marks the value as changed.
	Get(s Slot, id ID) ([]byte, bool)
	Put(s Slot, id ID, value []byte) error
	// Mutable gives size bytes in place, marked dirty: what was there if the
	// size is the same, else zeros. The view holds until the next Freeze,
	// Advance or write to the same slot and id.
	Mutable(s Slot, id ID, size int) []byte
	Clear(s Slot, id ID) // all entries, for a state of form Entries

	GetEntry(s Slot, id ID, key []byte) ([]byte, bool)
	PutEntry(s Slot, id ID, key, value []byte) error
	DeleteEntry(s Slot, id ID, key []byte)
	// AppendEntry adds at the end of a list.
	AppendEntry(s Slot, id ID, value []byte) error
	// Scan yields the entries after the key `after` (nil: from the first) in
	// bytewise key order. The backend must not be written while it runs.
	Scan(s Slot, id ID, after []byte) iter.Seq2[[]byte, []byte]

	// Timers are state too: a set of (key, kind, time, name) ordered by time.
	SetTimer(s Slot, t Timer)
	DeleteTimer(s Slot, t Timer)
	// Due yields the earliest due timer of each key, at or below upTo, in order
	// of (time, key hash, name), and removes what it yields, at most max. Called
	// again until it yields nothing.
	Due(kind TimerKind, upTo int64, max int, out []Firing) []Firing
	// NextTimer is the earliest timer of a kind; false if there is none.
	NextTimer(kind TimerKind) (int64, bool)

	// Keys yields every live key (for scans of live state and for tests).
	Keys() iter.Seq[Slot]
	Stats() Stats

	// Freeze ends a generation: what changed since the last one is handed over
	// as an immutable view, in well under a millisecond whatever the size. One
	// Frozen at a time: the last must be released first.
	Freeze() Frozen
	// Load brings in entries of segments, oldest segment first; used before the
	// first Resolve. Entries are as Frozen yields them. Entries of a state that
	// the backend has no descriptor for are passed over: it was dropped.
	Load(e Entry) error

	Close() error
}

// LateLoader is a backend that takes entries in also while it is used, so that
// it can be filled as its keys are asked for.
type LateLoader interface {
	Backend
	// LoadLate is Load at any time, of a key that the backend does not hold and
	// has not held since it was opened. What it brings in stands in files already:
	// it is no change. Slots stay valid, and views of Mutable.
	LoadLate(e Entry) error
}

// Restoring is a backend that is still being filled while it is used.
type Restoring interface {
	// Step takes in what has been read ahead, for about as long as budget.
	Step(budget time.Duration)
	// LeftBytes is about how much of the state is still to come; 0: nothing.
	LeftBytes() int64
}

// Failure is what a backend panics with when it cannot give the state of a key:
// methods of the hot path return no errors, and nothing may go on without. The
// task that owns the backend recovers it and ends with Err.
type Failure struct{ Err error }

func (f Failure) Error() string { return f.Err.Error() }

// Unwrap is what it failed by.
func (f Failure) Unwrap() error { return f.Err }

// TimerKind tells the two clocks apart.
type TimerKind uint8

// The kinds of timers.
const (
	EventTime TimerKind = iota + 1
	ProcessingTime
)

// Timer is one timer of a key; Name numbers the operator's timer names.
type Timer struct {
	Kind TimerKind
	Name uint16
	Time int64
}

// Firing is a timer that is due.
type Firing struct {
	Slot  Slot
	Timer Timer
}

// Frozen is what changed in one generation. It is read by another goroutine
// while the task goes on writing to the next generation.
type Frozen interface {
	// Entries yields the changes sorted by (Hash, State, Key, Sub): the order
	// of segments. It may sort, and runs off the task's goroutine. It may be
	// called again until Release, so that a write that failed can be repeated.
	// An entry's slices hold until the next one is yielded.
	Entries() iter.Seq[Entry]
	// Len is about how many entries there are; 0 only if nothing changed.
	Len() int
	// Release gives back the memory that the generation held. Any goroutine.
	Release()
}

// Failing is a Frozen that reads files. Entries may then end early: who has come
// to the end asks Err before taking them for whole.
type Failing interface{ Err() error }

// Entry is one line of a segment: the unit of files, of restore and of merging.
type Entry struct {
	Hash  uint64
	State string // a descriptor's name; TimerState for timers
	Key   []byte // the canonical key
	Sub   []byte // entry key within the state; timers: kind, time, name; nil for Single
	Value []byte
	// Expires is when the value ends, in microseconds of processing time; 0 is
	// never. It stands beside the value and not in it, so that a state may gain
	// or lose its time to live between two revisions of a pipeline.
	Expires int64
	// Tombstone deletes (Hash, State, Key, Sub); with Sub nil and a state of
	// form Entries it deletes every entry that older segments hold.
	Tombstone bool
}

// TimerSubBytes is the length of a timer's Sub.
const TimerSubBytes = 11

// AppendTimerSub appends the bytes under which a timer stands in a segment:
// kind, time (8 bytes big-endian, sign flipped), name (2 bytes big-endian).
func AppendTimerSub(dst []byte, t Timer) []byte {
	dst = append(dst, byte(t.Kind))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.Time)^1<<63)
	return binary.BigEndian.AppendUint16(dst, t.Name)
}

// ParseTimerSub reads what AppendTimerSub wrote.
func ParseTimerSub(sub []byte) (Timer, error) {
	if len(sub) != TimerSubBytes || sub[0] < byte(EventTime) || sub[0] > byte(ProcessingTime) {
		return Timer{}, fmt.Errorf("read timer %x: %w", sub, ErrDamaged)
	}
	return Timer{
		Kind: TimerKind(sub[0]),
		Time: int64(binary.BigEndian.Uint64(sub[1:]) ^ 1<<63),
		Name: binary.BigEndian.Uint16(sub[9:]),
	}, nil
}

// TimerState is the reserved name under which timers stand in segments.
const TimerState = "$timers"

// Stats are a backend's sizes.
type Stats struct {
	Keys       int
	StateBytes int64 // keys and values that are live
	TotalBytes int64 // memory held for them
	DiskBytes  int64 // files held for them; 0 of a backend in memory
	// Hits and Misses count keys that Resolve found in memory, and had to look
	// for on the disk, since the backend was opened. Both 0 of one in memory.
	Hits, Misses int64
	Timers       int
	DirtyKeys    int
}
