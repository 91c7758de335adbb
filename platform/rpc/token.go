package rpc

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/auth"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// maxTTL is the longest time that a token may be good for; longer is for ever, which is 0.
const maxTTL = 100 * 365 * 24 * time.Hour

// tokenHandler answers TokenService.
type tokenHandler struct{ node *raftmeta.Node }

func (h *tokenHandler) CreateToken(ctx context.Context, r *connect.Request[weirv1.CreateTokenRequest]) (*connect.Response[weirv1.CreateTokenResponse], error) {
	return unary(ctx, r, h.create)
}

func (h *tokenHandler) ListTokens(ctx context.Context, r *connect.Request[weirv1.ListTokensRequest]) (*connect.Response[weirv1.ListTokensResponse], error) {
	return unary(ctx, r, h.list)
}

func (h *tokenHandler) RevokeToken(ctx context.Context, r *connect.Request[weirv1.RevokeTokenRequest]) (*connect.Response[weirv1.RevokeTokenResponse], error) {
	return unary(ctx, r, h.revoke)
}

func (h *tokenHandler) create(ctx context.Context, r *weirv1.CreateTokenRequest) (*weirv1.CreateTokenResponse, error) {
	ttl := time.Duration(r.GetTtlMs()) * time.Millisecond
	if r.GetTtlMs() < 0 || r.GetTtlMs() > maxTTL.Milliseconds() {
		return nil, fmt.Errorf("create token: a time to live of %d ms; choose up to a hundred years, or 0 for ever: %w", r.GetTtlMs(), catalog.ErrInvalid)
	}
	t, known, err := CreateToken(ctx, h.node, catalog.CreateToken{Role: catalog.Role(r.GetRole()), Namespace: r.GetNamespace(), Label: r.GetLabel()}, ttl)
	if err != nil {
		return nil, err
	}
	return &weirv1.CreateTokenResponse{Token: tokenMessage(known), Bearer: t.Reveal()}, nil
}

// CreateToken draws a token and enters it into the catalog. Id, hash and times of
// the command are set here; a ttl of zero is for ever.
func CreateToken(ctx context.Context, node *raftmeta.Node, c catalog.CreateToken, ttl time.Duration) (auth.Token, *catalog.Token, error) {
	t, now := auth.NewToken(), time.Now()
	c.At, c.ID, c.Hash = now.UnixMicro(), t.ID, t.Hash()
	if ttl > 0 {
		c.Expires = now.Add(ttl).UnixMicro()
	}
	if _, err := node.Propose(ctx, &c); err != nil {
		return t, nil, err
	}
	known, ok := node.View().Token(t.ID)
	if !ok {
		return t, nil, fmt.Errorf("create token %s: it is gone again: %w", t.ID, catalog.ErrConflict)
	}
	return t, known, nil
}

func (h *tokenHandler) list(ctx context.Context, _ *weirv1.ListTokensRequest) (*weirv1.ListTokensResponse, error) {
	caller, out := auth.From(ctx), &weirv1.ListTokensResponse{}
	for t := range h.node.View().Tokens() {
		if caller.Sees(t.Namespace) {
			out.Tokens = append(out.Tokens, tokenMessage(t))
		}
	}
	return out, nil
}

func (h *tokenHandler) revoke(ctx context.Context, r *weirv1.RevokeTokenRequest) (*weirv1.RevokeTokenResponse, error) {
	t, ok := h.node.View().Token(r.GetId())
	if !ok || !auth.From(ctx).Sees(t.Namespace) {
		return nil, &hinted{fmt.Errorf("revoke token %s: there is no such token: %w", r.GetId(), catalog.ErrNotFound), "weir token list shows those that there are; the id stands between the underscores of a token"}
	}
	if _, err := h.node.Propose(ctx, &catalog.RevokeToken{At: time.Now().UnixMicro(), ID: t.ID}); err != nil {
		return nil, err
	}
	if now, ok := h.node.View().Token(t.ID); ok {
		t = now
	}
	return &weirv1.RevokeTokenResponse{Token: tokenMessage(t)}, nil
}

func tokenMessage(t *catalog.Token) *weirv1.Token {
	out := &weirv1.Token{Id: t.ID, Role: string(t.Role), Namespace: t.Namespace, Label: t.Label, Created: timestamppb.New(time.UnixMicro(t.Created))}
	if t.Expires != 0 {
		out.Expires = timestamppb.New(time.UnixMicro(t.Expires))
	}
	if t.Revoked != 0 {
		out.Revoked = timestamppb.New(time.UnixMicro(t.Revoked))
	}
	return out
}
