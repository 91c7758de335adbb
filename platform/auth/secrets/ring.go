package secrets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// Ring has the key of a controller: from a file that somebody named, or from one
// of its own that is made when the first value is sealed.
type Ring struct {
	file string
	own  bool

	mu  sync.Mutex // guards key
	key *Key
}

// OpenRing reads the named file, or that in the data folder if it is there.
func OpenRing(named, own string) (*Ring, error) {
	r := &Ring{file: named}
	if named == "" {
		r.file, r.own = own, true
		if _, err := os.Stat(own); errors.Is(err, fs.ErrNotExist) {
			return r, nil
		}
	}
	var err error
	if r.key, err = ReadKey(r.file); err != nil {
		return nil, err
	}
	return r, nil
}

// Own tells that the key is this controller's alone.
func (r *Ring) Own() bool { return r.own }

// Key gives the key; ErrKey if there is none, since nothing was sealed here.
func (r *Ring) Key() (*Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.key == nil {
		return nil, fmt.Errorf("this controller has no key of secrets; give all controllers the same --secrets-key-file: %w", ErrKey)
	}
	return r.key, nil
}

// Make gives the key, and makes it if there is none.
func (r *Ring) Make() (*Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.key == nil {
		key, err := GenerateKey(r.file)
		if err != nil {
			return nil, err
		}
		r.key = key
	}
	return r.key, nil
}
