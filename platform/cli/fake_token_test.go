package cli

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

// The fake has one token of each kind, and wants the header that the client sends
// with a call that needs a role.
func (f *fake) CreateToken(_ context.Context, r *connect.Request[weirv1.CreateTokenRequest]) (*connect.Response[weirv1.CreateTokenResponse], error) {
	if r.Header().Get("Authorization") == "Bearer of-a-reader" {
		return nil, refuse(connect.CodePermissionDenied, "token k7 has the role read, and CreateToken needs admin", "use a token of that role: weir token create --role admin")
	}
	t := &weirv1.Token{Id: "k8", Role: r.Msg.GetRole(), Namespace: r.Msg.GetNamespace(), Label: r.Msg.GetLabel(), Created: someTime}
	if ttl := r.Msg.GetTtlMs(); ttl > 0 {
		t.Expires = timestamppb.New(someTime.AsTime().Add(time.Duration(ttl) * time.Millisecond))
	}
	return connect.NewResponse(&weirv1.CreateTokenResponse{Token: t, Bearer: "weir_k8_secret"}), nil
}

func (f *fake) ListTokens(context.Context, *connect.Request[weirv1.ListTokensRequest]) (*connect.Response[weirv1.ListTokensResponse], error) {
	return connect.NewResponse(&weirv1.ListTokensResponse{Tokens: []*weirv1.Token{
		{Id: "k7", Role: "read", Namespace: "team-a", Created: someTime, Expires: someTime, Label: "dashboard"},
		{Id: "k8", Role: "admin", Created: someTime, Revoked: someTime},
	}}), nil
}

func (f *fake) RevokeToken(_ context.Context, r *connect.Request[weirv1.RevokeTokenRequest]) (*connect.Response[weirv1.RevokeTokenResponse], error) {
	if r.Msg.GetId() != "k7" {
		return nil, refuse(connect.CodeNotFound, "revoke token "+r.Msg.GetId()+": there is no such token", "weir token list shows those that there are")
	}
	return connect.NewResponse(&weirv1.RevokeTokenResponse{Token: &weirv1.Token{Id: "k7"}}), nil
}
