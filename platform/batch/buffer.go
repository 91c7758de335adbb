package batch

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Buffer is pooled memory for columns, aligned to 8 bytes.
type Buffer struct {
	Bytes []byte
	class int8
}

const (
	minClass = 10 // 1 KiB
	maxClass = 26 // 64 MiB, the largest stored frame; larger ones are not pooled
)

var (
	pools [maxClass + 1]sync.Pool
	live  atomic.Int64
)

// Live counts batches and buffers that were taken and not released. A test of
// an operator ends with zero.
func Live() int64 { return live.Load() }

// NewBuffer gives n bytes of pooled memory with undefined content.
func NewBuffer(n int) *Buffer {
	live.Add(1)
	class := max(bits.Len(uint(max(n, 1)-1)), minClass)
	if class > maxClass {
		return &Buffer{Bytes: aligned(n), class: -1}
	}
	if b, ok := pools[class].Get().(*Buffer); ok {
		b.Bytes = b.Bytes[:n]
		return b
	}
	return &Buffer{Bytes: aligned(1 << class)[:n], class: int8(class)}
}

// aligned makes memory whose first byte stands at a multiple of 8.
func aligned(n int) []byte {
	words := make([]uint64, (n+7)/8)
	if len(words) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)[:n]
}

// Release returns a buffer that no batch keeps.
func (b *Buffer) Release() { b.release() }

func (b *Buffer) release() {
	live.Add(-1)
	if b.class < 0 {
		return
	}
	full := b.Bytes[:cap(b.Bytes)]
	if poison {
		for i := range full {
			full[i] = 0xdb
		}
	}
	b.Bytes = full[:1<<b.class]
	pools[b.class].Put(b)
}

// poisonInts makes a use after release show: a wild row number panics.
func poisonInts(sel []int32, times []int64, hashes []uint64) {
	sel, times, hashes = sel[:cap(sel)], times[:cap(times)], hashes[:cap(hashes)]
	for i := range sel {
		sel[i] = 1 << 30
	}
	for i := range times {
		times[i] = 0x0bad0bad
	}
	for i := range hashes {
		hashes[i] = 0xdbdbdbdbdbdbdbdb
	}
}
