package tlsfiles_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/auth/tlsfiles"
	"github.com/weirstream/weir/platform/auth/tlstest"
)

var soon = time.Now().Add(time.Hour).Truncate(time.Second)

// serve answers "hello" over TLS with what the files say, and gives the URL.
func serve(t *testing.T, k *tlsfiles.Keeper) string {
	t.Helper()
	config, err := k.ServerConfig()
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &http.Server{TLSConfig: config, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "hello by "+r.Proto)
	})}
	go func() { _ = s.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = s.Close() })
	return "https://" + l.Addr().String()
}

// call makes one call on a connection of its own.
func call(t *testing.T, url string, config *tls.Config) (string, error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	r, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return string(text), err
}

func open(t *testing.T, f tlsfiles.Files, log io.Writer) *tlsfiles.Keeper {
	t.Helper()
	k, err := tlsfiles.Open(f, slog.New(slog.NewTextHandler(log, nil)))
	must(t, err)
	return k
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestBothSidesKnowEachOtherByTheirFiles(t *testing.T) {
	ours := tlstest.NewAuthority(t, "ours")
	cert, key := ours.Pair(soon)
	url := serve(t, open(t, tlsfiles.Files{Cert: cert, Key: key, CA: ours.File}, io.Discard))
	client := open(t, tlsfiles.Files{Cert: cert, Key: key, CA: ours.File}, io.Discard)
	for range 2 {
		if text, err := call(t, url, client.ClientConfig()); err != nil || text != "hello by HTTP/2.0" {
			t.Fatalf("%q, %v", text, err)
		}
	}
}

func TestWhoeverIsNotTrustedIsToldWhy(t *testing.T) {
	ours, theirs := tlstest.NewAuthority(t, "ours"), tlstest.NewAuthority(t, "theirs")
	cert, key := ours.Pair(soon)
	oldCert, oldKey := ours.Pair(soon.Add(-2 * time.Hour))
	theirCert, theirKey := theirs.Pair(soon)
	plain := serve(t, open(t, tlsfiles.Files{Cert: cert, Key: key}, io.Discard))
	mutual := serve(t, open(t, tlsfiles.Files{Cert: cert, Key: key, CA: ours.File}, io.Discard))
	expired := serve(t, open(t, tlsfiles.Files{Cert: oldCert, Key: oldKey}, io.Discard))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	untrusted := http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = untrusted.Serve(l) }()
	t.Cleanup(func() { _ = untrusted.Close() })
	for _, c := range []struct {
		name, url string
		client    tlsfiles.Files
		want      string
	}{
		{"an expired server", expired, tlsfiles.Files{CA: ours.File}, "its certificate expired at " + soon.Add(-2*time.Hour).UTC().Format(time.RFC3339)},
		{"a server of another authority", plain, tlsfiles.Files{CA: theirs.File}, "signed by nobody that is trusted here"},
		{"a server that the system does not trust", plain, tlsfiles.Files{}, "signed by nobody that is trusted here"},
		{"a server under another name", strings.Replace(plain, "127.0.0.1", "localhost.localdomain", 1), tlsfiles.Files{CA: ours.File}, "its certificate is for localhost, 127.0.0.1"},
		{"no certificate of the client", mutual, tlsfiles.Files{CA: ours.File}, "it wants a certificate of the caller"},
		{"an expired client", mutual, tlsfiles.Files{CA: ours.File, Cert: oldCert, Key: oldKey}, "caller's certificate has expired"},
		{"a client of another authority", mutual, tlsfiles.Files{CA: ours.File, Cert: theirCert, Key: theirKey}, "does not trust who signed the caller's certificate"},
		{"a server without TLS", "https://" + l.Addr().String(), tlsfiles.Files{CA: ours.File}, "it speaks no TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := open(t, c.client, io.Discard)
			config := client.ClientConfig()
			if strings.Contains(c.url, "localdomain") {
				config.ServerName = "localhost.localdomain"
				c.url = plain
			}
			_, err := call(t, c.url, config)
			if err == nil {
				t.Fatal("it was answered")
			}
			address := strings.TrimPrefix(c.url, "https://")
			p := client.Why(t.Context(), address, err)
			if p == nil || !strings.Contains(p.Error(), c.want) || !strings.HasPrefix(p.Error(), address+": ") || p.Hint() == "" || errors.Unwrap(p) == nil {
				t.Errorf("%v explained as %v", err, p)
			}
		})
	}
	if p := tlsfiles.Explain("there", io.EOF); p != nil {
		t.Errorf("the end of a stream is no matter of TLS: %v", p)
	}
}

