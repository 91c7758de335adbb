package lazy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
)

const (
	// readyPieces is how many pieces may wait for the task.
	readyPieces = 16
	// stretchPieces is how many neighbouring pieces are read with one access to
	// each segment.
	stretchPieces = 64
	// readersAtOnce is how many pieces are read beside each other that are needed
	// now.
	readersAtOnce = 4
	// inOrder: a batch that needs a sixth of what is left is followed by others
	// that do, and a piece read by itself costs a few times one read in order.
	inOrder = 6
	// fewPieces are read by themselves in any case.
	fewPieces = 16
	// slabBytes is how much room for keys and values is taken at once.
	slabBytes = 64 << 10
)

// Retries of a reading that fails: about a minute, then the attempt ends.
const (
	firstRetry = 50 * time.Millisecond
	mostRetry  = 2 * time.Second
	maxTries   = 35
)

// piece is what was read of a piece, or why it cannot be.
type piece struct {
	number  int
	entries []state.Entry
	room    []byte // of the open slab
	err     error
}

// add copies an entry, whose slices end with the visit.
func (p *piece) add(e state.Entry) {
	e.Key = p.keep(e.Key)
	if e.Sub != nil {
		e.Sub = p.keep(e.Sub)
	}
	e.Value = p.keep(e.Value)
	p.entries = append(p.entries, e)
}

func (p *piece) keep(b []byte) []byte {
	if len(b) > slabBytes/4 {
		return bytes.Clone(b)
	}
	if cap(p.room)-len(p.room) < len(b) {
		p.room = make([]byte, 0, slabBytes)
	}
	n := len(p.room)
	p.room = append(p.room, b...)
	return p.room[n:len(p.room):len(p.room)]
}

// load brings pieces in that are needed now. If they are many of what is left,
// it takes what is read in order until it has them.
func (b *Backend) load(numbers []int) {
	if len(numbers) > fewPieces && len(numbers)*inOrder >= b.left {
		for _, n := range numbers {
			for !b.loaded[n].Load() {
				select {
				case p := <-b.ready:
					b.take(p)
				case <-b.ctx.Done():
					panic(state.Failure{Err: context.Cause(b.ctx)})
				}
			}
		}
		return
	}
	if len(numbers) <= 1 {
		for _, n := range numbers {
			b.take(b.fetch(n))
		}
		return
	}
	results := make(chan piece, readersAtOnce)
	var next atomic.Int64
	for range min(readersAtOnce, len(numbers)) {
		b.running.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(numbers) {
					return
				}
				select {
				case results <- b.fetch(numbers[i]):
				case <-b.ctx.Done():
					return
				}
			}
		})
	}
	for range numbers {
		select {
		case p := <-results:
			b.take(p)
		case <-b.ctx.Done():
			panic(state.Failure{Err: context.Cause(b.ctx)})
		}
	}
}

// fetch reads one piece.
func (b *Backend) fetch(number int) piece {
	p := piece{number: number}
	p.err = b.read(number, number, func(n int, e state.Entry) error {
		p.add(e)
		return nil
	}, func() { p.entries = p.entries[:0] })
	return p
}

// read visits the entries of neighbouring pieces. What fails is tried again,
// from the begin: again is told before.
func (b *Backend) read(from, to int, visit func(number int, e state.Entry) error, again func()) error {
	first, _ := b.hashes(from)
	_, last := b.hashes(to)
	wait := firstRetry
	for try := 1; ; try++ {
		reader := b.reader.Load()
		if reader == nil {
			return context.Canceled // the task has everything
		}
		err := reader.Range(b.ctx, first, last, func(e state.Entry) error { return visit(b.number(e.Hash), e) })
		switch {
		case err == nil:
			return nil
		case b.ctx.Err() != nil:
			return context.Cause(b.ctx)
		case errors.Is(err, state.ErrDamaged):
			return err
		case try >= maxTries:
			return fmt.Errorf("tried %d times: %w", try, err)
		case errors.Is(err, blob.ErrNotFound):
			if gone := b.reopen(reader, err); gone != nil {
				return gone
			}
		}
		if try > 1 {
			b.options.Log.Warn("state cannot be read, and is tried again", "operator", b.options.Operator, "try", try, "error", err)
			select {
			case <-time.After(wait):
			case <-b.ctx.Done():
				return context.Cause(b.ctx)
			}
			wait = min(2*wait, mostRetry)
		}
		again()
	}
}

// reopen puts the newest manifest in the place of one whose files were swept. An
// error is final: no newer manifest names the file, or it is damaged.
func (b *Backend) reopen(was *snapshot.Reader, missing error) error {
	b.reopens.Lock()
	defer b.reopens.Unlock()
	if b.reader.Load() != was {
		return nil // another has done it
	}
	if b.options.Newest == nil {
		return missing
	}
	m, err := b.options.Newest(b.ctx)
	if err == nil && m.Meta.Checkpoint <= was.Checkpoint() {
		return missing
	}
	var reader *snapshot.Reader
	if err == nil {
		reader, err = snapshot.OpenReader(b.ctx, b.options.Store, m, b.options.Operator, b.options.Groups)
	}
	switch {
	case err == nil:
		b.reader.CompareAndSwap(was, reader)
	case errors.Is(err, state.ErrDamaged):
		return err
	default: // it may have been swept as well: the next try asks again
		b.options.Log.Warn("state is read from a newer checkpoint, which cannot be opened yet", "operator", b.options.Operator, "error", err)
	}
	return nil
}

// readAhead reads all pieces, in order of hashes, and such before as are due
// soon. It ends when the task has loaded everything.
func (b *Backend) readAhead() {
	for n := 0; n < len(b.loaded); {
		select {
		case numbers := <-b.urgent:
			for _, n := range numbers {
				if !b.loaded[n].Load() && !b.send(b.fetch(n)) {
					return
				}
			}
			continue
		default:
		}
		if b.loaded[n].Load() {
			n++
			continue
		}
		to := min(len(b.loaded), n+stretchPieces) - 1 // reading over what is loaded costs less than seeking
		if !b.stretch(n, to) {
			return
		}
		n = to + 1
	}
	// The task has yet to take what is in the channel; what is due soon is there.
}

var errStopped = errors.New("nobody takes it any more")

// stretch reads neighbouring pieces and sends each when it is complete.
func (b *Backend) stretch(from, to int) bool {
	at := piece{number: from} // those below are sent
	upTo := func(n int) error {
		for at.number < n {
			if !b.loaded[at.number].Load() && !b.send(at) {
				return errStopped
			}
			at = piece{number: at.number + 1}
		}
		return nil
	}
	err := b.read(from, to, func(n int, e state.Entry) error {
		if n < at.number {
			return nil // once more after a failure
		}
		if err := upTo(n); err != nil {
			return err
		}
		if !b.loaded[n].Load() {
			at.add(e)
		}
		return nil
	}, func() { at = piece{number: at.number} })
	if err == nil {
		err = upTo(to + 1)
	}
	if err != nil {
		b.send(piece{number: at.number, err: err})
	}
	return err == nil
}

func (b *Backend) send(p piece) bool {
	select {
	case b.ready <- p:
		return true
	case <-b.ctx.Done():
		return false
	}
}
