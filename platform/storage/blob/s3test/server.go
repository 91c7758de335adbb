// Package s3test is a server that speaks S3, in this process, for tests, with a
// gate before it in which requests can be counted and go wrong. It must not know
// who asks.
package s3test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// Bucket is the one that exists.
const Bucket = "weir"

// Server is a running server.
type Server struct {
	http    *httptest.Server
	inner   http.Handler
	objects *s3mem.Backend

	mu       sync.Mutex
	requests []Request
	fault    func(Request) Fault
}

// Request is what came to the gate.
type Request struct {
	Number int // the first is 1
	Method string
	Key    string // empty for those of the bucket itself
	Query  url.Values
}

// Data says that a request wrote an object, or the last word on one in parts.
func (r Request) Data() bool {
	return r.Key != "" && (r.Method == http.MethodPut && !r.Query.Has("partNumber") || r.Method == http.MethodPost && r.Query.Has("uploadId"))
}

// Fault is what becomes of a request. A nil one lets it through.
type Fault func(w http.ResponseWriter, r *http.Request, serve http.Handler)

// New starts a server with an empty bucket; it ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{objects: s3mem.New()}
	if err := s.objects.CreateBucket(Bucket); err != nil {
		t.Fatal(err)
	}
	s.inner = gofakes3.New(s.objects, gofakes3.WithTimeSkewLimit(0)).Server()
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.http.Close)
	return s
}

// URL names a bucket of this server, as --blob takes it.
func (s *Server) URL(bucket, prefix string) string {
	return "s3://" + bucket + "/" + prefix + "?region=us-east-1&s3ForcePathStyle=true&endpoint=" + url.QueryEscape(s.http.URL)
}

// Inject sets what becomes of requests from now on.
func (s *Server) Inject(fault func(Request) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.requests = fault, nil
}

// Requests are those since New or Inject.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	s.mu.Lock()
	request := Request{Number: len(s.requests) + 1, Method: r.Method, Key: key, Query: r.URL.Query()}
	s.requests = append(s.requests, request)
	var fault Fault
	if s.fault != nil {
		fault = s.fault(request)
	}
	s.mu.Unlock()
	if fault != nil {
		fault(w, r, http.HandlerFunc(s.conditional))
		return
	}
	s.conditional(w, r)
}

// conditional adds what Amazon does and the server within does not: the end of
// an upload in parts heeds If-None-Match too.
func (s *Server) conditional(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") && r.Header.Get("If-None-Match") == "*" {
		bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if _, err := s.objects.HeadObject(bucket, key); err == nil {
			w.WriteHeader(http.StatusPreconditionFailed)
			_, _ = w.Write([]byte(`<Error><Code>PreconditionFailed</Code><Message>the object exists</Message></Error>`))
			return
		}
	}
	s.inner.ServeHTTP(w, r)
}

// Late does what is asked, and cuts the connection instead of answering.
func Late(_ http.ResponseWriter, r *http.Request, serve http.Handler) {
	serve.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// Away answers 503, as a store does that is overrun.
func Away(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(`<Error><Code>SlowDown</Code><Message>reduce your request rate</Message></Error>`))
}

// Cut sends the head and half of the body, then cuts the connection.
func Cut(w http.ResponseWriter, r *http.Request, serve http.Handler) {
	answer := httptest.NewRecorder()
	serve.ServeHTTP(answer, r)
	for k, v := range answer.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// Silent takes a request and never answers, until its caller gives up.
func Silent(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body) // before that, a server does not see a caller go
	<-r.Context().Done()
}
