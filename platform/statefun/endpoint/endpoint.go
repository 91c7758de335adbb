// Package endpoint calls a server of functions over HTTP as StateFun does:
// requests by POST, again after failures that may pass, within the budget of a
// call. It must not know what a request says, nor how messages are kept.
package endpoint

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Defaults and limits.
const (
	DefaultCallTimeout    = time.Minute
	DefaultAttemptTimeout = 10 * time.Second // to connect, and from the request's end to the answer's
	MaxCallTimeout        = time.Hour
	FirstBackoff          = 10 * time.Millisecond // doubles
	MaxBackoff            = 10 * time.Second
	MaxReplyBytes         = 16 << 20
	MaxConnections        = 256 // to one server
	idleTimeout           = time.Minute
	maxShownBytes         = 300 // of a body that is no reply
)

// Config is an endpoint as a module's file describes it.
type Config struct {
	// URL of the functions; {function.name} stands for a function's name. The schemes
	// are http, https, http+unix and https+unix: of the last two the path is that of a
	// socket, up to ".sock" or another file's end, and then that of the request.
	URL            string `json:"url"`
	CallTimeoutMs  int64  `json:"call_timeout_ms,omitempty"`    // of a call with all its attempts
	ConnectMs      int64  `json:"connect_timeout_ms,omitempty"` // of one attempt, as the next two
	ReadMs         int64  `json:"read_timeout_ms,omitempty"`
	WriteMs        int64  `json:"write_timeout_ms,omitempty"`
	MaxConnections int    `json:"max_connections,omitempty"`
	// Files of the TLS client, read when the endpoint is opened. CA empty: the system's.
	CAFile     string `json:"ca_file,omitempty"`
	CertFile   string `json:"cert_file,omitempty"`
	KeyFile    string `json:"key_file,omitempty"`
	ServerName string `json:"server_name,omitempty"`
	H2C        bool   `json:"h2c,omitempty"` // HTTP/2 without TLS, known beforehand
}

// NamePlaceholder is replaced by a function's name in a URL.
const NamePlaceholder = "{function.name}"

// Errors of calls.
var (
	// ErrFinal says that another attempt would not help.
	ErrFinal = errors.New("the endpoint refuses")
	// ErrExhausted says that the budget of the call was used up by attempts that failed.
	ErrExhausted = errors.New("the endpoint does not answer")
	ErrConfig    = errors.New("bad endpoint")
)

// Endpoint makes calls. Any number of goroutines may.
type Endpoint struct {
	config Config
	url    *url.URL
	client *http.Client
	call   time.Duration
	read   time.Duration
}

// Check checks what can be checked without reading files.
func (c Config) Check() error {
	c.CAFile, c.CertFile, c.KeyFile = "", "", ""
	_, err := New(c)
	return err
}

// New checks a configuration.
func New(c Config) (*Endpoint, error) {
	// A placeholder is no part of a URL's grammar.
	u, err := url.Parse(strings.ReplaceAll(c.URL, NamePlaceholder, "function.name"))
	if err != nil {
		return nil, fmt.Errorf("%w: url: %w", ErrConfig, err)
	}
	e := &Endpoint{config: c, url: u}
	socket := ""
	switch u.Scheme {
	case "http", "https":
		if u.Host == "" {
			return nil, fmt.Errorf("%w: url %q has no host", ErrConfig, c.URL)
		}
	case "http+unix", "https+unix":
		if socket, _, err = splitSocket(u.Path); err != nil {
			return nil, fmt.Errorf("%w: url %q: %w", ErrConfig, c.URL, err)
		}
	default:
		return nil, fmt.Errorf("%w: url %q: the scheme is http, https, http+unix or https+unix", ErrConfig, c.URL)
	}
	duration := func(ms int64, otherwise time.Duration) time.Duration {
		if ms <= 0 {
			return otherwise
		}
		return min(time.Duration(ms)*time.Millisecond, MaxCallTimeout)
	}
	e.call, e.read = duration(c.CallTimeoutMs, DefaultCallTimeout), duration(c.ReadMs, DefaultAttemptTimeout)
	tlsConfig, err := c.tls()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: duration(c.ConnectMs, DefaultAttemptTimeout)}
	connections := c.MaxConnections
	if connections <= 0 {
		connections = MaxConnections
	}
	t := &http.Transport{
		TLSClientConfig: tlsConfig, TLSHandshakeTimeout: dialer.Timeout, ForceAttemptHTTP2: true, DisableCompression: true,
		MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, IdleConnTimeout: idleTimeout, MaxResponseHeaderBytes: 64 << 10,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if socket != "" {
				network, address = "unix", socket
			}
			return dialer.DialContext(ctx, network, address)
		},
	}
	if c.H2C {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetUnencryptedHTTP2(true)
		t.Protocols.SetHTTP2(true)
	}
	e.client = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return e, nil
}

