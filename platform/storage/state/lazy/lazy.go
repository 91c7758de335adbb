// Package lazy restores keyed state while it is used. It stands before any
// backend that takes entries in late, and cuts the task's hashes into pieces of
// a few blocks. A piece is loaded whole when one of its keys is asked for, when
// one of its timers may be due, or in its turn beside the work, whichever is
// first. So a start costs the segments' tails, whatever the state's size.
//
// Whole pieces, and not single keys. A key is found by reading a block of each
// segment, and a piece is hardly more; and since nothing of a piece is in the
// backend until all of it is, there is no key to be remembered as deleted, no
// entry to be passed over, and no timer to be told apart.
//
// What is not loaded has not changed. So the next checkpoint holds nothing of
// it, and its segments are carried from manifest to manifest; and every manifest
// of the attempt says the same of it. When a file is gone, because it was merged
// into another and swept, the newest manifest is opened in the place of the one
// that the attempt began with: nothing needs to be kept for a restore.
//
// It must not know tasks, barriers, or what state means.
package lazy

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
)

const (
	// pieceBlocks is how many blocks a piece should have, all segments together:
	// about 64 KiB, which take a millisecond to read and load.
	pieceBlocks = 2
	// maxPieces bounds what is kept of pieces: a bit each, and 24 bytes where
	// there are timers.
	maxPieces = 1 << 20
)

// Options say what is restored.
type Options struct {
	Store    blob.Store
	Manifest *snapshot.Manifest
	Operator string
	Groups   snapshot.Groups
	States   []state.Descriptor // that the backend was opened with
	// ClockMicros is the processing time of the restore. What has no time to live
	// in files and is to have one now begins it then, whenever it is loaded.
	ClockMicros int64
	// Newest gives the newest manifest that this attempt has written, or the one
	// that it began with. Nil: the files of Manifest stay.
	Newest func(context.Context) (*snapshot.Manifest, error)
	Log    *slog.Logger
}

// Backend is a state.Backend that is filled while it is used. What concerns
// slots goes straight to the backend behind it: a slot's piece is loaded.
type Backend struct {
	state.LateLoader
	options Options
	ctx     context.Context //nolint:containedctx // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	reader  atomic.Pointer[snapshot.Reader]
	reopens sync.Mutex // one at a time

	// Pieces are hashes with the same bits above shift; piece 0 holds the first.
	first, last uint64
	shift       int
	loaded      []atomic.Bool // written by the task, read by those who read ahead

	ttls   map[string]int64 // micros, of states that have a time to live
	left   int              // pieces to load
	blocks int              // of all pieces
	due    [2]dueQueue
	clock  [2]int64 // how far each has come: where to look ahead from
	ready  chan piece
	urgent chan []int
	wanted []int // Resolve's
}

var (
	_ state.Restoring = (*Backend)(nil)
	_ state.Warmer    = (*Backend)(nil)
	_ state.Pager     = (*Backend)(nil)
)

// Open begins to restore into a backend, which is Close's to close from then on.
// It reads the segments' tails.
func Open(ctx context.Context, inner state.LateLoader, o Options) (*Backend, error) {
	return open(ctx, inner, o, 0)
}

// open cuts into as many pieces as it is told; 0: by their size.
func open(ctx context.Context, inner state.LateLoader, o Options, pieces int) (*Backend, error) {
	reader, err := snapshot.OpenReader(ctx, o.Store, o.Manifest, o.Operator, o.Groups)
	if err != nil {
		return nil, err
	}
	b := &Backend{LateLoader: inner, options: o, ttls: map[string]int64{}, ready: make(chan piece, readyPieces), urgent: make(chan []int, 1)}
	for _, d := range o.States {
		if d.TTLOn != state.TTLNever {
			b.ttls[d.Name] = d.TTLMs * 1000
		}
	}
	b.reader.Store(reader)
	b.first, b.last = o.Groups.Hashes()
	b.blocks = reader.Blocks(b.first, b.last)
	b.cut(cmp.Or(pieces, b.blocks/pieceBlocks))
	b.ctx, b.cancel = context.WithCancel(ctx)
	if b.blocks > 0 {
		b.loaded = make([]atomic.Bool, b.number(b.last)+1)
		b.left = len(b.loaded)
		b.queueTimers()
		b.running.Go(b.readAhead)
	}
	return b, nil
}

