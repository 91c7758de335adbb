package bucket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/blobtest"
	"github.com/weirstream/weir/platform/storage/blob/s3test"
)

// quick are limits that a test can wait for.
var quick = Limits{Attempts: 4, Backoff: time.Millisecond, Answer: 30 * time.Second, Idle: 30 * time.Second}

func credentials(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
}

func openS3(t *testing.T, address string, limits Limits) *Store {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenS3(t.Context(), u, limits)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestABucketOfS3IsAStore(t *testing.T) {
	credentials(t)
	blobtest.RunFlat(t, func(t *testing.T) blob.Store {
		return openS3(t, s3test.New(t).URL(s3test.Bucket, "some/prefix"), quick)
	})
}

func TestAWriteWhoseAnswerIsLostIsTheWriters(t *testing.T) {
	credentials(t)
	server := s3test.New(t)
	s := openS3(t, server.URL(s3test.Bucket, ""), quick)
	server.Inject(func(r s3test.Request) s3test.Fault {
		if r.Number == 1 {
			return s3test.Late
		}
		return nil
	})
	if _, err := blob.PutBytes(t.Context(), s, "a/b", []byte("mine")); err != nil {
		t.Fatalf("its own success was taken for a stranger's: %v", err)
	}
	if n := len(server.Requests()); n != 3 {
		t.Errorf("%d requests; want the write, the same again, and a look at who was there", n)
	}
	// The same bytes of somebody else are somebody else's.
	if _, err := blob.PutBytes(t.Context(), s, "a/b", []byte("mine")); !errors.Is(err, blob.ErrExists) {
		t.Errorf("a second write: %v", err)
	}
	server.Inject(func(r s3test.Request) s3test.Fault {
		if r.Number == 1 {
			return s3test.Away
		}
		return nil
	})
	if _, err := blob.PutBytes(t.Context(), s, "a/b", []byte("mine")); !errors.Is(err, blob.ErrExists) {
		t.Errorf("a repeated request that meets a stranger's object: %v", err)
	}
}

func TestAStormIsWeatheredUpToTheLimitOfTries(t *testing.T) {
	credentials(t)
	server := s3test.New(t)
	s := openS3(t, server.URL(s3test.Bucket, ""), quick)
	for bad := range quick.Attempts + 1 {
		server.Inject(func(r s3test.Request) s3test.Fault {
			if r.Number <= bad {
				return s3test.Away
			}
			return nil
		})
		_, err := blob.PutBytes(t.Context(), s, "storm/"+strings.Repeat("x", bad+1), []byte("x"))
		if (err == nil) != (bad < quick.Attempts) {
			t.Errorf("%d bad answers: %v", bad, err)
		}
		if got, want := len(server.Requests()), min(bad+1, quick.Attempts); got != want {
			t.Errorf("%d bad answers led to %d requests, want %d", bad, got, want)
		}
	}
}

func TestABodyThatIsCutIsTakenUpWhereItBroke(t *testing.T) {
	credentials(t)
	server := s3test.New(t)
	s := openS3(t, server.URL(s3test.Bucket, ""), quick)
	content := make([]byte, 300_000)
	for i := range content {
		content[i] = byte(rand.Uint32())
	}
	if _, err := blob.PutBytes(t.Context(), s, "a", content); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		offset, length int64
		want           []byte
	}{{0, -1, content}, {1000, 200_000, content[1000:201_000]}} {
		server.Inject(func(r s3test.Request) s3test.Fault {
			if r.Number < quick.Attempts {
				return s3test.Cut
			}
			return nil
		})
		got, err := blob.ReadRange(t.Context(), s, "a", c.offset, c.length)
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("at %d: %d bytes, %v", c.offset, len(got), err)
		}
	}
	server.Inject(func(s3test.Request) s3test.Fault { return s3test.Cut })
	if _, err := blob.ReadRange(t.Context(), s, "a", 0, -1); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a body that is always cut: %v", err)
	}
	if n := len(server.Requests()); n != quick.Attempts {
		t.Errorf("%d requests, want %d", n, quick.Attempts)
	}
}

func TestAServerThatIsSilentIsGivenUp(t *testing.T) {
	credentials(t)
	server := s3test.New(t)
	limits := quick
	limits.Answer, limits.Attempts = 50*time.Millisecond, 2
	s := openS3(t, server.URL(s3test.Bucket, ""), limits)
	server.Inject(func(s3test.Request) s3test.Fault { return s3test.Silent })
	if _, err := blob.PutBytes(t.Context(), s, "a", []byte("x")); err == nil || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("put: %v", err)
	}
	if n := len(server.Requests()); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

