package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/s2"

	"github.com/weirstream/weir/platform/storage/state"
)

// A segment, version 2. It lies somewhere in an object; offsets count from its
// own begin. Numbers of fixed width are little-endian, uv is an unsigned varint,
// sv a signed one.
//
//	header   | "WSEG" 4 | version 2 | 0 2 |
//	block    | CRC32C of what follows 4 | raw length 4 | codec 1 | stored bytes |   one after another
//	index    | states uv | { name length uv, name } ... |
//	         | blocks uv | { first hash 8, last hash 8, length in the file uv, entries uv, timers } ... |
//	timers   | of event time: spans uv, { begin sv of the first, else uv after the end before it; length uv } ... | of processing time: the same |
//	footer   | index offset 8 | index length 4 | CRC32C of the index 4 | entries 8 |
//	         | version 2 | 0 2 | CRC32C of the footer so far 4 | "GESW" 4 |
//
// A raw block is entries in the order (hash, state name, key, sub; no sub before
// every sub); the first of a block shares nothing with one before it.
//
//	entry    | flags 1 | state's number uv | hash 8, unless the same | key: shared uv, length uv, bytes, unless the same |
//	         | sub: shared uv, length uv, bytes, if any | expiry 8, if any | value: length uv, bytes, unless a tombstone |
//
// Entries of one hash may span blocks. Version 1 has no timers in its index; it
// stays readable for ever.
const (
	segmentMagic   = "WSEG"
	footerMagic    = "GESW"
	segmentVersion = 2
	headerBytes    = 8
	footerBytes    = 36
	blockHead      = 9

	blockBytes    = 32 << 10 // a block is closed when it is this long
	maxEntryBytes = state.MaxValueBytes + state.MaxEntryKeyBytes + 1<<20
	maxBlockBytes = blockBytes + maxEntryBytes
)

const (
	codecNone = 0
	codecS2   = 1
)

const (
	entryTombstone = 1 << iota
	entryExpires
	entrySameHash
	entrySameKey
	entryHasSub
	entryKnownFlags = 1<<iota - 1
)

// segmentInfo is what a writer knows of its segment at the end.
type segmentInfo struct {
	length     int64
	tailBytes  int64 // index and footer
	entries    int64
	firstHash  uint64
	lastHash   uint64
	blockCount int
}

// segmentWriter writes one segment.
type segmentWriter struct {
	w      io.Writer
	info   segmentInfo
	raw    encoder
	stored []byte

	states  map[string]uint64
	names   []string
	number  uint64 // of the last entry's state
	blocks  encoder
	timers  blockTimers // of the open block
	count   int         // its entries
	first   uint64      // their first hash
	last    state.Entry
	lastKey []byte
	lastSub []byte
}

func newSegmentWriter(w io.Writer) (*segmentWriter, error) {
	s := &segmentWriter{w: w, states: map[string]uint64{}, lastSub: []byte{}}
	var h encoder
	h.b = append(h.b, segmentMagic...)
	h.u16(segmentVersion)
	h.u16(0)
	return s, s.write(h.b)
}

func (s *segmentWriter) write(b []byte) error {
	n, err := s.w.Write(b)
	s.info.length += int64(n)
	return err
}

func (s *segmentWriter) add(e state.Entry) error {
	if s.info.entries == 0 {
		s.info.firstHash = e.Hash
	} else if compareEntries(s.last, e) >= 0 {
		return fmt.Errorf("write segment: entry of state %s, key %x is out of order", e.State, e.Key)
	}
	if s.count == 0 {
		s.first = e.Hash
	}
	if e.State == state.TimerState && !e.Tombstone {
		if err := s.timers.add(e.Sub); err != nil {
			return fmt.Errorf("write segment, key %x: %w", e.Key, err)
		}
	}
	s.encode(e)
	s.count++
	s.info.entries++
	s.info.lastHash = e.Hash
	s.lastKey = append(s.lastKey[:0], e.Key...)
	s.last = state.Entry{Hash: e.Hash, State: e.State, Key: s.lastKey}
	if e.Sub != nil {
		s.lastSub = append(s.lastSub[:0], e.Sub...)
		s.last.Sub = s.lastSub
	}
	if len(s.raw.b) >= blockBytes {
		return s.closeBlock()
	}
	return nil
}

