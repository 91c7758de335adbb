package snapshot

import (
	"slices"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/storage/blob/fileblob"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/arena"
)

var oneState = []state.Descriptor{{Name: "v", Form: state.Single}}

// BenchmarkWritePart serialises 100,000 changed keys of 16 + 100 bytes, of which
// about half compresses, into a synced file.
func BenchmarkWritePart(b *testing.B) {
	store, err := fileblob.Open(b.TempDir(), fileblob.Options{Sync: fileblob.SyncAlways})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	f := values(100_000, 84)
	id := uint64(0)
	for b.Loop() {
		id++
		p, err := WritePart(b.Context(), store, PartID{"p", id, 1, "w"}, []OperatorSnapshot{{Operator: "op", Groups: AllGroups(), Keyed: f}})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(p.ObjectBytes)/1e6, "MB")
	}
}

// BenchmarkRestore loads 1,000,000 keys of 16 + 100 bytes from files into the
// arena: from one segment, and from a base with seven deltas of 100,000 keys.
func BenchmarkRestore(b *testing.B) {
	const keys = 1_000_000
	all := values(keys, 84)
	for name, deltas := range map[string]int{"one segment": 0, "eight segments": 7} {
		b.Run(name, func(b *testing.B) {
			store, err := fileblob.Open(b.TempDir(), fileblob.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			var m *Manifest
			for i := range deltas + 1 {
				f := all
				if i > 0 {
					f = fixed{}
					for n := i; n < keys; n += 10 {
						f = append(f, all[n])
					}
				}
				p, err := WritePart(b.Context(), store, PartID{"p", uint64(i + 1), 1, "w"}, []OperatorSnapshot{{Operator: "op", Groups: AllGroups(), Keyed: f}})
				if err != nil {
					b.Fatal(err)
				}
				if m, err = BuildManifest(m, Meta{Pipeline: "p", Checkpoint: uint64(i + 1)}, []*Part{p}); err != nil {
					b.Fatal(err)
				}
			}
			var times []time.Duration
			for b.Loop() {
				backend, err := arena.Open(state.Options{Descriptors: oneState})
				if err != nil {
					b.Fatal(err)
				}
				start := time.Now()
				if err := Restore(b.Context(), store, m, "op", AllGroups(), backend); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(start))
				if n := backend.Stats().Keys; n != keys {
					b.Fatalf("%d keys", n)
				}
				backend.Close()
			}
			slices.Sort(times)
			b.ReportMetric(times[len(times)/2].Seconds(), "s/restore")
		})
	}
}

// BenchmarkMerge merges four deltas of 100,000 keys.
func BenchmarkMerge(b *testing.B) {
	store := memblob.New(memblob.Options{})
	all := values(400_000, 84)
	var inputs []SegmentRef
	for i := range 4 {
		var f fixed
		for n := i; n < len(all); n += 4 {
			f = append(f, all[n])
		}
		p, err := WritePart(b.Context(), store, PartID{"p", uint64(i + 1), 1, "w"}, []OperatorSnapshot{{Operator: "op", Groups: AllGroups(), Keyed: f}})
		if err != nil {
			b.Fatal(err)
		}
		inputs = append(inputs, p.Operators[0].Segments...)
	}
	for b.Loop() {
		p, err := RunMerge(b.Context(), store, PartID{"p", 9, 1, "w"}, []Merge{{Operator: "op", Groups: AllGroups(), Inputs: inputs}})
		if err != nil || p.Merged[0].Output[0].Entries != 400_000 {
			b.Fatal(err)
		}
		if err := store.Delete(b.Context(), p.Objects()[0]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*400_000/b.Elapsed().Seconds()/1e6, "Mentries/s")
}
