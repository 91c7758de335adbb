package server

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/weirstream/weir/platform/auth/tlsfiles"
	"github.com/weirstream/weir/platform/rpc"
	"github.com/weirstream/weir/raftmeta"
)

// Names of what is spoken over TLS besides HTTP, so that no port takes another's clients.
const raftProtocol = "weir-raft"

// renewWithin is how long before its end a certificate is worth a word.
const renewWithin = 14 * 24 * time.Hour

// openTLS reads the files of TLS; nil without any.
func openTLS(o *Options) (*tlsfiles.Keeper, error) {
	if !o.TLS.Any() {
		return nil, nil
	}
	if o.TLS.Cert == "" {
		return nil, fmt.Errorf("--tls-client-ca: a server that knows its callers by certificates needs one itself; name --tls-cert and --tls-key")
	}
	k, err := tlsfiles.Open(o.TLS, o.Log.With("part", "tls"))
	if err != nil {
		return nil, err
	}
	if until := k.State().Expires; until.Before(o.Clock()) {
		o.Log.Warn("the server's certificate has expired: nobody will trust it until it is renewed", "file", o.TLS.Cert, "expired", until)
	}
	return k, nil
}

// keepTLS looks after the files.
func (s *Server) keepTLS(ctx context.Context) {
	if s.tls != nil {
		s.tasks.Go(func() { s.tls.Run(ctx) })
	}
	if s.trust != nil {
		s.tasks.Go(func() { s.trust.Run(ctx) })
	}
}

// raftTLS makes voters show each other certificates, if their callers have to show any.
func (s *Server) raftTLS() (*raftmeta.TLS, error) {
	if s.options.TLS.CA == "" {
		return nil, nil
	}
	config, err := s.tls.ServerConfig(raftProtocol)
	if err != nil {
		return nil, err
	}
	return &raftmeta.TLS{Server: config, Dial: s.tls.Dialer(new(net.Dialer), raftProtocol)}, nil
}

// checkTLS looks at the certificate in use and at newer files.
func checkTLS(k *tlsfiles.Keeper, clock func() time.Time) rpc.Check {
	return rpc.Check{Name: "tls", Do: func(context.Context) ([]rpc.Finding, error) {
		if k == nil {
			return []rpc.Finding{{Severity: rpc.OK, Text: "not used"}}, nil
		}
		state := k.State()
		var found []rpc.Finding
		if state.Problem != nil {
			found = append(found, rpc.Finding{Severity: rpc.Error, Text: "new files are not used: " + state.Problem.Error(), Hint: "put whole files in their place; they are looked at every few seconds"})
		}
		const hint = "renew the file of --tls-cert; it is used without a restart"
		until := state.Expires.UTC().Format(time.RFC3339)
		switch left := state.Expires.Sub(clock()); {
		case left <= 0:
			found = append(found, rpc.Finding{Severity: rpc.Error, Text: "the certificate expired at " + until, Hint: hint})
		case left < renewWithin:
			found = append(found, rpc.Finding{Severity: rpc.Warning, Text: "the certificate expires at " + until, Hint: hint})
		case len(found) == 0:
			found = []rpc.Finding{{Severity: rpc.OK, Text: "the certificate is good until " + until}}
		}
		return found, nil
	}}
}