func (s *segmentWriter) encode(e state.Entry) {
	var flags uint8
	if e.Tombstone {
		flags |= entryTombstone
	}
	if e.Expires != 0 && !e.Tombstone {
		flags |= entryExpires
	}
	if e.Sub != nil {
		flags |= entryHasSub
	}
	var key, sub []byte
	if s.count > 0 {
		key, sub = s.last.Key, s.last.Sub
		if e.Hash == s.last.Hash {
			flags |= entrySameHash
		}
		if bytes.Equal(key, e.Key) {
			flags |= entrySameKey
		}
	}
	if s.info.entries == 0 || e.State != s.last.State {
		number, known := s.states[e.State]
		if !known {
			number = uint64(len(s.names))
			s.states[e.State] = number
			s.names = append(s.names, e.State)
		}
		s.number = number
	}
	s.raw.u8(flags)
	s.raw.uvarint(s.number)
	if flags&entrySameHash == 0 {
		s.raw.u64(e.Hash)
	}
	if flags&entrySameKey == 0 {
		s.raw.shared(key, e.Key)
	}
	if flags&entryHasSub != 0 {
		s.raw.shared(sub, e.Sub)
	}
	if flags&entryExpires != 0 {
		s.raw.u64(uint64(e.Expires))
	}
	if !e.Tombstone {
		s.raw.bytes(e.Value)
	}
}

// shared writes b as what it has in common with last, and the rest.
func (e *encoder) shared(last, b []byte) {
	n := 0
	for n < min(len(last), len(b)) && last[n] == b[n] {
		n++
	}
	e.uvarint(uint64(n))
	e.bytes(b[n:])
}

func (s *segmentWriter) closeBlock() error {
	raw := s.raw.b
	if need := blockHead + max(s2.MaxEncodedLen(len(raw)), len(raw)); cap(s.stored) < need {
		s.stored = make([]byte, need)
	}
	s.stored = s.stored[:cap(s.stored)]
	codec := byte(codecS2)
	body := s2.Encode(s.stored[blockHead:], raw)
	if len(body) >= len(raw) {
		codec = codecNone
		body = s.stored[blockHead : blockHead+copy(s.stored[blockHead:], raw)]
	}
	block := s.stored[:blockHead+len(body)]
	binary.LittleEndian.PutUint32(block[4:], uint32(len(raw)))
	block[8] = codec
	binary.LittleEndian.PutUint32(block, checksum(block[4:]))
	s.blocks.u64(s.first)
	s.blocks.u64(s.info.lastHash)
	s.blocks.uvarint(uint64(len(block)))
	s.blocks.uvarint(uint64(s.count))
	s.timers.encodeTo(&s.blocks)
	s.info.blockCount++
	s.raw.b, s.count = raw[:0], 0
	return s.write(block)
}

func (s *segmentWriter) close() (segmentInfo, error) {
	if s.count > 0 {
		if err := s.closeBlock(); err != nil {
			return s.info, err
		}
	}
	var index encoder
	index.uvarint(uint64(len(s.names)))
	for _, name := range s.names {
		index.str(name)
	}
	index.uvarint(uint64(s.info.blockCount))
	index.b = append(index.b, s.blocks.b...)

	var footer encoder
	footer.u64(uint64(s.info.length))
	footer.u32(uint32(len(index.b)))
	footer.u32(checksum(index.b))
	footer.u64(uint64(s.info.entries))
	footer.u16(segmentVersion)
	footer.u16(0)
	footer.u32(checksum(footer.b))
	footer.b = append(footer.b, footerMagic...)
	s.info.tailBytes = int64(len(index.b) + len(footer.b))
	return s.info, s.write(append(index.b, footer.b...))
}

// segmentIndex is a segment's tail, read back.
type segmentIndex struct {
	states  []string
	blocks  []blockRef
	entries uint64
}

type blockRef struct {
	first, last uint64
	offset      int64
	length      int
	entries     int
	timers      *timerSpans
}

var errSegment = errors.New("it is no segment of a version that is known here")

// parseTail reads index and footer; the segment is length bytes long.
func parseTail(tail []byte, length int64) (*segmentIndex, error) {
	if len(tail) < footerBytes || int64(len(tail))+headerBytes > length {
		return nil, errShort
	}
	footer := tail[len(tail)-footerBytes:]
	f := decoder{b: footer}
	offset, indexLength, indexSum, entries := f.u64(), f.u32(), f.u32(), f.u64()
	version, _, sum := f.u16(), f.u16(), f.u32()
	switch index := tail[:len(tail)-footerBytes]; {
	case string(f.b) != footerMagic || version == 0 || version > segmentVersion:
		return nil, errSegment
	case sum != checksum(footer[:28]):
		return nil, errors.New("the footer's checksum is wrong")
	case uint64(indexLength) != uint64(len(index)) || offset != uint64(length)-uint64(len(tail)):
		return nil, errors.New("the footer gives another place for the index")
	case indexSum != checksum(index):
		return nil, errors.New("the index's checksum is wrong")
	default:
		x, err := parseIndex(index, int64(offset), version)
		if err == nil {
			x.entries = entries
		}
		return x, err
	}
}

