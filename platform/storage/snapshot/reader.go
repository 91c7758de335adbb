package snapshot

import (
	"context"
	"fmt"
	"slices"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/state"
)

const (
	// maxReadBytes is how much of a segment one access to the store asks for.
	maxReadBytes = 1 << 20
	// openAtOnce is how many segments' tails are read beside each other.
	openAtOnce = 8
)

// Reader finds single hashes and ranges of hashes in an operator's segments. It
// reads the tail of each segment once and keeps about 50 bytes a block of it, so
// 0.2 % of a segment, and up to 300 where timers differ much. Blocks are read
// when they are asked for, and a few stay in a cache. Many goroutines may use it.
type Reader struct {
	store      blob.Store
	operator   string
	checkpoint uint64
	groups     Groups
	units      []readerUnit
	tasks      []TaskState // their groups and timers
	cache      blockCache
}

type readerUnit struct {
	groups Groups
	live   []*openSegment // oldest first
}

type openSegment struct {
	SegmentRef
	index *segmentIndex
}

// OpenReader opens an operator's segments in a range of key groups. An operator
// that the checkpoint does not know has no entries: no error.
func OpenReader(ctx context.Context, store blob.Store, m *Manifest, operator string, g Groups) (*Reader, error) {
	r := &Reader{store: store, operator: operator, checkpoint: m.Meta.Checkpoint, groups: g}
	o := m.Operator(operator)
	if o == nil {
		return r, nil
	}
	r.tasks = o.Tasks
	var all []*openSegment
	for _, u := range o.units() {
		common, some := u.groups.intersect(g)
		if !some || len(u.live) == 0 {
			continue
		}
		unit := readerUnit{groups: common}
		for _, ref := range u.live {
			i := slices.IndexFunc(all, func(s *openSegment) bool { return s.same(ref.Extent) })
			if i < 0 {
				i = len(all)
				all = append(all, &openSegment{SegmentRef: ref})
			}
			unit.live = append(unit.live, all[i])
		}
		r.units = append(r.units, unit)
	}
	if err := r.readTails(ctx, all); err != nil {
		return nil, fmt.Errorf("open operator %s, key groups %s, of checkpoint %d: %w", operator, g, m.Meta.Checkpoint, err)
	}
	return r, nil
}

func (r *Reader) readTails(ctx context.Context, all []*openSegment) error {
	for batch := range slices.Chunk(all, openAtOnce) {
		results := make(chan error, len(batch))
		for _, s := range batch {
			go func() {
				var err error
				s.index, err = readIndex(ctx, r.store, r.operator, s.SegmentRef)
				results <- err
			}()
		}
		var failed error
		for range batch {
			if err := <-results; err != nil && failed == nil {
				failed = err
			}
		}
		if failed != nil {
			return failed
		}
	}
	return nil
}

// Checkpoint is whose segments these are.
func (r *Reader) Checkpoint() uint64 { return r.checkpoint }

// Hash visits the entries of all keys that have a hash, in order and each once.
// An entry's slices hold until visit returns.
func (r *Reader) Hash(ctx context.Context, hash uint64, visit func(state.Entry) error) error {
	return r.Range(ctx, hash, hash, visit)
}

// Group visits the entries of one key group.
func (r *Reader) Group(ctx context.Context, group uint16, visit func(state.Entry) error) error {
	first, last := Groups{group, group}.Hashes()
	return r.Range(ctx, first, last, visit)
}

// Range visits what is valid from a hash to another, both inclusive, as Restore
// would load it.
func (r *Reader) Range(ctx context.Context, first, last uint64, visit func(state.Entry) error) error {
	for _, u := range r.units {
		from, to := u.clip(first, last)
		if from > to {
			continue
		}
		var open []*blockStream
		for _, s := range u.live {
			if begin, end := s.index.span(from, to); begin < end {
				open = append(open, &blockStream{ctx: ctx, reader: r, segment: s, first: from, last: to, at: begin, to: end, cached: end-begin <= cachedRun})
			}
		}
		err := mergeStreams(open, func(e state.Entry) error {
			if e.Tombstone {
				return nil
			}
			return visit(e)
		})
		if err != nil {
			return fmt.Errorf("read operator %s of checkpoint %d: %w", r.operator, r.checkpoint, err)
		}
	}
	return nil
}

func (u *readerUnit) clip(first, last uint64) (from, to uint64) {
	from, to = u.groups.Hashes()
	return max(from, first), min(to, last)
}

// span is the blocks that may hold hashes of a range.
func (x *segmentIndex) span(first, last uint64) (begin, end int) {
	begin, _ = slices.BinarySearchFunc(x.blocks, first, func(b blockRef, hash uint64) int {
		if b.last < hash {
			return -1
		}
		return 1
	})
	for end = begin; end < len(x.blocks) && x.blocks[end].first <= last; end++ {
	}
	return begin, end
}

// Blocks is how many blocks all segments have in the range: what it costs to
// read. A block is about 32 KiB of entries.
func (r *Reader) Blocks(first, last uint64) (n int) {
	for _, u := range r.units {
		from, to := u.clip(first, last)
		if from > to {
			continue
		}
		for _, s := range u.live {
			begin, end := s.index.span(from, to)
			n += end - begin
		}
	}
	return n
}

// BlockBytes is about how many bytes of entries a block has.
const BlockBytes = blockBytes

// NextTimers says when a timer in a range of hashes may be due next. It is never
// too late, and too early where an older segment has a timer that a newer one
// took back. Of what was due before the checkpoint it knows that it is gone.
func (r *Reader) NextTimers(first, last uint64) NextTimers {
	next := NextTimers{NoTimer, NoTimer}
	for _, u := range r.units {
		from, to := u.clip(first, last)
		if from > to {
			continue
		}
		least := r.leastTimers(from, to)
		for _, s := range u.live {
			begin, end := s.index.span(from, to)
			for _, b := range s.index.blocks[begin:end] {
				next.Event = min(next.Event, b.timers.next(state.EventTime, least.Event))
				next.Processing = min(next.Processing, b.timers.next(state.ProcessingTime, least.Processing))
			}
		}
	}
	return next
}

// leastTimers are the earliest timers that the tasks of a range of hashes had.
// Where no task is known to have been, there may be any.
func (r *Reader) leastTimers(from, to uint64) NextTimers {
	const shift = 64 - GroupBits
	g := Groups{uint16(from >> shift), uint16(to >> shift)}
	least, covered := NextTimers{NoTimer, NoTimer}, 0
	for _, t := range r.tasks {
		if common, some := t.Groups.intersect(g); some {
			covered += int(common.Last-common.First) + 1
			least.Event, least.Processing = min(least.Event, t.Timers.Event), min(least.Processing, t.Timers.Processing)
		}
	}
	if covered <= int(g.Last-g.First) {
		return NextTimers{anyTime, anyTime}
	}
	return least
}

// anyTime is before every timer.
const anyTime = -1 << 63
