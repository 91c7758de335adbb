package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/weirstream/weir/platform/auth"
	"github.com/weirstream/weir/platform/auth/audit"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// Gate lets in who brings a token that is good for a call. It stands before the
// handlers, so that no byte of a request's body is read for somebody who may not call.
type Gate struct {
	find  auth.Lookup
	key   func() string // that processes of the cluster show
	clock func() time.Time
	log   *slog.Logger
	audit *audit.Log // nil: nothing is written down

	mu      sync.Mutex // guards limiter
	limiter auth.Limiter
}

// NewGate makes a gate that asks for the tokens of the catalog.
func NewGate(node *raftmeta.Node, clock func() time.Time, log *slog.Logger) *Gate {
	find := func(id string) (*catalog.Token, bool) { return node.View().Token(id) }
	key := func() string { return node.View().Settings.ExchangeKey }
	return &Gate{find: find, key: key, clock: clock, log: log}
}

// writeTo has refusals of calls that would change something written down.
func (g *Gate) writeTo(l *audit.Log) {
	if g != nil {
		g.audit = l
	}
}

// wrap puts the gate before a handler. A nil gate lets everybody through as Anyone.
func (g *Gate) wrap(next http.Handler) http.Handler {
	if g == nil {
		return next
	}
	errorWriter := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		access := auth.AccessTo(r.URL.Path)
		if access.Open() {
			next.ServeHTTP(w, r)
			return
		}
		p, err := g.identify(r)
		if err == nil {
			err = access.Admit(p, r.URL.Path)
		}
		if err == nil {
			next.ServeHTTP(w, r.WithContext(auth.With(r.Context(), p)))
			return
		}
		if g.audit != nil && auth.TraceOf(r.URL.Path) != auth.TraceNone && !errors.Is(err, auth.ErrThrottled) {
			g.audit.Write(entryOf(r.URL.Path, r.RemoteAddr, r.Header, p, err))
		}
		if errors.Is(err, auth.ErrUnauthenticated) {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		if errorWriter.IsSupported(r) {
			_ = errorWriter.Write(w, r, wire(err)) // the caller is gone if it fails
			return
		}
		http.Error(w, err.Error(), statusOf(err))
	})
}

func (g *Gate) identify(r *http.Request) (auth.Principal, error) {
	now := g.clock()
	header := r.Header.Get("Authorization")
	if auth.ShowsKey(header, g.key()) {
		return auth.Principal{ID: auth.Cluster, Role: catalog.RoleWorker}, nil
	}
	p, err := auth.Identify(header, g.find, now)
	if err == nil || header == "" {
		return p, err // asking without a token is how one learns that one is needed
	}
	address := host(r.RemoteAddr)
	g.mu.Lock()
	limited := g.limiter.Fail(address, now)
	g.mu.Unlock()
	if limited != nil {
		return p, limited
	}
	g.log.Warn("a call was refused", "remote", address, "path", r.URL.Path, "reason", err)
	return p, err
}

// still refuses a caller whose token is over since its stream began.
func (g *Gate) still(p auth.Principal) error {
	if g == nil || p.ID == auth.Loopback || p.ID == auth.Cluster {
		return nil
	}
	t, ok := g.find(p.ID)
	if !ok {
		t = &catalog.Token{ID: p.ID, Revoked: 1}
	}
	return auth.Good(t, g.clock())
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, auth.ErrUnauthenticated):
		return http.StatusUnauthorized
	case errors.Is(err, auth.ErrThrottled):
		return http.StatusTooManyRequests
	}
	return http.StatusForbidden
}

// host is the address without the port, which changes with every connection.
func host(address string) string {
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	return address
}

// scoped holds the namespace of requests against that of the caller's token.
type scoped struct{ gate *Gate }

// namespaced is a request about a namespace.
type namespaced interface{ GetNamespace() string }

func admitMessage(ctx context.Context, procedure string, message any) error {
	if m, ok := message.(namespaced); ok {
		return auth.AccessTo(procedure).AdmitNamespace(auth.From(ctx), m.GetNamespace())
	}
	return nil
}

// WrapUnary implements connect.Interceptor.
func (s scoped) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		if err := admitMessage(ctx, r.Spec().Procedure, r.Any()); err != nil {
			return nil, err
		}
		return next(ctx, r)
	}
}

// WrapStreamingClient implements connect.Interceptor; there are no clients here.
func (s scoped) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor.
func (s scoped) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if s.gate == nil {
			return next(ctx, conn)
		}
		return next(ctx, &scopedStream{StreamingHandlerConn: conn, ctx: ctx, gate: s.gate})
	}
}

// scopedStream checks every message of a stream, and that the token is still
// good: a stream may live for days.
type scopedStream struct {
	connect.StreamingHandlerConn
	ctx  context.Context //nolint:containedctx // it is the stream's own
	gate *Gate
}

// Receive implements connect.StreamingHandlerConn.
func (s *scopedStream) Receive(m any) error {
	if err := s.StreamingHandlerConn.Receive(m); err != nil {
		return err
	}
	if err := s.gate.still(auth.From(s.ctx)); err != nil {
		return err
	}
	return admitMessage(s.ctx, s.Spec().Procedure, m)
}

// Send implements connect.StreamingHandlerConn.
func (s *scopedStream) Send(m any) error {
	if err := s.gate.still(auth.From(s.ctx)); err != nil {
		return err
	}
	return s.StreamingHandlerConn.Send(m)
}
