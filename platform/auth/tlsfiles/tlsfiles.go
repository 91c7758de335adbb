// Package tlsfiles makes TLS configurations of PEM files and follows the files:
// what replaces them is used by the next handshake, without a restart, and what is
// broken is told and not used. Servers, their clients, workers among each other and
// Raft all use it. It must not know who listens or dials.
package tlsfiles

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

const (
	// pollEvery is how often files are looked at: renewals are rare, and a rename by a
	// tool or a changed link of an orchestrator is no event that could be relied on.
	pollEvery = 5 * time.Second
	// maxFileBytes bounds a file; a bundle of all public authorities has a quarter of it.
	maxFileBytes = 1 << 20
	minVersion   = tls.VersionTLS12
)

// ErrFiles is wrapped by what is wrong with files.
var ErrFiles = errors.New("files of TLS")

// Files name PEM files. A server needs Cert and Key; with CA it wants certificates of
// its clients, signed by one in there. A client trusts those in CA, or what the
// system trusts without; with Cert and Key it shows a certificate of its own.
type Files struct {
	Cert, Key, CA string
}

// Any tells whether a file is named.
func (f Files) Any() bool { return f != Files{} }

// Keeper holds what the files had when they were last read and whole.
type Keeper struct {
	files Files
	log   *slog.Logger

	mu      sync.Mutex // guards what follows
	now     loaded
	seen    [3][]byte // the files' bytes at the last look, whole or not
	problem error     // why the newest files are not used
}

// loaded is one state of the files.
type loaded struct {
	pair *tls.Certificate // nil: none is named
	pool *x509.CertPool   // nil: none is named
}

// Open reads the files for the first time. Log may be nil.
func Open(f Files, log *slog.Logger) (*Keeper, error) {
	if (f.Cert == "") != (f.Key == "") {
		return nil, fmt.Errorf("a certificate and its key go together; name both or neither: %w", ErrFiles)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{files: f, log: log}
	seen, now, err := k.read()
	if err != nil {
		return nil, err
	}
	k.seen, k.now = seen, now
	return k, nil
}

// Run looks after the files until the context ends.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.Refresh()
		}
	}
}

// Refresh looks at the files. New ones are used from the next handshake on; while
// they are broken, the old ones are, and the log says why, once.
func (k *Keeper) Refresh() {
	seen, now, err := k.read()
	k.mu.Lock()
	defer k.mu.Unlock()
	same := sameBytes(seen, k.seen)
	if same && (err == nil) == (k.problem == nil) {
		return
	}
	k.seen = seen
	k.problem = err
	if err != nil {
		k.log.Error("new files of TLS are not used; the old ones stay", "reason", err)
		return
	}
	k.now = now
	k.log.Info("new files of TLS are used", "until", now.expires())
}

func sameBytes(a, b [3][]byte) bool {
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// State is what a doctor wants to know.
type State struct {
	Expires time.Time // of the certificate in use; zero without one
	Problem error     // why the newest files are not used
}

// State tells about the files.
func (k *Keeper) State() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return State{Expires: k.now.expires(), Problem: k.problem}
}

func (k *Keeper) current() loaded {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

func (l *loaded) expires() time.Time {
	if l.pair == nil {
		return time.Time{}
	}
	return l.pair.Leaf.NotAfter
}

// read reads and checks all files together: a certificate and a key that do not fit
// are two halves of a renewal.
func (k *Keeper) read() (seen [3][]byte, l loaded, err error) {
	for i, name := range []string{k.files.Cert, k.files.Key, k.files.CA} {
		if name == "" {
			continue
		}
		if seen[i], err = readFile(name); err != nil {
			return seen, l, fmt.Errorf("%w: %w", err, ErrFiles)
		}
	}
	if k.files.Cert != "" {
		pair, err := tls.X509KeyPair(seen[0], seen[1])
		if err != nil {
			return seen, l, fmt.Errorf("certificate %s with key %s: %w: %w", k.files.Cert, k.files.Key, err, ErrFiles)
		}
		if pair.Leaf == nil {
			if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
				return seen, l, fmt.Errorf("certificate %s: %w: %w", k.files.Cert, err, ErrFiles)
			}
		}
		l.pair = &pair
	}
	if k.files.CA != "" {
		l.pool = x509.NewCertPool()
		if !l.pool.AppendCertsFromPEM(seen[2]) {
			return seen, l, fmt.Errorf("authorities %s: no certificate in PEM is in it: %w", k.files.CA, ErrFiles)
		}
	}
	return seen, l, nil
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFileBytes {
		return nil, fmt.Errorf("%s has %d bytes, the limit of a file of TLS is %d", name, info.Size(), maxFileBytes)
	}
	return os.ReadFile(name)
}
