package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weirstream/weir/platform/auth"
	"github.com/weirstream/weir/platform/auth/tlsfiles"
	"github.com/weirstream/weir/platform/cluster"
	"github.com/weirstream/weir/platform/embednats"
	"github.com/weirstream/weir/platform/upgrade"
)

// Limits of what this process asks of controllers.
const (
	askRetry        = 200 * time.Millisecond
	idleConnections = 4
)

// natsPath is where a controller with an embedded NATS takes its cluster's
// connections to it, by an upgrade to natsProtocol.
const (
	natsPath     = auth.InternalPath + "nats"
	natsProtocol = "weir-nats"
)

// reach makes the way to the controllers, unless this process is the only one.
func (s *Server) reach() error {
	alone := s.options.has(RoleController) && len(s.options.RaftPeers) < 2 && !s.options.AwaitJoin
	if alone {
		return nil
	}
	files := tlsfiles.Files{Cert: s.options.TLS.Cert, Key: s.options.TLS.Key, CA: s.options.Trust}
	if files.CA == "" {
		files.CA = s.options.TLS.CA
	}
	var err error
	if s.trust, err = tlsfiles.Open(files, s.options.Log.With("part", "tls")); err != nil {
		return err
	}
	transport := s.transport()
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	transport.Protocols = &protocols
	h := &http.Client{Transport: &shown{secret: s.secret, next: transport}}
	if s.options.has(RoleController) {
		s.client = cluster.NewClient(h, s.advertised())
		return nil
	}
	urls := slices.Clone(s.options.Join)
	for i, u := range urls {
		if !strings.Contains(u, "://") {
			urls[i] = "http://" + u
		}
	}
	s.client = cluster.NewClient(h, urls...)
	return nil
}

// transport dials other processes of the cluster, by the TLS files as they are then.
func (s *Server) transport() *http.Transport {
	dialer := &net.Dialer{Timeout: upgrade.DialLimit}
	return &http.Transport{
		MaxIdleConnsPerHost: idleConnections, DialContext: dialer.DialContext,
		DialTLSContext: s.trust.Dialer(dialer, "h2", "http/1.1"),
	}
}

// secret is what this process shows to controllers: its token, or, if it is one
// of them, the cluster's key.
func (s *Server) secret() string {
	if s.options.Token == "" && s.node != nil {
		return s.node.View().Settings.ExchangeKey
	}
	return s.options.Token
}

// shown sends a secret with every request.
type shown struct {
	secret func() string
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b *shown) RoundTrip(r *http.Request) (*http.Response, error) {
	if secret := b.secret(); secret != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", auth.Bearer(secret))
	}
	return b.next.RoundTrip(r)
}

// advertised is the URL where other processes reach this one.
func (s *Server) advertised() string {
	if s.tls != nil {
		return "https://" + s.address()
	}
	return "http://" + s.address()
}

// ask learns from the controllers where log and objects are, and waits for one that leads.
func (s *Server) ask(ctx context.Context) error {
	for {
		about, err := s.client.About(ctx)
		if err == nil {
			s.about = about
			if s.options.NATSURL == "" {
				s.options.NATSURL = about.NATSURL
			}
			return nil
		}
		if errors.Is(err, cluster.ErrRefused) {
			return err
		}
		select {
		case <-time.After(askRetry):
		case <-ctx.Done():
			return fmt.Errorf("no controller at %s has answered within %s: %w; is a server running there, and is this its API's address?", strings.Join(s.options.Join, ", "), startLimit, err)
		}
	}
}

// reachNATS connects to the embedded NATS of the controller, through its API's port.
func (s *Server) reachNATS() (*nats.Conn, error) {
	conn, err := nats.Connect("nats://weir", nats.SetCustomDialer(&natsDialer{s}), nats.Name("weir"), nats.MaxReconnects(-1), nats.SkipHostLookup())
	if err != nil {
		return nil, fmt.Errorf("connect to the log through the controller: %w", err)
	}
	return conn, nil
}

// natsDialer dials whatever controller is known to lead.
type natsDialer struct{ s *Server }

// Dial opens a tunnel; the address is of no account.
func (d *natsDialer) Dial(string, string) (net.Conn, error) {
	return upgrade.Dial(context.Background(), upgrade.Target{
		URL: d.s.client.URL() + natsPath, Protocol: natsProtocol, Header: http.Header{"Authorization": {auth.Bearer(d.s.secret())}},
		TLS: d.s.trust.ClientConfig("http/1.1"),
	})
}

// tunnelNATS serves such connections.
func (s *Server) tunnelNATS(w http.ResponseWriter, r *http.Request) {
	inside, err := s.nats.Pipe()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	outside, err := upgrade.Accept(w, r, natsProtocol)
	if err != nil {
		_ = inside.Close()
		return
	}
	embednats.Join(inside, outside)
}
