// Package arena is the state backend that keeps everything in memory: an index
// without pointers over cells in size classes, outside the Go heap, so that the
// garbage collector never sees the state of a task.
//
// Generations. A value is changed in place while it belongs to the present
// generation, and else is written to a fresh cell. Freeze hands over the list
// of what changed and starts the next generation: nothing is copied, and the
// cells on the list stay as they are until the generation is released, because
// the task no longer writes to them. Cells that are replaced meanwhile are given
// back only after the release.
//
// It must not know files, barriers or what the bytes mean.
package arena

import (
	"fmt"
	"iter"

	"github.com/weirstream/weir/platform/storage/state"
)

// Backend is a state.Backend in memory.
type Backend struct {
	from    *source
	mem     *memory
	index   index
	slots   slotTable
	states  []stateOf
	named   map[string]state.ID
	timers  timers
	loading state.Loading
	loaded  bool // Load is over: a Resolve came
	stamp   uint32

	clock   int64
	now     *generation
	spare   *generation // the one before the last, for reuse
	frozen  []*frozen   // not settled yet, oldest first
	tier    *tier       // nil: everything is here
	emptied []uint32    // slots that may hold nothing
	added   int         // to emptied since the last Advance
	waiting []uint32    // the same, with tombstones in the present generation
	parked  []uint32    // slots to free, a few at a time
	limbo   []ref       // cells that a read replaced; views of them hold until Advance
	cursor  expiryCursor

	stats    state.Stats
	touched  uint32      // what touchSlots and Warm read, so that they have to
	probed   []byte      // the entry key that trees compare with, see lessEntry
	items    []entryItem // Clear's
	scan     pageScan    // ScanPage's
	listKey  [8]byte     // AppendEntry's
	lastSlot state.Slot  // Load's
	lastHash uint64
}

var (
	_ state.LateLoader = (*Backend)(nil)
	_ state.Warmer     = (*Backend)(nil)
	_ state.Pager      = (*Backend)(nil)
)

// stateOf is what the backend knows of one state.
type stateOf struct {
	state.Descriptor
	ttlMicros int64
	headBytes int       // before the data in a cell
	entries   entryTree // of form Entries
}

// Open makes an empty backend.
func Open(opts state.Options) (*Backend, error) { return open(opts, newSource(true)) }

func open(opts state.Options, from *source) (*Backend, error) {
	if len(opts.Descriptors) > state.MaxStates {
		return nil, fmt.Errorf("open state: %d states, the limit is %d; join some of them", len(opts.Descriptors), state.MaxStates)
	}
	b := &Backend{
		from: from, mem: newMemory(from), index: newIndex(from),
		slots:   slotTable{from: from, extra: max(0, len(opts.Descriptors)-inlineStates)},
		named:   make(map[string]state.ID, len(opts.Descriptors)),
		loading: opts.Loading, now: newGeneration(len(opts.Descriptors)),
		lastSlot: noSlot,
	}
	b.now.number = 1
	b.scan.each = b.toPage
	b.timers.init()
	for i, d := range opts.Descriptors {
		if _, twice := b.named[d.Name]; twice || d.Name == state.TimerState {
			return nil, fmt.Errorf("open state: the name %q is taken; give each state a name of its own", d.Name)
		}
		b.named[d.Name] = state.ID(i)
		s := stateOf{Descriptor: d}
		if d.TTLOn != state.TTLNever {
			s.ttlMicros = d.TTLMs * 1000
		}
		switch d.Form {
		case state.Single:
			s.headBytes = singleHead
		case state.Entries:
			s.headBytes = entryHead
			s.entries = newEntryTree(b)
		default:
			return nil, fmt.Errorf("open state %s: no form %d", d.Name, d.Form)
		}
		if s.ttlMicros > 0 {
			s.headBytes += expiryBytes
		}
		b.states = append(b.states, s)
	}
	if b.loading == state.LoadChanged {
		b.stamp = b.now.number
	}
	return b, nil
}

// endLoading turns from what stood in files to what changes.
func (b *Backend) endLoading() {
	if !b.loaded {
		b.loaded, b.stamp = true, b.now.number
	}
}

// recording says whether changes are to be written to files.
func (b *Backend) recording() bool { return b.loaded || b.loading == state.LoadChanged }

// Advance sets the clock and does a bounded share of the cleaning.
func (b *Backend) Advance(clockMicros int64) {
	b.clock = max(b.clock, clockMicros)
	b.settle()
	for range min(reclaimBatch, len(b.mem.reclaim)) {
		b.mem.reclaimOne()
	}
	for range min(reclaimBatch, len(b.parked)) {
		n := len(b.parked) - 1
		s := b.parked[n]
		b.parked = b.parked[:n]
		b.freeSlot(s, b.slots.at(s))
	}
	for _, r := range b.limbo {
		b.drop(r)
	}
	b.limbo = b.limbo[:0]
	if !b.recording() {
		return // the clock of a Load
	}
	b.expire()
	b.dropEmpty(b.added + dropStep)
	b.added = 0
}

// dropStep is how many more slots an Advance drops than were emptied since the
// last one, so that the queue ends and no pause is longer than the work before.
const dropStep = 1024

// Keys yields every key that holds something that has not expired.
func (b *Backend) Keys() iter.Seq[state.Slot] {
	return func(yield func(state.Slot) bool) {
		b.endLoading()
		for s := range b.slots.count {
			if rec := b.slots.at(s); rec.flags&flagUsed != 0 && b.isLive(s, rec) && !yield(state.Slot(s)) {
				return
			}
		}
	}
}

func (b *Backend) isLive(s uint32, rec *slotRecord) bool {
	if rec.timers != 0 {
		return true
	}
	for i := range b.states {
		id := state.ID(i)
		r := *b.slots.cell(s, id)
		if r == 0 {
			continue
		}
		if b.states[i].Form == state.Single {
			if !b.expired(&b.states[i], singleHead, r) {
				return true
			}
			continue
		}
		for range b.Scan(state.Slot(s), id, nil) {
			return true
		}
	}
	return false
}

// Stats are the sizes now.
func (b *Backend) Stats() state.Stats {
	st := b.stats
	st.TotalBytes = b.mem.heldBytes + b.index.heldBytes() +
		int64(len(b.slots.parts))*(slotsMask+1)*(slotRecordBytes+int64(b.slots.extra)*4)
	st.DirtyKeys = b.now.keys.n - len(b.now.deadKeys)
	return st
}

const slotRecordBytes = 64

// Close gives the memory back, when a generation in flight is released too.
func (b *Backend) Close() error {
	if b.mem != nil {
		b.from.release(b.mem)
		b.mem = nil
	}
	return nil
}

// drop gives a cell back: at once, or after the release of the generation that
// it belongs to. Cells of older generations are in no view any more.
func (b *Backend) drop(r ref) {
	if len(b.frozen) > 0 {
		generation := cellGeneration(b.mem.cell(r))
		for _, f := range b.frozen {
			if f.generation.number == generation {
				f.replaced = append(f.replaced, r)
				return
			}
		}
	}
	b.mem.give(r)
}
