package server

import (
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/storage/blob/s3test"
)

func TestAStoreThatDoesNotWorkIsSaidAtTheStart(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	bucket := s3test.New(t)
	for address, want := range map[string]string{
		bucket.URL("absent", "x"): "the blob store s3://absent/x does not work: try a write: put object weir-probe/",
		"ftp://host/x":            `scheme "ftp" is not known`,
		"file://x":                "file:///FOLDER",
	} {
		_, err := Start(t.Context(), Options{DataDir: t.TempDir(), Listen: "127.0.0.1:0", BlobURL: address})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q in it", address, err, want)
		}
	}
}

func TestTheStoreSetsHowOftenCheckpointsAreTaken(t *testing.T) {
	for address, want := range map[string]time.Duration{"": 0, "file:///x": 0, "s3://b?region=x": 10 * time.Second, "gs://b": 10 * time.Second} {
		s := &Server{options: Options{DataDir: "/d", BlobURL: address}}
		if got := s.checkpointInterval(); got != want {
			t.Errorf("%q: %s, want %s", address, got, want)
		}
	}
}
