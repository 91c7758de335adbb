package bloburl

import (
	"errors"
	"strings"
	"testing"

	"github.com/weirstream/weir/platform/storage/blob"
)

func TestFoldersAndMemoryAreOpened(t *testing.T) {
	for _, address := range []string{"file://" + t.TempDir(), "mem://"} {
		s, err := Open(t.Context(), address, Options{})
		if err != nil {
			t.Fatalf("%s: %v", address, err)
		}
		if err := blob.Probe(t.Context(), s); err != nil {
			t.Errorf("%s: %v", address, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if Remote(address) {
			t.Errorf("%s is taken for remote", address)
		}
	}
}

func TestAnAddressThatNamesNoStoreIsRefusedWithThoseThatDo(t *testing.T) {
	for address, want := range map[string]string{
		"ftp://host/x":   `scheme "ftp" is not known; known are s3://`,
		"/just/a/folder": `scheme "" is not known`,
		"s3:///prefix":   "names no bucket",
		"file://host/x":  "file:///FOLDER",
		"s3://%zz":       "known are s3://",
	} {
		if _, err := Open(t.Context(), address, Options{}); !errors.Is(err, ErrURL) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q in it", address, err, want)
		}
	}
	t.Setenv("AWS_REGION", "")
	for address, want := range map[string]string{
		"s3://b":                              "?region=NAME",
		"s3://b?region=x&shape=round":         "shape",
		"s3://b?region=x&s3ForcePathStyle=1x": "write true or false",
		"s3://b/../x?region=x":                "its prefix",
		"gs://b?anonymous=true&shape=round":   "known are anonymous, endpoint",
		"azblob://c":                          "storage_account=NAME",
	} {
		t.Setenv("AWS_DEFAULT_REGION", "")
		t.Setenv("AZURE_STORAGE_ACCOUNT", "")
		if _, err := Open(t.Context(), address, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q in it", address, err, want)
		}
	}
	for address, want := range map[string]bool{"s3://b": true, "gs://b/p": true, "azblob://c": true, "": false, "file:///x": false} {
		if Remote(address) != want {
			t.Errorf("%s: remote is %t", address, !want)
		}
	}
}