func (c *Config) tls() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("%w: ca_file: %w", ErrConfig, err)
		}
		if t.RootCAs = x509.NewCertPool(); !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: ca_file %s has no certificate", ErrConfig, c.CAFile)
		}
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, fmt.Errorf("%w: cert_file and key_file stand together", ErrConfig)
	}
	if c.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("%w: cert_file: %w", ErrConfig, err)
		}
		t.Certificates = []tls.Certificate{cert}
	}
	return t, nil
}

// splitSocket parts a path into that of a socket and that of the request.
func splitSocket(path string) (socket, rest string, err error) {
	for at := 1; at <= len(path); at++ {
		if at < len(path) && path[at] != '/' {
			continue
		}
		if strings.HasSuffix(path[:at], ".sock") {
			return path[:at], path[at:], nil
		}
	}
	if path == "" || path == "/" {
		return "", "", errors.New("it has no path of a socket")
	}
	return path, "", nil
}

// target is the URL for a function.
func (e *Endpoint) target(function string) string {
	u := *e.url
	path := u.Path
	if strings.HasSuffix(u.Scheme, "+unix") {
		_, path, _ = splitSocket(path)
		u.Scheme, u.Host = strings.TrimSuffix(u.Scheme, "+unix"), "localhost"
	}
	if strings.Contains(e.config.URL, NamePlaceholder) {
		path = strings.ReplaceAll(path, "function.name", url.PathEscape(function))
		u.Host = strings.ReplaceAll(u.Host, "function.name", function)
		u.RawQuery = strings.ReplaceAll(u.RawQuery, "function.name", url.QueryEscape(function))
	}
	if path == "" {
		path = "/"
	}
	u.Path, u.RawPath = path, ""
	return u.String()
}

// Call posts a request for a function and gives the reply's bytes. key is the
// call's Idempotency-Key; it stays the same when the call is made again.
func (e *Endpoint) Call(ctx context.Context, function, key string, request []byte) ([]byte, error) {
	budget, cancel := context.WithTimeout(ctx, e.call)
	defer cancel()
	target := e.target(function)
	backoff := FirstBackoff
	for attempt := 1; ; attempt++ {
		reply, wait, err := e.once(budget, target, key, request)
		if err == nil {
			return reply, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, ErrFinal) {
			return nil, err
		}
		wait = max(backoff, wait)
		if deadline, _ := budget.Deadline(); budget.Err() != nil || time.Until(deadline) < wait {
			return nil, fmt.Errorf("%w: %d attempts in %s, the last: %w", ErrExhausted, attempt, e.call, err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
		backoff = min(2*backoff, MaxBackoff)
	}
}

// once makes one attempt.
func (e *Endpoint) once(ctx context.Context, target, key string, request []byte) (reply []byte, wait time.Duration, err error) {
	limit := e.read
	if deadline, ok := ctx.Deadline(); ok { // what is left of the call
		limit = min(limit, max(time.Until(deadline), time.Millisecond).Round(time.Millisecond))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no whole answer within %s", limit))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(request))
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrFinal, err)
	}
	h := req.Header
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Accept", "application/octet-stream")
	h.Set("User-Agent", "statefun")
	if key != "" {
		h.Set("Idempotency-Key", key)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, 0, because(ctx, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxReplyBytes+1))
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("POST %s: the answer breaks off after %d bytes: %w", target, len(body), because(ctx, err))
	case len(body) > MaxReplyBytes:
		return nil, 0, fmt.Errorf("%w: POST %s: an answer of more than %d bytes", ErrFinal, target, MaxReplyBytes)
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return body, 0, nil
	}
	err = fmt.Errorf("POST %s: status %s%s", target, resp.Status, shown(body))
	if !passing(resp.StatusCode) {
		return nil, 0, fmt.Errorf("%w: %w", ErrFinal, err)
	}
	if seconds, e := strconv.Atoi(resp.Header.Get("Retry-After")); e == nil && seconds > 0 {
		wait = min(time.Duration(seconds)*time.Second, MaxBackoff)
	}
	return nil, wait, err
}

// passing says whether a status may be another one next time.
func passing(status int) bool {
	switch status {
	case 408, 409, 420, 429, 499:
		return true
	}
	return status >= 500
}

// because prefers what a time-out was for to the fact that there was one.
func because(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if cause == nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if cause == context.DeadlineExceeded { // the call's own deadline was the nearer one
		return errors.New("no whole answer within the call's time")
	}
	return cause
}

// shown is a cut of a body, if it is a text.
func shown(body []byte) string {
	text := strings.TrimSpace(string(body[:min(len(body), maxShownBytes)]))
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r == '\uFFFD' || r < ' ' && r != '\n' && r != '\t' && r != '\r' }) {
		return ""
	}
	return ": " + text
}

// Close gives connections up.
func (e *Endpoint) Close() { e.client.CloseIdleConnections() }
