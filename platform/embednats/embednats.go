// Package embednats runs a NATS server with JetStream inside the process and
// hands out connections to it that need no port. It must not know topics,
// pipelines or what is stored.
package embednats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// DefaultSyncInterval bounds what a power cut can take: a killed process loses
// nothing that was acknowledged. Shorter ones cost about nothing down to here.
const DefaultSyncInterval = 100 * time.Millisecond

// Limits and waits of the embedded server.
const (
	// MaxPayloadBytes is the largest message, headers included: the most that
	// NATS takes without a warning.
	MaxPayloadBytes = 8 << 20
	maxPendingBytes = 256 << 20
	readyWait       = 10 * time.Second
	readyStep       = 50 * time.Millisecond
)

// Options configure a server. The zero value of a field means its default.
type Options struct {
	// DataDir holds the streams. Required.
	DataDir string
	// Name is the server's name in logs and monitoring.
	Name string
	// SyncInterval is how often written data goes to the disk.
	SyncInterval time.Duration
	// Strict syncs before every acknowledgement: nothing acknowledged is lost
	// in a power cut.
	Strict bool
	// Listen is host:port for clients outside; empty: no port at all.
	Listen string
	// MaxStoreBytes bounds the streams on disk; 0: what the disk has.
	MaxStoreBytes int64
	// Log takes the server's notices; nil: none.
	Log *slog.Logger
}

// Validate says what is wrong with the options.
func (o Options) Validate() error {
	if o.DataDir == "" {
		return errors.New("embedded nats: no data directory: set DataDir")
	}
	if o.SyncInterval < 0 {
		return fmt.Errorf("embedded nats: sync interval %s is negative: leave it out for %s", o.SyncInterval, DefaultSyncInterval)
	}
	if o.MaxStoreBytes < 0 {
		return fmt.Errorf("embedded nats: max store %d is negative: leave it out for no limit", o.MaxStoreBytes)
	}
	if o.Listen != "" {
		if _, _, err := hostPort(o.Listen); err != nil {
			return err
		}
	}
	return nil
}

func hostPort(listen string) (string, int, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("embedded nats: listen address %q: %w: write host:port, such as 127.0.0.1:4222", listen, err)
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 {
		return "", 0, fmt.Errorf("embedded nats: listen address %q: port is not in 0..65535", listen)
	}
	if n == 0 {
		n = server.RANDOM_PORT
	}
	return host, n, nil
}

// Server is a running NATS server.
type Server struct {
	server       *server.Server
	syncInterval time.Duration
	recovery     *recovery
	stop         context.CancelFunc // of the recovery
}

// Start starts a server and returns when it takes connections.
func Start(ctx context.Context, o Options) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	opts := serverOptions(o)
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("make embedded nats server in %s: %w", o.DataDir, err)
	}
	log := newLogger(o.Log)
	s.SetLoggerV2(log, false, false, false)
	s.Start()
	out := &Server{server: s, syncInterval: opts.SyncInterval}
	if opts.SyncAlways {
		out.syncInterval = 0
	}
	if err := awaitReady(ctx, s, log); err != nil {
		out.Close()
		return nil, fmt.Errorf("start embedded nats server in %s: %w", o.DataDir, err)
	}
	watching, stop := context.WithCancel(context.Background())
	out.stop, out.recovery = stop, startRecovery(watching, s, opts, log)
	return out, nil
}

func awaitReady(ctx context.Context, s *server.Server, log *logger) error {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	for {
		ready := s.ReadyForConnections(readyStep)
		select {
		case why := <-log.fatal:
			return errors.New(why)
		case <-ctx.Done():
			return fmt.Errorf("not ready after %s: see its log for the cause (a full disk, a directory in use, a port taken)", readyWait)
		default:
		}
		if ready && s.JetStreamEnabled() {
			return nil
		}
	}
}

func serverOptions(o Options) *server.Options {
	opts := &server.Options{
		ServerName:             o.Name,
		JetStream:              true,
		StoreDir:               filepath.Clean(o.DataDir),
		JetStreamMaxStore:      o.MaxStoreBytes,
		SyncInterval:           o.SyncInterval,
		SyncAlways:             o.Strict,
		MaxPayload:             MaxPayloadBytes,
		MaxPending:             maxPendingBytes,
		DontListen:             true,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
	}
	if opts.ServerName == "" {
		opts.ServerName = "weir"
	}
	if opts.SyncInterval == 0 {
		opts.SyncInterval = DefaultSyncInterval
	}
	if o.Listen != "" {
		opts.DontListen = false
		opts.Host, opts.Port, _ = hostPort(o.Listen)
	}
	return opts
}

// Connect opens a connection inside the process, on which no byte passes a socket.
func (s *Server) Connect(name string, extra ...nats.Option) (*nats.Conn, error) {
	opts := append([]nats.Option{
		nats.InProcessServer(s.server),
		nats.Name(name),
		nats.MaxReconnects(-1),
	}, extra...)
	nc, err := nats.Connect("", opts...)
	if err != nil {
		return nil, fmt.Errorf("connect %s to embedded nats server: %w", name, err)
	}
	return nc, nil
}

// URL is where clients outside connect; empty if the server has no port.
func (s *Server) URL() string {
	if s.server.Addr() == nil {
		return ""
	}
	return "nats://" + s.server.Addr().String()
}

// SyncInterval is how long acknowledged data may be off the disk; 0: never.
func (s *Server) SyncInterval() time.Duration { return s.syncInterval }

// Trouble says why streams refuse messages, a full disk for instance, and what
// ends it; empty if they take them.
func (s *Server) Trouble() string { return s.recovery.trouble() }

// StoreBytes is what the streams take on disk.
func (s *Server) StoreBytes() uint64 {
	info, err := s.server.Jsz(nil)
	if err != nil {
		return 0
	}
	return info.Store
}

// Close stops the server and returns when its files are closed.
func (s *Server) Close() {
	if s.recovery != nil {
		s.stop()
		<-s.recovery.done
	}
	s.server.Shutdown()
	s.server.WaitForShutdown()
}
