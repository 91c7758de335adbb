package savepoints

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/abi/key"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/raftmeta/catalog"
)

const golden = "testdata/golden-v1/savepoint.tar"

// unpack reads an archive into a store, as an import does.
func unpack(in io.Reader) (*contents, *snapshot.Manifest, blob.Store, error) {
	store := memblob.New(memblob.Options{})
	ctx := context.Background()
	c, _, err := readArchive(in, func(name string, r io.Reader) error {
		_, err := store.Put(ctx, "i1/objects/"+name, r)
		return err
	})
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, nil, nil, err
	}
	m, err := c.relocate("i1")
	if err == nil {
		err = snapshot.Verify(ctx, store, m)
	}
	return c, m, store, err
}

// entries are what is loaded: state, key and entry key in words -> the value's bytes.
type entries map[string]string

func (e entries) Load(s state.Entry) error {
	user := map[string]string{string(key.AppendBytes(nil, "ann", key.Last)): "ann", string(key.AppendBytes(nil, "bob", key.Last)): "bob"}[string(s.Key)]
	name := strings.TrimSpace(fmt.Sprintf("%s of %s %x", s.State, user, s.Sub))
	e[name] = fmt.Sprintf("%x", s.Value)
	return nil
}

// The savepoint was exported by the first version that had savepoints, from a run of
// the module beside it over four visits: ann's pages 7, 9, 7 and bob's page 8. It
// is never written again: whoever cannot read it any more has broken a promise.
func TestTheSavepointOfTheFirstVersionIsReadForEver(t *testing.T) {
	b, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	c, m, store, err := unpack(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if h := c.header; h.Version != 1 || h.Pipeline != "golden" || h.Revision != 1 || h.Label != "kept for ever" || h.Checkpoint != 3 {
		t.Errorf("header %+v", h)
	}
	if !strings.Contains(string(c.file), "visits: {function: visits, input: in}") {
		t.Errorf("file:\n%s", c.file)
	}
	got := entries{}
	if err := snapshot.Restore(t.Context(), store, m, "visits", snapshot.AllGroups(), got); err != nil {
		t.Fatal(err)
	}
	page := func(n int64) string { return fmt.Sprintf("%x", key.AppendInt(nil, n)) }
	timer := func(clock string) string { // an hour behind the visit
		at, err := time.Parse(time.DateTime, "2026-01-05 "+clock)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("01%016x0000", uint64(at.UnixMicro())^1<<63)
	}
	// Rows are field 1 as a zigzag number: 2n for n. A list is a field of elements, each of one byte.
	want := entries{
		"seen of ann":                         "0806",
		"seen of bob":                         "0802",
		"history of ann":                      "0a0703" + "010e" + "0112" + "010e",
		"history of bob":                      "0a0301" + "0110",
		"pages of ann " + page(7):             "0804",
		"pages of ann " + page(9):             "0802",
		"pages of bob " + page(8):             "0802",
		"$timers of ann " + timer("11:00:00"): "",
		"$timers of ann " + timer("11:01:00"): "",
		"$timers of ann " + timer("11:02:00"): "",
		"$timers of bob " + timer("11:00:10"): "",
	}
	if !maps.Equal(got, want) {
		t.Errorf("state\n%v\nwant\n%v", got, want)
	}
	half := entries{}
	for _, g := range []snapshot.Groups{{First: 0, Last: 99}, {First: 100, Last: snapshot.MaxGroup}} {
		if err := snapshot.Restore(t.Context(), store, m, "visits", g, half); err != nil {
			t.Fatal(err)
		}
	}
	if !maps.Equal(half, got) {
		t.Errorf("two tasks load %d entries, one loads %d", len(half), len(got))
	}
}

func FuzzAnArchiveFromAnywhereIsReadOrRefused(f *testing.F) {
	b, err := os.ReadFile(golden)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:2000])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, m, store, err := unpack(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, o := range m.Operators { // what was accepted can be loaded
			if err := snapshot.Restore(t.Context(), store, m, o.Operator, snapshot.AllGroups(), counter{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Whatever single byte is wrong, nothing comes of it but a refusal, or what was exported.
func TestADamagedArchiveIsRefusedWhole(t *testing.T) {
	b, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	want, _, _, err := unpack(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(b); i += 7 {
		bad := bytes.Clone(b)
		bad[i] ^= 0x10
		got, _, _, err := unpack(bytes.NewReader(bad))
		if err != nil {
			continue
		}
		// The tar format has bytes that mean nothing: owners, times, padding.
		if got.header != want.header || !bytes.Equal(got.graph, want.graph) || !bytes.Equal(got.file, want.file) {
			t.Fatalf("byte %d was changed and another savepoint came of it", i)
		}
	}
	for n := 0; n < len(b)-1536; n += 100 { // the end of a tar file is padding
		if _, _, _, err := unpack(bytes.NewReader(b[:n])); !errors.Is(err, catalog.ErrDamaged) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}
