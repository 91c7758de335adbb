package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/state"
)

// blocksAhead is how many blocks of a segment are read before they are wanted.
const blocksAhead = 4

// readIndex reads a segment's tail.
func readIndex(ctx context.Context, store blob.Store, operator string, s SegmentRef) (*segmentIndex, error) {
	tail, err := readExtent(ctx, store, s.Extent, s.Length-s.TailBytes, s.TailBytes)
	if err != nil {
		return nil, fmt.Errorf("read segment of operator %s: %w", operator, err)
	}
	x, err := parseTail(tail, s.Length)
	if err == nil && x.entries != uint64(s.Entries) {
		err = fmt.Errorf("it has %d entries, the manifest says %d", x.entries, s.Entries)
	}
	if err != nil {
		name, at := s.place()
		return nil, &DamageError{Object: name, Operator: operator, Block: -1, Offset: at + s.Length - s.TailBytes, Reason: err.Error()}
	}
	return x, nil
}

// readExtent reads a range within an extent. An object that ends too early is
// damaged, not absent.
func readExtent(ctx context.Context, store blob.Store, x Extent, offset, length int64) ([]byte, error) {
	if x.Inline != nil {
		if offset+length > int64(len(x.Inline)) {
			return nil, errShort
		}
		return x.Inline[offset : offset+length], nil
	}
	name, at := x.place()
	return blob.ReadRange(ctx, store, name, at+offset, length)
}

// endsBefore says whether the object really ends before a place in the segment. A
// reading that ended too early tells little: connections break.
func endsBefore(ctx context.Context, store blob.Store, s SegmentRef, end int64) bool {
	if s.Inline != nil {
		return int64(len(s.Inline)) < end
	}
	name, at := s.place()
	info, err := store.Stat(ctx, name)
	return err == nil && info.SizeBytes < at+end
}

// cursor walks over the entries of one segment within a range of hashes. A
// goroutine of its own reads, checks and decompresses blocks ahead.
type cursor struct {
	operator    string
	ref         SegmentRef
	index       *segmentIndex
	first, last uint64 // hashes
	from, to    int    // blocks

	cancel context.CancelFunc
	blocks chan rawBlock
	spare  chan []byte
	reader sync.WaitGroup

	entries blockEntries
	raw     []byte
	block   int
	err     error
	done    bool
}

type rawBlock struct {
	number int
	raw    []byte
	err    error
}

func openCursor(ctx context.Context, store blob.Store, operator string, s SegmentRef, g Groups) (*cursor, error) {
	index, err := readIndex(ctx, store, operator, s)
	if err != nil {
		return nil, err
	}
	c := &cursor{operator: operator, ref: s, index: index,
		blocks: make(chan rawBlock, blocksAhead), spare: make(chan []byte, blocksAhead+2)}
	c.first, c.last = g.Hashes()
	for c.from < len(index.blocks) && index.blocks[c.from].last < c.first {
		c.from++
	}
	for c.to = c.from; c.to < len(index.blocks) && index.blocks[c.to].first <= c.last; c.to++ {
	}
	ctx, c.cancel = context.WithCancel(ctx)
	c.reader.Go(func() { c.read(ctx, store) })
	return c, nil
}

// read is the cursor's goroutine; it ends with the blocks or with close.
func (c *cursor) read(ctx context.Context, store blob.Store) {
	defer close(c.blocks)
	if c.from == c.to {
		return
	}
	begin := c.index.blocks[c.from].offset
	end := c.index.blocks[c.to-1].offset + int64(c.index.blocks[c.to-1].length)
	var r io.Reader
	if c.ref.Inline != nil {
		r = bytes.NewReader(c.ref.Inline[begin:end])
	} else {
		name, at := c.ref.place()
		body, err := store.Get(ctx, name, at+begin, end-begin)
		if err != nil {
			c.send(ctx, rawBlock{c.from, nil, fmt.Errorf("read segment of operator %s: %w", c.operator, err)})
			return
		}
		defer body.Close()
		r = body
	}
	var stored []byte
	for i := c.from; i < c.to; i++ {
		b := c.readBlock(ctx, store, r, i, &stored)
		if !c.send(ctx, b) || b.err != nil {
			return
		}
	}
}

func (c *cursor) readBlock(ctx context.Context, store blob.Store, r io.Reader, i int, stored *[]byte) rawBlock {
	length := c.index.blocks[i].length
	if cap(*stored) < length {
		*stored = make([]byte, length)
	}
	block := (*stored)[:length]
	if _, err := io.ReadFull(r, block); err != nil {
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if ended && endsBefore(ctx, store, c.ref, c.index.blocks[i].offset+int64(length)) {
			return rawBlock{i, nil, c.damage(i, "the object ends too early")}
		}
		return rawBlock{i, nil, fmt.Errorf("read segment of operator %s: %w", c.operator, err)}
	}
	var buf []byte
	select {
	case buf = <-c.spare:
	default:
	}
	raw, err := openBlock(block, buf)
	if err != nil {
		return rawBlock{i, nil, c.damage(i, err.Error())}
	}
	return rawBlock{i, raw, nil}
}

func (c *cursor) send(ctx context.Context, b rawBlock) bool {
	select {
	case c.blocks <- b:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *cursor) damage(block int, reason string) error {
	return damagedBlock(c.operator, c.ref, c.index, block, reason)
}

func damagedBlock(operator string, s SegmentRef, index *segmentIndex, block int, reason string) error {
	name, offset := s.place()
	if block >= 0 && block < len(index.blocks) {
		offset += index.blocks[block].offset
	}
	return &DamageError{Object: name, Operator: operator, Block: block, Offset: offset, Reason: reason}
}

// next goes to the next entry in the range; false at the end or at an error.
func (c *cursor) next() bool {
	for !c.done {
		if c.entries.next() {
			if c.entries.entry.Hash < c.first {
				continue
			}
			if c.entries.entry.Hash > c.last {
				break
			}
			return true
		}
		if err := c.entries.d.err; err != nil {
			c.err = c.damage(c.block, err.Error())
			break
		}
		b, more := <-c.blocks
		if !more || b.err != nil {
			c.err = b.err
			break
		}
		if c.raw != nil {
			select {
			case c.spare <- c.raw:
			default:
			}
		}
		c.raw, c.block = b.raw, b.number
		c.entries.reset(b.raw, c.index.states)
	}
	c.done = true
	return false
}

func (c *cursor) entry() *state.Entry { return &c.entries.entry }
func (c *cursor) failure() error      { return c.err }

func (c *cursor) close() {
	c.cancel()
	c.reader.Wait()
}
