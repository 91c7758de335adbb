// A guest in plain Go, against the bare exports of the contract. A call's first
// u32 is a command; the rest is an argument.
package main

import (
	crand "crypto/rand"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strings"
	"time"
	"unsafe"
)

func main() {}

var (
	input    []byte
	output   []byte
	progress = uint32(0xffffffff)
	counts   = map[string]int{}
	totals   = map[string]*total{}
)

type total struct{ count, sum int64 }

func address(b []byte) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

func pack(b []byte) int64 { return int64(uint64(address(b))<<32 | uint64(len(b))) }

//go:wasmexport weir_abi_v1
func minor() int32 { return 0 }

//go:wasmexport weir_alloc
func alloc(size int32) int32 {
	words := make([]uint64, (int(size)+7)/8+1)
	input = unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), size)
	return int32(address(input))
}

//go:wasmexport weir_describe
func describe(ptr, size int32) int64 {
	output = append(output[:0], `{"abi":{"major":1,"minor":0}}`...)
	return pack(output)
}

//go:wasmexport weir_open
func open(ptr, size int32) int64 {
	b := binary.LittleEndian
	output = append(output[:0], "WRC1"...)
	for _, v := range []uint32{40, 4 | 1<<16, 0, 1 | 1<<16, 0, 32, 8, 1, uint32(uintptr(unsafe.Pointer(&progress)))} {
		output = b.AppendUint32(output, v)
	}
	return pack(output)
}

//go:wasmexport weir_call
func call(handle, ptr, size int32) int64 {
	arg := int(binary.LittleEndian.Uint32(input[4:]))
	progress = 3
	output = output[:0]
	switch binary.LittleEndian.Uint32(input) {
	case 1: // count words
		for _, w := range strings.Fields(string(input[8:])) {
			counts[w]++
		}
		words := make([]string, 0, len(counts))
		for w := range counts {
			words = append(words, w)
		}
		sort.Strings(words)
		for _, w := range words {
			output = fmt.Appendf(output, "%s=%d ", w, counts[w])
		}
	case 2: // the clock and randomness
		output = fmt.Appendf(output, "%d %d %v", time.Now().UnixMicro(), rand.New(rand.NewSource(int64(arg))).Int63(), os.Args)
	case 3: // a long call
		x := uint64(arg)
		for i := 0; ; i++ {
			x = x*6364136223846793005 + 1442695040888963407
			if x == 42 {
				break
			}
		}
	case 4:
		fmt.Println("one line")
		panic("on purpose")
	case 5:
		time.Sleep(time.Second)
	case 6: // memory without end
		var keep [][]byte
		for {
			keep = append(keep, make([]byte, 1<<20))
		}
	case 7: // recursion without end
		output = fmt.Append(output, deep(0))
	case 8:
		_, err := os.ReadFile("/etc/passwd")
		output = fmt.Append(output, err)
	case 9:
		os.Exit(4)
	case 10:
		<-make(chan int)
	case 11: // count and sum by key, over arg records of 100 bytes
		for i := range arg {
			row := input[8+i*100 : 108+i*100]
			t, ok := totals[string(row[:8])]
			if !ok {
				t = new(total)
				totals[string(row[:8])] = t
			}
			t.count++
			t.sum += int64(binary.LittleEndian.Uint64(row[8:]))
		}
		output = binary.LittleEndian.AppendUint32(output, uint32(len(totals)))
	case 12: // WASI's randomness, as it comes
		b := make([]byte, 16)
		crand.Read(b)
		output = fmt.Appendf(output, "%x", b)
	}
	progress = 0xffffffff
	return pack(output)
}

//go:noinline
func deep(n int) int { return deep(n+1) + 1 }