func TestNewFilesAreUsedAndBrokenOnesAreNot(t *testing.T) {
	ours, next := tlstest.NewAuthority(t, "ours"), tlstest.NewAuthority(t, "next")
	cert, key := ours.Pair(soon)
	var log bytes.Buffer
	k := open(t, tlsfiles.Files{Cert: cert, Key: key}, &log)
	url := serve(t, k)
	trusted := tlstest.NewAuthority(t, "bundle").File
	copyFile(t, ours.File, trusted)
	client := open(t, tlsfiles.Files{CA: trusted}, io.Discard)
	transport := &http.Transport{DialTLSContext: client.Dialer(new(net.Dialer), "h2", "http/1.1"), ForceAttemptHTTP2: true} // one for ever, as a worker has it
	get := func() (time.Time, error) {
		transport.CloseIdleConnections()
		r, err := (&http.Client{Transport: transport}).Get(url)
		if err != nil {
			return time.Time{}, err
		}
		if r.Proto != "HTTP/2.0" {
			t.Errorf("%s is spoken", r.Proto)
		}
		return r.TLS.PeerCertificates[0].NotAfter, r.Body.Close()
	}
	served := func() time.Time {
		t.Helper()
		until, err := get()
		must(t, err)
		return until
	}
	if got := served(); !got.Equal(soon) {
		t.Fatalf("until %s", got)
	}

	// A renewal that is half there: the certificate, and not yet its key.
	must(t, os.Rename(key, key+".old"))
	fresh, freshKey := ours.Pair(soon.Add(time.Hour))
	copyFile(t, fresh, cert)
	copyFile(t, key+".old", key)
	k.Refresh()
	k.Refresh()
	if got := served(); !got.Equal(soon) || k.State().Problem == nil || strings.Count(log.String(), "old ones stay") != 1 {
		t.Fatalf("a broken pair is served until %s, %v, and the log says\n%s", got, k.State().Problem, log.String())
	}
	must(t, os.Remove(key))
	k.Refresh()
	served()
	copyFile(t, freshKey, key)
	k.Refresh()
	if got := served(); !got.Equal(soon.Add(time.Hour)) || k.State().Problem != nil || !k.State().Expires.Equal(got) {
		t.Fatalf("until %s, %+v", got, k.State())
	}

	// Another authority: the client trusts it as soon as its file has it.
	next.Issue(cert, key, soon)
	k.Refresh()
	if _, err := get(); err == nil {
		t.Fatal("an authority is trusted that nobody named")
	}
	copyFile(t, next.File, trusted)
	client.Refresh()
	if got := served(); !got.Equal(soon) {
		t.Errorf("until %s", got)
	}
}

func TestFilesThatAreNoneAreNamed(t *testing.T) {
	ours := tlstest.NewAuthority(t, "ours")
	cert, key := ours.Pair(soon)
	_, otherKey := ours.Pair(soon)
	for want, f := range map[string]tlsfiles.Files{
		"go together":       {Cert: cert},
		"no such file":      {Cert: cert + ".none", Key: key},
		"does not match":    {Cert: cert, Key: otherKey},
		"no certificate in": {CA: key},
	} {
		if _, err := tlsfiles.Open(f, nil); !errors.Is(err, tlsfiles.ErrFiles) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", f, err, want)
		}
	}
	if _, err := open(t, tlsfiles.Files{CA: ours.File}, io.Discard).ServerConfig(); err == nil {
		t.Error("a server without a certificate")
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, text, 0o600))
}
