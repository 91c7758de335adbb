// Package endpoint calls a server of functions over HTTP as StateFun does:
// requests by POST, again after failures that may pass, within the budget of a
// call. It must not know what a request says, nor how messages are kept.
package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// Defaults and limits.
const (
	DefaultCallTimeout    = time.Minute
	DefaultAttemptTimeout = 10 * time.Second // of each part of an attempt
	MaxCallTimeout        = time.Hour
	FirstBackoff          = 10 * time.Millisecond // doubles
	MaxBackoff            = 10 * time.Second
	MaxReplyBytes         = 16 << 20
	MaxConnections        = 256     // to one server
	maxTrustedBytes       = 1 << 20 // of an answer's own word for its length, as memory taken before it is there
	maxHeaderBytes        = 64 << 10
	idleTimeout           = time.Minute
)

// Config is an endpoint as a module's file describes it.
type Config struct {
	// URL of the functions; {function.name} stands for a function's name. The schemes
	// are http, https, http+unix and https+unix: of the last two the path is that of a
	// socket, up to ".sock" or another file's end, and then that of the request.
	URL           string `json:"url"`
	CallTimeoutMs int64  `json:"call_timeout_ms,omitempty"` // of a call with all its attempts
	// How long one attempt may stand still: before it is connected, while it sends,
	// and while it waits for the next bytes of the answer, the first ones too.
	ConnectMs      int64 `json:"connect_timeout_ms,omitempty"`
	WriteMs        int64 `json:"write_timeout_ms,omitempty"`
	ReadMs         int64 `json:"read_timeout_ms,omitempty"`
	MaxConnections int   `json:"max_connections,omitempty"`
	// Files of the TLS client, read when the endpoint is opened. CA empty: the system's.
	CAFile     string `json:"ca_file,omitempty"`
	CertFile   string `json:"cert_file,omitempty"`
	KeyFile    string `json:"key_file,omitempty"`
	ServerName string `json:"server_name,omitempty"`
	Insecure   bool   `json:"insecure_skip_verify,omitempty"` // whoever answers is believed
	H2C        bool   `json:"h2c,omitempty"`                  // HTTP/2 without TLS, known beforehand
}

// ErrConfig is wrapped by every refusal of a configuration.
var ErrConfig = errors.New("bad endpoint")

// Endpoint makes calls. Any number of goroutines may.
type Endpoint struct {
	url    template
	client *http.Client
	call   time.Duration
	write  time.Duration
	read   time.Duration
}

// Check checks what can be checked without reading files.
func (c Config) Check() error {
	if err := c.checkTLS(); err != nil {
		return err
	}
	c.CAFile, c.CertFile, c.KeyFile = "", "", ""
	_, err := New(c)
	return err
}

// dial is how connections come about.
type dial func(ctx context.Context, network, address string) (net.Conn, error)

// New checks a configuration, and reads its files.
func New(c Config) (*Endpoint, error) { return build(c, nil) }

// build is New; through, if it is not nil, stands for the network.
func build(c Config, through dial) (*Endpoint, error) {
	url, err := parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: url %q: %w", ErrConfig, c.URL, err)
	}
	tlsConfig, err := c.tls()
	if err != nil {
		return nil, err
	}
	connect := limit(c.ConnectMs, DefaultAttemptTimeout)
	if through == nil {
		through = (&net.Dialer{}).DialContext
	}
	connections := c.MaxConnections
	if connections <= 0 {
		connections = MaxConnections
	}
	t := &http.Transport{
		TLSClientConfig: tlsConfig, TLSHandshakeTimeout: connect, ForceAttemptHTTP2: true, DisableCompression: true,
		MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, IdleConnTimeout: idleTimeout, MaxResponseHeaderBytes: maxHeaderBytes,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if url.socket != "" {
				network, address = "unix", url.socket
			}
			// The transport goes on dialling for others when the request is given up.
			ctx, cancel := context.WithTimeout(ctx, connect)
			defer cancel()
			conn, err := through(ctx, network, address)
			if err != nil && ctx.Err() != nil {
				err = fmt.Errorf("dial %s: nothing for %s", address, connect)
			}
			return conn, err
		},
	}
	if c.H2C {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetUnencryptedHTTP2(true)
		t.Protocols.SetHTTP2(true)
	}
	return &Endpoint{
		url: url, call: limit(c.CallTimeoutMs, DefaultCallTimeout), write: limit(c.WriteMs, DefaultAttemptTimeout), read: limit(c.ReadMs, DefaultAttemptTimeout),
		client: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

func limit(ms int64, otherwise time.Duration) time.Duration {
	if ms <= 0 {
		return otherwise
	}
	return time.Duration(min(ms, MaxCallTimeout.Milliseconds())) * time.Millisecond
}

// checkTLS refuses options that would have no effect, or half of one.
func (c *Config) checkTLS() error {
	if (c.CertFile == "") != (c.KeyFile == "") {
		return fmt.Errorf("%w: cert_file and key_file stand together", ErrConfig)
	}
	if c.Insecure && (c.CAFile != "" || c.ServerName != "") {
		return fmt.Errorf("%w: with insecure_skip_verify nobody is checked: leave it out, or ca_file and server_name", ErrConfig)
	}
	url, err := parse(c.URL)
	if err == nil && !url.tls && (c.CAFile != "" || c.CertFile != "" || c.ServerName != "" || c.Insecure) {
		return fmt.Errorf("%w: url %q is without TLS, and there are options of TLS: write https, or leave them out", ErrConfig, c.URL)
	}
	return nil
}

func (c *Config) tls() (*tls.Config, error) {
	if err := c.checkTLS(); err != nil {
		return nil, err
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName, InsecureSkipVerify: c.Insecure}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("%w: ca_file: %w", ErrConfig, err)
		}
		if t.RootCAs = x509.NewCertPool(); !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: ca_file %s has no certificate", ErrConfig, c.CAFile)
		}
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

// Close gives connections up.
func (e *Endpoint) Close() { e.client.CloseIdleConnections() }
