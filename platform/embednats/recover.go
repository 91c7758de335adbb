package embednats

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Waits and sizes of the recovery.
const (
	// probeBytes is what must fit on the disk before JetStream is started again:
	// less would only fill it anew.
	probeBytes = 1 << 20
	// firstRecovery and longestRecovery bound the pause between two attempts. A
	// stream that is marked again within calm lets the pause grow.
	firstRecovery   = time.Second
	longestRecovery = time.Minute
	calm            = 5 * time.Minute
	// watchEvery is how often it is asked whether JetStream has turned itself off.
	watchEvery = 5 * time.Second
	probeName  = ".weir-probe"
)

// markedLine is in the server's notice that a stream has taken a write error. From
// then on that stream refuses every message, for as long as it stays open. There
// is no other sign but publications without an answer; a test holds the line
// against the server.
const markedLine = "critical write error: "

// recovery starts JetStream again when a stream was marked with a write error, or
// JetStream has turned itself off. Connections stay: publishers find no
// responders for a moment, as with any restart of a server.
type recovery struct {
	server *server.Server
	config server.JetStreamConfig // with which it is started anew
	log    *logger
	done   chan struct{} // closed when the goroutine has ended

	mu    sync.Mutex // guards what follows
	why   string     // empty: streams take messages
	since time.Time
}

func startRecovery(ctx context.Context, s *server.Server, o *server.Options, log *logger) *recovery {
	r := &recovery{server: s, log: log, done: make(chan struct{}), config: server.JetStreamConfig{
		StoreDir: o.StoreDir, SyncInterval: o.SyncInterval, SyncAlways: o.SyncAlways, MaxStore: o.JetStreamMaxStore, Strict: !o.NoJetStreamStrict,
	}}
	go r.run(ctx)
	return r
}

// trouble says why streams refuse messages; empty if they do not.
func (r *recovery) trouble() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.why == "" {
		return ""
	}
	return fmt.Sprintf("streams refuse messages since %s: %s; they take them again by themselves when %d KiB can be written to %s",
		r.since.UTC().Format(time.RFC3339), r.why, probeBytes>>10, r.config.StoreDir)
}

func (r *recovery) began() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.since
}

func (r *recovery) set(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.why == "" && why != "" {
		r.since = time.Now()
	}
	r.why = why
}

func (r *recovery) run(ctx context.Context) {
	defer close(r.done)
	watch := time.NewTicker(watchEvery)
	defer watch.Stop()
	pause, last := firstRecovery, time.Time{}
	for {
		select {
		case why := <-r.log.marked:
			r.set(why)
		case <-watch.C:
			if r.server.JetStreamEnabled() {
				continue
			}
			r.set("JetStream has turned itself off")
		case <-ctx.Done():
			return
		}
		if time.Since(last) > calm {
			pause = firstRecovery
		}
		for {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
			pause = min(2*pause, longestRecovery)
			err := r.again()
			if err == nil {
				break
			}
			r.log.log.Debug("streams still refuse messages", "error", err)
		}
		last = time.Now()
		r.set("")
	}
}

// again probes the disk and starts JetStream anew: streams are read from their
// files, and hold all that was acknowledged.
func (r *recovery) again() error {
	if err := probe(r.config.StoreDir); err != nil {
		return err
	}
	if err := r.server.ShutdownJetStream(); err != nil {
		return fmt.Errorf("stop JetStream: %w", err)
	}
	for drained := false; !drained; { // marks of what has just been closed
		select {
		case <-r.log.marked:
		default:
			drained = true
		}
	}
	config := r.config
	if err := r.server.EnableJetStream(&config); err != nil {
		return fmt.Errorf("start JetStream: %w", err)
	}
	r.log.log.Warn("streams take messages again: JetStream was restarted", "after", time.Since(r.began()).Round(time.Millisecond))
	return nil
}

// probe writes as much as a stream needs to go on.
func probe(dir string) (err error) {
	name := filepath.Join(dir, probeName)
	defer func() {
		if removed := os.Remove(name); !errors.Is(removed, os.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}()
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeBytes))
	return errors.Join(err, f.Sync(), f.Close())
}

// marks finds a stream's mark in a line of the server.
func marks(line string) bool { return strings.Contains(line, markedLine) }
