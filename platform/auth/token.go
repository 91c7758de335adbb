package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// A token as people hold it:
//
//	weir_ k3v7q2mfxa _ 52 characters
//	      id           secret, 32 random bytes
//
// Both parts are lower-case base32 without padding, so that a double click selects
// the whole and no shell minds it. The id may be shown; the secret is nowhere but with its holder.
const (
	Prefix      = "weir_"
	idBytes     = 6
	idChars     = 10
	secretBytes = 32
	secretChars = 52
	tokenChars  = len(Prefix) + idChars + 1 + secretChars
)

var letters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Token is a token in whole. Printing one shows its id only; Reveal gives the text.
type Token struct {
	ID     string
	secret [secretBytes]byte
}

// NewToken draws a token.
func NewToken() Token {
	var t Token
	var id [idBytes]byte
	rand.Read(id[:]) // never fails: the program ends if there is no randomness
	rand.Read(t.secret[:])
	t.ID = letters.EncodeToString(id[:])
	return t
}

// Reveal is the token as its holder keeps it.
func (t Token) Reveal() string { return Prefix + t.ID + "_" + letters.EncodeToString(t.secret[:]) }

// Hash is what the catalog keeps of the secret. It is random, so one round of SHA-256 is enough.
func (t Token) Hash() catalog.Digest { return sha256.Sum256(t.secret[:]) }

// String shows no secret.
func (t Token) String() string { return Prefix + t.ID + "_…" }

// GoString shows no secret either.
func (t Token) GoString() string { return t.String() }

// ParseToken reads the text of a token.
func ParseToken(text string) (Token, error) {
	malformed := &Refusal{ErrUnauthenticated, "what was given as a token is none",
		fmt.Sprintf("a token begins with %s and has %d characters; it may have been cut in copying", Prefix, tokenChars)}
	rest, ok := strings.CutPrefix(text, Prefix)
	if !ok || len(text) != tokenChars || rest[idChars] != '_' {
		return Token{}, malformed
	}
	t := Token{ID: rest[:idChars]}
	id, err := letters.DecodeString(t.ID)
	if err != nil || letters.EncodeToString(id) != t.ID {
		return Token{}, malformed
	}
	secret, err := letters.DecodeString(rest[idChars+1:])
	if err != nil || copy(t.secret[:], secret) != secretBytes || letters.EncodeToString(secret) != rest[idChars+1:] {
		return Token{}, malformed
	}
	return t, nil
}

// Lookup finds a token by its id.
type Lookup func(id string) (*catalog.Token, bool)

// Identify tells who holds the token in a header "Bearer TOKEN". That a token is
// expired or revoked is said only to who knows its secret.
func Identify(header string, find Lookup, now time.Time) (Principal, error) {
	if header == "" {
		return Principal{}, &Refusal{ErrUnauthenticated, "this server wants a token, and the call brought none",
			"give one by WEIR_TOKEN or --token; an admin makes them: weir token create"}
	}
	scheme, text, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return Principal{}, &Refusal{ErrUnauthenticated, "the call authenticates in a way that this server does not know",
			"send the header Authorization: Bearer TOKEN"}
	}
	given, err := ParseToken(strings.TrimSpace(text))
	if err != nil {
		return Principal{}, err
	}
	known, ok := find(given.ID)
	if !ok {
		known = &catalog.Token{} // compared all the same, so that time does not tell which ids there are
	}
	hash := given.Hash()
	if same := subtle.ConstantTimeCompare(hash[:], known.Hash[:]) == 1; !same || !ok {
		return Principal{}, &Refusal{ErrUnauthenticated, "this server knows no such token",
			"it may be of another cluster, or from long ago; weir token list shows the ids of those that there are"}
	}
	if err := Good(known, now); err != nil {
		return Principal{}, err
	}
	return Principal{ID: known.ID, Role: known.Role, Namespace: known.Namespace}, nil
}

// Good refuses a token that is over.
func Good(t *catalog.Token, now time.Time) error {
	const hint = "ask an admin for another: weir token create"
	switch at := now.UnixMicro(); {
	case t.Revoked != 0:
		return &Refusal{ErrUnauthenticated, fmt.Sprintf("token %s was revoked at %s", t.ID, moment(t.Revoked)), hint}
	case !t.Live(at):
		return &Refusal{ErrUnauthenticated, fmt.Sprintf("token %s expired at %s", t.ID, moment(t.Expires)), hint}
	}
	return nil
}

func moment(micros int64) string { return time.UnixMicro(micros).UTC().Format(time.RFC3339) }
