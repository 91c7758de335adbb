// Package audit keeps who changed what: a line of JSON for each call that changes
// something, in a file that is followed by another when it is full. Calls that come
// by thousands, like publishing, are gathered. It must not know the API, nor what
// a call is about beyond the names that it is given.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Limits of the files and of what is gathered.
const (
	// MaxFileBytes is where a file ends; KeptFiles of those before it stay.
	MaxFileBytes = 16 << 20
	KeptFiles    = 4
	// gatherFor is how long calls of one kind are gathered into a line.
	gatherFor   = time.Minute
	maxGathered = 1024 // kinds at once; what is beyond gets lines of its own
	maxText     = 256  // bytes of a name that a caller chose
)

// Entry is a line.
type Entry struct {
	Time      time.Time `json:"time"`
	Who       string    `json:"who,omitempty"` // a token's id, or loopback; empty: nobody who is known
	Role      string    `json:"role,omitempty"`
	Method    string    `json:"method"`              // weir.v1.TopicService/CreateTopic
	Namespace string    `json:"namespace,omitempty"` // empty: the whole cluster
	Target    string    `json:"target,omitempty"`    // a name or an id
	Outcome   string    `json:"outcome"`             // ok, or the code of the refusal
	Remote    string    `json:"remote,omitempty"`
	// ForwardedFor is what another controller, which passed the call on, says of where it came from.
	ForwardedFor string `json:"forwarded_for,omitempty"`
	Count        int    `json:"count,omitempty"` // of gathered calls; the time is that of the last
}

// Log writes entries. Its zero value is not usable; see Open.
type Log struct {
	path string
	log  *slog.Logger

	mu       sync.Mutex // guards what follows
	file     *os.File
	size     int64
	failed   bool          // the last line could not be written, which has been said
	changed  chan struct{} // closed when a line has been written, and made anew
	gathered map[Entry]gathering
}

type gathering struct {
	count      int
	first, now time.Time
}

// Open opens the file, or begins it.
func Open(path string, log *slog.Logger) (*Log, error) {
	l := &Log{path: path, log: log, changed: make(chan struct{}), gathered: map[Entry]gathering{}}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open audit log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open audit log: %w", err), f.Close())
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Write adds an entry. A call that was made is not undone because it could not be
// written down, so that only the server's log has the error.
func (l *Log) Write(e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write(e)
}

// Gather counts an entry among others that differ by their time only.
func (l *Log) Gather(e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := e.Time
	l.flush(now.Add(-gatherFor))
	e.Time = time.Time{}
	g, ok := l.gathered[e]
	if !ok && len(l.gathered) >= maxGathered {
		e.Time = now
		l.write(e)
		return
	}
	if !ok {
		g.first = now
	}
	g.count, g.now = g.count+1, now
	l.gathered[e] = g
}

// Flush writes what was gathered until some time ago.
func (l *Log) Flush(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush(now.Add(-gatherFor))
}

// flush writes gatherings that began at a time or before.
func (l *Log) flush(until time.Time) {
	for e, g := range l.gathered {
		if g.first.After(until) {
			continue
		}
		delete(l.gathered, e)
		e.Time, e.Count = g.now, g.count
		l.write(e)
	}
}

func (l *Log) write(e Entry) {
	e.Time = e.Time.UTC()
	e.Target, e.Namespace = cut(e.Target), cut(e.Namespace)
	line, err := json.Marshal(e)
	if err == nil && l.file == nil {
		err = l.open()
	}
	if err == nil && l.size+int64(len(line)) >= MaxFileBytes {
		err = l.rotate()
	}
	if err == nil {
		_, err = l.file.Write(append(line, '\n'))
		l.size += int64(len(line)) + 1
	}
	if err != nil {
		if !l.failed {
			l.log.Error("the audit log cannot be written; calls go on", "error", err)
		}
		l.failed = true
		return
	}
	l.failed = false
	close(l.changed)
	l.changed = make(chan struct{})
}

func cut(text string) string {
	if len(text) > maxText {
		return text[:maxText] + "…"
	}
	return text
}

// rotate gives each file the next number and begins another.
func (l *Log) rotate() error {
	err := l.file.Close()
	l.file = nil
	for n := KeptFiles; n > 0 && err == nil; n-- {
		if rerr := os.Rename(l.numbered(n-1), l.numbered(n)); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = rerr
		}
	}
	if err != nil {
		return fmt.Errorf("rotate audit log: %w", err)
	}
	return l.open()
}

func (l *Log) numbered(n int) string {
	if n == 0 {
		return l.path
	}
	return fmt.Sprintf("%s.%d", l.path, n)
}

// Close writes what was gathered and ends.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.gathered {
		l.flush(g.first)
	}
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// Run writes what was gathered, now and then, until the context ends.
func (l *Log) Run(ctx context.Context) {
	tick := time.NewTicker(gatherFor)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			l.Flush(now)
		}
	}
}
