package httpblob

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/blobtest"
	"github.com/weirstream/weir/platform/storage/blob/fileblob"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
)

func serve(t *testing.T, store blob.Store) (blob.Store, *httptest.Server) {
	t.Helper()
	server := httptest.NewServer(http.StripPrefix("/v1/blobs", Handler(store)))
	t.Cleanup(server.Close)
	return Open(server.URL+"/v1/blobs/", server.Client()), server
}

func TestAFolderOverHTTPIsAStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		folder, err := fileblob.Open(t.TempDir(), fileblob.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := folder.Close(); err != nil {
				t.Error(err)
			}
		})
		s, _ := serve(t, folder)
		return s
	})
}

func TestAFullStoreIsFullOverTheWire(t *testing.T) {
	s, _ := serve(t, memblob.New(memblob.Options{MaxBytes: 3}))
	if _, err := blob.PutBytes(t.Context(), s, "a", []byte("1234")); !errors.Is(err, blob.ErrFull) {
		t.Errorf("put: %v", err)
	}
}

func TestAHandlerThatIsElsewhereIsNotAnAbsentObject(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	if _, err := Open(server.URL, server.Client()).Stat(t.Context(), "a"); err == nil || errors.Is(err, blob.ErrNotFound) {
		t.Errorf("stat: %v", err)
	}
}

func TestRequestsThatAreNoneAreRefused(t *testing.T) {
	_, server := serve(t, memblob.New(memblob.Options{}))
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/v1/blobs/.tmp/x", 400}, {"PUT", "/v1/blobs/a%2F..%2Fb", 400}, {"PUT", "/v1/blobs/", 400}, {"POST", "/v1/blobs/a", 400},
		{"GET", "/v1/blobs/a?offset=-1", 400}, {"GET", "/v1/blobs/a?length=x", 400}, {"GET", "/v1/blobs/?prefix=" + strings.Repeat("x", 600), 400},
		{"GET", "/v1/blobs/a", 404},
	} {
		r, err := http.NewRequest(c.method, server.URL+c.path, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, resp.StatusCode, c.want)
		}
	}
}

func TestAListingThatIsCutSaysSo(t *testing.T) {
	names := 0
	var last error
	for _, err := range readList(strings.NewReader("3 a\n4 b/c\n")) {
		if err == nil {
			names++
		}
		last = err
	}
	if names != 2 || !errors.Is(last, io.ErrUnexpectedEOF) {
		t.Errorf("%d names, %v", names, last)
	}
}

func FuzzReadList(f *testing.F) {
	for _, seed := range []string{"", ".\n", "3 a\n.\n", "-1 a\n", "x\n", "9999999999999999999 a\n.\n", "1 ../a\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		for info, err := range readList(strings.NewReader(in)) {
			if err == nil && (blob.CheckName(info.Name) != nil || info.SizeBytes < 0) {
				t.Fatalf("%+v came out of %q", info, in)
			}
		}
	})
}
