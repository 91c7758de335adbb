package snapshot

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/state"
)

// The files of a version are written once, when the version is new. They are
// never written again: what they prove is that old files stay readable.
var writeGolden = flag.String("write-golden", "", "write the files of a new format version into this folder of testdata")

// goldenLine is an entry in entries.json, which is readable by other programs.
type goldenLine struct {
	State     string
	Key       []byte
	Sub       []byte // null: none
	Value     []byte
	Expires   int64
	Tombstone bool
}

func (l goldenLine) entry() state.Entry {
	return state.Entry{Hash: xxhash.Sum64(l.Key), State: l.State, Key: l.Key, Sub: l.Sub, Value: l.Value, Expires: l.Expires, Tombstone: l.Tombstone}
}

// fixed is a frozen generation made of entries.
type fixed []state.Entry

func (f fixed) Len() int { return len(f) }
func (f fixed) Release() {}
func (f fixed) Entries() iter.Seq[state.Entry] {
	return func(yield func(state.Entry) bool) {
		for _, e := range f {
			if !yield(e) {
				return
			}
		}
	}
}

// The objects of a version: what a store held after two checkpoints.
type goldenFiles struct {
	Pipeline string
	Objects  []string
	Manifest string
	Digest   string
	Entries  []goldenLine // what a restore of operator "count" gives, in order
	Split    []byte
	Chunks   [][]byte
}

func TestFilesOfEveryVersionStayReadable(t *testing.T) {
	if *writeGolden != "" {
		makeGolden(t, filepath.Join("testdata", *writeGolden))
	}
	versions, err := filepath.Glob("testdata/v*")
	if err != nil || len(versions) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, dir := range versions {
		t.Run(filepath.Base(dir), func(t *testing.T) { readGolden(t, dir) })
	}
}

// goldenFolder is a version's files as a store holds them.
type goldenFolder struct {
	goldenFiles
	store    *memblob.Store
	manifest *Manifest
}

