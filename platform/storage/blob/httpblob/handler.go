// Package httpblob carries a store over HTTP: a handler for whoever has one, and
// a store for whoever asks. So a worker on another machine reaches a server's
// folder. It must not know who may ask: that is decided before the handler.
//
//	PUT    /NAME                      the object is the body
//	GET    /NAME?offset=N&length=N    a range; without a length to the end
//	HEAD   /NAME                      the size, in Weir-Blob-Size
//	DELETE /NAME
//	GET    /?prefix=P                 a line SIZE NAME for each object, then a line with a dot
//
// An error says in Weir-Blob-Error which of the contract's it is.
package httpblob

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/weirstream/weir/platform/storage/blob"
)

const (
	errorHeader = "Weir-Blob-Error"
	sizeHeader  = "Weir-Blob-Size"
	listEnd     = "."
)

// MaxObjectBytes limits what a caller may put under one name.
const MaxObjectBytes = 64 << 30

// errOffset is an offset behind an object's end.
var errOffset = errors.New("offset is behind the object's end")

// errRequest is a request that is none of these.
var errRequest = errors.New("not a request for objects")

// faults are the errors that have a word of their own on the wire.
var faults = []struct {
	err    error
	word   string
	status int
}{
	{blob.ErrNotFound, "not_found", http.StatusNotFound},
	{blob.ErrExists, "exists", http.StatusConflict},
	{blob.ErrFull, "full", http.StatusInsufficientStorage},
	{blob.ErrName, "name", http.StatusBadRequest},
	{errOffset, "offset", http.StatusRequestedRangeNotSatisfiable},
	{errRequest, "request", http.StatusBadRequest},
}

// Handler serves a store. Mount it with http.StripPrefix.
func Handler(store blob.Store) http.Handler {
	h := &handler{store}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h.serve(w, r); err != nil {
			answer(w, err)
		}
	})
}

type handler struct{ store blob.Store }

func (h *handler) serve(w http.ResponseWriter, r *http.Request) error {
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" && r.Method == http.MethodGet {
		return h.list(w, r)
	}
	if err := blob.CheckName(name); err != nil {
		return err
	}
	switch r.Method {
	case http.MethodPut:
		info, err := h.store.Put(r.Context(), name, http.MaxBytesReader(w, r.Body, MaxObjectBytes))
		if err != nil {
			return err
		}
		w.Header().Set(sizeHeader, strconv.FormatInt(info.SizeBytes, 10))
		w.WriteHeader(http.StatusCreated)
		return nil
	case http.MethodGet:
		return h.get(w, r, name)
	case http.MethodHead:
		info, err := h.store.Stat(r.Context(), name)
		if err == nil {
			w.Header().Set(sizeHeader, strconv.FormatInt(info.SizeBytes, 10))
		}
		return err
	case http.MethodDelete:
		return h.store.Delete(r.Context(), name)
	}
	return fmt.Errorf("%w: method %s", errRequest, r.Method)
}

// get says the length before the bytes, so that a caller sees when they are cut.
func (h *handler) get(w http.ResponseWriter, r *http.Request, name string) error {
	offset, err := number(r, "offset", 0)
	if err != nil {
		return err
	}
	length, err := number(r, "length", -1)
	if err != nil {
		return err
	}
	info, err := h.store.Stat(r.Context(), name)
	if err != nil {
		return err
	}
	if offset > info.SizeBytes {
		return fmt.Errorf("get object %s: %w: %d of %d", name, errOffset, offset, info.SizeBytes)
	}
	if left := info.SizeBytes - offset; length < 0 || length > left {
		length = left
	}
	body, err := h.store.Get(r.Context(), name, offset, length)
	if err != nil {
		return err
	}
	defer body.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
	if _, err := io.CopyN(w, body, length); err != nil {
		panic(http.ErrAbortHandler) // the head is out: the only word left is a cut connection
	}
	return nil
}

func (h *handler) list(w http.ResponseWriter, r *http.Request) error {
	prefix := r.URL.Query().Get("prefix")
	if len(prefix) > blob.MaxNameBytes {
		return fmt.Errorf("%w: a prefix of %d bytes, the limit is %d", blob.ErrName, len(prefix), blob.MaxNameBytes)
	}
	out := bufio.NewWriter(w)
	begun := false
	for info, err := range h.store.List(r.Context(), prefix) {
		if err != nil && !begun {
			return err
		}
		begun = true
		if err == nil {
			_, err = fmt.Fprintf(out, "%d %s\n", info.SizeBytes, info.Name)
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	fmt.Fprintln(out, listEnd)
	if out.Flush() != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// number reads a parameter that is not negative.
func number(r *http.Request, name string, absent int64) (int64, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return absent, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%w: %s=%q is no number of bytes", errRequest, name, v)
	}
	return n, nil
}

func answer(w http.ResponseWriter, err error) {
	for _, f := range faults {
		if errors.Is(err, f.err) {
			w.Header().Set(errorHeader, f.word)
			http.Error(w, err.Error(), f.status)
			return
		}
	}
	http.Error(w, err.Error(), http.StatusInternalServerError)
}
