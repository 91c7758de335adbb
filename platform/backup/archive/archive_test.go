package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

const golden = "../testdata/golden-v1/weir.backup"

// seen is what a visit found, as texts.
type seen map[string]string

func visit(b []byte) (*Summary, seen, error) {
	got := seen{}
	s, err := Read(bytes.NewReader(b), Visit{
		Object: func(k Kind, d catalog.Digest, b []byte) error {
			got[string(k)+d.String()] = string(b)
			return nil
		},
		Savepoint: func(s *Savepoint, in io.Reader) error {
			b, err := io.ReadAll(in)
			got[fmt.Sprintf("savepoint %d", s.Number)] = string(b)
			return err
		},
	})
	return s, got, err
}

// sample is a small archive with all kinds of entries; its second savepoint has three pieces.
func sample(t testing.TB) (packed []byte, c *Catalog, content seen) {
	t.Helper()
	return sampleOf(t, strings.Repeat("0123456789abcdef", (2*PieceBytes+48)/16))
}

func sampleOf(t testing.TB, big string) (packed []byte, c *Catalog, content seen) {
	t.Helper()
	graph, spec, module, manifest := "a graph", "a file", "a module", "a manifest"
	d := func(s string) catalog.Digest { return jobgraph.DigestOf([]byte(s)) }
	c = &Catalog{
		Incarnations: 7, Namespaces: []Namespace{{Name: "default", Slots: 3}}, Tokens: []Token{{ID: "t", Role: "read", Hash: d("hash")}},
		Secrets:    []Secret{{Namespace: "default", Name: "pw", Key: "k", Sealed: []byte{1, 2}}},
		Modules:    []Module{{Namespace: "default", Name: "m", Versions: []ModuleVersion{{Digest: d(module), Manifest: d(manifest), SizeBytes: 8}}}},
		Topics:     []Topic{{Namespace: "default", Name: "in", Incarnation: 3, Partitions: 2, Layout: "frames"}},
		Savepoints: []Savepoint{{Number: 1, Namespace: "default", Pipeline: "p"}, {Number: 2, Namespace: "default", Pipeline: "p"}},
		Pipelines:  []Pipeline{{Namespace: "default", Name: "p", Running: true, Savepoint: 2, Revision: Revision{Graph: d(graph), Spec: d(spec), Modules: []catalog.Digest{d(module)}}}},
	}
	var out bytes.Buffer
	w, err := NewWriter(&out)
	check(t, err)
	check(t, w.Begin(Header{Weir: "v1", Cluster: "c", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, c))
	check(t, w.Object(Graphs, d(graph), []byte(graph)))
	check(t, w.Object(Specs, d(spec), []byte(spec)))
	check(t, w.Object(Manifests, d(module), []byte(manifest)))
	check(t, w.Object(Modules, d(module), []byte(module)))
	for _, text := range []string{"small", big} {
		check(t, w.Savepoint(func(to io.Writer) error { _, err := io.WriteString(to, text); return err }))
	}
	check(t, w.Close())
	return out.Bytes(), c, seen{
		"graphs/" + d(graph).String(): graph, "specs/" + d(spec).String(): spec, "modules/" + d(module).String(): module, "manifests/" + d(module).String(): manifest,
		"savepoint 1": "small", "savepoint 2": big,
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	packed, want, content := sample(t)
	s, got, err := visit(packed)
	check(t, err)
	if !reflect.DeepEqual(s.Catalog, want) || !reflect.DeepEqual(got, content) {
		t.Errorf("another backup came of it: %+v", s.Catalog)
	}
	if s.Header.Version != 1 || s.Header.Weir != "v1" || s.Header.Cluster != "c" || s.Header.Created.Year() != 2026 {
		t.Errorf("header %+v", s.Header)
	}
	// Who does not look at savepoints still has all of it verified.
	if _, err := Read(bytes.NewReader(packed), Visit{}); err != nil {
		t.Error(err)
	}
	early := errors.New("no more")
	if _, err := Read(bytes.NewReader(packed), Visit{Savepoint: func(*Savepoint, io.Reader) error { return early }}); !errors.Is(err, early) {
		t.Errorf("a visitor's own error is %v", err)
	}
}

func unpack(t testing.TB, packed []byte) []byte {
	t.Helper()
	z, err := zstd.NewReader(nil)
	check(t, err)
	defer z.Close()
	plain, err := z.DecodeAll(packed, nil)
	check(t, err)
	return plain
}

func pack(t testing.TB, plain []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	check(t, err)
	return z.EncodeAll(plain, nil)
}

// rebuilt is an archive with its entries changed; change answers false to leave one out.
func rebuilt(t *testing.T, packed []byte, change func(name string, b []byte) ([]byte, bool)) []byte {
	t.Helper()
	in, out := tar.NewReader(bytes.NewReader(unpack(t, packed))), &bytes.Buffer{}
	w := tar.NewWriter(out)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		check(t, err)
		b, err := io.ReadAll(in)
		check(t, err)
		b, ok := change(h.Name, b)
		if !ok {
			continue
		}
		h.Size = int64(len(b))
		check(t, w.WriteHeader(h))
		_, err = w.Write(b)
		check(t, err)
	}
	check(t, w.Close())
	return pack(t, out.Bytes())
}

func TestADamagedEntryIsNamed(t *testing.T) {
	packed, _, _ := sample(t)
	flip := func(want string) func(string, []byte) ([]byte, bool) {
		return func(name string, b []byte) ([]byte, bool) {
			if strings.HasPrefix(name, want) {
				b[len(b)/2] ^= 1
			}
			return b, true
		}
	}
	without := func(want string) func(string, []byte) ([]byte, bool) {
		return func(name string, b []byte) ([]byte, bool) { return b, !strings.HasPrefix(name, want) }
	}
	replace := func(entry, old, now string) func(string, []byte) ([]byte, bool) {
		return func(name string, b []byte) ([]byte, bool) {
			if name == entry {
				b = bytes.ReplaceAll(b, []byte(old), []byte(now))
			}
			return b, true
		}
	}
	for what, c := range map[string]struct {
		change func(string, []byte) ([]byte, bool)
		kind   error
		text   string
	}{
		"a byte of a savepoint's second piece": {flip("savepoints/000002/00000002"), catalog.ErrDamaged, "the checksum of savepoints/000002/00000002 is"},
		"a byte of the first savepoint":        {flip("savepoints/000001"), catalog.ErrDamaged, "the checksum of savepoints/000001/00000001 is"},
		"a byte of a graph":                    {flip("graphs/"), catalog.ErrDamaged, "the digest of graphs/"},
		"a byte of a manifest":                 {flip("manifests/"), catalog.ErrDamaged, "the digest of manifests/"},
		"a name in the catalog":                {replace(catalogEntry, `"name": "pw"`, `"name": "px"`), catalog.ErrDamaged, "the checksum of catalog.json is"},
		"a word of the header":                 {replace(headerEntry, `"v1"`, `"v2"`), catalog.ErrDamaged, "the checksum of backup.json is"},
		"a module that is gone":                {without("modules/"), catalog.ErrDamaged, "stands where one of 1 objects belongs"},
		"a piece that is gone":                 {without("savepoints/000002/00000002"), catalog.ErrDamaged, `"savepoints/000002/00000003" stands where checksums.json belongs`},
		"a last piece that is gone":            {without("savepoints/000002/00000003"), catalog.ErrDamaged, "checksums.json names 10 entries, there are 9"},
		"a savepoint that is gone":             {without("savepoints/000001"), catalog.ErrDamaged, "savepoints/000001/00000001 is missing"},
		"checksums that are gone":              {without(checksumsEntry), catalog.ErrDamaged, "it ends before checksums.json"},
		"a catalog that is gone":               {without(catalogEntry), catalog.ErrDamaged, "stands where catalog.json belongs"},
		"another kind of file":                 {replace(headerEntry, format, "weir-savepoint"), catalog.ErrDamaged, `its format is "weir-savepoint"`},
		"a later version":                      {replace(headerEntry, `"version": 1`, `"version": 2`), catalog.ErrNewer, "backup of version 2, written by weir v1"},
		"a field of later":                     {replace(catalogEntry, `"incarnations": 7`, `"incarnations": 7, "quotas": []`), catalog.ErrNewer, `unknown field "quotas"`},
		"a savepoint that is not in it":        {replace(catalogEntry, `"savepoint": 2`, `"savepoint": 9`), catalog.ErrDamaged, `pipeline "p" goes on from savepoint 9`},
		"another namespace's savepoint":        {replace(catalogEntry, "\"number\": 2,\n   \"namespace\": \"default\"", "\"number\": 2,\n   \"namespace\": \"other\""), catalog.ErrDamaged, `from a savepoint of namespace "other"`},
	} {
		_, _, err := visit(rebuilt(t, packed, c.change))
		if !errors.Is(err, c.kind) || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := visit(append(bytes.Clone(packed), packed...)); !errors.Is(err, catalog.ErrDamaged) {
		t.Errorf("two after another: %v", err)
	}
}

// Whatever single byte is wrong, nothing comes of it but a refusal, or what was written.
func TestADamagedBackupIsRefusedWhole(t *testing.T) {
	b, err := os.ReadFile(golden)
	check(t, err)
	want, content, err := visit(b)
	check(t, err)
	for i := 0; i < len(b); i += 37 {
		bad := bytes.Clone(b)
		bad[i] ^= 0x10
		s, got, err := visit(bad)
		if err == nil && (!reflect.DeepEqual(s, want) || !reflect.DeepEqual(got, content)) {
			t.Fatalf("byte %d was changed and another backup came of it", i)
		}
	}
	plain := unpack(t, b)
	for i := 0; i < len(plain); i += 409 {
		bad := bytes.Clone(plain)
		bad[i] ^= 0x10
		s, got, err := visit(pack(t, bad))
		// The tar format has bytes that mean nothing: owners, times, padding.
		if err == nil && (!reflect.DeepEqual(s, want) || !reflect.DeepEqual(got, content)) {
			t.Fatalf("byte %d of the tar file was changed and another backup came of it", i)
		}
	}
	for n := 0; n < len(b); n += 199 {
		if _, _, err := visit(b[:n]); !errors.Is(err, catalog.ErrDamaged) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}

// brokenPipe ends with an error that is no damage.
type brokenPipe struct{ in io.Reader }

var errPipe = errors.New("the connection broke")

func (b *brokenPipe) Read(p []byte) (int, error) {
	n, err := b.in.Read(p)
	if errors.Is(err, io.EOF) {
		err = errPipe
	}
	return n, err
}

func TestAStreamThatBreaksIsNoDamage(t *testing.T) {
	b, err := os.ReadFile(golden)
	check(t, err)
	for n := 0; n < len(b); n += 997 {
		if _, err := Read(&brokenPipe{bytes.NewReader(b[:n])}, Visit{}); !errors.Is(err, errPipe) || errors.Is(err, catalog.ErrDamaged) {
			t.Errorf("broken at %d: %v", n, err)
		}
	}
}

func TestTheWriterWantsExactlyWhatTheCatalogNames(t *testing.T) {
	_, c, _ := sample(t)
	w, err := NewWriter(io.Discard)
	check(t, err)
	check(t, w.Begin(Header{}, c))
	if err := w.Object(Graphs, jobgraph.DigestOf([]byte("other")), []byte("other")); err == nil {
		t.Error("an object that nothing names was written")
	}
	if err := w.Object(Graphs, jobgraph.DigestOf([]byte("a graph")), []byte("another graph")); !errors.Is(err, catalog.ErrDamaged) {
		t.Errorf("an object of another digest: %v", err)
	}
	if err := w.Close(); err == nil {
		t.Error("a backup without its objects was ended")
	}
}

// The compression hides most of the format from random bytes, so that the tar file is changed too.
func FuzzABackupFromAnywhereIsReadOrRefused(f *testing.F) {
	b, _, _ := sampleOf(f, "a savepoint") // small, since all that is found is made smaller again
	f.Add(b, true)
	f.Add(unpack(f, b), false)
	f.Add(b[:len(b)/2], true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, b []byte, packed bool) {
		if !packed {
			b = pack(t, b)
		}
		s, got, err := visit(b)
		if err != nil {
			return
		}
		again, content, err := visit(b)
		if err != nil || !reflect.DeepEqual(again, s) || !reflect.DeepEqual(content, got) {
			t.Fatalf("what was accepted is read otherwise the second time: %v", err)
		}
	})
}
