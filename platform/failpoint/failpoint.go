// Package failpoint lets tests stop a process, or fail a step, at a named place.
// Off, a place costs one load of a word. It must not know what the places do.
package failpoint

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// The names of the places. Each stands right behind the step it is named for.
const (
	SinkPrepared       = "sink.prepared"        // the transaction is made, not yet in a snapshot
	SinkBeforePublish  = "sink.before-publish"  // committed, nothing visible
	SinkChunkPublished = "sink.chunk-published" // part of it visible
	SinkAckLost        = "sink.ack-lost"        // stored, and the answer thrown away
	SinkPublished      = "sink.published"       // all visible, the catalog does not know
	FileBeforeRename   = "file.before-rename"   // a whole file under its in-progress name
	FileAfterRename    = "file.after-rename"    // the file has its final name
	BlobAside          = "blob.aside"           // a whole object without its name
	PartWritten        = "part.written"         // a worker's part is stored, the leader does not know
	ManifestBuilt      = "manifest.built"       // all parts are there, the manifest is not
	CheckpointWritten  = "checkpoint.written"   // files are stored, the commit not proposed
	CheckpointCommit   = "checkpoint.committed" // the commit is in the catalog, nobody was told
	CommitNoticed      = "commit.noticed"       // the worker's node has seen the commit, its tasks have not
	PublishedNoticed   = "published.noticed"    // the worker knows that all is visible, the leader does not
	PublishedCommit    = "published.committed"  // the catalog knows that all is visible
	MergeWritten       = "merge.written"        // merged segments are stored, no manifest names them
	SweepDeleted       = "sweep.deleted"        // a sweep deleted one object
	AttemptStarting    = "attempt.starting"     // the checkpoint is read, no task is open
	PieceLoaded        = "piece.loaded"         // a piece of state is restored, others are not
)

// EnvVar arms places at the start of a process: name:n:kill[,name:n:kill]. The
// n-th passing of the place kills the process as kill -9 does.
const EnvVar = "WEIR_FAILPOINT"

// ErrInjected is what a place armed by Fail returns.
var ErrInjected = errors.New("injected failure")

var (
	armed  atomic.Bool
	mu     sync.Mutex
	places = map[string]*place{}
)

type place struct {
	after int // passings before it acts
	act   func() error
}

// Hit is the place itself: nil unless a test armed it.
func Hit(name string) error {
	if !armed.Load() {
		return nil
	}
	return hit(name)
}

func hit(name string) error {
	mu.Lock()
	p := places[name]
	if p == nil {
		mu.Unlock()
		return nil
	}
	p.after--
	act := p.after == 0
	mu.Unlock()
	if act {
		return p.act()
	}
	return nil
}

// Arm makes the n-th passing of a place call act. The result takes it back.
func Arm(name string, n int, act func() error) (disarm func()) {
	mu.Lock()
	defer mu.Unlock()
	places[name] = &place{after: n, act: act}
	armed.Store(true)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		delete(places, name)
		armed.Store(len(places) > 0)
	}
}

// Fail makes the n-th passing of a place return ErrInjected.
func Fail(name string, n int) (disarm func()) {
	return Arm(name, n, func() error { return fmt.Errorf("%s: %w", name, ErrInjected) })
}

// FromEnv arms what EnvVar asks for. main calls it once.
func FromEnv() error {
	text := os.Getenv(EnvVar)
	if text == "" {
		return nil
	}
	for _, one := range strings.Split(text, ",") {
		name, rest, _ := strings.Cut(one, ":")
		count, action, _ := strings.Cut(rest, ":")
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 || action != "kill" {
			return fmt.Errorf("%s=%q: write name:n:kill with n from 1", EnvVar, one)
		}
		Arm(name, n, kill)
	}
	return nil
}

// kill ends the process at once, without any deferred work.
func kill() error {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		return err
	}
	select {} // the signal is on its way
}
