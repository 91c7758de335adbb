//go:build linux

package pebble

import (
	"cmp"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/fileblob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
)

// The settings of BenchmarkUpdates.
var (
	benchKeys   = flag.Int("disk.keys", 2_000_000, "keys; docs/benchmarks.md has 10 million")
	benchTime   = flag.Duration("disk.time", 10*time.Second, "how long a way of choosing keys is measured, behind a fifth of that")
	benchMemory = flag.Int64("disk.memory", 64, "MiB for both backends; docs/benchmarks.md has 256")
	benchEvery  = flag.Duration("disk.checkpoint", 10*time.Second, "from one checkpoint to the next")
)

const (
	benchTasks = 2
	benchRows  = 1024
	benchValue = 100
)

// updates is what a task does to its state, without anything else: the keys of a
// batch are resolved, and each one's value is read and written.
type updates struct {
	b      *Backend
	task   uint64 // it has the hashes with that bit
	rng    *rand.Rand
	keys   state.Keys
	hashes []uint64
	slots  []state.Slot
	key    [16]byte
	value  [benchValue]byte
}

// hash makes the n-th key.
func (u *updates) hash(n uint64) (hash uint64, mine bool) {
	binary.BigEndian.PutUint64(u.key[8:], n)
	hash = xxhash.Sum64(u.key[:])
	return hash, hash>>63 == u.task
}

// change makes a value of which half can be compressed.
func (u *updates) change() {
	for i := 0; i+8 <= benchValue; i += 8 {
		binary.LittleEndian.PutUint32(u.value[i:], u.rng.Uint32())
	}
}

// fill loads the task's keys in the order of segments, as a restore does.
func (u *updates) fill(b *testing.B, keys int) {
	type numbered struct{ hash, number uint64 }
	var all []numbered
	for n := range uint64(keys) {
		if h, mine := u.hash(n); mine {
			all = append(all, numbered{h, n})
		}
	}
	slices.SortFunc(all, func(x, y numbered) int { return cmp.Compare(x.hash, y.hash) })
	for _, k := range all {
		u.hash(k.number)
		u.change()
		if err := u.b.Load(state.Entry{Hash: k.hash, State: "v", Key: u.key[:], Value: u.value[:]}); err != nil {
			b.Fatal(err)
		}
	}
}

func (u *updates) batch(b *testing.B, pick func(*rand.Rand) uint64) {
	u.keys.Bytes, u.keys.Offsets, u.hashes = u.keys.Bytes[:0], append(u.keys.Offsets[:0], 0), u.hashes[:0]
	for len(u.hashes) < benchRows {
		if h, mine := u.hash(pick(u.rng)); mine {
			u.keys.Bytes, u.hashes = append(u.keys.Bytes, u.key[:]...), append(u.hashes, h)
			u.keys.Offsets = append(u.keys.Offsets, int32(len(u.keys.Bytes)))
		}
	}
	u.b.Advance(time.Now().UnixMicro())
	u.slots = u.b.Resolve(u.keys, u.hashes, u.slots[:0])
	for _, s := range u.slots {
		old, ok := u.b.Get(s, 0)
		if !ok {
			b.Fatal("a key is not there")
		}
		copy(u.value[:], old)
		u.change()
		if err := u.b.Put(s, 0, u.value[:]); err != nil {
			b.Fatal(err)
		}
	}
}

// run updates until stop, with a checkpoint now and then beside it, and says how
// long the longest took to be written.
func (u *updates) run(b *testing.B, blobs blob.Store, stop <-chan struct{}, pick func(*rand.Rand) uint64, done *atomic.Int64) (longest time.Duration) {
	var writing sync.WaitGroup
	var busy atomic.Bool
	for next := time.Now().Add(*benchEvery); ; {
		select {
		case <-stop:
			writing.Wait()
			return longest
		default:
		}
		if time.Now().After(next) && !busy.Load() {
			next = time.Now().Add(*benchEvery)
			f, begin := u.b.Freeze(), time.Now()
			busy.Store(true)
			writing.Go(func() {
				defer busy.Store(false)
				defer f.Release()
				id := snapshot.PartID{Pipeline: "p", Checkpoint: uint64(begin.UnixNano()), Attempt: 1, Worker: fmt.Sprint("w", u.task)}
				if _, err := snapshot.WritePart(b.Context(), blobs, id, []snapshot.OperatorSnapshot{{Operator: "op", Groups: snapshot.AllGroups(), Keyed: f}}); err != nil {
					b.Error(err)
				}
				longest = max(longest, time.Since(begin))
			})
		}
		u.batch(b, pick)
		done.Add(benchRows)
	}
}

// BenchmarkUpdates says how many updates a second a process does whose state
// outgrows its memory: keys of 16 bytes with values of 100, in two tasks.
func BenchmarkUpdates(b *testing.B) {
	keys := uint64(*benchKeys)
	for _, way := range []struct {
		name string
		pick func(*rand.Rand) uint64
	}{
		{"uniform", func(r *rand.Rand) uint64 { return r.Uint64N(keys) }},
		{"90 % on 1 %", func(r *rand.Rand) uint64 {
			if r.IntN(10) > 0 {
				return r.Uint64N(keys / 100)
			}
			return r.Uint64N(keys)
		}},
	} {
		b.Run(way.name, func(b *testing.B) { updateAll(b, way.pick) })
	}
}

func updateAll(b *testing.B, pick func(*rand.Rand) uint64) {
	dir := b.TempDir()
	blobs, err := fileblob.Open(filepath.Join(dir, "blobs"), fileblob.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer blobs.Close()
	s, err := OpenStore(StoreOptions{Dir: filepath.Join(dir, "state"), MemoryBytes: *benchMemory << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var tasks [benchTasks]*updates
	for i := range tasks {
		tasks[i] = &updates{b: open(b, s, state.Options{Descriptors: []state.Descriptor{{Name: "v", Form: state.Single}}}), task: uint64(i), rng: rand.New(rand.NewPCG(1, uint64(i)))}
		defer tasks[i].b.Close()
		tasks[i].fill(b, *benchKeys)
	}
	debug.FreeOSMemory() // what sorting took
	var done atomic.Int64
	var running sync.WaitGroup
	var longest [benchTasks]time.Duration
	stop := make(chan struct{})
	for i, u := range tasks {
		running.Go(func() { longest[i] = u.run(b, blobs, stop, pick, &done) })
	}
	time.Sleep(*benchTime / 5)
	n, busy, begin := done.Load(), cpu(), time.Now()
	time.Sleep(*benchTime)
	n, busy = done.Load()-n, cpu()-busy
	took := time.Since(begin)
	close(stop)
	running.Wait()
	for b.Loop() {
		// The time that was measured is above; this forgets what was reported before.
	}
	b.ReportMetric(float64(n)/took.Seconds(), "updates/s")
	b.ReportMetric(busy.Seconds()*1e6/float64(n), "cpu-us/update")
	b.ReportMetric(float64(residentMiB()), "resident-MiB")
	b.ReportMetric(max(longest[0], longest[1]).Seconds(), "checkpoint-s")
}

// cpu is the processor time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func residentMiB() int {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kib := 0
	_, _ = fmt.Sscan(rest, &kib)
	return kib >> 10
}
