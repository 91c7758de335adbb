package snapshot

import (
	"testing"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
)

// Readers know a manifest's digest alone, so the whole one must come to stand
// where a half one was left.
func TestAManifestOfWhichHalfWasWrittenIsFoundByItsDigest(t *testing.T) {
	store := memblob.New(memblob.Options{})
	m := &Manifest{Meta: Meta{Pipeline: "p", Checkpoint: 7, Attempt: 2, Revision: 1, Kind: Checkpoint}}
	b, digest := m.Encode()
	if _, err := blob.PutBytes(t.Context(), store, m.Name(digest), b[:len(b)/2]); err != nil {
		t.Fatal(err)
	}
	name, written, err := WriteManifest(t.Context(), store, m)
	if err != nil || written != digest || name != m.Name(digest) {
		t.Fatalf("written as %s with digest %s, %v", name, written, err)
	}
	got, err := ReadManifest(t.Context(), store, m.Name(digest), digest)
	if err != nil || got.Meta != m.Meta {
		t.Errorf("read back: %+v, %v", got, err)
	}
}
