package arena

import (
	"encoding/binary"
	"sync/atomic"
)

// ref names a cell: the chunk in the upper half, the cell's offset in it in
// units of 16 bytes in the lower. 0 is no cell.
type ref uint32

const (
	unitBytes    = 16
	chunkBytes   = 1 << 20
	maxClassed   = 64 << 10 // a larger cell has a chunk of its own
	ownChunk     = 255      // class of such a chunk
	reclaimStep  = 2        // cells given back per cell taken
	reclaimBatch = 1024     // cells given back per Advance
)

// classes are the sizes of cells: steps of 16 up to 128, then four steps to
// each doubling, so that at most a fifth of a cell is lost.
var classes = func() (sizes []int) {
	for n := 16; n <= 128; n += 16 {
		sizes = append(sizes, n)
	}
	for n := 128; n < maxClassed; n *= 2 {
		for step := 1; step <= 4; step++ {
			sizes = append(sizes, n+n/4*step)
		}
	}
	return sizes
}()

var classOf = func() (table [maxClassed/unitBytes + 1]uint8) {
	class := 0
	for i := range table {
		if i*unitBytes > classes[class] {
			class++
		}
		table[i] = uint8(class)
	}
	return table
}()

// memory hands out cells. One goroutine takes and gives back; others may read
// cells that are not given back meanwhile, through a copy of chunks.
type memory struct {
	from   *source
	chunks [][]byte
	class  []uint8
	spare  []uint32 // numbers of chunks that were given back

	next []ref // per class: the next cell never used
	left []int // and how many follow it in its chunk
	free []ref // per class: a list through the first bytes of free cells

	reclaim   []ref // to give back, a few at a time, so that no pause is long
	heldBytes int64 // of cells that were ever used
	usedBytes int64 // of cells that are taken
}

func newMemory(from *source) *memory {
	n := len(classes)
	return &memory{
		from:   from,
		chunks: make([][]byte, 1), class: make([]uint8, 1), // no chunk 0, so no ref 0
		next: make([]ref, n), left: make([]int, n), free: make([]ref, n),
	}
}

// cell is the memory of a cell and what follows it in its chunk.
func (m *memory) cell(r ref) []byte { return cellIn(m.chunks, r) }

func cellIn(chunks [][]byte, r ref) []byte {
	return chunks[r>>16][int(r&0xffff)*unitBytes:]
}

func (m *memory) capacity(r ref) int {
	class := m.class[r>>16]
	if class == ownChunk {
		return len(m.chunks[r>>16])
	}
	return classes[class]
}

// take gives a cell of at least size bytes; what it holds is undefined.
func (m *memory) take(size int) ref {
	for range min(reclaimStep, len(m.reclaim)) {
		m.reclaimOne()
	}
	if size > maxClassed {
		m.heldBytes += int64(size)
		m.usedBytes += int64(size)
		return ref(m.addChunk(m.from.own(size), ownChunk)) << 16
	}
	class := classOf[(size+unitBytes-1)/unitBytes]
	m.usedBytes += int64(classes[class])
	if r := m.free[class]; r != 0 {
		m.free[class] = ref(binary.LittleEndian.Uint32(m.cell(r)))
		return r
	}
	if m.left[class] == 0 {
		m.next[class] = ref(m.addChunk(m.from.bytes(chunkBytes), class)) << 16
		m.left[class] = chunkBytes / classes[class]
	}
	r := m.next[class]
	m.next[class] += ref(classes[class] / unitBytes)
	m.left[class]--
	m.heldBytes += int64(classes[class])
	return r
}

func (m *memory) addChunk(b []byte, class uint8) uint32 {
	if n := len(m.spare); n > 0 {
		i := m.spare[n-1]
		m.spare = m.spare[:n-1]
		m.chunks[i], m.class[i] = b, class
		return i
	}
	if len(m.chunks) > 0xffff {
		// 64 GiB in one task of one operator; its machine is gone before that.
		panic("arena: more than 65535 chunks of state in one task")
	}
	m.chunks, m.class = append(m.chunks, b), append(m.class, class)
	return uint32(len(m.chunks) - 1)
}

// give gives a cell back at once.
func (m *memory) give(r ref) {
	class := m.class[r>>16]
	if class == ownChunk {
		i := r >> 16
		m.heldBytes -= int64(len(m.chunks[i]))
		m.usedBytes -= int64(len(m.chunks[i]))
		m.from.giveOwn(m.chunks[i])
		m.chunks[i] = nil
		m.spare = append(m.spare, uint32(i))
		return
	}
	m.usedBytes -= int64(classes[class])
	binary.LittleEndian.PutUint32(m.cell(r), uint32(m.free[class]))
	m.free[class] = r
}

func (m *memory) reclaimOne() {
	n := len(m.reclaim) - 1
	r := m.reclaim[n]
	m.reclaim = m.reclaim[:n]
	m.give(r)
}

// source is where memory comes from. Mapped memory lies outside the Go heap:
// the collector neither scans it nor lets the heap grow to twice its size. It
// is unmapped when the last user is gone: a backend, or a generation that is
// still being written to files.
type source struct {
	mapped  bool
	regions [][]byte
	rest    []byte // of the last region
	users   atomic.Int32
}

// A little state takes small regions, of which only the pages that are used are
// in memory. The later ones are of huge pages where the system has them: state
// is read at random, and then most of the time goes into finding pages.
const (
	firstRegionBytes = 1 << 20
	firstRegions     = 2
	laterRegionBytes = 16 << 20
)

func newSource(mapped bool) *source {
	s := &source{mapped: mapped && canMap}
	s.users.Store(1)
	return s
}

// bytes gives zeroed memory, aligned to 16, that stays until the end.
func (s *source) bytes(size int) []byte {
	if !s.mapped {
		return make([]byte, size)
	}
	size = (size + unitBytes - 1) &^ (unitBytes - 1)
	if len(s.rest) < size {
		region := max(size, firstRegionBytes)
		if len(s.regions) >= firstRegions {
			region = max(size, laterRegionBytes)
		}
		s.rest = mapMemory(region)
		if region >= laterRegionBytes {
			adviseHuge(s.rest)
		}
		s.regions = append(s.regions, s.rest)
	}
	b := s.rest[:size:size]
	s.rest = s.rest[size:]
	return b
}

// own gives memory that can be given back.
func (s *source) own(size int) []byte {
	if !s.mapped {
		return make([]byte, size)
	}
	return mapMemory(size)
}

func (s *source) giveOwn(b []byte) {
	if s.mapped {
		unmapMemory(b)
	}
}

func (s *source) retain() { s.users.Add(1) }

func (s *source) release(m *memory) {
	if s.users.Add(-1) > 0 || !s.mapped {
		return
	}
	for i, b := range m.chunks {
		if m.class[i] == ownChunk && b != nil {
			unmapMemory(b)
		}
	}
	for _, b := range s.regions {
		unmapMemory(b)
	}
	s.regions, s.rest = nil, nil
}
