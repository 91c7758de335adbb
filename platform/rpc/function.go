package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/auth"
	"github.com/weirstream/weir/platform/auth/audit"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/gateway"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// functionHandler answers FunctionService.
type functionHandler struct{ gateway *gateway.Gateway }

func (h *functionHandler) Send(ctx context.Context, r *connect.Request[weirv1.SendRequest]) (*connect.Response[weirv1.SendResponse], error) {
	return unary(ctx, r, h.gateway.Send)
}

func (h *functionHandler) Call(ctx context.Context, r *connect.Request[weirv1.CallRequest]) (*connect.Response[weirv1.CallResponse], error) {
	return unary(ctx, r, h.gateway.Call)
}

func (h *functionHandler) GetFunctionState(ctx context.Context, r *connect.Request[weirv1.GetFunctionStateRequest]) (*connect.Response[weirv1.GetFunctionStateResponse], error) {
	return unary(ctx, r, h.gateway.State)
}

func (h *functionHandler) ListFunctions(ctx context.Context, r *connect.Request[weirv1.ListFunctionsRequest]) (*connect.Response[weirv1.ListFunctionsResponse], error) {
	return unary(ctx, r, h.gateway.List)
}

func (h *functionHandler) GetFunction(ctx context.Context, r *connect.Request[weirv1.GetFunctionRequest]) (*connect.Response[weirv1.GetFunctionResponse], error) {
	return unary(ctx, r, h.gateway.Info)
}

func (h *functionHandler) ListQuarantine(ctx context.Context, r *connect.Request[weirv1.ListQuarantineRequest]) (*connect.Response[weirv1.ListQuarantineResponse], error) {
	return unary(ctx, r, h.gateway.Quarantine)
}

func (h *functionHandler) ControlQuarantine(ctx context.Context, r *connect.Request[weirv1.ControlQuarantineRequest]) (*connect.Response[weirv1.ControlQuarantineResponse], error) {
	return unary(ctx, r, h.gateway.Control)
}

// vendorType takes the type name out of application/vnd.NAMESPACE/NAME.
func vendorType(content string) (string, bool) {
	content, _, _ = strings.Cut(content, ";")
	kind, ok := strings.CutPrefix(strings.TrimSpace(content), "application/vnd.")
	return kind, ok && strings.Contains(kind, "/")
}

// Headers of messages over plain HTTP.
const (
	headerTypename = "Weir-Typename"
	headerKey      = "Idempotency-Key"
	jsonContent    = "application/json"
	bytesContent   = "application/octet-stream"
)

// functionPages answers plain HTTP to an address: PUT stores a message, POST calls.
//
//	PUT  /v1/functions/<namespace>/<name>/<id>?namespace=
//	POST /v1/functions/<namespace>/<name>/<id>?namespace=&timeout=5s&committed=true
//
// The body is the value as it is. Its type name is io.weir/json where the content
// type is JSON or what curl -d calls it, otherwise what the header Weir-Typename
// says, or io.weir/bytes. An id with characters that paths do not have is percent-encoded.
type functionPages struct {
	gateway *gateway.Gateway
	audit   *audit.Log // nil: nothing is written down
}

func (h *functionPages) handle(mux *http.ServeMux) {
	const path = auth.FunctionsPath + "{ns}/{name}/{id...}"
	mux.HandleFunc("PUT "+path, h.page("Send", h.send))
	mux.HandleFunc("POST "+path, h.page("Call", h.call))
}

func (h *functionPages) page(method string, do func(http.ResponseWriter, *http.Request, string, *weirv1.FunctionMessage) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		namespace := r.URL.Query().Get("namespace")
		err := auth.AccessTo(r.URL.Path).AdmitNamespace(auth.From(r.Context()), namespace)
		kind := r.PathValue("ns") + "/" + r.PathValue("name")
		if err == nil {
			var m *weirv1.FunctionMessage
			if m, err = messageOf(w, r, kind); err == nil {
				err = do(w, r, namespace, m)
			}
		}
		if h.audit != nil {
			e := entryOf("weir.v1.FunctionService/"+method, r.RemoteAddr, r.Header, auth.From(r.Context()), err)
			e.Namespace, e.Target, e.Remote = topics.Namespace(namespace), kind, host(e.Remote)
			h.audit.Gather(e)
		}
		if err != nil {
			refusePage(w, err)
		}
	}
}

