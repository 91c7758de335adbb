package catalog

import (
	"fmt"
	"iter"
	"time"
)

// Limits of tokens.
const (
	// MaxTokens bounds what is kept. At the limit a new one takes the place of the oldest that is revoked or expired.
	MaxTokens       = 1024
	MaxTokenIDBytes = 32
)

// Role says what a token is good for.
type Role string

// The roles. Each of admin, deploy and read may what the next one may; a worker may join and nothing else.
const (
	RoleAdmin  Role = "admin"
	RoleDeploy Role = "deploy"
	RoleRead   Role = "read"
	RoleWorker Role = "worker"
)

// Token is a right to call. The secret is not here: its hash is enough to know it again.
type Token struct {
	ID        string `json:"id"`
	Role      Role   `json:"role"`
	Namespace string `json:"namespace,omitempty"` // empty: all of them, and the cluster itself
	Hash      Digest `json:"hash"`                // SHA-256 of the secret
	Label     string `json:"label,omitempty"`
	Created   int64  `json:"created"`
	Expires   int64  `json:"expires,omitempty"` // zero: never
	// Revoked is when it was taken back. It is kept for a while, so that whoever uses it is told.
	Revoked int64  `json:"revoked,omitempty"`
	Changed uint64 `json:"changed"`
}

// Live tells whether the token is good at a time.
func (t *Token) Live(at int64) bool {
	return t.Revoked == 0 && (t.Expires == 0 || at < t.Expires)
}

// CreateToken makes a token. Its id and secret are drawn by whoever proposes it.
type CreateToken struct {
	At        int64  `json:"at"`
	ID        string `json:"id"`
	Role      Role   `json:"role"`
	Namespace string `json:"namespace,omitempty"`
	Hash      Digest `json:"hash"`
	Label     string `json:"label,omitempty"`
	Expires   int64  `json:"expires,omitempty"`
}

func (c *CreateToken) apply(tx *txn) error {
	what := "create token " + c.ID
	if err := checkName("token", c.ID); err != nil {
		return err
	}
	if len(c.ID) > MaxTokenIDBytes || c.Hash.IsZero() {
		return refuse(ErrInvalid, "%s: it needs an id of at most %d bytes and a hash", what, MaxTokenIDBytes)
	}
	switch c.Role {
	case RoleAdmin, RoleDeploy, RoleRead:
	case RoleWorker:
		if c.Namespace != "" {
			return refuse(ErrInvalid, "%s: a worker runs tasks of all namespaces; leave the namespace out", what)
		}
	default:
		return refuse(ErrInvalid, "%s: there is no role %q; choose %s, %s, %s or %s", what, c.Role[:min(len(c.Role), MaxNameBytes)], RoleAdmin, RoleDeploy, RoleRead, RoleWorker)
	}
	if c.Namespace != "" {
		if err := tx.requireNamespace(what, c.Namespace); err != nil {
			return err
		}
	}
	if len(c.Label) > MaxLabelBytes {
		return refuse(ErrInvalid, "%s: a label of %d bytes, the limit is %d", what, len(c.Label), MaxLabelBytes)
	}
	if c.Expires != 0 && c.Expires <= c.At {
		return refuse(ErrInvalid, "%s: it would have expired at %s; give it a time to live above zero", what, time.UnixMicro(c.Expires).UTC().Format(time.RFC3339))
	}
	if _, ok := tx.Token(c.ID); ok {
		return refuse(ErrExists, "%s: draw another id", what)
	}
	if tx.tokens.len() >= MaxTokens {
		old := tx.oldestDeadToken(c.At)
		if old == nil {
			return refuse(ErrTooLarge, "%s: there are %d that are good, the limit; revoke those that nobody uses", what, MaxTokens)
		}
		tx.tokens = tx.tokens.without(old.ID)
		tx.deleted(KindToken, old.ID)
	}
	tx.tokens = tx.tokens.with(c.ID, &Token{
		ID: c.ID, Role: c.Role, Namespace: c.Namespace, Hash: c.Hash, Label: c.Label, Created: c.At, Expires: c.Expires, Changed: tx.Revision,
	})
	tx.changed(KindToken, c.ID)
	return nil
}

func (s *State) oldestDeadToken(at int64) *Token {
	var oldest *Token
	for t := range s.Tokens() {
		if !t.Live(at) && (oldest == nil || t.Created < oldest.Created) {
			oldest = t
		}
	}
	return oldest
}

// RevokeToken takes a token back, at once and for ever.
type RevokeToken struct {
	At int64  `json:"at"`
	ID string `json:"id"`
}

func (c *RevokeToken) apply(tx *txn) error {
	t, ok := tx.Token(c.ID)
	if !ok {
		return refuse(ErrNotFound, "revoke token %s: see the list of tokens", c.ID[:min(len(c.ID), MaxNameBytes)])
	}
	if t.Revoked != 0 {
		return nil
	}
	next := *t
	next.Revoked, next.Changed = max(c.At, 1), tx.Revision
	tx.tokens = tx.tokens.with(c.ID, &next)
	tx.changed(KindToken, c.ID)
	return nil
}

// tokenOf finds a good token of a namespace, which keeps the namespace from being
// deleted: made anew, it would be open to whoever had the old one.
func (s *State) tokenOf(namespace string, at int64) (string, bool) {
	for t := range s.Tokens() {
		if t.Namespace == namespace && t.Live(at) {
			return t.ID, true
		}
	}
	return "", false
}

// Token finds a token by its id.
func (s *State) Token(id string) (*Token, bool) { return s.tokens.get(id) }

// Tokens yields all tokens by id.
func (s *State) Tokens() iter.Seq[*Token] { return values(s.tokens, "") }

// String keeps the hash out of logs.
func (t *Token) String() string { return fmt.Sprintf("%s (%s)", t.ID, t.Role) }
