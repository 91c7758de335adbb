package memblob_test

import (
	"errors"
	"testing"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/blobtest"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
)

func TestMemoryStore(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Store { return memblob.New(memblob.Options{}) })
}

func TestTheLimitOfBytesRefusesAndDeletingMakesRoom(t *testing.T) {
	s := memblob.New(memblob.Options{MaxBytes: 10})
	for name, want := range map[string]error{"a": nil} {
		if _, err := blob.PutBytes(t.Context(), s, name, make([]byte, 6)); !errors.Is(err, want) {
			t.Fatal(err)
		}
	}
	if _, err := blob.PutBytes(t.Context(), s, "b", make([]byte, 6)); !errors.Is(err, blob.ErrFull) {
		t.Fatalf("over the limit: %v", err)
	}
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := blob.PutBytes(t.Context(), s, "b", make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
}
