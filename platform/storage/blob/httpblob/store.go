package httpblob

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/weirstream/weir/platform/storage/blob"
)

// Limits of what a server may answer.
const (
	maxErrorBytes = 4 << 10
	maxLineBytes  = blob.MaxNameBytes + 32
)

// Store is a blob.Store that a server has. It repeats nothing by itself.
type Store struct {
	base   string // without a slash at its end
	client *http.Client
}

var _ blob.Store = (*Store)(nil)

// Open gives the store whose handler is mounted at a URL. The client's own
// transport says how long to wait and shows who asks.
func Open(baseURL string, client *http.Client) blob.Store {
	return &Store{base: strings.TrimSuffix(baseURL, "/"), client: client}
}

// Put streams an object; it stands there when the server has said so.
func (s *Store) Put(ctx context.Context, name string, r io.Reader) (blob.Info, error) {
	source := &source{r: r}
	resp, err := s.do(ctx, http.MethodPut, name, nil, io.NopCloser(source))
	if source.err != nil {
		err = source.err
	}
	if err != nil {
		return blob.Info{}, fmt.Errorf("put object %s: %w", name, err)
	}
	defer resp.Body.Close()
	size, err := strconv.ParseInt(resp.Header.Get(sizeHeader), 10, 64)
	if err != nil || size != source.size {
		return blob.Info{}, fmt.Errorf("put object %s: %d bytes were sent, and the server has %q of them", name, source.size, resp.Header.Get(sizeHeader))
	}
	return blob.Info{Name: name, SizeBytes: size}, nil
}

// source counts what is sent and keeps its error, which the client wraps.
type source struct {
	r    io.Reader
	size int64
	err  error
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.size += int64(n)
	if err != nil && err != io.EOF { //nolint:errorlint // io.Reader's own
		s.err = err
	}
	return n, err
}

// Get opens a range.
func (s *Store) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	q := url.Values{"offset": {strconv.FormatInt(offset, 10)}}
	if length >= 0 {
		q.Set("length", strconv.FormatInt(length, 10))
	}
	resp, err := s.do(ctx, http.MethodGet, name, q, nil)
	if err != nil {
		return nil, fmt.Errorf("get object %s: %w", name, err)
	}
	return resp.Body, nil
}

// Stat describes an object.
func (s *Store) Stat(ctx context.Context, name string) (blob.Info, error) {
	resp, err := s.do(ctx, http.MethodHead, name, nil, nil)
	if err != nil {
		return blob.Info{}, fmt.Errorf("stat object %s: %w", name, err)
	}
	defer resp.Body.Close()
	size, err := strconv.ParseInt(resp.Header.Get(sizeHeader), 10, 64)
	if err != nil || size < 0 {
		return blob.Info{}, fmt.Errorf("stat object %s: the server answers with size %q; is its version this one?", name, resp.Header.Get(sizeHeader))
	}
	return blob.Info{Name: name, SizeBytes: size}, nil
}

// Delete removes an object.
func (s *Store) Delete(ctx context.Context, name string) error {
	resp, err := s.do(ctx, http.MethodDelete, name, nil, nil)
	if err != nil {
		return fmt.Errorf("delete object %s: %w", name, err)
	}
	return resp.Body.Close()
}

// List yields names as they come in.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		resp, err := s.do(ctx, http.MethodGet, "", url.Values{"prefix": {prefix}}, nil)
		if err != nil {
			yield(blob.Info{}, fmt.Errorf("list objects under %s: %w", prefix, err))
			return
		}
		defer resp.Body.Close()
		for info, err := range readList(resp.Body) {
			if err != nil {
				err = fmt.Errorf("list objects under %s: %w", prefix, err)
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// readList reads a listing; one without its end is cut.
func readList(r io.Reader) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, maxLineBytes)
		for lines.Scan() {
			if lines.Text() == listEnd {
				return
			}
			size, name, _ := strings.Cut(lines.Text(), " ")
			n, err := strconv.ParseInt(size, 10, 64)
			if err != nil || n < 0 || blob.CheckName(name) != nil {
				yield(blob.Info{}, fmt.Errorf("the server's line %.80q is none of a listing", lines.Text()))
				return
			}
			if !yield(blob.Info{Name: name, SizeBytes: n}, nil) {
				return
			}
		}
		err := lines.Err()
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		yield(blob.Info{}, err)
	}
}

// Close does nothing: the client is its owner's.
func (s *Store) Close() error { return nil }

// do makes a request and turns an answer that is no success into its error.
func (s *Store) do(ctx context.Context, method, name string, q url.Values, body io.ReadCloser) (*http.Response, error) {
	if name != "" || !q.Has("prefix") {
		if err := blob.CheckName(name); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, s.base+"/"+name+"?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Body, r.ContentLength = body, -1
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes)) // what there is of it
	for _, f := range faults {
		if resp.Header.Get(errorHeader) == f.word {
			return nil, fmt.Errorf("%w: the server says: %s", f.err, strings.TrimSpace(string(text)))
		}
	}
	return nil, fmt.Errorf("the server answers %s: %s", resp.Status, strings.TrimSpace(string(text)))
}
