// Package upgrade turns a request on an HTTP port into a plain connection of
// another protocol, as RFC 9110, section 7.8, has it: so that everything that
// processes say to each other passes one port, with its TLS and its tokens. It
// must not know what is spoken afterwards.
package upgrade

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Limits of the handshake.
const (
	DialLimit      = 5 * time.Second
	maxRefusalText = 1 << 10
)

// RefusedError is an answer other than the wished protocol.
type RefusedError struct {
	Status int
	Text   string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("refused with status %d: %s", e.Status, e.Text)
}

// Accept answers a request for a protocol and gives its connection, which the
// caller closes. When it fails the request is answered already.
func Accept(w http.ResponseWriter, r *http.Request, protocol string) (net.Conn, error) {
	if r.Header.Get("Upgrade") != protocol {
		w.Header().Set("Upgrade", protocol)
		http.Error(w, "this address speaks "+protocol+" only, by an HTTP/1.1 upgrade", http.StatusUpgradeRequired)
		return nil, fmt.Errorf("accept %s: asked for %q", protocol, r.Header.Get("Upgrade"))
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "this connection cannot be upgraded: use HTTP/1.1", http.StatusHTTPVersionNotSupported)
		return nil, fmt.Errorf("accept %s: %w", protocol, err)
	}
	if err := conn.SetDeadline(time.Now().Add(DialLimit)); err == nil {
		_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("accept %s: %w", protocol, err), conn.Close())
	}
	return &early{Conn: conn, r: buffered.Reader}, nil
}

// Target is where and as whom to dial.
type Target struct {
	URL      string // http or https, with the path that the protocol is under
	Protocol string
	Header   http.Header // more than the handshake's own
	TLS      *tls.Config // for https
}

// Dial asks for a protocol. The context bounds the handshake only.
func Dial(ctx context.Context, t Target) (net.Conn, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", t.URL, err)
	}
	ctx, cancel := context.WithTimeout(ctx, DialLimit)
	defer cancel()
	conn, err := connect(ctx, u, t.TLS)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", t.URL, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // wakes the handshake
	out, err := ask(conn, u, t)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("dial %s: %w", t.URL, err), conn.Close())
	}
	return out, nil
}

func connect(ctx context.Context, u *url.URL, c *tls.Config) (net.Conn, error) {
	switch u.Scheme {
	case "http":
		return (&net.Dialer{}).DialContext(ctx, "tcp", withPort(u, "80"))
	case "https":
		if c == nil {
			c = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		c = c.Clone()
		c.NextProtos = []string{"http/1.1"} // HTTP/2 has no upgrade
		return (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", withPort(u, "443"))
	}
	return nil, fmt.Errorf("scheme %q: use http or https", u.Scheme)
}

func withPort(u *url.URL, port string) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func ask(conn net.Conn, u *url.URL, t Target) (net.Conn, error) {
	request := &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{}, ProtoMajor: 1, ProtoMinor: 1}
	for name, values := range t.Header {
		request.Header[name] = values
	}
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", t.Protocol)
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	reader := bufio.NewReader(conn)
	answer, err := http.ReadResponse(reader, request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols || answer.Header.Get("Upgrade") != t.Protocol {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, maxRefusalText)) // as much as there is
		return nil, &RefusedError{answer.StatusCode, string(text)}
	}
	return &early{Conn: conn, r: reader}, nil
}

// early gives first what came with the handshake.
type early struct {
	net.Conn
	r *bufio.Reader // nil once it is empty
}

func (e *early) Read(b []byte) (int, error) {
	if e.r != nil {
		if n := e.r.Buffered(); n > 0 {
			return e.r.Read(b[:min(n, len(b))])
		}
		e.r = nil
	}
	return e.Conn.Read(b)
}

// NetConn is the connection below, once nothing of the handshake is left.
func (e *early) NetConn() net.Conn { return e.Conn }
