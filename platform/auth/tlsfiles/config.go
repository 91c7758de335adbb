package tlsfiles

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// protocols are what a server of HTTP speaks; others pass theirs.
var protocols = []string{"h2", "http/1.1"}

// ServerConfig is for who listens. It wants a certificate of each client if the files
// have authorities for them. Protocols are those of ALPN; none means those of HTTP.
func (k *Keeper) ServerConfig(alpn ...string) (*tls.Config, error) {
	if k.files.Cert == "" {
		return nil, fmt.Errorf("who listens needs a certificate and its key: %w", ErrFiles)
	}
	if len(alpn) == 0 {
		alpn = protocols
	}
	config := &tls.Config{MinVersion: minVersion, NextProtos: alpn}
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := k.current()
		c := &tls.Config{MinVersion: minVersion, NextProtos: alpn, Certificates: []tls.Certificate{*now.pair}}
		if now.pool != nil {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, now.pool
			// A resumed session would not ask the authorities that are trusted by now.
			c.SessionTicketsDisabled = true
		}
		return c, nil
	}
	// Never used, since the above answers; without it listeners refuse the configuration.
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return k.current().pair, nil }
	return config, nil
}

// ClientConfig is for who dials, by the files as they are now: ask for another for
// each connection, or let Dialer do that.
func (k *Keeper) ClientConfig(alpn ...string) *tls.Config {
	now := k.current()
	config := &tls.Config{MinVersion: minVersion, NextProtos: alpn, RootCAs: now.pool} // nil: what the system trusts
	if now.pair != nil {
		// Shown also to who names other authorities: a refusal then says what is wrong,
		// where no certificate would only be missed.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return now.pair, nil }
	}
	return config
}

// Dialer dials by the files as they are then. It fits http.Transport.DialTLSContext,
// with the protocols "h2" and "http/1.1".
func (k *Keeper) Dialer(d *net.Dialer, alpn ...string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		td := tls.Dialer{NetDialer: d, Config: k.ClientConfig(alpn...)}
		return td.DialContext(ctx, network, address)
	}
}
