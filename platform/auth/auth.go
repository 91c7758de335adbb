// Package auth decides who may call: the form of tokens, who a token stands for,
// which role each method of the API needs, how often one may fail. Decisions are
// functions of their arguments, the time among them; tokens are looked up by a
// function that is passed in. It must not know the network, Connect or the catalog's log.
package auth

import (
	"context"
	"errors"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// What a refusal wraps; callers branch on them.
var (
	ErrUnauthenticated = errors.New("not authenticated")
	ErrDenied          = errors.New("not permitted")
	ErrThrottled       = errors.New("too many wrong tokens")
	// ErrExposed refuses a server that would be open to the network without protection.
	ErrExposed = errors.New("open to the network")
)

// Refusal is a call that is not let in, with what to do about it.
type Refusal struct {
	kind error
	text string
	hint string
}

func (r *Refusal) Error() string { return r.text }

// Unwrap gives the kind.
func (r *Refusal) Unwrap() error { return r.kind }

// Hint is what to do next.
func (r *Refusal) Hint() string { return r.hint }

// Loopback is the id of callers of a server without authentication.
const Loopback = "loopback"

// Principal is who calls.
type Principal struct {
	ID        string // of the token, or Loopback
	Role      catalog.Role
	Namespace string // empty: every namespace, and the cluster itself
}

// Anyone is the principal of a server without authentication, which only this machine reaches.
var Anyone = Principal{ID: Loopback, Role: catalog.RoleAdmin}

// Sees tells whether what belongs to a namespace may be shown to the principal.
func (p Principal) Sees(namespace string) bool {
	return p.Namespace == "" || p.Namespace == namespace
}

type principalKey struct{}

// With puts the caller into a context.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// From finds the caller; Anyone where nobody was asked.
func From(ctx context.Context) Principal {
	if p, ok := ctx.Value(principalKey{}).(Principal); ok {
		return p
	}
	return Anyone
}
