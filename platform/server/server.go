package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weirstream/weir/platform/auth/audit"
	"github.com/weirstream/weir/platform/auth/secrets"
	"github.com/weirstream/weir/platform/auth/tlsfiles"
	"github.com/weirstream/weir/platform/backup"
	"github.com/weirstream/weir/platform/cluster"
	"github.com/weirstream/weir/platform/embednats"
	"github.com/weirstream/weir/platform/gateway"
	"github.com/weirstream/weir/platform/logbook"
	"github.com/weirstream/weir/platform/modules"
	"github.com/weirstream/weir/platform/operator/quota"
	"github.com/weirstream/weir/platform/pipelines"
	"github.com/weirstream/weir/platform/runtime/exchange/remote"
	"github.com/weirstream/weir/platform/savepoints"
	"github.com/weirstream/weir/platform/server/agent"
	"github.com/weirstream/weir/platform/server/controller"
	"github.com/weirstream/weir/platform/statereader"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/state/pebble"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/wasmhost"
)

const (
	startLimit    = 30 * time.Second
	shutdownLimit = 10 * time.Second
)

// Server is a running process. What its roles do not need is nil.
type Server struct {
	options    Options
	audit      *audit.Log    // of a controller
	ring       *secrets.Ring // of a controller
	hidden     *secrets.Redactor
	gated      bool              // whether the API asks for tokens
	nats       *embednats.Server // nil with an existing NATS
	conn       *nats.Conn
	blobs      blob.Store
	wasm       *wasmhost.Host
	modules    *modules.Store
	node       *raftmeta.Node         // of a controller
	controller *controller.Controller // of a controller
	desk       *cluster.Desk          // of a controller
	client     *cluster.Client        // to the controllers; nil in a controller that is alone
	about      cluster.Joined         // what the controllers told a process that is none
	agent      *agent.Agent           // of a worker
	session    *cluster.Session       // of a worker
	hub        *remote.Hub            // of a worker: where records of other workers arrive
	topics     *topics.Service
	pipelines  *pipelines.Service
	savepoints *savepoints.Service
	backup     *backup.Service
	state      *statereader.Service
	functions  *gateway.Gateway
	logs       *logbook.Book
	users      *userMetrics
	quotas     quota.Accounts // of a worker
	disk       *pebble.Store  // of a worker: keyed state that is kept on disk
	listener   net.Listener
	tls        *tlsfiles.Keeper // nil without TLS
	trust      *tlsfiles.Keeper // for dialling others; nil in a controller that is alone
	http       *http.Server
	tasks      sync.WaitGroup
	stop       context.CancelFunc
	closing    chan struct{} // closed when Close begins
	refused    chan struct{} // closed when the controllers refuse this process for good
	refusal    error         // why; read after refused
	lock       *os.File
}

// Start starts a server and returns when it answers. Close ends it.
func Start(ctx context.Context, o Options) (*Server, error) {
	o, err := o.normalize()
	if err != nil {
		return nil, err
	}
	gated, err := o.protection().Decide()
	if err != nil {
		return nil, err
	}
	keeper, err := openTLS(&o)
	if err != nil {
		return nil, err
	}
	hidden := new(secrets.Redactor)
	o.Log = slog.New(hidden.Handler(o.Log.Handler()))
	s := &Server{options: o, hidden: hidden, gated: gated, tls: keeper, closing: make(chan struct{}), refused: make(chan struct{}), logs: logbook.New(), users: newUserMetrics()}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// start brings the parts up: what depends on nothing first, beside each other.
func (s *Server) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := s.claim(); err != nil {
		return err
	}
	var err error
	// The port is bound first: a port in use should be known before anything is written.
	if s.listener, err = net.Listen("tcp", s.options.Listen); err != nil {
		return fmt.Errorf("listen on %s: %w; another server may run there: choose another --listen", s.options.Listen, err)
	}
	if err := s.openSecurity(); err != nil {
		return err
	}
	if err := s.reach(); err != nil {
		return err
	}
	if err := s.engines(ctx); err != nil {
		return err
	}
	running, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.modules = modules.New(s.wasm, s.blobs)
	if s.options.has(RoleWorker) {
		if err := s.openDisk(); err != nil {
			return err
		}
	}
	if s.options.has(RoleController) {
		if err := s.lead(ctx, running); err != nil {
			return err
		}
	}
	s.keepTLS(running)
	s.keepAudit(running)
	if s.agent == nil && s.options.has(RoleWorker) {
		s.engage()
	}
	// Other processes may have to be answered before they answer: the port opens first.
	if err := s.serve(); err != nil {
		return err
	}
	if s.options.has(RoleWorker) {
		return s.work(ctx, running)
	}
	return nil
}