func goldenOf(t *testing.T, dir string) goldenFolder {
	files := goldenFolder{store: memblob.New(memblob.Options{})}
	b, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err == nil {
		err = json.Unmarshal(b, &files.goldenFiles)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range files.Objects {
		b, err := os.ReadFile(filepath.Join(dir, "object"+string(rune('0'+i))))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := blob.PutBytes(t.Context(), files.store, name, b); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := blob.ReadRange(t.Context(), files.store, files.Manifest, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	_, digest, err := DecodeManifest(raw)
	if err != nil || digest.String() != files.Digest {
		t.Fatalf("manifest: digest %s, %v", digest, err)
	}
	if files.manifest, err = ReadManifest(t.Context(), files.store, files.Manifest, digest); err != nil {
		t.Fatal(err)
	}
	return files
}

func readGolden(t *testing.T, dir string) {
	files := goldenOf(t, dir)
	store, m := files.store, files.manifest
	part, err := os.ReadFile(filepath.Join(dir, "part"))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := UnmarshalPart(part); err != nil || p.ID.Pipeline != files.Pipeline || len(p.Operators) != 1 {
		t.Errorf("part: %+v, %v", p, err)
	}
	if err := Verify(t.Context(), store, m); err != nil {
		t.Error(err)
	}
	var got []goldenLine
	err = Restore(t.Context(), store, m, "count", AllGroups(), loaderFunc(func(e state.Entry) error {
		got = append(got, goldenLine{e.State, bytes.Clone(e.Key), bytes.Clone(e.Sub), append([]byte{}, e.Value...), e.Expires, false})
		return nil
	}))
	if err != nil || !reflect.DeepEqual(got, files.Entries) {
		t.Errorf("restored %d entries, want %d: %v\n%+v\n%+v", len(got), len(files.Entries), err, got[:3], files.Entries[:3])
	}
	r, err := OpenReader(t.Context(), store, m, "count", AllGroups())
	if err != nil {
		t.Fatal(err)
	}
	if next := r.NextTimers(0, 1<<64-1); next != (NextTimers{Event: 5, Processing: NoTimer}) {
		t.Errorf("a reader's next timers: %+v", next)
	}
	last := files.Entries[len(files.Entries)-1]
	var values [][]byte
	if err := r.Hash(t.Context(), last.entry().Hash, func(e state.Entry) error {
		values = append(values, bytes.Clone(e.Value))
		return nil
	}); err != nil || len(values) == 0 || !bytes.Equal(values[len(values)-1], last.Value) {
		t.Errorf("key %s: %q, %v", last.Key, values, err)
	}
	if next := m.NextTimers(); next != (NextTimers{Event: 5, Processing: NoTimer}) {
		t.Errorf("next timers: %+v", next)
	}
	for kind, want := range map[string][][]byte{KindSplit: {files.Split}, KindTransaction: files.Chunks} {
		items := m.Items("count", kind)
		if len(items) != 1 {
			t.Fatalf("%d items of kind %s", len(items), kind)
		}
		item, err := OpenItem(t.Context(), store, items[0])
		if err != nil || !reflect.DeepEqual(item.Data, want) {
			t.Errorf("item %s: %v", kind, err)
		}
	}
}

type loaderFunc func(state.Entry) error

func (f loaderFunc) Load(e state.Entry) error { return f(e) }

// makeGolden writes by hand-made entries: every flag of an entry, keys that
// share, blocks that end within a key's entries, a merge of two generations.
func makeGolden(t *testing.T, dir string) {
	if _, err := os.Stat(dir); err == nil {
		t.Fatalf("%s exists; files of a version are written once", dir)
	}
	var first, second, want []goldenLine
	for i, key := range goldenKeys(300) {
		later := goldenLine{State: state.TimerState, Key: key, Sub: state.AppendTimerSub(nil, state.Timer{Kind: state.EventTime, Time: int64(1000 + i*i), Name: 2}), Value: []byte{}}
		timer := goldenLine{State: state.TimerState, Key: key, Sub: state.AppendTimerSub(nil, state.Timer{Kind: state.EventTime, Time: 5, Name: 1}), Value: []byte{}}
		value := goldenLine{State: "v", Key: key, Value: bytes.Repeat(key, 5)}
		entry := func(sub string, v string) goldenLine {
			return goldenLine{State: "m", Key: key, Sub: []byte(sub), Value: []byte(v), Expires: 1_000_000}
		}
		first = append(first, timer, later, entry("", "empty key"), entry("a", ""), entry("ab", "kept"), value)
		switch key[len(key)-1] % 3 {
		case 0: // the second generation clears the map and sets one entry
			second = append(second, goldenLine{State: "m", Key: key, Tombstone: true}, entry("b", "new"))
			want = append(want, timer, later, entry("b", "new"), value)
		case 1: // deletes one entry and the value
			second = append(second, goldenLine{State: "m", Key: key, Sub: []byte("a"), Tombstone: true}, goldenLine{State: "v", Key: key, Tombstone: true})
			want = append(want, timer, later, entry("", "empty key"), entry("ab", "kept"))
		default:
			want = append(want, timer, later, entry("", "empty key"), entry("a", ""), entry("ab", "kept"), value)
		}
	}
	files := goldenFiles{Pipeline: "golden", Entries: want, Split: []byte("position"), Chunks: [][]byte{bytes.Repeat([]byte("chunk "), 5_000), []byte("small"), {}}}
	store := memblob.New(memblob.Options{})
	var m *Manifest
	// The first part has an object; the second is inline in its manifest, to which
	// the third refers.
	for i, lines := range [][]goldenLine{first, second, nil} {
		var f fixed
		for _, l := range lines {
			f = append(f, l.entry())
		}
		snap := OperatorSnapshot{Operator: "count", Groups: AllGroups(), Keyed: f, Timers: &NextTimers{5, NoTimer}, Items: []Item{{KindSplit, "0", [][]byte{files.Split}}}}
		if i == 0 {
			snap.Items = append(snap.Items, Item{KindTransaction, "old", [][]byte{make([]byte, 100_000)}})
		} else {
			snap.Items = append(snap.Items, Item{KindTransaction, "sink/0", files.Chunks})
		}
		p, err := WritePart(context.Background(), store, PartID{"golden", uint64(i + 1), 1, "worker"}, []OperatorSnapshot{snap})
		if err != nil {
			t.Fatal(err)
		}
		if m, err = BuildManifest(m, Meta{Pipeline: "golden", Checkpoint: uint64(i + 1), Attempt: 1, Revision: 3, Kind: Checkpoint, TakenMicros: 1}, []*Part{p}); err != nil {
			t.Fatal(err)
		}
		name, digest, err := WriteManifest(context.Background(), store, m)
		if err != nil {
			t.Fatal(err)
		}
		files.Manifest, files.Digest = name, digest.String()
		writeFile(t, dir, "part", p.Marshal())
	}
	for info, err := range store.List(context.Background(), "") {
		if err != nil {
			t.Fatal(err)
		}
		b, err := blob.ReadRange(context.Background(), store, info.Name, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, dir, "object"+string(rune('0'+len(files.Objects))), b)
		files.Objects = append(files.Objects, info.Name)
	}
	b, err := json.MarshalIndent(files, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "expected.json", b)
}

func goldenKeys(n int) [][]byte {
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = []byte("user-" + string(rune('a'+i%26)) + "-" + string(rune('A'+i/26)))
	}
	sortByHash(keys)
	return keys
}

func writeFile(t *testing.T, dir, name string, b []byte) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
		t.Fatal(err)
	}
}
