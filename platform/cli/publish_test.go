package cli

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/key"
)

// manyLines has a sequence per key, so that order shows.
func manyLines(n, keys int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"id\":\"k%d\",\"seq\":%d,\"pad\":%q}\n", i%keys, i/keys, strings.Repeat("x", i%50))
	}
	return b.String()
}

func TestPublishedRecordsAreAllThereInOrderPerKey(t *testing.T) {
	for _, layout := range []string{"frames", "records"} {
		t.Run(layout, func(t *testing.T) {
			f, url := newFake(t)
			run(t, url, "", Local{}, "topic", "create", "t", "--layout", layout)
			var z bytes.Buffer
			w := gzip.NewWriter(&z)
			if _, err := io.WriteString(w, manyLines(20000, 100)); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "f.jsonl.gz")
			if err := os.WriteFile(path, z.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			_, errs, exit := run(t, url, "", Local{}, "topic", "publish", "t", "--file", path, "--key", "id")
			if exit != 0 {
				t.Fatal(errs)
			}
			records := f.topics["t"].records
			if len(records) != 20000 {
				t.Fatalf("%d records, want 20000", len(records))
			}
			next := map[string]int{}
			for _, r := range records {
				k := string(r.Key)
				if want := fmt.Sprintf(`{"id":%q,"seq":%d,`, k, next[k]); !strings.HasPrefix(string(r.Value), want) {
					t.Fatalf("got %s, want %s", r.Value, want)
				}
				next[k]++
				if layout == "frames" && int(r.GetPartition()) != key.Partition(r.Key, 8) {
					t.Fatalf("key %s is in partition %d", k, r.GetPartition())
				}
			}
		})
	}
}

func TestALostAnswerSaysWhatIsStoredAndHowToGoOn(t *testing.T) {
	f, url := newFake(t)
	run(t, url, "", Local{}, "topic", "create", "t", "--layout", "records")
	f.failAt = 3
	input := manyLines(5000, 10)
	_, errs, exit := run(t, url, input, Local{}, "topic", "publish", "t", "--file", "-", "--key", "id")
	want := `error: publish to topic "t": the log is gone: 2,000 records are stored, up to line 2000; of lines 2001 to 3000 some may be
hint:  to lose none, and perhaps double those, go on with --skip 2000; to double none, with --skip 3000
`
	if exit != ExitUnreachable || errs != want {
		t.Errorf("exit %d, got %s", exit, errs)
	}
	_, errs, exit = run(t, url, input, Local{}, "topic", "publish", "t", "--file", "-", "--key", "id", "--skip", "2000", "-q")
	if exit != 0 || errs != "" || len(f.topics["t"].records) != 5000 {
		t.Errorf("going on: exit %d, %s, %d records", exit, errs, len(f.topics["t"].records))
	}
}

// pumpAll runs a publishing without a server and tells what was sent when.
type sent struct {
	at    time.Duration
	count uint64
}

func pumpAll(t *testing.T, p *publishing, in io.Reader, b batcher) []sent {
	t.Helper()
	var all []sent
	start := time.Now()
	stop := make(chan struct{})
	err := p.pump(t.Context(), newRecordReader(newLines(in, stop), "json", "", ""), b, func(_ context.Context, q *publication) error {
		all = append(all, sent{time.Since(start), q.count})
		return nil
	})
	close(stop)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheRateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		all := pumpAll(t, &publishing{rate: 100}, strings.NewReader(manyLines(500, 10)), newFrameBatcher(8, frame.CodecNone))
		if took := time.Since(start); took < 4900*time.Millisecond || took > 5100*time.Millisecond {
			t.Errorf("500 records at 100/s took %s", took)
		}
		if len(all) < 100 {
			t.Errorf("sent in %d requests: records waited for each other", len(all))
		}
	})
}

func TestARecordFromAQuietPipeIsNotHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		go func() {
			for range 3 {
				if _, err := io.WriteString(w, "{\"a\":1}\n"); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Minute)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}()
		all := pumpAll(t, &publishing{}, r, newFrameBatcher(8, frame.CodecNone))
		want := []sent{{linger, 1}, {time.Minute + linger, 1}, {2*time.Minute + linger, 1}}
		if !slices.Equal(all, want) {
			t.Errorf("sent %v, want %v", all, want)
		}
	})
}

func TestRecordsWithoutKeyAreSpread(t *testing.T) {
	b := newFrameBatcher(4, frame.CodecNone)
	seen := map[uint32]bool{}
	for i := range 8000 {
		if b.add(textRecord{value: bytes.Repeat([]byte("x"), 100), line: uint64(i + 1)}, 0) || i == 7999 {
			q, err := b.cut()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range q.frames {
				seen[f.GetPartition()] = true
			}
		}
	}
	if len(seen) != 4 {
		t.Errorf("partitions %v", seen)
	}
}

func TestLinesAreCutWhateverTheChunks(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	text := "a\r\n\n" + strings.Repeat("long", 100000) + "\nlast"
	l := newLines(&slow{strings.NewReader(text)}, stop)
	var got []string
	for {
		line, err := l.next()
		if errors.Is(err, errLinger) {
			continue
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(line))
	}
	if !slices.Equal(got, []string{"a", "", strings.Repeat("long", 100000), "last"}) {
		t.Errorf("%d lines", len(got))
	}
}

// slow gives a few bytes at a time.
type slow struct{ r io.Reader }

func (s *slow) Read(b []byte) (int, error) { return s.r.Read(b[:min(len(b), 4099)]) }

func TestALineWithoutEndIsRefusedWithItsLimit(t *testing.T) {
	f, url := newFake(t)
	run(t, url, "", Local{}, "topic", "create", "t")
	_, errs, exit := run(t, url, strings.Repeat("x", maxLine+inputBuffer+1), Local{}, "topic", "publish", "t", "--file", "-", "--format", "raw")
	if exit != ExitRefused || !strings.Contains(errs, "a line is longer than 8.0 MiB") || len(f.topics["t"].records) != 0 {
		t.Errorf("exit %d: %s", exit, errs)
	}
}

func TestKeysOfRawLinesAndCSVRows(t *testing.T) {
	for _, c := range []struct{ kind, field, separator, text, want string }{
		{"raw", "", ":", "a:1\n:2\nb:3:4\n", "a=1 =2 b=3:4 "},
		{"raw", "", "", "a\n\nb\n", "-=a -= -=b "},
		{"csv", "k", "", "v,k\n\"1\n2\",\"a,b\"\n\n3,c\n", "a,b=\"1\n2\",\"a,b\" c=3,c "},
		{"json", "k", "", "{\"k\":12}\n\n{\"k\":\"\\u0061\"}\n", "12={\"k\":12} a={\"k\":\"\\u0061\"} "},
	} {
		stop := make(chan struct{})
		r := newRecordReader(newLines(strings.NewReader(c.text), stop), c.kind, c.field, c.separator)
		var got strings.Builder
		for {
			rec, err := r.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			k := string(rec.key)
			if rec.key == nil {
				k = "-"
			}
			fmt.Fprintf(&got, "%s=%s ", k, rec.value)
		}
		close(stop)
		if got.String() != c.want {
			t.Errorf("%s: %q, want %q", c.kind, got.String(), c.want)
		}
	}
}

func TestARequestThatNeverLeftIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		err := retry(t.Context(), func() error {
			if tries++; tries < 3 {
				return connect.NewError(connect.CodeUnavailable, dialError())
			}
			return nil
		})
		if err != nil || tries != 3 {
			t.Errorf("%d tries: %v", tries, err)
		}
		tries = 0
		err = retry(t.Context(), func() error { tries++; return connect.NewError(connect.CodeUnavailable, io.ErrUnexpectedEOF) })
		if err == nil || tries != 1 {
			t.Errorf("an answer that was lost: %d tries: %v", tries, err)
		}
	})
}

func dialError() error { return &net.OpError{Op: "dial", Err: errors.New("refused")} }
