package fileblob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/weirstream/weir/platform/storage/blob"
)

const (
	asideFolder = ".tmp"
	lockSuffix  = ".lock"
	gateFile    = "gate"
)

// takeAside makes this process's folder of objects under way, and removes
// those whose lock nobody holds any more. One process at a time does so:
// another that is between making its folder and locking it would look dead.
func takeAside(root string) (aside string, lock *os.File, err error) {
	parent := filepath.Join(root, asideFolder)
	gate, err := os.OpenFile(filepath.Join(parent, gateFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return "", nil, err
	}
	defer gate.Close()
	if err := syscall.Flock(int(gate.Fd()), syscall.LOCK_EX); err != nil {
		return "", nil, err
	}
	if err := clearAside(parent); err != nil {
		return "", nil, err
	}
	if aside, err = os.MkdirTemp(parent, "p"); err != nil {
		return "", nil, err
	}
	if lock, err = os.OpenFile(aside+lockSuffix, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return "", nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return "", nil, errors.Join(err, lock.Close())
	}
	return aside, lock, nil
}

func clearAside(parent string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		aside := filepath.Join(parent, e.Name())
		lock, err := os.OpenFile(aside+lockSuffix, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			err = errors.Join(os.RemoveAll(aside), os.Remove(lock.Name()))
		}
		if err = errors.Join(err, lock.Close()); err != nil {
			return err
		}
	}
	return nil
}

// makeFolder makes a folder and its parents; each new name is synced in its
// parent, for a file is only as durable as the path to it.
func (s *Store) makeFolder(folder string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.makeFolderLocked(folder)
}

func (s *Store) makeFolderLocked(folder string) error {
	if _, known := s.folders[folder]; known {
		return nil
	}
	if err := s.makeFolderLocked(filepath.Dir(folder)); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if s.sync {
		if err := syncFolder(filepath.Dir(folder)); err != nil {
			return err
		}
	}
	if len(s.folders) >= maxFolders {
		s.folders = map[string]struct{}{s.root: {}}
	}
	s.folders[folder] = struct{}{}
	return nil
}

func (s *Store) forget(folder string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; folder != s.root; folder = filepath.Dir(folder) {
		delete(s.folders, folder)
	}
}

// removeEmpty removes a folder and its parents as long as they are empty.
func (s *Store) removeEmpty(folder string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; folder != s.root; folder = filepath.Dir(folder) {
		if os.Remove(folder) != nil {
			return // not empty
		}
		delete(s.folders, folder)
	}
}

func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// List walks the folders that can hold names under the prefix.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		folder := ""
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			folder = prefix[:i+1]
			if err := blob.CheckName(prefix[:i]); err != nil {
				yield(blob.Info{}, err)
				return
			}
		}
		s.walk(ctx, folder, prefix, yield)
	}
}

func (s *Store) walk(ctx context.Context, folder, prefix string, yield func(blob.Info, error) bool) bool {
	entries, err := os.ReadDir(s.path(folder))
	if err == nil {
		err = ctx.Err()
	}
	if absent(err) {
		return true
	}
	if err != nil {
		return yield(blob.Info{}, describe("list objects under", prefix, s.root, err))
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name := folder + e.Name()
		if e.IsDir() {
			name += "/" // so that folders sort as the names within them do
		}
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.HasSuffix(name, "/") {
			if (strings.HasPrefix(name, prefix) || strings.HasPrefix(prefix, name)) && !s.walk(ctx, name, prefix, yield) {
				return false
			}
			continue
		}
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		info, err := os.Stat(s.path(name))
		if absent(err) {
			continue // deleted since
		}
		if err != nil {
			return yield(blob.Info{}, describe("list object", name, s.root, err))
		}
		if !yield(blob.Info{Name: name, SizeBytes: info.Size()}, nil) {
			return false
		}
	}
	return true
}

func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// describe turns what the operating system says into this contract's errors.
func describe(verb, name, root string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s %s: %w (%w): free space on the disk of %s, or raise its quota", verb, name, blob.ErrFull, err, root)
	case absent(err):
		return fmt.Errorf("%s %s: %w in %s", verb, name, blob.ErrNotFound, root)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s %s: %w in %s", verb, name, blob.ErrExists, root)
	}
	return fmt.Errorf("%s %s: %w", verb, name, err)
}
