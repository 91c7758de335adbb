package arena

import (
	"fmt"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/statetest"
)

// The race detector does not see mapped memory, so the suite also runs on the
// Go heap.
func TestArena(t *testing.T) {
	for name, mapped := range map[string]bool{"mapped": true, "on the heap": false} {
		t.Run(name, func(t *testing.T) {
			statetest.Run(t, func(t *testing.T, opts state.Options) state.Backend {
				b, err := open(opts, newSource(mapped))
				if err != nil {
					t.Fatal(err)
				}
				return b
			})
		})
	}
}

func TestStatesThatCannotBeAreRefused(t *testing.T) {
	one := state.Descriptor{Name: "one", Form: state.Single}
	for name, descriptors := range map[string][]state.Descriptor{
		"a name twice":      {one, one},
		"the timers' name":  {{Name: state.TimerState, Form: state.Single}},
		"no form":           {{Name: "x"}},
		"more than allowed": make([]state.Descriptor, state.MaxStates+1),
	} {
		if _, err := Open(state.Options{Descriptors: descriptors}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestNothingIsAllocatedPerRecordOnceKeysAreKnown(t *testing.T) {
	b, err := Open(state.Options{Descriptors: []state.Descriptor{
		{Name: "v", Form: state.Single}, {Name: "w", Form: state.Single, TTLMs: 1000, TTLOn: state.TTLOnReadWrite}, {Name: "m", Form: state.Entries},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	keys := state.Keys{Offsets: []int32{0}}
	var hashes []uint64
	for i := range 1024 {
		key := fmt.Appendf(nil, "key-%d", i)
		keys.Bytes = append(keys.Bytes, key...)
		keys.Offsets = append(keys.Offsets, int32(len(keys.Bytes)))
		hashes = append(hashes, xxhash.Sum64(key))
	}
	var slots []state.Slot
	value, sub, clock := make([]byte, 16), []byte("entry"), int64(1)
	allocs := testing.AllocsPerRun(200, func() {
		clock++
		b.Advance(clock)
		slots = b.Resolve(keys, hashes, slots)
		for _, s := range slots {
			b.Get(s, 1)
			copy(b.Mutable(s, 0, 16), value)
			if b.Put(s, 1, value) != nil || b.PutEntry(s, 2, sub, value) != nil {
				t.Fatal("refused")
			}
			b.GetEntry(s, 2, sub)
		}
	})
	if allocs > 0 {
		t.Errorf("%.1f allocations in a batch of 1024 records", allocs)
	}
}
