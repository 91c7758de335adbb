package raftmeta

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// TLS makes the voters' connections among each other encrypted, and mutual if Server asks for certificates.
type TLS struct {
	Server *tls.Config
	// Dial connects to another voter, handshake included.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// secureStream is Raft's stream layer over TLS.
type secureStream struct {
	net.Listener
	advertise net.Addr
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
}

// secureTransport listens like Raft's own transport over TCP.
func secureTransport(o *Options, advertise net.Addr) (raft.Transport, error) {
	l, err := tls.Listen("tcp", o.Bind, o.TLS.Server)
	if err != nil {
		return nil, err
	}
	stream := &secureStream{Listener: l, advertise: advertise, dial: o.TLS.Dial}
	return raft.NewNetworkTransportWithLogger(stream, transportConnections, transportTimeout, newLogger(o.Logger)), nil
}

// Dial implements raft.StreamLayer.
func (s *secureStream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := s.dial(ctx, "tcp", string(address))
	if err != nil {
		return nil, fmt.Errorf("dial voter %s by TLS: %w", address, err)
	}
	return conn, nil
}

// Addr is where others reach this voter.
func (s *secureStream) Addr() net.Addr { return s.advertise }