// engines opens storage, log, sandbox and catalog beside each other.
func (s *Server) engines(ctx context.Context) error {
	if !s.options.has(RoleController) {
		if !s.options.has(RoleWorker) {
			return nil
		}
		if err := s.ask(ctx); err != nil {
			return err
		}
	}
	var wait sync.WaitGroup
	errs := make([]error, 4)
	wait.Go(func() { errs[0] = s.openNATS(ctx) })
	if s.options.has(RoleController) {
		wait.Go(func() { errs[1] = s.openNode(ctx) })
	}
	wait.Go(func() { s.blobs, errs[2] = s.openBlobs(ctx) })
	wait.Go(func() {
		var err error
		s.wasm, err = wasmhost.NewHost(context.Background(), wasmhost.Options{CacheDir: filepath.Join(s.options.DataDir, "cache", "wasm"), Unmetered: s.options.Unmetered})
		errs[3] = err
	})
	wait.Wait()
	return errors.Join(errs...)
}

// syncInterval is how long what the log acknowledged may be off the disk.
func (s *Server) syncInterval() time.Duration {
	if s.nats == nil {
		if s.about.Strict {
			return 0
		}
		return embednats.DefaultSyncInterval // an outside cluster's is its own; doctor looks at it
	}
	return s.nats.SyncInterval()
}

// log is the server's log; lines of pipelines are kept in the leader's logbook too.
func (s *Server) log() *slog.Logger {
	return slog.New(s.hidden.Handler(logbook.NewHandler(s.options.Log.Handler(), (*keeper)(s))))
}

// keeper takes log lines of pipelines to where they are read.
type keeper Server

// Add keeps a line here if this process leads, or sends it to the leader.
func (k *keeper) Add(pipeline string, l logbook.Line) {
	if k.node != nil && (k.client == nil || k.node.Leads()) {
		k.logs.Add(pipeline, l)
	} else if k.session != nil {
		k.session.Line(cluster.Line{Pipeline: pipeline, Time: l.Time, Level: l.Level, Operator: l.Operator, Task: l.Task, Text: l.Text})
	}
}

func (s *Server) openNATS(ctx context.Context) (err error) {
	if s.options.NATSURL != "" {
		s.conn, err = embednats.ConnectExternal(s.options.NATSURL, "weir")
		return err
	}
	if !s.options.has(RoleController) {
		s.conn, err = s.reachNATS()
		return err
	}
	s.nats, err = embednats.Start(ctx, embednats.Options{
		DataDir: filepath.Join(s.options.DataDir, "nats"), Name: s.options.NodeID,
		Strict: s.options.Durability == Strict, Listen: s.options.NATSListen, Log: s.options.Log.With("part", "nats"),
	})
	if err != nil {
		return err
	}
	s.conn, err = s.nats.Connect("weir")
	return err
}

func startOf(await bool) raftmeta.Start {
	if await {
		return raftmeta.StartJoin
	}
	return raftmeta.StartNew
}

