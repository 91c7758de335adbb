package statereader

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/weirstream/weir/abi/key"
	"github.com/weirstream/weir/abi/row"
	"github.com/weirstream/weir/abi/schema"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/arena"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// stored keeps n for the keys 0 to n-1 of the model, in two checkpoints: the second
// changes some values and takes some away.
func stored(t *testing.T, model map[int64]int64) *scan {
	t.Helper()
	store := memblob.New(memblob.Options{})
	b, err := arena.Open(state.Options{Descriptors: []state.Descriptor{{Name: "n", Form: state.Single}}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	random := rand.New(rand.NewPCG(1, 2))
	var m *snapshot.Manifest
	for checkpoint := uint64(1); checkpoint <= 2; checkpoint++ {
		for i := range int64(3 * pageEntries) {
			if checkpoint == 2 && random.IntN(3) > 0 {
				continue
			}
			canonical := key.AppendInt(nil, i)
			slot := b.Resolve(state.Keys{Bytes: canonical, Offsets: []int32{0, int32(len(canonical))}}, []uint64{key.Hash(canonical)}, nil)[0]
			if checkpoint == 2 && random.IntN(2) == 0 {
				b.Clear(slot, 0)
				delete(model, i)
				continue
			}
			model[i] = random.Int64()
			if err := b.Put(slot, 0, row.AppendInt(nil, 1, model[i])); err != nil {
				t.Fatal(err)
			}
		}
		frozen := b.Freeze()
		part, err := snapshot.WritePart(t.Context(), store, snapshot.PartID{Pipeline: "p1", Checkpoint: checkpoint, Attempt: 1, Worker: "w"},
			[]snapshot.OperatorSnapshot{{Operator: "sums", Groups: snapshot.AllGroups(), Keyed: frozen}})
		if err != nil {
			t.Fatal(err)
		}
		frozen.Release()
		if m, err = snapshot.BuildManifest(m, snapshot.Meta{Pipeline: "p1", Checkpoint: checkpoint, Attempt: 1, Revision: 1, Kind: snapshot.Checkpoint}, []*snapshot.Part{part}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := snapshot.WriteManifest(t.Context(), store, m); err != nil {
			t.Fatal(err)
		}
	}
	n, err := shapeOf(jobgraph.State{Name: "n", Kind: "value", Codec: "row", Value: "1:value:int64"})
	if err != nil {
		t.Fatal(err)
	}
	s := &scan{
		source:  &source{manifest: m, origin: &weirv1.StateOrigin{Operator: "sums", Checkpoint: 2}},
		service: New(Options{Blobs: store}),
		shapes:  &shapes{key: schema.MustParse("id:int64"), states: map[string]*shape{"n": n}},
		limit:   MaxEntries,
	}
	s.first, s.last = snapshot.AllGroups().Hashes()
	return s
}

func TestADumpInPagesIsWhatAModelHolds(t *testing.T) {
	model := map[int64]int64{}
	s := stored(t, model)
	want := map[string]string{}
	for k, v := range model {
		want[fmt.Sprint(k)] = fmt.Sprint(v)
	}
	got, pages := map[string]string{}, 0
	seen, err := s.run(t.Context(), func(p page) error {
		if pages++; (p.origin != nil) != (pages == 1) || len(p.entries) == 0 || len(p.entries) > pageEntries || p.more {
			t.Errorf("page %d: origin %v, %d entries, more %t", pages, p.origin, len(p.entries), p.more)
		}
		for _, e := range p.entries {
			if _, twice := got[e.Key]; twice {
				t.Errorf("key %s comes twice", e.Key)
			}
			got[e.Key] = e.Value
		}
		return nil
	})
	if err != nil || seen != uint64(len(model)) || !maps.Equal(got, want) || pages < 2 {
		t.Errorf("%d entries in %d pages, %v; want %d", seen, pages, err, len(model))
	}
}

func TestALimitEndsADumpAndSaysWhetherThereIsMore(t *testing.T) {
	model := map[int64]int64{}
	s := stored(t, model)
	all := uint64(len(model))
	for _, limit := range []uint64{1, pageEntries - 1, pageEntries, pageEntries + 1, all - 1, all, all + 1} {
		s.limit = limit
		given, more := 0, false
		seen, err := s.run(t.Context(), func(p page) error {
			if more {
				t.Errorf("limit %d: a page behind the one that said more", limit)
			}
			given, more = given+len(p.entries), p.more
			return nil
		})
		if err != nil || seen != min(limit, all) || uint64(given) != seen || more != (limit < all) {
			t.Errorf("limit %d of %d: %d entries, %d given, more %t, %v", limit, all, seen, given, more, err)
		}
	}
}

func TestEachKeyAloneIsWhatAModelHolds(t *testing.T) {
	model := map[int64]int64{}
	s := stored(t, model)
	for i := range int64(3*pageEntries + 1) {
		s.key = key.AppendInt(nil, i)
		s.first = key.Hash(s.key)
		s.last = s.first
		var got []string
		if _, err := s.run(t.Context(), func(p page) error {
			for _, e := range p.entries {
				got = append(got, e.Value)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		v, ok := model[i]
		if ok && (len(got) != 1 || got[0] != fmt.Sprint(v)) || !ok && len(got) > 0 {
			t.Errorf("key %d: %v, the model has %d, %t", i, got, v, ok)
		}
	}
}

func TestAReaderThatGoesAwayEndsTheScan(t *testing.T) {
	s := stored(t, map[int64]int64{})
	away := errors.New("gone away")
	calls := 0
	_, err := s.run(t.Context(), func(page) error { calls++; return away })
	if !errors.Is(err, away) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}
