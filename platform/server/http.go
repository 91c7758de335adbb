package server

import (
	"errors"
	"net/http"
	"time"

	"github.com/weirstream/weir/platform/metrics"
	"github.com/weirstream/weir/platform/rpc"
)

// Limits of the HTTP port.
const (
	readHeaderLimit = 10 * time.Second
	maxHeaderBytes  = 64 << 10
)

// serve answers on the one port: gRPC, gRPC-Web, Connect, JSON, metrics, health.
func (s *Server) serve() error {
	handler := rpc.New(rpc.Deps{
		Node: s.node, Topics: s.topics, Pipelines: s.pipelines, Modules: s.modules, Version: s.options.Version,
		Checks: s.checks(), Metrics: metrics.Handler(s.snapshot), Closing: s.closing, Gate: s.gate(),
	})
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{Handler: handler, Protocols: &protocols, ReadHeaderTimeout: readHeaderLimit, MaxHeaderBytes: maxHeaderBytes}
	s.tasks.Go(func() {
		if err := s.http.Serve(s.listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.log().Error("the HTTP port ended", "error", err)
		}
	})
	return nil
}
