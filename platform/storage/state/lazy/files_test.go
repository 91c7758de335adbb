package lazy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/blobfault"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
)

var none = snapshot.NextTimers{Event: snapshot.NoTimer, Processing: snapshot.NoTimer}

// large is n keys with values of a kilobyte that do not compress.
func large(n int) generation {
	noise := rand.NewChaCha8([32]byte{1})
	var g generation
	for i := range n {
		key := fmt.Appendf(nil, "key-%d", i)
		value := make([]byte, 1000)
		_, _ = noise.Read(value)
		g = append(g, state.Entry{Hash: xxhash.Sum64(key), State: "v", Key: key, Value: value})
	}
	sortEntries(g)
	return g
}

func get(b state.Backend, key []byte) ([]byte, bool) {
	s := b.Resolve(state.Keys{Bytes: key, Offsets: []int32{0, int32(len(key))}}, []uint64{xxhash.Sum64(key)}, nil)[0]
	return b.Get(s, 0)
}

// failureOf gives what a backend panics with.
func failureOf(do func()) (err error) {
	defer func() {
		if f, ok := recover().(state.Failure); ok {
			err = f.Err
		}
	}()
	do()
	return nil
}

// mergedAway merges everything of a manifest into one segment of the next, and
// deletes the files of the first.
func mergedAway(t *testing.T, store *memblob.Store, m *snapshot.Manifest) *snapshot.Manifest {
	old := m.Objects()
	p, err := snapshot.RunMerge(t.Context(), store, snapshot.PartID{Pipeline: "p", Checkpoint: 8, Attempt: 1, Worker: "w"},
		[]snapshot.Merge{{Operator: "op", Groups: snapshot.AllGroups(), Inputs: m.Operator("op").Segments, Bottom: true}})
	must(t, err)
	next, err := snapshot.BuildManifest(m, snapshot.Meta{Pipeline: "p", Checkpoint: 9, Attempt: 1}, []*snapshot.Part{p})
	must(t, err)
	for _, name := range old {
		must(t, store.Delete(t.Context(), name))
	}
	return next
}

func TestFilesThatWereMergedAndSweptAreReadFromTheNewestManifest(t *testing.T) {
	entries := large(20_000)
	store, m := filed(t, [][]state.Entry{entries}, none)
	newest, asked := m, 0
	b := opened(t, state.Options{Descriptors: worldStates}, Options{Store: store, Manifest: m, Newest: func(context.Context) (*snapshot.Manifest, error) {
		asked++
		return newest, nil
	}}, 0)
	defer b.Close()
	newest = mergedAway(t, store, m)
	for _, e := range entries {
		if v, ok := get(b, e.Key); !ok || !bytes.Equal(v, e.Value) {
			t.Fatalf("key %s: %d bytes, %t", e.Key, len(v), ok)
		}
	}
	if b.LeftBytes() != 0 || asked != 1 {
		t.Errorf("%d bytes left, the newest manifest was asked for %d times", b.LeftBytes(), asked)
	}
	if f := b.Freeze(); f.Len() != 0 {
		t.Errorf("loading has made %d changes", f.Len())
	} else {
		f.Release()
	}
}