// cut chooses how wide pieces are: a power of two, so that there are at least
// half as many as wanted, and two more where the ends are no multiples.
func (b *Backend) cut(pieces int) {
	width := b.last - b.first // less one: the whole range may be all hashes
	b.shift = bits.Len64(width / uint64(min(max(pieces, 1), maxPieces)))
}

func (b *Backend) number(hash uint64) int { return int(hash>>b.shift - b.first>>b.shift) }

// hashes is the range of a piece, both ends inclusive.
func (b *Backend) hashes(number int) (first, last uint64) {
	n := b.first>>b.shift + uint64(number)
	first = n << b.shift
	return max(first, b.first), min(first|(1<<b.shift-1), b.last)
}

// Resolve loads the pieces of keys that are not there yet.
func (b *Backend) Resolve(keys state.Keys, hashes []uint64, out []state.Slot) []state.Slot {
	if b.left > 0 {
		b.need(hashes)
	}
	return b.LateLoader.Resolve(keys, hashes, out)
}

// need loads the pieces of some hashes. One that nobody owns here has no piece.
func (b *Backend) need(hashes []uint64) {
	b.wanted = b.wanted[:0]
	for _, h := range hashes {
		if h < b.first || h > b.last {
			continue
		}
		if n := b.number(h); !b.loaded[n].Load() {
			b.wanted = append(b.wanted, n)
		}
	}
	slices.Sort(b.wanted)
	b.load(slices.Compact(b.wanted))
}

// Keys loads everything: for those who look at all of it.
func (b *Backend) Keys() iter.Seq[state.Slot] {
	b.loadAll()
	return b.LateLoader.Keys()
}

func (b *Backend) loadAll() {
	const atOnce = 64
	for n := 0; b.left > 0; {
		b.wanted = b.wanted[:0]
		for ; n < len(b.loaded) && len(b.wanted) < atOnce; n++ {
			if !b.loaded[n].Load() {
				b.wanted = append(b.wanted, n)
			}
		}
		b.load(b.wanted)
	}
}

// Load is refused: entries come from files here.
func (b *Backend) Load(e state.Entry) error {
	return fmt.Errorf("load state %s: the backend is being restored and in use", e.State)
}

// LeftBytes is about how much is still to be loaded.
func (b *Backend) LeftBytes() int64 {
	if b.left == 0 {
		return 0
	}
	return max(1, int64(float64(b.blocks)*snapshot.BlockBytes*float64(b.left)/float64(len(b.loaded))))
}

// Step takes in what was read ahead, and asks for what is due soon.
func (b *Backend) Step(budget time.Duration) {
	if b.left == 0 {
		return
	}
	b.lookAhead()
	for begin := time.Now(); b.left > 0; {
		select {
		case p := <-b.ready:
			b.take(p)
		default:
			return
		}
		if time.Since(begin) >= budget {
			return
		}
	}
}

// take loads a piece, unless it is there by now.
func (b *Backend) take(p piece) {
	if p.err != nil {
		panic(state.Failure{Err: p.err})
	}
	if b.loaded[p.number].Load() {
		return
	}
	for _, e := range p.entries {
		if ttl := b.ttls[e.State]; ttl > 0 && e.Expires == 0 {
			e.Expires = b.options.ClockMicros + ttl
		}
		if err := b.LoadLate(e); err != nil {
			panic(state.Failure{Err: fmt.Errorf("restore operator %s: %w", b.options.Operator, err)})
		}
	}
	b.loaded[p.number].Store(true)
	if err := failpoint.Hit(failpoint.PieceLoaded); err != nil {
		panic(state.Failure{Err: err})
	}
	if b.left--; b.left == 0 {
		b.cancel() // nothing is read any more
		b.reader.Store(nil)
		b.due = [2]dueQueue{}
	}
}

// Close ends the reading and closes the backend behind.
func (b *Backend) Close() error {
	b.cancel()
	b.running.Wait()
	return b.LateLoader.Close()
}

// Advance sets the clock.
func (b *Backend) Advance(clockMicros int64) {
	b.clock[1] = max(b.clock[1], clockMicros)
	b.LateLoader.Advance(clockMicros)
}

// Warm says what comes next.
func (b *Backend) Warm(slots []state.Slot, id state.ID) { state.Warm(b.LateLoader, slots, id) }

// ScanPage gives a page of a scan.
func (b *Backend) ScanPage(s state.Slot, id state.ID, after []byte, limit int, page []state.Element) []state.Element {
	return state.ScanPage(b.LateLoader, s, id, after, limit, page)
}
