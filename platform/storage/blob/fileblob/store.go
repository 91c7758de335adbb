// Package fileblob keeps objects as files in a folder:
//
//	<dir>/<name>                 an object
//	<dir>/.tmp/<random>/<random> an object on its way, under its process's lock
//
// An object is written aside and linked into place, so it is whole or absent.
// What a dead process left under way is removed when the folder is next opened;
// a living one's is known by the lock that it holds. It must not know what the
// bytes mean.
package fileblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/storage/blob"
)

// Options of a folder store.
type Options struct {
	Sync Sync
}

// Sync says when an object has reached the disk.
type Sync uint8

// SyncNever leaves it to the operating system: objects survive the death of the
// process, not a power cut. SyncAlways waits for the disk in every Put.
const (
	SyncNever Sync = iota
	SyncAlways
)

// Store is a blob.Store in a folder.
type Store struct {
	root  string
	aside string // this process's folder of objects under way
	lock  *os.File
	sync  bool
	next  atomic.Uint64
	write func(name string, r io.Reader, sync bool) (int64, error) // writeFile, save in tests

	mu      sync.Mutex
	folders map[string]struct{} // exist, and are on the disk if sync
}

var _ blob.Store = (*Store)(nil)

// maxFolders bounds what is remembered of folders; forgetting costs a stat.
const maxFolders = 4096

// Open opens a folder, makes it if it is absent, and removes what dead
// processes left under way.
func Open(dir string, opts Options) (*Store, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open blob folder %s: %w", dir, err)
	}
	if err := os.MkdirAll(filepath.Join(root, asideFolder), 0o755); err != nil {
		return nil, describe("open blob folder", dir, root, err)
	}
	aside, lock, err := takeAside(root)
	if err != nil {
		return nil, describe("open blob folder", dir, root, err)
	}
	return &Store{
		root: root, aside: aside, lock: lock,
		sync:    opts.Sync == SyncAlways,
		write:   writeFile,
		folders: map[string]struct{}{root: {}},
	}, nil
}

// Put writes an object aside and links it into place. A link, unlike a rename,
// refuses to replace: names are never reused.
func (s *Store) Put(ctx context.Context, name string, r io.Reader) (blob.Info, error) {
	if err := blob.CheckName(name); err != nil {
		return blob.Info{}, err
	}
	if err := ctx.Err(); err != nil {
		return blob.Info{}, fmt.Errorf("put object %s: %w", name, err)
	}
	temp := filepath.Join(s.aside, strconv.FormatUint(s.next.Add(1), 36))
	defer func() { _ = os.Remove(temp) }() // gone already if all went well; else the next open takes it
	size, err := s.write(temp, &contextReader{ctx: ctx, r: r}, s.sync)
	if err != nil {
		return blob.Info{}, describe("put object", name, s.root, err)
	}
	if err := failpoint.Hit(failpoint.BlobAside); err != nil {
		return blob.Info{}, describe("put object", name, s.root, err)
	}
	if err := s.place(temp, s.path(name)); err != nil {
		return blob.Info{}, describe("put object", name, s.root, err)
	}
	return blob.Info{Name: name, SizeBytes: size}, nil
}

func writeFile(name string, r io.Reader, sync bool) (size int64, err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	size, err = io.Copy(f, r)
	if err == nil && sync {
		err = f.Sync()
	}
	return size, errors.Join(err, f.Close())
}

// place links a finished file to its name. A folder that Delete removed in
// between, because it was empty, is made again.
func (s *Store) place(temp, final string) error {
	const attempts = 100
	folder := filepath.Dir(final)
	for range attempts {
		if err := s.makeFolder(folder); err != nil {
			return err
		}
		err := os.Link(temp, final)
		if errors.Is(err, fs.ErrNotExist) {
			s.forget(folder)
			continue
		}
		if errors.Is(err, syscall.ENOTDIR) {
			return fmt.Errorf("a part of its path is an object: %w", fs.ErrExist)
		}
		if err == nil && s.sync {
			err = syncFolder(folder)
		}
		return err
	}
	return fmt.Errorf("folder %s was removed %d times while an object was put there", folder, attempts)
}

// Get opens a range of an object.
func (s *Store) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := blob.CheckName(name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("get object %s: %w", name, err)
	}
	f, err := os.Open(s.path(name))
	if err != nil {
		return nil, describe("get object", name, s.root, err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fs.ErrNotExist
	}
	if err == nil && offset > info.Size() {
		err = fmt.Errorf("offset %d is behind the end at %d", offset, info.Size())
	}
	if err != nil {
		return nil, errors.Join(describe("get object", name, s.root, err), f.Close())
	}
	if length < 0 {
		length = info.Size() - offset
	}
	return &rangeReader{Reader: contextReader{ctx: ctx, r: io.NewSectionReader(f, offset, length)}, f: f}, nil
}

// Stat describes an object.
func (s *Store) Stat(ctx context.Context, name string) (blob.Info, error) {
	if err := blob.CheckName(name); err != nil {
		return blob.Info{}, err
	}
	info, err := os.Stat(s.path(name))
	if err == nil && info.IsDir() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return blob.Info{}, describe("stat object", name, s.root, err)
	}
	return blob.Info{Name: name, SizeBytes: info.Size()}, ctx.Err()
}

// Delete removes an object and the folders that it leaves empty.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := blob.CheckName(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete object %s: %w", name, err)
	}
	path := s.path(name)
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		return nil
	}
	if err := os.Remove(path); err != nil {
		if absent(err) {
			return nil
		}
		return describe("delete object", name, s.root, err)
	}
	s.removeEmpty(filepath.Dir(path))
	return nil
}

// Close gives up the process's folder of objects under way.
func (s *Store) Close() error {
	return errors.Join(os.RemoveAll(s.aside), s.lock.Close(), os.RemoveAll(s.aside+lockSuffix))
}

func (s *Store) path(name string) string { return filepath.Join(s.root, filepath.FromSlash(name)) }

type contextReader struct {
	ctx context.Context //nolint:containedctx // a reader has no other way to hear of its end
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

type rangeReader struct {
	io.Reader
	f *os.File
}

func (r *rangeReader) Close() error { return r.f.Close() }
