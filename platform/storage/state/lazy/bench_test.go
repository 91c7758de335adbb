package lazy

import (
	"cmp"
	"flag"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/weirstream/weir/platform/storage/blob/fileblob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/pebble"
)

// many is n keys of 16 bytes with values of 100 that do not compress, made as
// they are written.
type many []uint64 // numbers of keys, in order of their hashes

func manyKeys(n int) many {
	type numbered struct{ hash, number uint64 }
	all := make([]numbered, n)
	for i := range all {
		all[i] = numbered{xxhash.Sum64(fmt.Appendf(nil, "key-%012d", i)), uint64(i)}
	}
	slices.SortFunc(all, func(x, y numbered) int { return cmp.Compare(x.hash, y.hash) })
	m := make(many, n)
	for i, k := range all {
		m[i] = k.number
	}
	return m
}

func (m many) Len() int { return len(m) }
func (m many) Release() {}
func (m many) Entries() iter.Seq[state.Entry] {
	return func(yield func(state.Entry) bool) {
		noise := rand.NewChaCha8([32]byte{})
		value := make([]byte, 100)
		for _, i := range m {
			key := fmt.Appendf(nil, "key-%012d", i)
			_, _ = noise.Read(value)
			if !yield(state.Entry{Hash: xxhash.Sum64(key), State: "v", Key: key, Value: value}) {
				return
			}
		}
	}
}

var (
	restartKeys = flag.Int("restart.keys", 2_000_000, "keys of BenchmarkRestart; docs/benchmarks.md has 35 million on disk")
	restartOnly = flag.String("restart.only", "", "arena or disk; empty: both")
	restartMiB  = flag.Int64("restart.memory", pebble.DefaultMemoryBytes>>20, "MiB of memory for state on disk")
)

// BenchmarkRestart is a restart with a base segment and three of a tenth: how
// long until the first batch of 1024 keys, taken at random, has its state, until
// all is loaded with nothing else to do, and for comparison a restore that loads
// everything first.
func BenchmarkRestart(b *testing.B) {
	keys := *restartKeys
	store, err := fileblob.Open(b.TempDir(), fileblob.Options{})
	must(b, err)
	defer store.Close()
	all := manyKeys(keys)
	var m *snapshot.Manifest
	for i := range 4 {
		f := all
		if i > 0 {
			f = many{}
			for n := i; n < keys; n += 10 {
				f = append(f, all[n])
			}
		}
		p, err := snapshot.WritePart(b.Context(), store, snapshot.PartID{Pipeline: "p", Checkpoint: uint64(i + 1), Attempt: 1, Worker: "w"}, []snapshot.OperatorSnapshot{
			{Operator: "op", Groups: snapshot.AllGroups(), Keyed: f, Timers: &none}})
		must(b, err)
		m, err = snapshot.BuildManifest(m, snapshot.Meta{Pipeline: "p", Checkpoint: uint64(i + 1)}, []*snapshot.Part{p})
		must(b, err)
	}
	all = nil
	debug.FreeOSMemory()
	batch := state.Keys{Offsets: []int32{0}}
	var hashes []uint64
	for range 1024 {
		key := fmt.Appendf(nil, "key-%012d", rand.IntN(keys))
		batch.Bytes = append(batch.Bytes, key...)
		batch.Offsets = append(batch.Offsets, int32(len(batch.Bytes)))
		hashes = append(hashes, xxhash.Sum64(key))
	}
	for name, in := range map[string]inner{"arena": inArena, "disk": onDisk(b, *restartMiB<<20)} {
		if *restartOnly != "" && *restartOnly != name {
			continue
		}
		b.Run(name, func(b *testing.B) { restart(b, in, store, m, batch, hashes, keys) })
	}
}

func restart(b *testing.B, in inner, store *fileblob.Store, m *snapshot.Manifest, batch state.Keys, hashes []uint64, keys int) {
	opts := state.Options{Descriptors: worldStates}
	var opening, first, whole, eager []time.Duration
	base, atFirst, most := residentMiB(), 0, 0
	for b.Loop() {
		begin := time.Now()
		l, err := Open(b.Context(), in(b, opts), Options{Store: store, Manifest: m, Operator: "op", Groups: snapshot.AllGroups(), Log: slog.New(slog.DiscardHandler)})
		must(b, err)
		opening = append(opening, time.Since(begin))
		l.Resolve(batch, hashes, nil)
		first = append(first, time.Since(begin))
		atFirst = max(atFirst, residentMiB()-base)
		for steps := 0; l.LeftBytes() > 0; steps++ {
			l.Step(2 * time.Millisecond)
			if steps%1000 == 0 {
				most = max(most, residentMiB()-base)
			}
		}
		whole = append(whole, time.Since(begin))
		if n := l.Stats().Keys; n != keys {
			b.Fatalf("%d keys", n)
		}
		must(b, l.Close())
		inner := in(b, opts)
		begin = time.Now()
		must(b, snapshot.Restore(b.Context(), store, m, "op", snapshot.AllGroups(), inner))
		eager = append(eager, time.Since(begin))
		must(b, inner.Close())
	}
	b.ReportMetric(float64(atFirst), "first-MiB")
	b.ReportMetric(float64(most), "all-MiB")
	for what, times := range map[string][]time.Duration{"opened-ms": opening, "first-ms": first, "all-ms": whole, "eager-ms": eager} {
		slices.Sort(times)
		b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, what)
	}
}

// residentMiB is the memory of this process; 0 where it cannot be told.
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
