package fileblob

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/blobtest"
)

func open(t *testing.T, dir string, opts Options) *Store {
	t.Helper()
	s, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFolderStore(t *testing.T) {
	for name, sync := range map[string]Sync{"not synced": SyncNever, "synced": SyncAlways} {
		t.Run(name, func(t *testing.T) {
			blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, t.TempDir(), Options{Sync: sync}) })
		})
	}
}

func TestWhatADeadProcessLeftIsRemovedAndWhatALivingOneWritesIsNot(t *testing.T) {
	dir := t.TempDir()
	dead := open(t, dir, Options{})
	if err := os.WriteFile(filepath.Join(dead.aside, "half"), []byte("half of an obj"), 0o644); err != nil {
		t.Fatal(err)
	}
	living := open(t, dir, Options{})
	defer living.Close()
	if _, err := os.Stat(filepath.Join(dead.aside, "half")); err != nil {
		t.Fatalf("a process that holds its lock lost its file: %v", err)
	}
	dead.lock.Close() // as the kernel does when a process dies
	third := open(t, dir, Options{})
	defer third.Close()
	if _, err := os.Stat(dead.aside); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the dead process's folder is still there: %v", err)
	}
	if _, err := living.Put(t.Context(), "a/b", strings.NewReader("x")); err != nil {
		t.Fatalf("the living process cannot write: %v", err)
	}
}

func TestClosingLeavesNothingButObjects(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	if _, err := s.Put(t.Context(), "a/b", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "a/b"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != asideFolder {
		t.Fatalf("left in the folder: %v, %v", entries, err)
	}
}

func TestAFullDiskIsSaidWithTheWayOutAndLeavesNothing(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	defer s.Close()
	for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		s.write = func(name string, r io.Reader, sync bool) (int64, error) {
			if _, err := writeFile(name, io.LimitReader(r, 3), sync); err != nil {
				return 0, err
			}
			return 3, &os.PathError{Op: "write", Path: name, Err: cause}
		}
		_, err := s.Put(t.Context(), "a/b", strings.NewReader("123456"))
		if !errors.Is(err, blob.ErrFull) || !strings.Contains(err.Error(), "free space on the disk of "+s.root) {
			t.Errorf("%v gave: %v", cause, err)
		}
	}
	s.write = writeFile
	if left, _ := os.ReadDir(s.aside); len(left) != 0 {
		t.Errorf("left aside: %v", left)
	}
	if _, err := s.Put(t.Context(), "a/b", strings.NewReader("123456")); err != nil {
		t.Errorf("after space was freed: %v", err)
	}
}
