//go:build unix

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/guest"
)

// The module's functions compiled for this machine, behind the frames of recorded
// calls: what the sandbox costs is what a guest takes more than this.
//
//	benchguest FILE TURNS
//
// The file is a sequence of containers, each behind its length (4 bytes
// little-endian): what opens a function, then calls. It prints the processor
// time of all turns in nanoseconds, and a checksum of one turn's answers.
func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: benchguest FILE TURNS")
	}
	turns, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var containers [][]byte
	for len(data) >= 4 {
		n := int(binary.LittleEndian.Uint32(data))
		if n > len(data)-4 {
			return errors.New("the file ends within a container")
		}
		containers = append(containers, aligned(data[4:4+n]))
		data = data[4+n:]
	}
	if len(containers) < 2 {
		return errors.New("the file has no calls")
	}
	in := guest.Instance{Module: &guest.Default}
	in.Open(containers[0])
	calls := containers[1:]
	sum := crc32.NewIEEE()
	for _, c := range calls { // the first turn warms up
		sum.Write(in.Call(0, c))
	}
	began := processorTime()
	for range turns {
		for _, c := range calls {
			in.Call(0, c)
		}
	}
	fmt.Println(int64(processorTime()-began), sum.Sum32())
	return nil
}

// aligned copies a container to an address that is divisible by 8, as the SDK wants it.
func aligned(b []byte) []byte {
	words := make([]uint64, (len(b)+7)/8)
	to := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))[:len(b)]
	copy(to, b)
	return to
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