// messageOf reads a message to an address.
func messageOf(w http.ResponseWriter, r *http.Request, kind string) (*weirv1.FunctionMessage, error) {
	m := &weirv1.FunctionMessage{Type: kind, Id: r.PathValue("id"), Typename: r.Header.Get(headerTypename)}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, functions.MaxValueBytes))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, fmt.Errorf("the body has more than %d bytes, the limit of a message: %w", functions.MaxValueBytes, catalog.ErrTooLarge)
	}
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	m.Value = body
	if m.Value == nil {
		m.Value = []byte{}
	}
	if m.GetTypename() == "" {
		m.Typename = functions.BytesTypename
		// curl -d says that its body is a form, whatever it is.
		switch content, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.ToLower(strings.TrimSpace(content)) {
		case jsonContent:
			m.Typename = functions.JSONTypename
		default:
			// application/vnd.NAMESPACE/NAME is how StateFun's playground names a type.
			if kind, ok := vendorType(r.Header.Get("Content-Type")); ok {
				m.Typename = kind
			}
		case "", "application/x-www-form-urlencoded":
			if json.Valid(body) {
				m.Typename = functions.JSONTypename
			}
		}
	}
	if m.GetTypename() == functions.JSONTypename && !json.Valid(body) {
		return nil, fmt.Errorf("the body is called JSON and is none: %w", catalog.ErrInvalid)
	}
	return m, nil
}

func (h *functionPages) send(w http.ResponseWriter, r *http.Request, namespace string, m *weirv1.FunctionMessage) error {
	a, err := h.gateway.Send(r.Context(), &weirv1.SendRequest{Namespace: namespace, Messages: []*weirv1.FunctionMessage{m}, IdempotencyKey: r.Header.Get(headerKey)})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", jsonContent)
	_, _ = fmt.Fprintf(w, "{\"stored\":%d,\"duplicate\":%t}\n", a.GetStored(), a.GetDuplicate()) // the caller is gone if it fails
	return nil
}

func (h *functionPages) call(w http.ResponseWriter, r *http.Request, namespace string, m *weirv1.FunctionMessage) error {
	q := &weirv1.CallRequest{Namespace: namespace, Message: m, IdempotencyKey: r.Header.Get(headerKey)}
	if text := r.URL.Query().Get("timeout"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < time.Millisecond {
			return fmt.Errorf("timeout %q: write it like 500ms or 5s: %w", text, catalog.ErrInvalid)
		}
		q.TimeoutMs = uint32(min(d, 2*gateway.MaxTimeout).Milliseconds())
	}
	if text := r.URL.Query().Get("committed"); text != "" {
		var err error
		if q.Committed, err = strconv.ParseBool(text); err != nil {
			return fmt.Errorf("committed %q: write true or false: %w", text, catalog.ErrInvalid)
		}
	}
	a, err := h.gateway.Call(r.Context(), q)
	if err != nil {
		return err
	}
	w.Header().Set(headerTypename, a.GetTypename())
	if a.Value == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	content := bytesContent
	if a.GetTypename() == functions.JSONTypename {
		content = jsonContent
	}
	w.Header().Set("Content-Type", content)
	_, _ = w.Write(a.GetValue()) // the caller is gone if it fails
	return nil
}

// pageStatuses are those of plain HTTP by code; what is not in it is the server's fault.
var pageStatuses = map[connect.Code]int{
	connect.CodeInvalidArgument: http.StatusBadRequest, connect.CodeNotFound: http.StatusNotFound, connect.CodeAborted: http.StatusConflict,
	connect.CodeFailedPrecondition: http.StatusConflict, connect.CodeResourceExhausted: http.StatusTooManyRequests,
	connect.CodePermissionDenied: http.StatusForbidden, connect.CodeUnauthenticated: http.StatusUnauthorized,
	connect.CodeDeadlineExceeded: http.StatusGatewayTimeout, connect.CodeUnavailable: http.StatusServiceUnavailable, connect.CodeCanceled: 499,
}

// refusePage answers an error as Connect does: {"code","message"}, with the way out.
func refusePage(w http.ResponseWriter, err error) {
	out := struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"`
	}{codeOf(err).String(), err.Error(), ""}
	var h hinter
	if errors.As(err, &h) {
		out.Hint = h.Hint()
	}
	status, ok := pageStatuses[codeOf(err)]
	switch {
	case errors.Is(err, catalog.ErrTooLarge):
		status = http.StatusRequestEntityTooLarge
	case !ok:
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", jsonContent)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out) // the caller is gone if it fails
}
