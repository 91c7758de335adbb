package endpoint

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
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
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
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
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{}, "the scheme is"}, {Config{URL: "ftp://x/"}, "the scheme is"}, {Config{URL: "http:///path"}, "no host"}, {Config{URL: "://"}, "missing protocol scheme"},
		{Config{URL: "http+unix://"}, "no path of a socket"}, {Config{URL: "http+unix://f.sock/p"}, "write http+unix:///"},
		{Config{URL: "http+unix:///run/{function.name}.sock"}, "cannot stand in the path of a socket"},
		{Config{URL: "http://x/{function.type}"}, "the only placeholder is {function.name}"}, {Config{URL: "http://u:p@x/"}, "a password"},
		{Config{URL: "https://x/", CertFile: "a"}, "stand together"}, {Config{URL: "https://x/", CAFile: "/nowhere"}, "no such file"},
		{Config{URL: "http://x/", ServerName: "y"}, "without TLS"}, {Config{URL: "http://x/", Insecure: true}, "without TLS"},
		{Config{URL: "https://x/", Insecure: true, ServerName: "y"}, "nobody is checked"},
	} {
		if _, err := New(c.config); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.config, err, c.want)
		}
		if err := c.config.Check(); c.config.CAFile == "" && !errors.Is(err, ErrConfig) { // files are not for Check
			t.Errorf("check %+v: %v", c.config, err)
		}
	}
}

func TestANameMeansNothingInAURL(t *testing.T) {
	for _, c := range []struct{ url, name, want string }{
		{"http://h/{function.name}", "greeter", "http://h/greeter"},
		{"http://{function.name}.svc:8080/f", "a.b", "http://a.b.svc:8080/f"},
		{"http://h/f?n={function.name}&x=1", "a b&c", "http://h/f?n=a%20b%26c&x=1"},
		{"http://h/function.name/{function.name}", "x/../y", "http://h/function.name/x%2F..%2Fy"},
		{"http://{function.name}.svc/", "me@elsewhere/", "http://me%40elsewhere%2F.svc/"}, // no host, which is refused later
		{"https+unix:///run/f.sock/a/{function.name}?q=1", "g", "https://localhost/a/g?q=1"},
		{"http+unix:///run/f%20g.sock", "g", "http://localhost"},
	} {
		u, err := parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.target(c.name); got != c.want {
			t.Errorf("%s for %q: %s, want %s", c.url, c.name, got, c.want)
		}
	}
	if u, err := parse("http+unix:///run/f%20g.sock/x"); err != nil || u.socket != "/run/f g.sock" {
		t.Errorf("%+v, %v", u, err)
	}
	_, err := open(t, Config{URL: "http://{function.name}.svc/"}).Call(t.Context(), "me@elsewhere", "", nil)
	if !errors.Is(err, ErrFinal) {
		t.Error(err)
	}
}

func TestAClientThatMustShowACertificateDoes(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	cert, key := certificate(t, "weir")
	if _, err := open(t, Config{URL: s.URL, Insecure: true, CallTimeoutMs: 50}).Call(t.Context(), "f", "", nil); !errors.Is(err, ErrExhausted) {
		t.Errorf("without a certificate: %v", err)
	}
	got, err := open(t, Config{URL: s.URL, Insecure: true, CertFile: cert, KeyFile: key}).Call(t.Context(), "f", "", nil)
	if err != nil || string(got) != "weir" {
		t.Errorf("%q, %v", got, err)
	}
}

// certificate makes one that signs itself, in two files.
func certificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
