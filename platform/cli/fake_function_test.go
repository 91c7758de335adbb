package cli

import (
	"context"
	"fmt"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
)

// fakeFunctions answers with what it was asked.
type fakeFunctions struct {
	weirv1connect.UnimplementedFunctionServiceHandler
	keys map[string]bool
}

func (f *fakeFunctions) find(kind string) error {
	if kind != "com.example/counter" {
		return refuse(connect.CodeNotFound, "no pipeline in namespace default has functions of type "+kind, "did you mean com.example/counter?")
	}
	return nil
}

func (f *fakeFunctions) Send(_ context.Context, r *connect.Request[weirv1.SendRequest]) (*connect.Response[weirv1.SendResponse], error) {
	for _, m := range r.Msg.GetMessages() {
		if err := f.find(m.GetType()); err != nil {
			return nil, err
		}
	}
	a := &weirv1.SendResponse{Stored: uint64(len(r.Msg.GetMessages())), Duplicate: f.keys[r.Msg.GetIdempotencyKey()]}
	if key := r.Msg.GetIdempotencyKey(); key != "" {
		f.keys = map[string]bool{key: true}
	}
	return connect.NewResponse(a), nil
}

func (f *fakeFunctions) Call(_ context.Context, r *connect.Request[weirv1.CallRequest]) (*connect.Response[weirv1.CallResponse], error) {
	m := r.Msg.GetMessage()
	if err := f.find(m.GetType()); err != nil {
		return nil, err
	}
	a := &weirv1.CallResponse{Type: m.GetType(), Id: m.GetId(), Typename: m.GetTypename()}
	switch {
	case m.GetId() == "silent":
		return nil, refuse(connect.CodeDeadlineExceeded, fmt.Sprintf("no answer in time: %d ms have passed", r.Msg.GetTimeoutMs()), "call again with --idempotency-key")
	case m.GetTypename() == "io.weir/bytes":
		a.Value = []byte{0xff, 0}
	case m.Value != nil:
		a.Value = fmt.Appendf(nil, `{"got":%s,"committed":%t}`, m.GetValue(), r.Msg.GetCommitted())
	}
	return connect.NewResponse(a), nil
}

func (f *fakeFunctions) GetFunctionState(_ context.Context, r *connect.Request[weirv1.GetFunctionStateRequest]) (*connect.Response[weirv1.GetFunctionStateResponse], error) {
	if err := f.find(r.Msg.GetType()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&weirv1.GetFunctionStateResponse{
		Pipeline: "shop", Origin: &weirv1.StateOrigin{Operator: r.Msg.GetType(), Checkpoint: 12, Revision: 1, Taken: someTime, Key: "id:utf8"},
		Entries: []*weirv1.StateEntry{{Key: `"` + r.Msg.GetId() + `"`, State: "n", Kind: "value", Value: "3"}},
	}), nil
}

var counterType = &weirv1.FunctionType{Type: "com.example/counter", Pipeline: "shop", State: "running", Module: "shop", ModuleDigest: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", Function: "counter"}

func (f *fakeFunctions) ListFunctions(context.Context, *connect.Request[weirv1.ListFunctionsRequest]) (*connect.Response[weirv1.ListFunctionsResponse], error) {
	return connect.NewResponse(&weirv1.ListFunctionsResponse{Functions: []*weirv1.FunctionType{counterType}}), nil
}

func (f *fakeFunctions) GetFunction(_ context.Context, r *connect.Request[weirv1.GetFunctionRequest]) (*connect.Response[weirv1.GetFunctionResponse], error) {
	if err := f.find(r.Msg.GetType()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&weirv1.GetFunctionResponse{
		Function: counterType, Doc: "Counts.", Parallelism: 2, MessagesTopic: "shop-messages", LastCheckpoint: someTime,
		States:  []*weirv1.FunctionState{{Name: "n", Kind: "value", Form: "framed", Codec: "row", Value: "1:value:int64", TtlMs: 3600000, TtlOn: "write"}, {Name: "seen", Kind: "map", Form: "hosted", Codec: "bytes"}},
		Ingress: []*weirv1.FunctionIngress{{Topic: "default/orders", Typename: "io.weir/json"}, {Topic: "default/notes", Field: "order.no", Typename: "com.example/note"}},
		Egress:  []*weirv1.FunctionEgress{{Id: "com.example/bills", Topic: "default/bills", Guarantee: "exactly_once"}},
	}), nil
}

func (f *fakeFunctions) ListQuarantine(_ context.Context, r *connect.Request[weirv1.ListQuarantineRequest]) (*connect.Response[weirv1.ListQuarantineResponse], error) {
	if r.Msg.GetId() == "bob" {
		return connect.NewResponse(&weirv1.ListQuarantineResponse{}), nil
	}
	return connect.NewResponse(&weirv1.ListQuarantineResponse{Functions: []*weirv1.QuarantinedFunction{{
		Type: "com.example/away", Id: "ann", Pipeline: "shop", Reason: "the endpoint refuses: POST http://127.0.0.1:8000/: status 404 Not Found", Since: someTime, Tries: 3, Messages: 1200,
	}}}), nil
}

func (f *fakeFunctions) ControlQuarantine(_ context.Context, r *connect.Request[weirv1.ControlQuarantineRequest]) (*connect.Response[weirv1.ControlQuarantineResponse], error) {
	if r.Msg.GetType() == "com.example/counter" {
		return nil, refuse(connect.CodeInvalidArgument, "its functions are a module's, which are never set aside", "what they refuse is among the dead letters: weir deadletter list shop")
	}
	return connect.NewResponse(&weirv1.ControlQuarantineResponse{}), nil
}
