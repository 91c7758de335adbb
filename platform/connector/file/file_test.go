package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/format"
	"github.com/weirstream/weir/platform/format/all"
)

var rowSchema = schema.MustParse("n:int64,s:utf8")

func sourceOf(t *testing.T, name string, cfg SourceConfig) *Source {
	t.Helper()
	cfg.Schema = rowSchema
	cfg.NewDecoder = func(header []string) (format.Decoder, error) {
		return all.NewDecoder(name, rowSchema, format.Options{Header: header})
	}
	s, err := NewSource(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// readAll reads a split to its end and gives n=s of each row, each fetch's
// position and the rejected.
func readAll(t *testing.T, s *Source, split string, after connector.Position) (rows []string, rejected []connector.Rejected, positions []connector.Position) {
	t.Helper()
	r, err := s.Open(t.Context(), connector.Split{ID: split}, after)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		f, err := r.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return rows, rejected, positions
		}
		if err != nil {
			t.Fatal(err)
		}
		if f.Batch != nil {
			for i := range f.Batch.Len() {
				c := f.Batch.Columns
				rows = append(rows, fmt.Sprintf("%d=%s", c[0].IntAt(i), strings.Clone(c[1].StringAt(i))))
			}
			f.Batch.Release()
		}
		rejected = append(rejected, f.Rejected...)
		positions = append(positions, f.After)
	}
}

func write(t *testing.T, path string, content string) string {
	t.Helper()
	data := []byte(content)
	if strings.HasSuffix(path, ".gz") {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		data = b.Bytes()
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func jsonLines(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "{\"n\":%d,\"s\":\"v%d\"}\n", i, i)
	}
	return b.String()
}

func wantRows(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("%d=v%d", i, i))
	}
	return out
}

func TestLinesAreReadFromPlainAndCompressedFilesAndStandardInput(t *testing.T) {
	dir := t.TempDir()
	const n = 10_000
	plain := write(t, dir+"/a.jsonl", jsonLines(0, n))
	packed := write(t, dir+"/b.jsonl.gz", jsonLines(0, n))
	for _, name := range []string{plain, packed, Stdio} {
		s := sourceOf(t, "json", SourceConfig{Path: name, Stdin: strings.NewReader(jsonLines(0, n))})
		rows, rejected, _ := readAll(t, s, name, nil)
		if !slices.Equal(rows, wantRows(0, n)) || len(rejected) > 0 {
			t.Errorf("%s: %d rows, rejected %v", name, len(rows), rejected)
		}
	}
	if n := batch.Live(); n != 0 {
		t.Errorf("%d live buffers", n)
	}
}

func TestReadingGoesOnBehindAnyPosition(t *testing.T) {
	dir := t.TempDir()
	const n = 10_000
	for _, name := range []string{write(t, dir+"/a.jsonl", jsonLines(0, n)), write(t, dir+"/b.jsonl.gz", jsonLines(0, n))} {
		s := sourceOf(t, "json", SourceConfig{Path: name})
		_, _, positions := readAll(t, s, name, nil)
		for i, p := range positions {
			rows, _, _ := readAll(t, s, name, p)
			if want := wantRows(min((i+1)*maxBatchRows, n), n); !slices.Equal(rows, want) {
				t.Errorf("%s behind %s: %d rows, want %d", name, p, len(rows), len(want))
			}
		}
	}
}

