// Package blobtest is the suite that every blob.Store must pass. It must not
// know how a store keeps its objects.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/weirstream/weir/platform/storage/blob"
)

// Run runs the suite; open gives an empty store each time.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	RunFlat(t, open)
	t.Run("no name is a folder of another", func(t *testing.T) { foldersRefused(t, open(t)) })
}

// RunFlat is Run for a store without folders, such as a bucket, that takes a name
// below or above another: there is nothing by which it could tell for free.
func RunFlat(t *testing.T, open func(t *testing.T) blob.Store) {
	for name, test := range map[string]func(*testing.T, blob.Store){
		"an object is read back whole and in ranges":             readBack,
		"a name is given once":                                   givenOnce,
		"many writers of one name have one winner":               oneWinner,
		"an object whose source fails does not appear":           sourceFails,
		"an absent object is not found and deleting it is fine":  absentObject,
		"a listing is in order of names and bounded by prefix":   listing,
		"a listing ends when its caller has enough":              listingEnds,
		"names that mean different things elsewhere are refused": refusedNames,
		"a cancelled context stops every operation":              cancelled,
		"deleting beside putting loses no object":                deletingBesidePutting,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			test(t, s)
		})
	}
}

func put(t *testing.T, s blob.Store, name, content string) {
	t.Helper()
	info, err := s.Put(t.Context(), name, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if info != (blob.Info{Name: name, SizeBytes: int64(len(content))}) {
		t.Fatalf("put %s gave %+v", name, info)
	}
}

func names(t *testing.T, s blob.Store, prefix string) []string {
	t.Helper()
	var out []string
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, info.Name)
	}
	return out
}

func readBack(t *testing.T, s blob.Store) {
	put(t, s, "a/b", "0123456789")
	put(t, s, "empty", "")
	for _, c := range []struct {
		name           string
		offset, length int64
		want           string
	}{
		{"a/b", 0, -1, "0123456789"}, {"a/b", 3, 4, "3456"}, {"a/b", 3, -1, "3456789"},
		{"a/b", 8, 100, "89"}, {"a/b", 10, -1, ""}, {"empty", 0, -1, ""},
	} {
		r, err := s.Get(t.Context(), c.name, c.offset, c.length)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != c.want {
			t.Errorf("get %s at %d, %d bytes: %q, %v; want %q", c.name, c.offset, c.length, got, err, c.want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Get(t.Context(), "a/b", 11, -1); err == nil {
		t.Error("an offset behind the end was accepted")
	}
	if info, err := s.Stat(t.Context(), "a/b"); err != nil || info.SizeBytes != 10 || info.Name != "a/b" {
		t.Errorf("stat: %+v, %v", info, err)
	}
}

func givenOnce(t *testing.T, s blob.Store) {
	put(t, s, "a/b", "first")
	if _, err := s.Put(t.Context(), "a/b", strings.NewReader("second")); !errors.Is(err, blob.ErrExists) {
		t.Errorf("second put: %v", err)
	}
	got, err := blob.ReadRange(t.Context(), s, "a/b", 0, -1)
	if err != nil || string(got) != "first" {
		t.Errorf("after a refused put: %q, %v", got, err)
	}
}

func foldersRefused(t *testing.T, s blob.Store) {
	defer s.Close()
	put(t, s, "a/b", "first")
	for _, name := range []string{"a/b/c", "a"} {
		if _, err := s.Put(t.Context(), name, strings.NewReader("second")); !errors.Is(err, blob.ErrExists) {
			t.Errorf("put %s although a/b exists: %v", name, err)
		}
	}
}

func oneWinner(t *testing.T, s blob.Store) {
	const writers = 8
	var won sync.Map
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			content := strings.Repeat(string(rune('a'+i)), 100_000)
			_, err := s.Put(t.Context(), "x/one", strings.NewReader(content))
			if err == nil {
				won.Store(i, content)
			} else if !errors.Is(err, blob.ErrExists) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	count := 0
	won.Range(func(_, content any) bool {
		count++
		got, err := blob.ReadRange(t.Context(), s, "x/one", 0, -1)
		if err != nil || string(got) != content {
			t.Errorf("the object is not the winner's: %d bytes, %v", len(got), err)
		}
		return true
	})
	if count != 1 {
		t.Errorf("%d writers won", count)
	}
}

func sourceFails(t *testing.T, s blob.Store) {
	cause := errors.New("source is gone")
	r := io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), iotest.ErrReader(cause))
	if _, err := s.Put(t.Context(), "torn", r); !errors.Is(err, cause) {
		t.Errorf("put: %v", err)
	}
	if _, err := s.Stat(t.Context(), "torn"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("stat: %v", err)
	}
	if got := names(t, s, ""); len(got) != 0 {
		t.Errorf("listed %v", got)
	}
	put(t, s, "torn", "the name is still free")
}

func absentObject(t *testing.T, s blob.Store) {
	put(t, s, "folder/object", "x")
	for _, name := range []string{"nothing", "folder", "folder/object/below"} {
		if _, err := s.Get(t.Context(), name, 0, -1); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("get %s: %v", name, err)
		}
		if _, err := s.Stat(t.Context(), name); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("stat %s: %v", name, err)
		}
		if err := s.Delete(t.Context(), name); err != nil {
			t.Errorf("delete %s: %v", name, err)
		}
	}
	if got := names(t, s, ""); !slices.Equal(got, []string{"folder/object"}) {
		t.Errorf("left: %v", got)
	}
	if err := s.Delete(t.Context(), "folder/object"); err != nil {
		t.Error(err)
	}
	put(t, s, "folder", "a folder that holds nothing is no name")
}