func TestAFileThatIsMissingInTheNewestManifestTooEndsTheTask(t *testing.T) {
	entries := large(3000)
	for name, known := range map[string]bool{"nobody knows a newer manifest": false, "the newest is the same": true} {
		t.Run(name, func(t *testing.T) {
			store, m := filed(t, [][]state.Entry{entries}, none)
			var newest func(context.Context) (*snapshot.Manifest, error)
			if known {
				newest = func(context.Context) (*snapshot.Manifest, error) { return m, nil }
			}
			b := opened(t, state.Options{Descriptors: worldStates}, Options{Store: store, Manifest: m, Newest: newest}, 0)
			defer b.Close()
			for _, name := range m.Objects() {
				must(t, store.Delete(t.Context(), name))
			}
			err := failureOf(func() { b.loadAll() })
			if !errors.Is(err, blob.ErrNotFound) || !strings.Contains(err.Error(), m.Objects()[0]) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestDamageEndsTheTaskAndNamesTheFile(t *testing.T) {
	entries := large(3000)
	good, m := filed(t, [][]state.Entry{entries}, none)
	object := m.Objects()[0]
	b, err := blob.ReadRange(t.Context(), good, object, 0, -1)
	must(t, err)
	b = bytes.Clone(b)
	b[len(b)/2] ^= 1
	store := memblob.New(memblob.Options{})
	_, err = blob.PutBytes(t.Context(), store, object, b)
	must(t, err)
	for name, do := range map[string]func(*Backend){
		"when it is asked for": func(b *Backend) { b.loadAll() },
		"in its turn": func(b *Backend) {
			for b.LeftBytes() > 0 {
				b.Step(time.Second)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := opened(t, state.Options{Descriptors: worldStates}, Options{Store: store, Manifest: m}, 0)
			defer b.Close()
			var damage *snapshot.DamageError
			if err := failureOf(func() { do(b) }); !errors.As(err, &damage) || damage.Object != object || damage.Operator != "op" || damage.Block < 0 {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAReadingThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entries := large(3000)
		inner, m := filed(t, [][]state.Entry{entries}, none)
		store := blobfault.New(inner, blobfault.Plan{})
		b := opened(t, state.Options{Descriptors: worldStates}, Options{Store: store, Manifest: m}, 0)
		defer b.Close()
		store.Arm(blobfault.Plan{From: 1, Count: 20, Kind: blobfault.Fail})
		begin := time.Now()
		for _, e := range entries {
			if v, ok := get(b, e.Key); !ok || !bytes.Equal(v, e.Value) {
				t.Fatalf("key %s: %d bytes, %t", e.Key, len(v), ok)
			}
		}
		if took := time.Since(begin); took == 0 || took > time.Minute {
			t.Errorf("took %s", took)
		}
		// A store that stays away ends the attempt.
		b = opened(t, state.Options{Descriptors: worldStates}, Options{Store: store, Manifest: m}, 0)
		defer b.Close()
		store.Arm(blobfault.Plan{From: 1, Count: 1 << 30, Kind: blobfault.Fail})
		begin = time.Now()
		err := failureOf(func() { get(b, entries[len(entries)-1].Key) })
		if took := time.Since(begin); !errors.Is(err, blobfault.ErrInjected) || took < 30*time.Second || took > 3*time.Minute {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

func TestOnlyPiecesWithTimersThatAreDueAreLoaded(t *testing.T) {
	entries := large(20_000)
	var with generation
	timers := map[string]int64{}
	for i, e := range entries {
		if i%1000 == 500 {
			at := int64(1_000_000_000 + i)
			timers[string(e.Key)] = at
			for kind := state.EventTime; kind <= state.ProcessingTime; kind++ {
				with = append(with, state.Entry{Hash: e.Hash, State: state.TimerState, Key: e.Key, Sub: state.AppendTimerSub(nil, state.Timer{Kind: kind, Time: at})})
			}
		}
		with = append(with, e)
	}
	first := int64(1_000_000_500)
	store, m := filed(t, [][]state.Entry{with}, snapshot.NextTimers{Event: first, Processing: first})
	for kind := state.EventTime; kind <= state.ProcessingTime; kind++ {
		b := opened(t, state.Options{Descriptors: worldStates}, Options{Store: store, Manifest: m}, 0)
		defer b.Close()
		all := b.left
		if at, any := b.NextTimer(kind); !any || at != first {
			t.Fatalf("the next timer is at %d, %t, want %d", at, any, first)
		}
		if due := b.Due(kind, first-1, 100, nil); len(due) != 0 || b.left != all {
			t.Errorf("before the first: %d due, %d pieces loaded", len(due), all-b.left)
		}
		due := b.Due(kind, first+9000, 100, nil) // those of entries 500 to 9500
		if len(due) != 10 || all-b.left > 20 {   // a block may lie in two pieces
			t.Errorf("%d due, want 10; %d pieces loaded", len(due), all-b.left)
		}
		for _, f := range due {
			if key, _ := b.Key(f.Slot); timers[string(key)] != f.Timer.Time {
				t.Errorf("key %s fires at %d, want %d", key, f.Timer.Time, timers[string(key)])
			}
		}
		if at, any := b.NextTimer(kind); !any || at != first+10_000 {
			t.Errorf("then the next timer is at %d, %t", at, any)
		}
	}
}

func TestAPieceIsAskedForBeforeItsTimerIsDue(t *testing.T) {
	entries := large(20_000)
	late := entries[len(entries)-1]
	const at = 5_000_000_000
	with := append(append(generation{}, entries[:len(entries)-1]...),
		state.Entry{Hash: late.Hash, State: state.TimerState, Key: late.Key, Sub: state.AppendTimerSub(nil, state.Timer{Kind: state.ProcessingTime, Time: at})}, late)
	store, m := filed(t, [][]state.Entry{with}, snapshot.NextTimers{Event: snapshot.NoTimer, Processing: at})
	b := opened(t, state.Options{Descriptors: worldStates}, Options{Store: store, Manifest: m}, 0)
	defer b.Close()
	last := len(b.loaded) - 1
	b.Advance(at - aheadMicros)
	steps := 0
	for ; !b.loaded[last].Load(); steps++ {
		b.Step(0) // a piece at a time
	}
	if b.left == 0 {
		t.Errorf("it came last, after %d steps", steps)
	}
}
