package remote

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/auth/tlstest"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
)

var blobs = schema.MustParse("n:int64,b:binary")

// heavy makes a batch of rows of so many bytes each.
func heavy(rows, bytes int) element.Element {
	b := batch.NewBuilder(blobs)
	for i := range rows {
		b.Column(0).AppendInt64(int64(i))
		b.Column(1).AppendBytes(make([]byte, bytes))
		b.EndRow(0)
	}
	return element.Element{Kind: element.KindBatch, Batch: b.Finish("", 0)}
}

func TestALargeBatchTravelsInPiecesAndTheBytesOnTheWayAreBounded(t *testing.T) {
	balanced(t)
	r := newRig(t, nil, nil)
	in := local.NewInbox(1)
	defer r.open(job, inlets(in, 1, blobs))()
	l := r.dial(job)
	defer l.Close()
	o := l.Channel(at(0), blobs)
	const rows, size = 100, 200_000 // 20 MB
	sent := make(chan error, 1)
	go func() {
		err := o.Send(r.context(), heavy(rows, size))
		if err == nil {
			err = o.Send(r.context(), element.Element{Kind: element.KindEndOfInput})
		}
		sent <- err
	}()
	want := int64(0)
	var kept []local.Message // as many as may wait
	keptBytes := 0
	for {
		m := next(t, in)
		if m.Element.Kind == element.KindEndOfInput {
			in.Done(m)
			break
		}
		if m.Bytes > MaxPieceBytes {
			t.Errorf("a piece has %d bytes", m.Bytes)
		}
		for i, n := range m.Element.Batch.Columns[0].Int64s() {
			if n != want+int64(i) {
				t.Fatalf("row %d, want %d", n, want+int64(i))
			}
		}
		want += int64(m.Element.Batch.Len())
		kept, keptBytes = append(kept, m), keptBytes+m.Bytes
		if keptBytes > WindowBytes {
			t.Fatalf("%d bytes are here at once", keptBytes)
		}
		if keptBytes > WindowBytes-MaxPieceBytes { // no further one may come
			for _, m := range kept {
				m.Element.Batch.Release()
				in.Done(m)
			}
			kept, keptBytes = nil, 0
		}
	}
	for _, m := range kept {
		m.Element.Batch.Release()
		in.Done(m)
	}
	if err := <-sent; err != nil || want != rows {
		t.Errorf("%d rows of %d, %v", want, rows, err)
	}
}

func TestARowLargerThanTheWindowTravelsAlone(t *testing.T) {
	balanced(t)
	r := newRig(t, nil, nil)
	in := local.NewInbox(1)
	defer r.open(job, inlets(in, 1, blobs))()
	l := r.dial(job)
	defer l.Close()
	o := l.Channel(at(0), blobs)
	go func() {
		for range 2 {
			if err := o.Send(r.context(), heavy(1, 2*WindowBytes)); err != nil {
				t.Error(err)
			}
		}
	}()
	for range 2 {
		m := next(t, in)
		if len(in.C) > 0 {
			t.Error("another came before it was handled")
		}
		if n := len(m.Element.Batch.Columns[1].BytesAt(0)); n != 2*WindowBytes {
			t.Errorf("%d bytes", n)
		}
		m.Element.Batch.Release()
		in.Done(m)
	}
	if err := o.Send(r.context(), heavy(1, 65<<20)); err == nil {
		t.Error("a row above the limit of a frame was sent")
	}
}

func TestTheExchangeGoesThroughTLSWithAToken(t *testing.T) {
	balanced(t)
	authority := tlstest.NewAuthority(t, "authority")
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	authority.Issue(cert, key, time.Now().Add(time.Hour))
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(authority.File)
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		t.Fatal(err)
	}
	hub := NewHub(options(receiver, nil))
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != Path || r.Header.Get("Authorization") != "Bearer it" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		hub.ServeHTTP(w, r)
	}))
	front.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	front.StartTLS()
	defer front.Close()
	defer hub.Close()
	o := options(sender, nil)
	o.TLS = func() *tls.Config { return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13} }
	o.Authorization = func() string { return "Bearer it" }
	in := local.NewInbox(1)
	failed := make(chan error, 1)
	end := hub.Open(job, inlets(in, 1, blobs), func(err error) { failed <- err })
	l, err := NewDialer(o).Dial(t.Context(), front.Listener.Addr().String(), receiver, job)
	if err != nil {
		t.Fatal(err)
	}
	out := l.Channel(at(0), blobs)
	go func() {
		for _, e := range []element.Element{heavy(100, 5_000), {Kind: element.KindEndOfInput}} {
			if err := out.Send(t.Context(), e); err != nil {
				t.Error(err)
			}
		}
	}()
	m := next(t, in)
	if m.Element.Batch.Len() != 100 {
		t.Errorf("%d rows", m.Element.Batch.Len())
	}
	m.Element.Batch.Release()
	in.Done(m)
	in.Done(next(t, in))
	l.Close()
	end()
	if len(failed) > 0 {
		t.Errorf("told of %v", <-failed)
	}
}