func listing(t *testing.T, s blob.Store) {
	all := []string{"a-b/x", "a.b", "a/b/c", "a/b/d", "a/b-c", "ab", "b/1", "b/10", "b/2"}
	slices.Sort(all)
	for i := range all {
		put(t, s, all[(i*4+3)%len(all)], "x")
	}
	for _, prefix := range []string{"", "a", "a/", "a/b", "a/b/", "b/1", "c", "a/b/c", "a/b/c/"} {
		var want []string
		for _, name := range all {
			if strings.HasPrefix(name, prefix) {
				want = append(want, name)
			}
		}
		if got := names(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("prefix %q: %v, want %v", prefix, got, want)
		}
	}
}

func listingEnds(t *testing.T, s blob.Store) {
	put(t, s, "a/1", "x")
	put(t, s, "a/2", "x")
	put(t, s, "b/1", "x")
	count := 0
	for range s.List(t.Context(), "") {
		count++
		break
	}
	if count != 1 {
		t.Errorf("%d after the end", count)
	}
}

func refusedNames(t *testing.T, s blob.Store) {
	for _, name := range []string{"", "/a", "a/", "a//b", ".", "..", "a/../b", ".tmp/x", "a b", "ä", "a\\b", "a\x00b", strings.Repeat("n", blob.MaxNameBytes+1)} {
		if _, err := s.Put(t.Context(), name, strings.NewReader("x")); !errors.Is(err, blob.ErrName) {
			t.Errorf("put %q: %v", name, err)
		}
		if _, err := s.Get(t.Context(), name, 0, -1); !errors.Is(err, blob.ErrName) {
			t.Errorf("get %q: %v", name, err)
		}
		if err := s.Delete(t.Context(), name); !errors.Is(err, blob.ErrName) {
			t.Errorf("delete %q: %v", name, err)
		}
	}
}

func cancelled(t *testing.T, s blob.Store) {
	put(t, s, "a", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, "b", strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	if _, err := blob.ReadRange(ctx, s, "a", 0, -1); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v", err)
	}
	if err := s.Delete(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("delete: %v", err)
	}
	for _, err := range s.List(ctx, "") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("list: %v", err)
		}
	}
	if got := names(t, s, ""); !slices.Equal(got, []string{"a"}) {
		t.Errorf("left: %v", got)
	}
}

func deletingBesidePutting(t *testing.T, s blob.Store) {
	const rounds = 200
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range rounds {
			put(t, s, fmt.Sprintf("f/g/keep-%03d", i), "x")
		}
	})
	wg.Go(func() {
		for i := range rounds {
			name := fmt.Sprintf("f/g/h/drop-%03d", i)
			put(t, s, name, "x")
			if err := s.Delete(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if got := names(t, s, "f/g/"); len(got) != rounds {
		t.Errorf("%d objects are left, want %d", len(got), rounds)
	}
}