// TestALargeObjectTravelsInParts holds memory and requests: parts, and two more.
func TestALargeObjectTravelsInParts(t *testing.T) {
	credentials(t)
	server := s3test.New(t)
	s := openS3(t, server.URL(s3test.Bucket, ""), quick)
	const size = 3*partBytes + 5
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
	server.Inject(nil)
	info, err := s.Put(t.Context(), "large", bytes.NewReader(content))
	if err != nil || info.SizeBytes != size {
		t.Fatalf("%+v, %v", info, err)
	}
	lost := false
	if n := len(server.Requests()); n != 4+2 {
		t.Errorf("%d requests, want 4 parts, a beginning and an end", n)
	}
	got, err := blob.ReadRange(t.Context(), s, "large", 0, -1)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := s.Put(t.Context(), "large", bytes.NewReader(content)); !errors.Is(err, blob.ErrExists) {
		t.Errorf("again: %v", err)
	}
	server.Inject(func(r s3test.Request) s3test.Fault {
		if r.Method == http.MethodPost && r.Query.Has("uploadId") && !lost {
			lost = true
			return s3test.Late
		}
		return nil
	})
	if _, err := s.Put(t.Context(), "larger", bytes.NewReader(content)); err != nil || !lost {
		t.Errorf("the end came through, its answer did not: %v", err)
	}
}

func TestAWrongBucketOrKeySaysSoWithTheWayOut(t *testing.T) {
	credentials(t)
	server := s3test.New(t)
	s := openS3(t, server.URL("absent", ""), quick)
	if err := blob.Probe(t.Context(), s); err == nil || !strings.Contains(err.Error(), "s3://absent/ does not exist: create it") {
		t.Errorf("an absent bucket: %v", err)
	}
	s = openS3(t, server.URL(s3test.Bucket, ""), quick)
	server.Inject(func(s3test.Request) s3test.Fault {
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`<Error><Code>InvalidAccessKeyId</Code><Message>no such key</Message></Error>`))
		}
	})
	if err := blob.Probe(t.Context(), s); err == nil || !strings.Contains(err.Error(), "set AWS_ACCESS_KEY_ID") {
		t.Errorf("a wrong key: %v", err)
	}
	if n := len(server.Requests()); n != 1 {
		t.Errorf("%d requests: what is refused for good is not asked again", n)
	}
	server.Inject(func(s3test.Request) s3test.Fault {
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusInsufficientStorage)
			_, _ = w.Write([]byte(`<Error><Code>XMinioStorageFull</Code><Message>full</Message></Error>`))
		}
	})
	if _, err := blob.PutBytes(t.Context(), s, "a", []byte("x")); !errors.Is(err, blob.ErrFull) {
		t.Errorf("a full store: %v", err)
	}
}

func TestListingGoesThroughPagesAndSkipsWhatIsNoName(t *testing.T) {
	credentials(t)
	server := s3test.New(t)
	s := openS3(t, server.URL(s3test.Bucket, "p"), quick)
	other := openS3(t, server.URL(s3test.Bucket, ""), quick)
	const objects = 1005 // a page has 1000
	for i := range objects {
		if _, err := blob.PutBytes(t.Context(), s, "l/"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+"-"+strings.Repeat("y", i/26), nil); err != nil && !errors.Is(err, blob.ErrExists) {
			t.Fatal(err)
		}
	}
	if err := other.bucket.WriteAll(t.Context(), "p/l/a name", []byte("x"), nil); err != nil {
		t.Fatal(err)
	}
	count, last := 0, ""
	server.Inject(nil)
	for info, err := range s.List(t.Context(), "l/") {
		if err != nil {
			t.Fatal(err)
		}
		if info.Name <= last {
			t.Errorf("%s comes after %s", info.Name, last)
		}
		count, last = count+1, info.Name
	}
	if count != objects || len(server.Requests()) != 2 {
		t.Errorf("%d objects in %d requests, want %d in 2", count, len(server.Requests()), objects)
	}
}

func TestACancelledWriteLeavesNothing(t *testing.T) {
	credentials(t)
	server := s3test.New(t)
	s := openS3(t, server.URL(s3test.Bucket, ""), quick)
	ctx, cancel := context.WithCancel(t.Context())
	server.Inject(func(s3test.Request) s3test.Fault {
		cancel()
		return s3test.Silent
	})
	if _, err := blob.PutBytes(ctx, s, "a", []byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	server.Inject(nil)
	if _, err := s.Stat(t.Context(), "a"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("stat: %v", err)
	}
}