func (s *Server) openNode(ctx context.Context) error {
	secure, err := s.raftTLS()
	if err != nil {
		return err
	}
	s.node, err = raftmeta.Open(ctx, raftmeta.Options{
		NodeID: s.options.NodeID, DataDir: filepath.Join(s.options.DataDir, "raft"),
		Bind: s.options.RaftListen, Peers: s.options.RaftPeers, Start: startOf(s.options.AwaitJoin), TLS: secure, Logger: s.options.Log.With("part", "raft"),
	})
	return err
}

// ErrInUse says that another process has the data directory.
var ErrInUse = errors.New("the data directory is in use")

// claim keeps two servers out of one data directory.
func (s *Server) claim() error {
	if err := os.MkdirAll(s.options.DataDir, 0o755); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	lock, err := lockFile(filepath.Join(s.options.DataDir, "lock"))
	if err != nil {
		return fmt.Errorf("%w: %s: %w; stop the other server or choose another --data-dir", ErrInUse, s.options.DataDir, err)
	}
	s.lock = lock
	return nil
}

// URL is where the server answers.
func (s *Server) URL() string {
	if s.tls != nil {
		return "https://" + s.listener.Addr().String()
	}
	return "http://" + s.listener.Addr().String()
}

// address is host:port where other processes reach this one.
func (s *Server) address() string {
	if s.options.Advertise != "" {
		return s.options.Advertise
	}
	address := s.listener.Addr().String()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() && machine() != "" {
		return net.JoinHostPort(machine(), port) // it listens everywhere: by its name others find it
	}
	return address
}

// NATSURL is where plain NATS clients connect; empty if nowhere.
func (s *Server) NATSURL() string {
	if s.nats == nil {
		return s.options.NATSURL
	}
	return s.nats.URL()
}

// Close stops tasks, then what they stand on.
func (s *Server) Close() error {
	var errs []error
	close(s.closing)
	if s.http != nil {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownLimit)
		if err := s.http.Shutdown(ctx); err != nil {
			errs = append(errs, s.http.Close())
		}
		cancel()
	} else if s.listener != nil {
		errs = append(errs, s.listener.Close())
	}
	if s.stop != nil {
		s.stop()
	}
	s.tasks.Wait()
	if s.agent != nil {
		s.agent.Close()
		s.goodbye()
	}
	if s.disk != nil {
		errs = append(errs, s.disk.Close()) // of tasks, which have ended
	}
	if s.hub != nil {
		s.hub.Close()
	}
	if s.functions != nil {
		errs = append(errs, s.functions.Close())
	}
	if s.topics != nil {
		errs = append(errs, s.topics.Close())
	}
	if s.conn != nil {
		s.conn.Close()
	}
	if s.node != nil {
		errs = append(errs, s.node.Close())
	}
	if s.nats != nil {
		s.nats.Close()
	}
	if s.wasm != nil {
		errs = append(errs, s.wasm.Close(context.Background()))
	}
	if s.blobs != nil {
		errs = append(errs, s.blobs.Close())
	}
	if s.audit != nil {
		errs = append(errs, s.audit.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// goodbye tells the leader that the worker ends in order. If it cannot be told,
// the next registration, or the lease, says that the worker is gone.
func (s *Server) goodbye() {
	if s.session == nil || s.session.Epoch() == 0 {
		return
	}
	ctx, done := context.WithTimeout(context.Background(), leaveLimit)
	defer done()
	if err := s.leader().Leave(ctx, s.session.Epoch(), "it ended in order"); err != nil {
		s.log().Debug("the leader was not told that this worker ends", "error", err)
	}
}

// Failed is closed when the process cannot go on: its catalog stopped, or the
// controllers refuse the worker for good.
func (s *Server) Failed() <-chan struct{} {
	if s.node != nil {
		return s.node.Failed()
	}
	return s.refused
}

// Err says why the process cannot go on.
func (s *Server) Err() error {
	if s.node != nil {
		return s.node.Err()
	}
	return s.refusal
}
