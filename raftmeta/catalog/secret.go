package catalog

import "iter"

// Limits of secrets.
const (
	MaxSecrets     = 256     // of a namespace
	MaxSealedBytes = 5 << 10 // a value of 4 KiB and what sealing adds
	MaxKeyIDBytes  = 32
)

// Secret is a value that is sealed with a key which the catalog does not have.
type Secret struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Key       string `json:"key"` // the id of the key it is sealed with
	Sealed    []byte `json:"sealed"`
	Created   int64  `json:"created"`
	Set       int64  `json:"set"` // when its value was set
	Changed   uint64 `json:"changed"`
}

// String shows no value, not even a sealed one.
func (s *Secret) String() string { return Key(s.Namespace, s.Name) }

// SetSecret makes a secret or gives it another value.
type SetSecret struct {
	At        int64  `json:"at"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Key       string `json:"key"`
	Sealed    []byte `json:"sealed"`
}

func (c *SetSecret) apply(tx *txn) error {
	what := "set secret " + c.Name
	if err := checkName("secret", c.Name); err != nil {
		return err
	}
	if err := tx.requireNamespace(what, c.Namespace); err != nil {
		return err
	}
	if len(c.Sealed) == 0 || c.Key == "" || len(c.Key) > MaxKeyIDBytes {
		return refuse(ErrInvalid, "%s: it needs a sealed value and the id of its key", what)
	}
	if len(c.Sealed) > MaxSealedBytes {
		return refuse(ErrTooLarge, "%s: %d bytes sealed, the limit is %d; keep large things in a module's asset or outside", what, len(c.Sealed), MaxSealedBytes)
	}
	next := &Secret{Namespace: c.Namespace, Name: c.Name, Key: c.Key, Sealed: c.Sealed, Created: c.At, Set: c.At, Changed: tx.Revision}
	if old, ok := tx.Secret(c.Namespace, c.Name); ok {
		next.Created = old.Created
	} else {
		count := 0
		for range tx.Secrets(c.Namespace) {
			count++
		}
		if count >= MaxSecrets {
			return refuse(ErrTooLarge, "%s: namespace %s has %d, the limit; delete those that no pipeline uses", what, c.Namespace, count)
		}
	}
	tx.secrets = tx.secrets.with(Key(c.Namespace, c.Name), next)
	tx.changed(KindSecret, Key(c.Namespace, c.Name))
	return nil
}

// DeleteSecret forgets a secret. A pipeline that refers to it does not start again.
type DeleteSecret struct {
	At        int64  `json:"at"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

func (c *DeleteSecret) apply(tx *txn) error {
	if _, ok := tx.Secret(c.Namespace, c.Name); !ok {
		return refuse(ErrNotFound, "delete secret %s: see the list of secrets", c.Name[:min(len(c.Name), MaxNameBytes)])
	}
	tx.secrets = tx.secrets.without(Key(c.Namespace, c.Name))
	tx.deleted(KindSecret, Key(c.Namespace, c.Name))
	return nil
}

// Secret finds a secret.
func (s *State) Secret(namespace, name string) (*Secret, bool) {
	return s.secrets.get(Key(namespace, name))
}

// Secrets yields a namespace's secrets by name; an empty namespace means all.
func (s *State) Secrets(namespace string) iter.Seq[*Secret] {
	return values(s.secrets, prefix(namespace))
}
