package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
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

	"github.com/weirstream/weir/platform/embednats"
	"github.com/weirstream/weir/platform/logbook"
	"github.com/weirstream/weir/platform/modules"
	"github.com/weirstream/weir/platform/pipelines"
	"github.com/weirstream/weir/platform/server/agent"
	"github.com/weirstream/weir/platform/server/controller"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/fileblob"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/platform/worker"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/wasmhost"
)

const (
	startLimit    = 30 * time.Second
	shutdownLimit = 10 * time.Second
)

// Server is a running process with all roles.
type Server struct {
	options    Options
	gated      bool              // whether the API asks for tokens
	nats       *embednats.Server // nil with an existing NATS
	conn       *nats.Conn
	blobs      blob.Store
	wasm       *wasmhost.Host
	modules    *modules.Store
	node       *raftmeta.Node
	controller *controller.Controller
	agent      *agent.Agent
	topics     *topics.Service
	pipelines  *pipelines.Service
	logs       *logbook.Book
	users      *userMetrics
	listener   net.Listener
	http       *http.Server
	tasks      sync.WaitGroup
	stop       context.CancelFunc
	closing    chan struct{} // closed when Close begins
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
	s := &Server{options: o, gated: gated, closing: make(chan struct{}), logs: logbook.New(), users: newUserMetrics()}
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
	if err := s.engines(ctx); err != nil {
		return err
	}
	s.modules = modules.New(s.wasm, s.blobs)
	running, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.controller = controller.New(controller.Options{Node: s.node, Blobs: s.blobs, Log: s.log()})
	s.agent = agent.New(agent.Options{
		WorkerID: "worker-" + s.options.NodeID, Address: s.listener.Addr().String(), Slots: s.options.Slots, Version: s.options.Version,
		Node: s.node, Blobs: s.blobs, Leader: s.controller, Log: s.log(),
	})
	s.agent.SetWorker(worker.New(worker.Options{
		ID: "worker-" + s.options.NodeID, Log: s.log(), Blobs: s.blobs, Clock: s.options.Clock,
		NewOperator: s.newOperator, NewState: newState, Reporter: s.agent,
	}))
	s.controller.SetWorkers(s.agent)
	s.services()
	if err := s.join(ctx); err != nil {
		return err
	}
	if s.node.Leads() {
		// A process that died while it made a topic may have left half of it.
		if err := s.topics.Reconcile(ctx); err != nil {
			s.log().Warn("topics were not all reconciled with their streams", "error", err)
		}
	}
	s.tasks.Go(func() { s.controller.Run(running) })
	s.tasks.Go(func() { s.agent.Run(running) })
	s.tasks.Go(func() { s.keepHouse(running) })
	s.tasks.Go(func() { s.pipelines.Run(running) })
	return s.serve()
}

// engines opens storage, log, sandbox and catalog beside each other.
func (s *Server) engines(ctx context.Context) error {
	var wait sync.WaitGroup
	errs := make([]error, 4)
	wait.Go(func() { errs[0] = s.openNATS(ctx) })
	wait.Go(func() { errs[1] = s.openNode(ctx) })
	wait.Go(func() {
		var err error
		s.blobs, err = fileblob.Open(filepath.Join(s.options.DataDir, "blobs"), fileblob.Options{Sync: syncOf(s.options.Durability)})
		errs[2] = err
	})
	wait.Go(func() {
		var err error
		s.wasm, err = wasmhost.NewHost(context.Background(), wasmhost.Options{CacheDir: filepath.Join(s.options.DataDir, "cache", "wasm")})
		errs[3] = err
	})
	wait.Wait()
	return errors.Join(errs...)
}

func syncOf(d Durability) fileblob.Sync {
	if d == Strict {
		return fileblob.SyncAlways
	}
	return fileblob.SyncNever
}

// syncInterval is how long what the log acknowledged may be off the disk.
func (s *Server) syncInterval() time.Duration {
	if s.nats == nil {
		return embednats.DefaultSyncInterval // an outside cluster's is its own; doctor looks at it
	}
	return s.nats.SyncInterval()
}

// log is the server's log; lines of pipelines are kept in the logbook too.
func (s *Server) log() *slog.Logger {
	return slog.New(logbook.NewHandler(s.options.Log.Handler(), s.logs))
}

func (s *Server) openNATS(ctx context.Context) (err error) {
	if s.options.NATSURL != "" {
		s.conn, err = embednats.ConnectExternal(s.options.NATSURL, "weir")
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

func (s *Server) openNode(ctx context.Context) (err error) {
	s.node, err = raftmeta.Open(ctx, raftmeta.Options{
		NodeID: s.options.NodeID, DataDir: filepath.Join(s.options.DataDir, "raft"),
		Bind: s.options.RaftListen, Peers: s.options.RaftPeers, Logger: s.options.Log.With("part", "raft"),
	})
	return err
}

// join waits for a leader and enters this process into the catalog.
func (s *Server) join(ctx context.Context) error {
	if err := s.node.Ready(ctx); err != nil {
		return fmt.Errorf("wait for a leader: %w", err)
	}
	if !s.node.Leads() {
		return nil // what follows is the leader's to propose; workers on other nodes come with many processes
	}
	now := time.Now().UnixMicro()
	if s.node.View().Settings.ClusterID == "" {
		var id [8]byte
		if _, err := rand.Read(id[:]); err != nil {
			return err
		}
		if _, err := s.node.Propose(ctx, &catalog.InitCluster{At: now, ClusterID: hex.EncodeToString(id[:])}); err != nil {
			return err
		}
	}
	if err := s.firstToken(ctx); err != nil {
		return err
	}
	return s.agent.Register(ctx)
}

// claim keeps two servers out of one data directory.
func (s *Server) claim() error {
	if err := os.MkdirAll(s.options.DataDir, 0o755); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	lock, err := lockFile(filepath.Join(s.options.DataDir, "lock"))
	if err != nil {
		return fmt.Errorf("data directory %s is in use: %w; stop the other server or choose another --data-dir", s.options.DataDir, err)
	}
	s.lock = lock
	return nil
}

// URL is where the server answers.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

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
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// Failed is closed when the catalog cannot go on.
func (s *Server) Failed() <-chan struct{} { return s.node.Failed() }

// Err says why the catalog cannot go on.
func (s *Server) Err() error { return s.node.Err() }
