package cli

import (
	"context"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func (f *fake) SetSecret(_ context.Context, r *connect.Request[weirv1.SetSecretRequest]) (*connect.Response[weirv1.SetSecretResponse], error) {
	if string(r.Msg.GetValue()) != "hunter22" {
		return nil, refuse(connect.CodeInvalidArgument, "set secret "+r.Msg.GetName()+": another value came", "")
	}
	return connect.NewResponse(&weirv1.SetSecretResponse{Secret: &weirv1.Secret{Name: r.Msg.GetName()}}), nil
}

func (f *fake) ListSecrets(context.Context, *connect.Request[weirv1.ListSecretsRequest]) (*connect.Response[weirv1.ListSecretsResponse], error) {
	return connect.NewResponse(&weirv1.ListSecretsResponse{Secrets: []*weirv1.Secret{{Namespace: "default", Name: "db-password", Created: someTime, Set: someTime}}}), nil
}

func (f *fake) DeleteSecret(_ context.Context, r *connect.Request[weirv1.DeleteSecretRequest]) (*connect.Response[weirv1.DeleteSecretResponse], error) {
	if r.Msg.GetName() != "db-password" {
		return nil, refuse(connect.CodeNotFound, "delete secret "+r.Msg.GetName()+": see the list of secrets", "")
	}
	return connect.NewResponse(&weirv1.DeleteSecretResponse{}), nil
}
