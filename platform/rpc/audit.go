package rpc

import (
	"context"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/auth"
	"github.com/weirstream/weir/platform/auth/audit"
	"github.com/weirstream/weir/platform/topics"
)

// maxAuditBatch bounds the entries of one message of a stream.
const maxAuditBatch = 200

// outcomeOK is what a line says of a call that did what it was asked to.
const outcomeOK = "ok"

// audited writes calls down that change something. A nil log writes nothing.
type audited struct{ log *audit.Log }

// WrapUnary implements connect.Interceptor.
func (a audited) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		trace := auth.TraceOf(r.Spec().Procedure)
		if a.log == nil || trace == auth.TraceNone {
			return next(ctx, r)
		}
		answer, err := next(ctx, r)
		e := entryOf(r.Spec().Procedure, r.Peer().Addr, r.Header(), auth.From(ctx), err)
		e.Namespace, e.Target = about(r.Any())
		if e.Target == "" && err == nil {
			e.Target = made(answer.Any())
		}
		if trace == auth.TraceGathered {
			e.Remote = host(e.Remote) // each connection has a port of its own
			a.log.Gather(e)
		} else {
			a.log.Write(e)
		}
		return answer, err
	}
}

// WrapStreamingClient implements connect.Interceptor; there are no clients here.
func (a audited) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor. A stream is written down when it has ended.
func (a audited) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if a.log == nil || auth.TraceOf(conn.Spec().Procedure) != auth.TraceEach {
			return next(ctx, conn)
		}
		first := &firstMessage{StreamingHandlerConn: conn}
		err := next(ctx, first)
		e := entryOf(conn.Spec().Procedure, conn.Peer().Addr, conn.RequestHeader(), auth.From(ctx), err)
		e.Namespace, e.Target = first.namespace, first.target
		a.log.Write(e)
		return err
	}
}

// firstMessage remembers what the first message of a stream is about.
type firstMessage struct {
	connect.StreamingHandlerConn
	came              bool
	namespace, target string
}

// Receive implements connect.StreamingHandlerConn.
func (f *firstMessage) Receive(m any) error {
	err := f.StreamingHandlerConn.Receive(m)
	if err == nil && !f.came {
		f.came = true
		f.namespace, f.target = about(m)
	}
	return err
}

// entryOf says who asked for what and how it went. Texts of errors are left out:
// they may quote what a caller sent.
func entryOf(procedure, remote string, header http.Header, p auth.Principal, err error) audit.Entry {
	e := audit.Entry{Time: time.Now(), Who: p.ID, Role: string(p.Role), Method: strings.TrimPrefix(procedure, "/"), Outcome: outcomeOK, Remote: remote}
	if header.Get(forwarded) != "" {
		e.ForwardedFor = header.Get("X-Forwarded-For")
	}
	if err != nil {
		e.Outcome = connect.CodeOf(wire(err)).String()
	}
	return e
}

// about finds what a request is about: names and ids, and nothing else of it.
func about(request any) (namespace, target string) {
	if m, ok := request.(namespaced); ok {
		namespace = m.GetNamespace()
		if _, every := request.(*weirv1.CreateTokenRequest); !every {
			namespace = topics.Namespace(namespace)
		}
	}
	switch m := request.(type) {
	case *weirv1.SendRequest:
		if len(m.GetMessages()) == 1 {
			target = m.GetMessages()[0].GetType()
		}
	case *weirv1.CallRequest:
		target = m.GetMessage().GetType()
	case interface{ GetOnlyNamespace() string }:
		target = m.GetOnlyNamespace()
	case interface{ GetName() string }:
		target = m.GetName()
	case interface{ GetTopic() string }:
		target = m.GetTopic()
	case interface{ GetId() string }:
		target = m.GetId()
	}
	return namespace, target
}

// made finds the name of what a call made, where the request has none.
func made(answer any) string {
	switch m := answer.(type) {
	case interface{ GetPipeline() *weirv1.Pipeline }:
		return m.GetPipeline().GetName()
	case interface{ GetToken() *weirv1.Token }:
		return m.GetToken().GetId()
	}
	return ""
}

// auditHandler answers AuditService.
type auditHandler struct{ log *audit.Log }

func (h *auditHandler) ReadAudit(ctx context.Context, r *connect.Request[weirv1.ReadAuditRequest], s *connect.ServerStream[weirv1.ReadAuditResponse]) error {
	// The headers go at once: whoever follows wants to know that it is heard, though nothing comes for long.
	if err := s.Send(nil); err != nil {
		return err
	}
	since, caller := time.Time{}, auth.From(ctx)
	if t := r.Msg.GetSince(); t != nil {
		since = t.AsTime()
	}
	batch := &weirv1.ReadAuditResponse{}
	send := func() error {
		if len(batch.Entries) == 0 {
			return nil
		}
		err := s.Send(batch)
		batch = &weirv1.ReadAuditResponse{}
		return err
	}
	visit := func(e audit.Entry) error {
		if caller.Sees(e.Namespace) {
			batch.Entries = append(batch.Entries, auditMessage(e))
		}
		if r.Msg.GetFollow() || len(batch.Entries) >= maxAuditBatch {
			return send()
		}
		return nil
	}
	if err := h.log.Read(ctx, since, r.Msg.GetFollow(), visit); err != nil {
		return err
	}
	return send()
}

func auditMessage(e audit.Entry) *weirv1.AuditEntry {
	return &weirv1.AuditEntry{
		Time: timestamppb.New(e.Time), Who: e.Who, Role: e.Role, Method: e.Method, Namespace: e.Namespace, Target: e.Target,
		Outcome: e.Outcome, Remote: e.Remote, ForwardedFor: e.ForwardedFor, Count: uint32(e.Count),
	}
}
