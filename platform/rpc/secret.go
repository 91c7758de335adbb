package rpc

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/auth/secrets"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// secretHandler answers SecretService.
type secretHandler struct {
	node *raftmeta.Node
	ring *secrets.Ring
}

func (h *secretHandler) SetSecret(ctx context.Context, r *connect.Request[weirv1.SetSecretRequest]) (*connect.Response[weirv1.SetSecretResponse], error) {
	return unary(ctx, r, h.set)
}

func (h *secretHandler) ListSecrets(ctx context.Context, r *connect.Request[weirv1.ListSecretsRequest]) (*connect.Response[weirv1.ListSecretsResponse], error) {
	return unary(ctx, r, h.list)
}

func (h *secretHandler) DeleteSecret(ctx context.Context, r *connect.Request[weirv1.DeleteSecretRequest]) (*connect.Response[weirv1.DeleteSecretResponse], error) {
	return unary(ctx, r, h.remove)
}

func (h *secretHandler) OpenSecret(ctx context.Context, r *connect.Request[weirv1.OpenSecretRequest]) (*connect.Response[weirv1.OpenSecretResponse], error) {
	return unary(ctx, r, func(_ context.Context, q *weirv1.OpenSecretRequest) (*weirv1.OpenSecretResponse, error) {
		value, err := OpenSecret(h.node.View(), h.ring, topics.Namespace(q.GetNamespace()), q.GetName())
		return &weirv1.OpenSecretResponse{Value: value}, err
	})
}

func (h *secretHandler) set(ctx context.Context, r *weirv1.SetSecretRequest) (*weirv1.SetSecretResponse, error) {
	namespace := topics.Namespace(r.GetNamespace())
	if !utf8.Valid(r.GetValue()) {
		return nil, fmt.Errorf("set secret %s: its value is not UTF-8; encode bytes as base64 if what uses it can read that: %w", r.GetName(), secrets.ErrValue)
	}
	if err := h.shared(); err != nil {
		return nil, err
	}
	key, err := h.ring.Make()
	if err != nil {
		return nil, err
	}
	sealed, err := key.Seal(namespace, r.GetName(), r.GetValue())
	if err != nil {
		return nil, err
	}
	if _, err := h.node.Propose(ctx, &catalog.SetSecret{At: time.Now().UnixMicro(), Namespace: namespace, Name: r.GetName(), Key: key.ID(), Sealed: sealed}); err != nil {
		return nil, err
	}
	known, ok := h.node.View().Secret(namespace, r.GetName())
	if !ok {
		return nil, fmt.Errorf("set secret %s: it was deleted again meanwhile: %w", r.GetName(), catalog.ErrConflict)
	}
	return &weirv1.SetSecretResponse{Secret: secretMessage(known)}, nil
}

// shared refuses to seal with a key that only one of several controllers has: the
// next leader could not open what it made.
func (h *secretHandler) shared() error {
	if !h.ring.Own() {
		return nil
	}
	members, err := h.node.Members()
	if err != nil {
		return err
	}
	if len(members) > 1 {
		return &hinted{fmt.Errorf("%d controllers need one key of secrets: %w", len(members), secrets.ErrKey),
			"make a file by: openssl rand -base64 32, give it to all controllers, and start them with --secrets-key-file FILE"}
	}
	return nil
}

func (h *secretHandler) list(_ context.Context, r *weirv1.ListSecretsRequest) (*weirv1.ListSecretsResponse, error) {
	out := &weirv1.ListSecretsResponse{}
	for s := range h.node.View().Secrets(topics.Namespace(r.GetNamespace())) {
		out.Secrets = append(out.Secrets, secretMessage(s))
	}
	return out, nil
}

func (h *secretHandler) remove(ctx context.Context, r *weirv1.DeleteSecretRequest) (*weirv1.DeleteSecretResponse, error) {
	_, err := h.node.Propose(ctx, &catalog.DeleteSecret{At: time.Now().UnixMicro(), Namespace: topics.Namespace(r.GetNamespace()), Name: r.GetName()})
	return &weirv1.DeleteSecretResponse{}, err
}

func secretMessage(s *catalog.Secret) *weirv1.Secret {
	return &weirv1.Secret{Namespace: s.Namespace, Name: s.Name, Created: timestamppb.New(time.UnixMicro(s.Created)), Set: timestamppb.New(time.UnixMicro(s.Set))}
}

// OpenSecret gives a secret's value.
func OpenSecret(state *catalog.State, ring *secrets.Ring, namespace, name string) ([]byte, error) {
	known, ok := state.Secret(namespace, name)
	if !ok {
		return nil, fmt.Errorf("there is no secret %s in namespace %s: %w", name, namespace, catalog.ErrNotFound)
	}
	key, err := ring.Key()
	if err != nil {
		return nil, fmt.Errorf("open secret %s: %w", name, err)
	}
	return key.Open(namespace, name, known.Key, known.Sealed)
}

// CheckSecrets opens all secrets, and looks whether other controllers could.
func CheckSecrets(node *raftmeta.Node, ring *secrets.Ring) Check {
	return Check{Name: "secrets", Do: func(context.Context) ([]Finding, error) {
		var found []Finding
		count := 0
		for s := range node.View().Secrets("") {
			count++
			if _, err := OpenSecret(node.View(), ring, s.Namespace, s.Name); err != nil && len(found) < maxFindingsShown {
				found = append(found, Finding{Error, fmt.Sprintf("namespace %s: %v", s.Namespace, err), "give this controller the key that the secret was sealed with, or set the secret again"})
			}
		}
		members, err := node.Members()
		if err != nil {
			return found, err
		}
		if ring.Own() && len(members) > 1 && count > 0 {
			found = append(found, Finding{Warning, fmt.Sprintf("%d controllers have each a key of their own: after a change of the leader, secrets cannot be opened", len(members)),
				"copy secrets.key of the one that sealed them to all, and start them with --secrets-key-file"})
		}
		if len(found) == 0 {
			found = []Finding{{OK, fmt.Sprintf("%d secrets, each of which opens", count), ""}}
		}
		return found, nil
	}}
}
