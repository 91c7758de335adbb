// Package bucket keeps objects in a bucket of S3 and what speaks like it, of
// Google Cloud Storage, or in a container of Azure. It is the only importer of
// the clouds' clients. It must not know what the bytes mean.
package bucket

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"iter"

	gocloud "gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/weirstream/weir/platform/storage/blob"
)

// How large objects travel: in parts, a few at a time, so a write of any size
// takes at most uploads+1 parts of memory.
const (
	partBytes = 8 << 20
	uploads   = 3
)

// writeKey is the metadata under which an object carries the random name of the
// Put that wrote it. A repeated request that finds the object there already
// tells its own success from a stranger's by it.
const writeKey = "weirwrite"

// Store is a blob.Store in a bucket.
//
// A bucket has no folders, and looking for them would cost two requests a
// write: unlike other stores it takes a name that is a folder of another.
type Store struct {
	bucket *gocloud.Bucket
	prefix string // of every key; empty or ending in a slash
	limits Limits
	cloud  cloud
}

// cloud is what differs between providers.
type cloud struct {
	where  string // for errors: the URL without its query
	access string // how to give credentials
	// remove deletes a key in one request; nil: as the library does.
	remove func(ctx context.Context, key string) error
}

var _ blob.Store = (*Store)(nil)

// Put writes an object on the condition that there is none. Up to partBytes*2 it
// is one request, beyond that one a part and two more.
func (s *Store) Put(ctx context.Context, name string, r io.Reader) (blob.Info, error) {
	if err := blob.CheckName(name); err != nil {
		return blob.Info{}, err
	}
	if err := ctx.Err(); err != nil {
		return blob.Info{}, fmt.Errorf("put object %s: %w", name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	token := newToken()
	source := &source{r: r, failed: cancel}
	err := s.bucket.Upload(ctx, s.prefix+name, source, &gocloud.WriterOptions{
		ContentType: "application/octet-stream", BufferSize: partBytes, MaxConcurrency: uploads,
		IfNotExist: true, Metadata: map[string]string{writeKey: token},
	})
	switch {
	case source.err != nil:
		return blob.Info{}, fmt.Errorf("put object %s: read its content: %w", name, source.err)
	case err != nil && conflicts(err) && s.wrote(ctx, name, token, source.size):
		// An earlier try of the same request came through, and its answer did not.
	case err != nil && conflicts(err):
		return blob.Info{}, fmt.Errorf("put object %s: %w in %s", name, blob.ErrExists, s.cloud.where)
	case err != nil:
		return blob.Info{}, s.describe("put object", name, err)
	}
	return blob.Info{Name: name, SizeBytes: source.size}, nil
}

// wrote says whether the object that stands under a name is this Put's.
func (s *Store) wrote(ctx context.Context, name, token string, size int64) bool {
	a, err := s.bucket.Attributes(ctx, s.prefix+name)
	return err == nil && a.Metadata[writeKey] == token && a.Size == size
}

func newToken() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails, see crypto/rand
	return hex.EncodeToString(random[:])
}

// source counts what is read and keeps its error, which clients wrap beyond
// recognition. A write whose source failed is given up, so that no client takes
// what came before for the whole.
type source struct {
	r      io.Reader
	failed context.CancelFunc
	size   int64
	err    error
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.size += int64(n)
	if err != nil && err != io.EOF { //nolint:errorlint // io.Reader's own
		s.err = err
		s.failed()
	}
	return n, err
}

// Get opens a range of an object. A connection that breaks is taken up where it
// broke, for objects never change.
func (s *Store) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := blob.CheckName(name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("get object %s: %w", name, err)
	}
	r := &reader{ctx: ctx, store: s, name: name, offset: offset, left: length, tries: s.limits.Attempts}
	if err := r.open(); err != nil {
		return nil, err
	}
	return r, nil
}

// Stat describes an object.
func (s *Store) Stat(ctx context.Context, name string) (blob.Info, error) {
	if err := blob.CheckName(name); err != nil {
		return blob.Info{}, err
	}
	a, err := s.bucket.Attributes(ctx, s.prefix+name)
	if err != nil {
		return blob.Info{}, s.describe("stat object", name, err)
	}
	return blob.Info{Name: name, SizeBytes: a.Size}, nil
}

// List yields names page by page. Keys that are no names are others' and not told.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		it := s.bucket.List(&gocloud.ListOptions{Prefix: s.prefix + prefix})
		for {
			o, err := it.Next(ctx)
			if err == io.EOF { //nolint:errorlint // the iterator's own end
				return
			}
			if err != nil {
				yield(blob.Info{}, s.describe("list objects under", prefix, err))
				return
			}
			name := o.Key[len(s.prefix):]
			if blob.CheckName(name) != nil {
				continue
			}
			if !yield(blob.Info{Name: name, SizeBytes: o.Size}, nil) {
				return
			}
		}
	}
}

// Delete removes an object.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := blob.CheckName(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete object %s: %w", name, err)
	}
	remove := s.cloud.remove
	if remove == nil {
		remove = s.bucket.Delete
	}
	err := remove(ctx, s.prefix+name)
	if err != nil && gcerrors.Code(err) == gcerrors.NotFound && !missingBucket(err) {
		return nil
	}
	if err != nil {
		return s.describe("delete object", name, err)
	}
	return nil
}

// Close gives up the connection.
func (s *Store) Close() error { return s.bucket.Close() }
