// Package bloburl opens the store that a URL names. It must not know what a
// store is used for.
package bloburl

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/bucket"
	"github.com/weirstream/weir/platform/storage/blob/fileblob"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
)

// ErrURL is a URL that names no store.
var ErrURL = errors.New("not the URL of a blob store")

// Options of a store, whatever its kind.
type Options struct {
	Sync   fileblob.Sync // of a folder
	Limits bucket.Limits // of a bucket
}

// Known lists the schemes with an example each.
const Known = "s3://BUCKET/PREFIX?region=NAME, gs://BUCKET/PREFIX, azblob://CONTAINER/PREFIX?storage_account=NAME, file:///FOLDER, mem://"

// Open opens a store. It makes no request to a bucket: blob.Probe does.
func Open(ctx context.Context, address string, o Options) (blob.Store, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w; known are %s", ErrURL, err, Known)
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" || u.Path == "" || u.RawQuery != "" {
			return nil, fmt.Errorf("%w: %q: a folder is written file:///FOLDER, with three slashes and nothing behind it", ErrURL, address)
		}
		return fileblob.Open(u.Path, fileblob.Options{Sync: o.Sync})
	case "mem":
		return memblob.New(memblob.Options{}), nil
	}
	open, ok := buckets[u.Scheme]
	if !ok {
		return nil, fmt.Errorf("%w: scheme %q is not known; known are %s", ErrURL, u.Scheme, Known)
	}
	if u.Host == "" {
		return nil, fmt.Errorf("%w: %q names no bucket; write it like %s", ErrURL, address, Known)
	}
	return open(ctx, u, o.Limits)
}

var buckets = map[string]func(context.Context, *url.URL, bucket.Limits) (blob.Store, error){
	"s3":     opener(bucket.OpenS3),
	"gs":     opener(bucket.OpenGCS),
	"azblob": opener(bucket.OpenAzure),
}

func opener(open func(context.Context, *url.URL, bucket.Limits) (*bucket.Store, error)) func(context.Context, *url.URL, bucket.Limits) (blob.Store, error) {
	return func(ctx context.Context, u *url.URL, limits bucket.Limits) (blob.Store, error) {
		s, err := open(ctx, u, limits)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

// Remote says whether a write to the store is a request over the network that
// somebody counts, so that checkpoints are better taken less often.
func Remote(address string) bool {
	scheme, _, _ := strings.Cut(address, "://")
	_, ok := buckets[scheme]
	return ok
}
