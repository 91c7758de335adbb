package snapshot

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
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
	at, to      int      // blocks to come
	ahead       [][]byte // blocks that are read already, from at on
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
			s.err = damagedBlock(s.reader.operator, s.segment.SegmentRef, s.segment.index, s.at-1, err.Error())
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
	if len(s.ahead) > 0 {
		raw := s.ahead[0]
		s.ahead = s.ahead[1:]
		return raw, nil
	}
	cache := &s.reader.cache
	if raw := cache.get(blockKey{s.segment, s.at}); raw != nil {
		return raw, nil
	}
	blocks := s.segment.index.blocks
	end, length := s.at, int64(0)
	for ; end < s.to && (end == s.at || length+int64(blocks[end].length) <= maxReadBytes); end++ {
		length += int64(blocks[end].length)
	}
	stored, err := readExtent(s.ctx, s.reader.store, s.segment.Extent, blocks[s.at].offset, length)
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, errShort) {
			return nil, damagedBlock(s.reader.operator, s.segment.SegmentRef, s.segment.index, s.at, "the object ends too early")
		}
		return nil, fmt.Errorf("read segment of operator %s: %w", s.reader.operator, err)
	}
	for i := s.at; i < end; i++ {
		raw, err := openBlock(stored[:blocks[i].length], nil)
		if err != nil {
			return nil, damagedBlock(s.reader.operator, s.segment.SegmentRef, s.segment.index, i, err.Error())
		}
		stored = stored[blocks[i].length:]
		if s.cached || i == s.to-1 {
			cache.put(blockKey{s.segment, i}, raw)
		}
		s.ahead = append(s.ahead, raw)
	}
	raw := s.ahead[0]
	s.ahead = s.ahead[1:]
	return raw, nil
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
