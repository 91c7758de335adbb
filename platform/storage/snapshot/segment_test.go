package snapshot

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/state"
)

func sortByHash(keys [][]byte) {
	slices.SortFunc(keys, func(x, y []byte) int { return cmp.Compare(xxhash.Sum64(x), xxhash.Sum64(y)) })
}

// values are n entries of one state, in order.
func values(n, valueBytes int) fixed {
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key-%012d", i)
	}
	sortByHash(keys)
	f := make(fixed, n)
	for i, k := range keys {
		f[i] = state.Entry{Hash: xxhash.Sum64(k), State: "v", Key: k, Value: append(bytes.Clone(k), make([]byte, valueBytes)...)}
	}
	return f
}

// stored writes one operator and gives its manifest.
func stored(t testing.TB, f state.Frozen) (*memblob.Store, *Manifest) {
	store := memblob.New(memblob.Options{})
	p, err := WritePart(t.Context(), store, PartID{"p", 1, 1, "w"}, []OperatorSnapshot{{Operator: "op", Groups: AllGroups(), Keyed: f,
		Items: []Item{{KindTransaction, "t", [][]byte{bytes.Repeat([]byte("x"), 100_000)}}}}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := BuildManifest(nil, Meta{Pipeline: "p", Checkpoint: 1, Attempt: 1, Kind: Checkpoint}, []*Part{p})
	if err != nil {
		t.Fatal(err)
	}
	return store, m
}

func TestARangeOfKeyGroupsIsReadWithoutTheRest(t *testing.T) {
	all := values(20_000, 100)
	store, m := stored(t, all)
	ref := m.Operator("op").Segments[0]
	index, err := readIndex(t.Context(), store, "op", ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range []Groups{{0, 0}, {7, 7}, {0, 127}, {100, 103}, {255, 255}, AllGroups()} {
		first, last := g.Hashes()
		var want, got []string
		for _, e := range all {
			if first <= e.Hash && e.Hash <= last {
				want = append(want, string(e.Key))
			}
		}
		if err := Restore(t.Context(), store, m, "op", g, loaderFunc(func(e state.Entry) error {
			got = append(got, string(e.Key))
			return nil
		})); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("groups %s: %d entries, want %d", g, len(got), len(want))
		}
		c, err := openCursor(t.Context(), store, "op", ref, g)
		if err != nil {
			t.Fatal(err)
		}
		share := float64(c.to-c.from) / float64(len(index.blocks))
		if most := float64(g.Last-g.First+1)/(MaxGroup+1) + 3/float64(len(index.blocks)); share > most {
			t.Errorf("groups %s: read %.2f of the blocks", g, share)
		}
		c.close()
	}
}

func TestEveryWrongByteIsFoundAndNamed(t *testing.T) {
	store, m := stored(t, values(3000, 40))
	object := m.Objects()[0]
	good, err := blob.ReadRange(t.Context(), store, object, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	header := m.Operator("op").Segments[0].Offset
	for at := 0; at < len(good); at += 1 + len(good)/400 {
		if at >= int(header) && at < int(header)+headerBytes {
			continue // the header is for people; the footer says the same
		}
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (at % 8)
		damaged := memblob.New(memblob.Options{})
		if _, err := blob.PutBytes(t.Context(), damaged, object, bad); err != nil {
			t.Fatal(err)
		}
		err := Verify(t.Context(), damaged, m)
		if !errors.Is(err, state.ErrDamaged) || !strings.Contains(err.Error(), object) {
			t.Fatalf("byte %d of %d changed: %v", at, len(good), err)
		}
	}
}

func TestDamageInABlockNamesFileOperatorAndBlock(t *testing.T) {
	store, m := stored(t, values(3000, 40))
	ref := m.Operator("op").Segments[0]
	index, err := readIndex(t.Context(), store, "op", ref)
	if err != nil {
		t.Fatal(err)
	}
	bad, _ := blob.ReadRange(t.Context(), store, ref.Object, 0, -1)
	bad = bytes.Clone(bad)
	bad[ref.Offset+index.blocks[2].offset+20] ^= 1
	damaged := memblob.New(memblob.Options{})
	if _, err := blob.PutBytes(t.Context(), damaged, ref.Object, bad); err != nil {
		t.Fatal(err)
	}
	var d *DamageError
	err = Restore(t.Context(), damaged, m, "op", AllGroups(), loaderFunc(func(state.Entry) error { return nil }))
	if !errors.As(err, &d) || d.Object != ref.Object || d.Operator != "op" || d.Block != 2 {
		t.Fatalf("%v: %+v", err, d)
	}
}

func TestAMissingObjectIsNamed(t *testing.T) {
	_, m := stored(t, values(3000, 40))
	empty := memblob.New(memblob.Options{})
	for what, err := range map[string]error{
		"verify":  Verify(t.Context(), empty, m),
		"restore": Restore(t.Context(), empty, m, "op", AllGroups(), loaderFunc(func(state.Entry) error { return nil })),
	} {
		if !errors.Is(err, blob.ErrNotFound) || !strings.Contains(err.Error(), m.Objects()[0]) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAnErrorOfTheLoaderEndsTheRestore(t *testing.T) {
	store, m := stored(t, values(20_000, 40))
	full := errors.New("no room")
	loaded := 0
	err := Restore(t.Context(), store, m, "op", AllGroups(), loaderFunc(func(state.Entry) error {
		if loaded++; loaded == 100 {
			return full
		}
		return nil
	}))
	if !errors.Is(err, full) || loaded != 100 {
		t.Errorf("%d loaded, %v", loaded, err)
	}
}

func TestAFullStoreIsSaidAndTheSamePartIsWrittenLater(t *testing.T) {
	f := values(5000, 100)
	store := memblob.New(memblob.Options{MaxBytes: 1000})
	snaps := []OperatorSnapshot{{Operator: "op", Groups: AllGroups(), Keyed: f}}
	if _, err := WritePart(t.Context(), store, PartID{"p", 1, 1, "w"}, snaps); !errors.Is(err, blob.ErrFull) {
		t.Fatalf("%v", err)
	}
	p, err := WritePart(t.Context(), memblob.New(memblob.Options{}), PartID{"p", 1, 1, "w"}, snaps)
	if err != nil || p.Operators[0].Segments[0].Entries != 5000 {
		t.Fatalf("%+v, %v", p, err)
	}
}

func TestEntriesOutOfOrderAreRefused(t *testing.T) {
	f := values(10, 1)
	f[3], f[4] = f[4], f[3]
	if _, err := WritePart(t.Context(), memblob.New(memblob.Options{}), PartID{"p", 1, 1, "w"}, []OperatorSnapshot{{Operator: "op", Groups: AllGroups(), Keyed: f}}); err == nil {
		t.Error("accepted")
	}
}
