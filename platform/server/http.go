package server

import (
	"errors"
	"net/http"
	"time"
)

// Limits of the HTTP port.
const (
	readHeaderLimit = 10 * time.Second
	maxHeaderBytes  = 64 << 10
)

// serve answers on the one port: gRPC, gRPC-Web, Connect, JSON, metrics, health.
func (s *Server) serve() error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{Handler: mux, Protocols: &protocols, ReadHeaderTimeout: readHeaderLimit, MaxHeaderBytes: maxHeaderBytes}
	s.tasks.Go(func() {
		if err := s.http.Serve(s.listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.log().Error("the HTTP port ended", "error", err)
		}
	})
	return nil
}
