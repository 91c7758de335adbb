package server

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/weirstream/weir/platform/metrics"
	"github.com/weirstream/weir/platform/rpc"
	"github.com/weirstream/weir/platform/runtime/exchange/remote"
)

// Limits of the HTTP port.
const (
	readHeaderLimit = 10 * time.Second
	maxHeaderBytes  = 64 << 10
)

// serve answers on the one port: gRPC, gRPC-Web, Connect, JSON, metrics, health,
// and what the processes of a cluster say to each other.
func (s *Server) serve() error {
	mux := http.NewServeMux()
	if s.hub != nil {
		mux.HandleFunc("GET "+remote.Path, s.exchange)
	}
	switch {
	case s.node != nil:
		api := rpc.New(rpc.Deps{
			Node: s.node, Topics: s.topics, Pipelines: s.pipelines, Savepoints: s.savepoints, State: s.state, Functions: s.functions, Modules: s.modules, Version: s.options.Version,
			Checks: s.checks(), Metrics: metrics.Handler(s.snapshot), Closing: s.closing, Gate: s.gate(), Secrets: s.ring, Backup: s.backup, Audit: s.audit, Cluster: s.clusterDeps(), Internal: s.internal(),
		})
		mux.Handle("/", s.toLeader(api))
	case s.options.has(RoleGateway):
		mux.Handle("/", rpc.Proxy(s.transport(), s.gatewayTarget))
		s.own(mux)
	default:
		s.own(mux)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler: mux, Protocols: &protocols, ReadHeaderTimeout: readHeaderLimit, MaxHeaderBytes: maxHeaderBytes,
		// What goes wrong with one connection is its caller's to see: handshakes of those who do not trust us, mostly.
		ErrorLog: slog.NewLogLogger(s.log().Handler(), slog.LevelDebug),
	}
	serve := s.http.Serve
	if s.tls != nil {
		config, err := s.tls.ServerConfig()
		if err != nil {
			return err
		}
		s.http.TLSConfig = config
		serve = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") }
	}
	s.tasks.Go(func() {
		if err := serve(s.listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.log().Error("the HTTP port ended", "error", err)
		}
	})
	return nil
}

// internal is what other processes of the cluster ask beside the API.
func (s *Server) internal() map[string]http.Handler {
	out := map[string]http.Handler{}
	if s.nats != nil {
		out["GET "+natsPath] = http.HandlerFunc(s.tunnelNATS)
	}
	return out
}

// own is what a process without a catalog answers by itself.
func (s *Server) own(mux *http.ServeMux) {
	mux.Handle("GET /metrics", metrics.Handler(s.snapshot))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n")) // the caller is gone if it fails
	})
}

// toLeader passes users' calls on to the controller that leads: it alone can
// change the catalog, and knows how jobs do.
func (s *Server) toLeader(here http.Handler) http.Handler {
	if s.client == nil {
		return here
	}
	proxy := rpc.Proxy(s.transport(), func() (string, error) {
		if url := s.leaderURL(); url != "" {
			return url, nil
		}
		return "", errNoLeader
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.node.Leads() || rpc.Local(r.URL.Path) {
			here.ServeHTTP(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

var errNoLeader = errors.New("no controller leads at the moment; wait a second and call again")

// gatewayTarget is the controller that a gateway passes calls on to.
func (s *Server) gatewayTarget() (string, error) { return s.client.URL(), nil }

func (s *Server) clusterDeps() *rpc.Cluster {
	return &rpc.Cluster{
		Desk: s.desk, About: s.aboutCluster, LeaderURL: s.leaderURL, Propose: s.node.Propose, View: s.node.View, Leads: s.node.Leads,
		Node: s.node, Version: s.options.Version, Now: func() int64 { return s.options.Clock().UnixMicro() },
	}
}
