package endpoint

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func open(t *testing.T, c Config) *Endpoint {
	t.Helper()
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func TestACallIsAPostWithTheHeadersThatServersExpect(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for name, want := range map[string]string{
			"Content-Type": "application/octet-stream", "Accept": "application/octet-stream", "User-Agent": "statefun", "Idempotency-Key": "k/1",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		if r.Method != http.MethodPost || r.URL.Path != "/fns/greeter" || string(body) != "request" {
			t.Errorf("%s %s %q", r.Method, r.URL.Path, body)
		}
		io.WriteString(w, "reply")
	})
	e := open(t, Config{URL: s.URL + "/fns/{function.name}"})
	if got, err := e.Call(t.Context(), "greeter", "k/1", []byte("request")); err != nil || string(got) != "reply" {
		t.Fatal(string(got), err)
	}
}

func TestFailuresThatMayPassAreTriedAgainAndOthersNot(t *testing.T) {
	for status, again := range map[int]bool{408: true, 409: true, 420: true, 429: true, 499: true, 500: true, 503: true, 400: false, 401: false, 404: false, 302: false} {
		var calls atomic.Int32
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if calls.Add(1) < 3 {
				http.Error(w, "not now", status)
			}
		})
		reply, err := open(t, Config{URL: s.URL}).Call(t.Context(), "f", "", nil)
		switch {
		case again && (err != nil || len(reply) != 0 || calls.Load() != 3): // an empty answer is one
			t.Errorf("%d: %v after %d calls", status, err, calls.Load())
		case !again && (!errors.Is(err, ErrFinal) || calls.Load() != 1):
			t.Errorf("%d: %v after %d calls", status, err, calls.Load())
		case !again && status != 302 && !strings.Contains(err.Error(), "not now"):
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestASilentASlowAndAHalfAnswerEachHaveTheirName(t *testing.T) {
	silent := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	slow := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Write([]byte("x"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	half := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.Write([]byte("half"))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	for want, s := range map[string]*httptest.Server{"no whole answer within": silent, "the answer breaks off after 1 bytes: no whole answer within": slow, "the answer breaks off after 4 bytes": half} {
		_, err := open(t, Config{URL: s.URL, CallTimeoutMs: 100, ReadMs: 30}).Call(t.Context(), "f", "", []byte("x"))
		if !errors.Is(err, ErrExhausted) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	nobody := open(t, Config{URL: "http://127.0.0.1:1/", CallTimeoutMs: 60})
	if _, err := nobody.Call(t.Context(), "f", "", nil); !errors.Is(err, ErrExhausted) || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := nobody.Call(ctx, "f", "", nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAUnixSocketIsAServer(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "f.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) })}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	e := open(t, Config{URL: "http+unix://" + socket + "/a/{function.name}"})
	if got, err := e.Call(t.Context(), "f", "", nil); err != nil || string(got) != "/a/f" {
		t.Error(string(got), err)
	}
	if got, err := open(t, Config{URL: "http+unix://" + socket}).Call(t.Context(), "f", "", nil); err != nil || string(got) != "/" {
		t.Error(string(got), err)
	}
}

func TestTLSWithAnOwnAuthorityAndHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	if _, err := open(t, Config{URL: s.URL, CallTimeoutMs: 50}).Call(t.Context(), "f", "", nil); err == nil {
		t.Error("an unknown authority is trusted")
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := open(t, Config{URL: s.URL, CAFile: ca}).Call(t.Context(), "f", "", nil); err != nil || string(got) != "HTTP/2.0" {
		t.Error(string(got), err)
	}
	plain := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Config.Protocols.SetHTTP1(true)
	plain.Start()
	t.Cleanup(plain.Close)
	for h2c, want := range map[bool]string{true: "HTTP/2.0", false: "HTTP/1.1"} {
		if got, err := open(t, Config{URL: plain.URL, H2C: h2c}).Call(t.Context(), "f", "", nil); err != nil || string(got) != want {
			t.Error(string(got), err)
		}
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	for _, c := range []Config{
		{URL: ""}, {URL: "ftp://x/"}, {URL: "http:///path"}, {URL: "http+unix://"}, {URL: "http://x/", CertFile: "a"}, {URL: "http://x/", CAFile: "/nowhere"}, {URL: "://"},
	} {
		if _, err := New(c); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestRetryAfterIsHeard(t *testing.T) {
	var calls atomic.Int32
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(429)
		}
	})
	start := time.Now()
	if _, err := open(t, Config{URL: s.URL}).Call(t.Context(), "f", "", nil); err != nil || time.Since(start) < time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}
