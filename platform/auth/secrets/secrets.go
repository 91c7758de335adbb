// Package secrets seals the values that pipelines need and nobody should read:
// passwords, keys. A pipeline file refers to one as ${secret:NAME}; the reference
// stays in files, graphs and state, and is replaced by the value in memory, when an
// operator opens. It must not know where sealed values are kept.
package secrets

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Limits of values. A shorter one could not be taken out of texts without spoiling them.
const (
	MinValueBytes = 4
	MaxValueBytes = 4 << 10
)

// KeyBytes is the length of the key: AES-256.
const KeyBytes = 32

var (
	// ErrKey says that a value was sealed with another key than this process has.
	ErrKey = errors.New("sealed with another key")
	// ErrDamaged says that a sealed value is not what was sealed under that name.
	ErrDamaged = errors.New("damaged")
	// ErrValue refuses a value.
	ErrValue = errors.New("not a value of a secret")
)

// Key seals and opens. Printing one shows its id.
type Key struct {
	id   string
	aead cipher.AEAD
}

// ID tells keys apart without telling anything of them.
func (k *Key) ID() string { return k.id }

// String shows the id only.
func (k *Key) String() string { return "key " + k.id }

// NewKey makes a key of its bytes.
func NewKey(b []byte) (*Key, error) {
	if len(b) != KeyBytes {
		return nil, fmt.Errorf("a key of %d bytes; %d are needed", len(b), KeyBytes)
	}
	block, err := aes.NewCipher(b)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte("weir secrets key\x00"), b...))
	return &Key{id: hex.EncodeToString(sum[:4]), aead: aead}, nil
}

// ReadKey reads a file with the key in base64, as GenerateKey writes it.
func ReadKey(file string) (*Key, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read key of secrets: %w", err)
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(b) != KeyBytes {
		return nil, fmt.Errorf("key of secrets %s: it is not %d bytes in base64; make one by: openssl rand -base64 %d", file, KeyBytes, KeyBytes)
	}
	return NewKey(b)
}

// GenerateKey writes a new key into a file that there is not yet, for its owner alone.
func GenerateKey(file string) (*Key, error) {
	var b [KeyBytes]byte
	rand.Read(b[:]) // never fails
	// Linked into place: a file that is there is whole, and another's is never replaced.
	draft := file + ".new"
	f, err := os.OpenFile(draft, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write key of secrets: %w", err)
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(b[:]) + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Link(draft, file)
	}
	_ = os.Remove(draft) // it has another name by now, or is worth nothing
	if errors.Is(err, fs.ErrExist) {
		return ReadKey(file)
	}
	if err != nil {
		return nil, fmt.Errorf("write key of secrets: %w", err)
	}
	return NewKey(b[:])
}

// A sealed value is the nonce, then what AES-256-GCM makes of the value, with
// namespace and name as data that has to fit: so a value cannot be moved to a
// name under which somebody else may use it.
//
//	0       12                  n-16  n
//	+-------+-------------------+-----+
//	| nonce | value, encrypted  | tag |
//	+-------+-------------------+-----+

// Seal encrypts a value.
func (k *Key) Seal(namespace, name string, value []byte) ([]byte, error) {
	if len(value) < MinValueBytes || len(value) > MaxValueBytes {
		return nil, fmt.Errorf("secret %s has %d bytes; %d to %d are kept: %w", name, len(value), MinValueBytes, MaxValueBytes, ErrValue)
	}
	nonce := make([]byte, k.aead.NonceSize(), k.aead.NonceSize()+len(value)+k.aead.Overhead())
	rand.Read(nonce)
	return k.aead.Seal(nonce, nonce, value, place(namespace, name)), nil
}

// Open decrypts what Seal made with the key of that id.
func (k *Key) Open(namespace, name, keyID string, sealed []byte) ([]byte, error) {
	if keyID != k.id {
		return nil, fmt.Errorf("secret %s is sealed with key %s, and this server has key %s; give all controllers the same --secrets-key-file, or set the secret again: %w", name, keyID, k.id, ErrKey)
	}
	n := k.aead.NonceSize()
	if len(sealed) < n {
		return nil, fmt.Errorf("secret %s: %w", name, ErrDamaged)
	}
	value, err := k.aead.Open(nil, sealed[:n], sealed[n:], place(namespace, name))
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", name, ErrDamaged)
	}
	return value, nil
}

func place(namespace, name string) []byte {
	return []byte("weir secret\x00" + namespace + "\x00" + name)
}
