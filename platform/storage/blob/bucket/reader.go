package bucket

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	gocloud "gocloud.dev/blob"
)

// reader reads a range and opens the rest of it again when a connection breaks.
type reader struct {
	ctx    context.Context //nolint:containedctx // a reader has no other way to hear of its end
	store  *Store
	name   string
	offset int64 // of the next byte
	left   int64 // bytes still to come; -1 until the size is known
	tries  int
	body   *gocloud.Reader // nil if nothing is to come
}

// open opens what is left of the range.
func (r *reader) open() error {
	if r.left == 0 {
		return r.openEmpty()
	}
	body, err := r.store.bucket.NewRangeReader(r.ctx, r.store.prefix+r.name, r.offset, r.left, nil)
	if err != nil && status(err) == http.StatusRequestedRangeNotSatisfiable {
		return r.openEmpty()
	}
	if err != nil {
		return r.store.describe("get object", r.name, err)
	}
	// A provider that is asked for more than there is gives what there is.
	if there := body.Size() - r.offset; r.left < 0 || r.left > there {
		r.left = there
	}
	r.body = body
	return nil
}

// openEmpty opens a range without bytes, which clouds refuse though it may be right.
func (r *reader) openEmpty() error {
	info, err := r.store.Stat(r.ctx, r.name)
	if err != nil {
		return err
	}
	if r.offset > info.SizeBytes {
		return fmt.Errorf("get object %s: offset %d is behind the end at %d", r.name, r.offset, info.SizeBytes)
	}
	r.left = 0
	return nil
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.body.Read(p)
	r.offset, r.left = r.offset+int64(n), r.left-int64(n)
	if err == nil || r.left == 0 {
		return n, nil
	}
	if err == io.EOF { //nolint:errorlint // io.Reader's own
		err = io.ErrUnexpectedEOF
	}
	if err := r.again(err); err != nil {
		return n, err
	}
	return n, nil
}

// again takes up a read that broke, unless it did so too often.
func (r *reader) again(cause error) error {
	_ = r.body.Close() // it is broken
	r.body = nil
	for wait := r.store.limits.Backoff; r.tries > 1 && r.ctx.Err() == nil; wait = min(2*wait, maxBackoff) {
		r.tries--
		select {
		case <-time.After(wait):
		case <-r.ctx.Done():
			continue
		}
		if cause = r.open(); cause == nil {
			return nil
		}
	}
	r.left = 0
	if err := r.ctx.Err(); err != nil {
		return fmt.Errorf("read object %s: %w", r.name, err)
	}
	return fmt.Errorf("read object %s at %d: gave up after %d tries: %w", r.name, r.offset, r.store.limits.Attempts, cause)
}

// Close implements io.Closer.
func (r *reader) Close() error {
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}

var _ io.ReadCloser = (*reader)(nil)