func parseIndex(b []byte, end int64, version uint16) (*segmentIndex, error) {
	d := decoder{b: b}
	x := &segmentIndex{states: make([]string, d.count(1))}
	for i := range x.states {
		x.states[i] = d.str()
	}
	x.blocks = make([]blockRef, d.count(18))
	at := int64(headerBytes)
	for i := range x.blocks {
		r := blockRef{first: d.u64(), last: d.u64(), offset: at}
		r.length = d.limited("a block's length", blockHead+maxBlockBytes)
		r.entries = d.limited("a block's number of entries", maxBlockBytes)
		if version >= 2 {
			r.timers = d.timerSpans()
		}
		if r.first > r.last || i > 0 && r.first < x.blocks[i-1].last || r.length < blockHead {
			d.fail(fmt.Errorf("block %d is out of order", i))
		}
		at += int64(r.length)
		x.blocks[i] = r
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	if at != end {
		return nil, errors.New("the blocks do not end where the index begins")
	}
	return x, nil
}

// openBlock checks a block and gives its raw bytes, in buf if they fit.
func openBlock(block, buf []byte) ([]byte, error) {
	if len(block) < blockHead {
		return nil, errShort
	}
	if binary.LittleEndian.Uint32(block) != checksum(block[4:]) {
		return nil, errors.New("the block's checksum is wrong")
	}
	length, body := binary.LittleEndian.Uint32(block[4:]), block[blockHead:]
	if length > maxBlockBytes {
		return nil, fmt.Errorf("the block has %d bytes, the limit is %d", length, maxBlockBytes)
	}
	switch block[8] {
	case codecNone:
		if int(length) != len(body) {
			return nil, errors.New("the block has another length than it says")
		}
		return append(buf[:0], body...), nil
	case codecS2:
		if n, err := s2.DecodedLen(body); err != nil || n != int(length) {
			return nil, errors.New("the block has another length than it says")
		}
		if cap(buf) < int(length) {
			buf = make([]byte, length)
		}
		raw, err := s2.Decode(buf[:length], body)
		if err != nil {
			return nil, fmt.Errorf("the block cannot be decompressed: %w", err)
		}
		return raw, nil
	}
	return nil, fmt.Errorf("the block has codec %d, which is not known here", block[8])
}

// blockEntries reads the entries of a raw block, one at a time.
type blockEntries struct {
	d      decoder
	states []string
	fresh  bool // nothing to share with yet
	entry  state.Entry
	key    []byte
	sub    []byte
}

func (r *blockEntries) reset(raw []byte, states []string) {
	r.d, r.states, r.fresh = decoder{b: raw}, states, true
	if r.sub == nil {
		r.sub = []byte{}
	}
}

// next reads an entry; false at the end or at an error. Its slices hold until
// the next call.
func (r *blockEntries) next() bool {
	d := &r.d
	if len(d.b) == 0 {
		return false
	}
	flags := d.u8()
	number := d.uvarint()
	if flags > entryKnownFlags || number >= uint64(len(r.states)) || r.fresh && flags&(entrySameHash|entrySameKey) != 0 {
		d.fail(errors.New("an entry has flags or a state that are not known here"))
		return false
	}
	hadSub := r.entry.Sub != nil
	if r.fresh {
		r.key, r.sub, hadSub = r.key[:0], r.sub[:0], false
		r.entry = state.Entry{}
	}
	r.fresh = false
	e := state.Entry{Hash: r.entry.Hash, State: r.states[number], Tombstone: flags&entryTombstone != 0}
	if flags&entrySameHash == 0 {
		e.Hash = d.u64()
	}
	if flags&entrySameKey == 0 {
		r.key = d.shared(r.key)
	}
	e.Key = r.key
	if flags&entryHasSub != 0 {
		if !hadSub {
			r.sub = r.sub[:0]
		}
		r.sub = d.shared(r.sub)
		e.Sub = r.sub
	}
	if flags&entryExpires != 0 {
		e.Expires = int64(d.u64())
	}
	if !e.Tombstone {
		e.Value = d.bytes()
	}
	r.entry = e
	return d.err == nil
}

func (d *decoder) shared(last []byte) []byte {
	n := d.uvarint()
	if n > uint64(len(last)) {
		d.fail(errors.New("an entry shares more than there is"))
		return last[:0]
	}
	return append(last[:n], d.bytes()...)
}

// compareEntries is the order of segments.
func compareEntries(x, y state.Entry) int {
	if x.Hash != y.Hash {
		if x.Hash < y.Hash {
			return -1
		}
		return 1
	}
	if c := strings.Compare(x.State, y.State); c != 0 {
		return c
	}
	if c := bytes.Compare(x.Key, y.Key); c != 0 {
		return c
	}
	switch {
	case x.Sub == nil && y.Sub == nil:
		return 0
	case x.Sub == nil:
		return -1
	case y.Sub == nil:
		return 1
	}
	return bytes.Compare(x.Sub, y.Sub)
}
