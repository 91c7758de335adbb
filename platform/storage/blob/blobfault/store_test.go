package blobfault_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/blobfault"
	"github.com/weirstream/weir/platform/storage/blob/blobtest"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
)

func TestWithoutAPlanItIsAnOrdinaryStore(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Store {
		return blobfault.New(memblob.New(memblob.Options{}), blobfault.Plan{})
	})
}

func TestEachKindOfWriteFaultLeavesWhatItSays(t *testing.T) {
	for kind, want := range map[blobfault.Kind]struct {
		err  error
		left string
	}{
		blobfault.Fail: {blobfault.ErrInjected, ""},
		blobfault.Full: {blob.ErrFull, ""},
		blobfault.Torn: {blobfault.ErrInjected, "01234"},
		blobfault.Late: {context.DeadlineExceeded, "0123456789"},
	} {
		inner := memblob.New(memblob.Options{})
		s := blobfault.New(inner, blobfault.Plan{From: 2, Count: 1, Kind: kind})
		if _, err := s.Put(t.Context(), "first", strings.NewReader("x")); err != nil {
			t.Errorf("%s: the first write failed: %v", kind, err)
		}
		if _, err := s.Put(t.Context(), "second", strings.NewReader("0123456789")); !errors.Is(err, want.err) {
			t.Errorf("%s: %v", kind, err)
		}
		if got, _ := blob.ReadRange(t.Context(), inner, "second", 0, -1); string(got) != want.left {
			t.Errorf("%s left %q, want %q", kind, got, want.left)
		}
		if _, err := s.Put(t.Context(), "third", strings.NewReader("x")); err != nil {
			t.Errorf("%s: the third write failed: %v", kind, err)
		}
		if s.Operations() != 3 {
			t.Errorf("%s: %d operations", kind, s.Operations())
		}
	}
}

func TestReadsAreCutAndFlipped(t *testing.T) {
	s := blobfault.New(memblob.New(memblob.Options{}), blobfault.Plan{})
	if _, err := s.Put(t.Context(), "a", strings.NewReader("0123456789")); err != nil {
		t.Fatal(err)
	}
	s.Arm(blobfault.Plan{From: 1, Count: -1, Kind: blobfault.Flip})
	if b, err := blob.ReadRange(t.Context(), s, "a", 0, -1); err != nil || string(b) == "0123456789" {
		t.Errorf("flip: %q, %v", b, err)
	}
	s.Arm(blobfault.Plan{From: 1, Count: -1, Kind: blobfault.Cut})
	if _, err := blob.ReadRange(t.Context(), s, "a", 0, -1); !errors.Is(err, blobfault.ErrInjected) {
		t.Errorf("cut: %v", err)
	}
}
