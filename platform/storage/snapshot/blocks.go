package snapshot

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/weirstream/weir/platform/storage/state"
)

const (
	// cacheBytes is how much of decompressed blocks a reader keeps: neighbouring
	// ranges share the blocks at their ends, and small segments are asked often.
	cacheBytes = 8 << 20
	// cachedRun is up to how many blocks of a segment a reading leaves in the cache.
	cachedRun = 4
)

// blockStream reads the blocks of one segment that cover a range of hashes, some
// with each access to the store.
type blockStream struct {
	ctx         context.Context //nolint:containedctx // lives as long as one call of Reader.Range
	reader      *Reader
	segment     *openSegment
	first, last uint64
	at, to      int    // blocks to come
	stored      []byte // what is read of them already, as it lies in the file
	cached      bool

	entries blockEntries
	err     error
}

func (s *blockStream) entry() *state.Entry { return &s.entries.entry }
func (s *blockStream) failure() error      { return s.err }

func (s *blockStream) next() bool {
	for {
		if s.entries.next() {
			if hash := s.entries.entry.Hash; hash < s.first {
				continue
			} else if hash > s.last {
				return false
			}
			return true
		}
		if err := s.entries.d.err; err != nil {
			s.err = s.damage(s.at-1, err.Error())
			return false
		}
		if s.at == s.to {
			return false
		}
		raw, err := s.block()
		if err != nil {
			s.err = err
			return false
		}
		s.at++
		s.entries.reset(raw, s.segment.index.states)
	}
}

// block gives the raw bytes of block at, which many may read.
func (s *blockStream) block() ([]byte, error) {
	cache, key := &s.reader.cache, blockKey{s.segment, s.at}
	if len(s.stored) == 0 {
		if raw := cache.get(key); raw != nil {
			return raw, nil
		}
		if err := s.read(); err != nil {
			return nil, err
		}
	}
	length := s.segment.index.blocks[s.at].length
	raw, err := openBlock(s.stored[:length], nil)
	if err != nil {
		return nil, s.damage(s.at, err.Error())
	}
	s.stored = s.stored[length:]
	if s.cached || s.at == s.to-1 {
		cache.put(key, raw)
	}
	return raw, nil
}

// read fetches block at, and others behind it with the same access.
func (s *blockStream) read() (err error) {
	blocks := s.segment.index.blocks
	length := int64(blocks[s.at].length)
	for i := s.at + 1; i < s.to && length+int64(blocks[i].length) <= maxReadBytes; i++ {
		length += int64(blocks[i].length)
	}
	if s.stored, err = readExtent(s.ctx, s.reader.store, s.segment.Extent, blocks[s.at].offset, length); err == nil {
		return nil
	}
	if errors.Is(err, errShort) || endsBefore(s.ctx, s.reader.store, s.segment.SegmentRef, blocks[s.at].offset+length) {
		return s.damage(s.at, "the object ends too early")
	}
	return fmt.Errorf("read segment of operator %s: %w", s.reader.operator, err)
}

func (s *blockStream) damage(block int, reason string) error {
	return damagedBlock(s.reader.operator, s.segment.SegmentRef, s.segment.index, block, reason)
}

type blockKey struct {
	segment *openSegment
	number  int
}

// blockCache keeps what was asked for last. Nobody changes what is in it.
type blockCache struct {
	mu     sync.Mutex // guards what follows
	blocks map[blockKey]*list.Element
	recent list.List // of cachedBlock, the latest first
	bytes  int
}

type cachedBlock struct {
	key blockKey
	raw []byte
}

func (c *blockCache) get(k blockKey) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.blocks[k]
	if e == nil {
		return nil
	}
	c.recent.MoveToFront(e)
	return e.Value.(cachedBlock).raw
}

func (c *blockCache) put(k blockKey, raw []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocks[k] != nil || len(raw) > cacheBytes/2 {
		return
	}
	if c.blocks == nil {
		c.blocks = map[blockKey]*list.Element{}
	}
	c.blocks[k] = c.recent.PushFront(cachedBlock{k, raw})
	c.bytes += cap(raw)
	for c.bytes > cacheBytes {
		e := c.recent.Back()
		old := c.recent.Remove(e).(cachedBlock)
		delete(c.blocks, old.key)
		c.bytes -= cap(old.raw)
	}
}