func TestAFileThatWasCutIsDataLost(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{dir + "/a.jsonl", dir + "/b.jsonl.gz"} {
		s := sourceOf(t, "json", SourceConfig{Path: write(t, name, jsonLines(0, 100))})
		_, _, positions := readAll(t, s, name, nil)
		write(t, name, jsonLines(0, 50))
		_, err := s.Open(t.Context(), connector.Split{ID: name}, positions[0])
		var lost *connector.DataLost
		if !errors.As(err, &lost) || lost.Split != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPatternIsASplitForEachFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/b.jsonl", jsonLines(0, 1))
	write(t, dir+"/a.jsonl", jsonLines(1, 2))
	write(t, dir+"/c.txt", "")
	s := sourceOf(t, "json", SourceConfig{Path: dir + "/*.jsonl"})
	splits, err := s.Splits(t.Context())
	if err != nil || len(splits) != 2 || splits[0].ID != dir+"/a.jsonl" || splits[1].ID != dir+"/b.jsonl" {
		t.Errorf("%v %v", splits, err)
	}
	s = sourceOf(t, "json", SourceConfig{Path: dir + "/*.csv"})
	if _, err := s.Splits(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestBlankLinesWindowsLineEndsAndAMissingLastOneAreNoMatter(t *testing.T) {
	name := write(t, t.TempDir()+"/a.jsonl", "\r\n{\"n\":1,\"s\":\"a\"}\r\n\n  \n{\"n\":2,\"s\":\"b\"}")
	rows, rejected, _ := readAll(t, sourceOf(t, "json", SourceConfig{Path: name}), name, nil)
	if !slices.Equal(rows, []string{"1=a", "2=b"}) || len(rejected) > 0 {
		t.Errorf("%v %v", rows, rejected)
	}
}

func TestARecordThatCannotBeDecodedIsRejectedWithFileAndLine(t *testing.T) {
	name := write(t, t.TempDir()+"/a.jsonl", "{\"n\":1,\"s\":\"a\"}\n{\"n\":\"x\"}\n{\"n\":3,\"s\":\"c\"}\n")
	rows, rejected, _ := readAll(t, sourceOf(t, "json", SourceConfig{Path: name}), name, nil)
	if !slices.Equal(rows, []string{"1=a", "3=c"}) || len(rejected) != 1 || rejected[0].Position != name+":2" || string(rejected[0].Record.Value) != `{"n":"x"}` {
		t.Errorf("%v %+v", rows, rejected)
	}
}

func TestACSVRecordMayGoOnBehindALineEndInQuotes(t *testing.T) {
	name := write(t, t.TempDir()+"/a.csv", "s,n\n\"two\nlines, \"\"quoted\"\"\",1\nplain,2\n")
	s := sourceOf(t, "csv", SourceConfig{Path: name, Quoted: true, Header: true})
	rows, rejected, positions := readAll(t, s, name, nil)
	if !slices.Equal(rows, []string{"1=two\nlines, \"quoted\"", "2=plain"}) || len(rejected) > 0 {
		t.Errorf("%q %v", rows, rejected)
	}
	if rows, _, _ := readAll(t, s, name, positions[0]); len(rows) > 0 {
		t.Errorf("behind the end: %q", rows)
	}
}

func TestARecordWithoutEndIsAnErrorWithItsLine(t *testing.T) {
	name := write(t, t.TempDir()+"/a.jsonl", "{\"n\":1,\"s\":\"a\"}\n"+strings.Repeat("x", MaxRecordBytes+readBuffer+1))
	r, err := sourceOf(t, "json", SourceConfig{Path: name}).Open(t.Context(), connector.Split{ID: name}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, err := r.Next(t.Context())
	if err != nil || f.Batch.Len() != 1 {
		t.Fatal(err)
	}
	f.Batch.Release()
	if _, err := r.Next(t.Context()); !errors.Is(err, errTooLong) || !strings.Contains(err.Error(), "line 2") {
		t.Error(err)
	}
}

func TestAWaitForStandardInputEndsWithItsContext(t *testing.T) {
	in, out := io.Pipe()
	defer out.Close()
	waiting, err := sourceOf(t, "csv", SourceConfig{Path: Stdio, Stdin: in, Header: true}).Open(t.Context(), connector.Split{ID: Stdio}, nil)
	if err != nil {
		t.Fatal(err) // it must not wait for the header
	}
	if err := waiting.Close(); err != nil {
		t.Fatal(err)
	}
	in, out = io.Pipe()
	s := sourceOf(t, "json", SourceConfig{Path: Stdio, Stdin: in})
	r, err := s.Open(t.Context(), connector.Split{ID: Stdio}, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = out.Write([]byte(jsonLines(0, 1))) }()
	f, err := r.Next(t.Context()) // without waiting for more than there is
	if err != nil || f.Batch.Len() != 1 {
		t.Fatal(err)
	}
	f.Batch.Release()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func FuzzPosition(f *testing.F) {
	f.Add([]byte(`{"offset":5,"line":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePosition(data)
		if err != nil {
			return
		}
		again, err := parsePosition((&reader{pos: p}).Position())
		if err != nil || again != p {
			t.Errorf("%+v becomes %+v, %v", p, again, err)
		}
	})
}

// sinkOf makes a sink of JSON lines.
func sinkOf(t *testing.T, cfg SinkConfig) *Sink {
	t.Helper()
	cfg.Schema, cfg.Suffix = rowSchema, ".jsonl"
	cfg.NewEncoder = func() (format.Encoder, error) { return all.NewEncoder("json", rowSchema, format.Options{}) }
	s, err := NewSink(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openWriter(t *testing.T, s *Sink) *writer {
	t.Helper()
	w, err := s.Open(t.Context(), connector.WriterID{Pipeline: "p/1", Sink: "out"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w.(*writer)
}

func writeRows(t *testing.T, w connector.Writer, from, to int) {
	t.Helper()
	b := batch.NewBuilder(rowSchema)
	for i := from; i < to; i++ {
		b.Column(0).AppendInt64(int64(i))
		b.Column(1).AppendString(fmt.Sprint("v", i))
		b.EndRow(batch.NoTime)
	}
	out := b.Finish("", 0)
	defer out.Release()
	if err := w.Write(out); err != nil {
		t.Fatal(err)
	}
}

// visible gives the content of all files in the order of their names.
func visible(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, n := range names {
		if strings.HasPrefix(filepath.Base(n), ".") {
			continue
		}
		data, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(data)
	}
	return all.String()
}

func TestFilesAppearWholeAndOnceWhereverTheirPublisherFailed(t *testing.T) {
	dir := t.TempDir()
	cfg := SinkConfig{Path: dir + "/", RollBytes: 1}
	w := openWriter(t, sinkOf(t, cfg))
	want := ""
	for cp, place := range []string{failpoint.FileBeforeRename, failpoint.FileAfterRename} {
		writeRows(t, w, cp*100, cp*100+100)
		txn, err := w.Prepare(t.Context(), uint64(cp+1))
		if err != nil {
			t.Fatal(err)
		}
		if got := visible(t, dir); got != want {
			t.Errorf("visible before the commit: %q", got)
		}
		disarm := failpoint.Fail(place, 1)
		if err := sinkOf(t, cfg).Publish(t.Context(), txn); !errors.Is(err, failpoint.ErrInjected) {
			t.Fatal(err)
		}
		disarm()
		for range 3 {
			if err := sinkOf(t, cfg).Publish(t.Context(), txn); err != nil {
				t.Fatal(err)
			}
		}
		want += jsonLines(cp*100, cp*100+100)
		if got := visible(t, dir); got != want {
			t.Errorf("%s: %d bytes, want %d", place, len(got), len(want))
		}
	}
	left, err := filepath.Glob(dir + "/.in-progress*")
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

func TestTheOpenFilesBytesAreStateAndRollWhenTheFileIsFullOldOrTheLast(t *testing.T) {
	dir := t.TempDir()
	s := sinkOf(t, SinkConfig{Path: dir, RollBytes: 2000, RollAfter: time.Hour})
	w := openWriter(t, s)
	prepare := func(w *writer, cp uint64) connector.Transaction {
		txn, err := w.Prepare(t.Context(), cp)
		if err != nil {
			t.Fatal(err)
		}
		return txn
	}
	writeRows(t, w, 0, 10)
	if txn := prepare(w, 1); len(txn.Chunks) != 0 || string(w.State()) != jsonLines(0, 10) {
		t.Errorf("%d chunks, state %q", len(txn.Chunks), w.State())
	}
	state := w.State()
	writeRows(t, w, 10, 20) // lost with the process
	again := openWriter(t, s)
	if err := again.Restore(state); err != nil {
		t.Fatal(err)
	}
	writeRows(t, again, 10, 200)
	txn := prepare(again, 2)
	if string(bytes.Join(txn.Chunks, nil)) != jsonLines(0, 200) || again.State() != nil {
		t.Errorf("rolled %d chunks", len(txn.Chunks))
	}
	writeRows(t, again, 200, 201)
	again.Finish()
	if txn := prepare(again, 3); string(bytes.Join(txn.Chunks, nil)) != jsonLines(200, 201) {
		t.Error("the last file stays open")
	}
	writeRows(t, w, 0, 1)
	w.opened = time.Now().Add(-2 * time.Hour)
	if txn := prepare(w, 4); len(txn.Chunks) != 1 {
		t.Error("an old file stays open")
	}
}

func TestOneFileAndStandardOutputAreWrittenAsOutputComes(t *testing.T) {
	var stdout bytes.Buffer
	name := t.TempDir() + "/out.jsonl"
	for _, path := range []string{Stdio, name} {
		s := sinkOf(t, SinkConfig{Path: path, Guarantee: connector.AtLeastOnce, Stdout: &stdout, Header: "# rows"})
		w := openWriter(t, s)
		writeRows(t, w, 0, 5)
		if err := w.Push(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := stdout.String()
		if path != Stdio {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got = string(data)
		}
		if got != "# rows\n"+jsonLines(0, 5) {
			t.Errorf("%s: %q", path, got)
		}
		if _, err := s.Open(context.Background(), connector.WriterID{Task: 1}); err == nil {
			t.Errorf("%s: a second task writes it too", path)
		}
	}
}

func TestAnExactlyOnceSinkNeedsAFolder(t *testing.T) {
	for _, path := range []string{Stdio, t.TempDir() + "/x.jsonl"} {
		_, err := NewSink(SinkConfig{Path: path, Schema: rowSchema, NewEncoder: func() (format.Encoder, error) { return nil, nil }})
		if err == nil || !strings.Contains(err.Error(), "end the path in /") {
			t.Error(err)
		}
	}
}

func TestATransactionCannotEscapeItsFolder(t *testing.T) {
	s := sinkOf(t, SinkConfig{Path: t.TempDir()})
	err := s.Publish(t.Context(), connector.Transaction{Meta: []byte(`{"name":"../x"}`), Chunks: [][]byte{{1}}})
	if !errors.Is(err, connector.ErrPermanent) {
		t.Error(err)
	}
}
