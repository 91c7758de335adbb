// Package logbook keeps the last log lines of every pipeline, so that they can
// be read and followed through the API. It must not know who writes them.
package logbook

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits of a book.
const (
	MaxLines     = 2000 // kept per pipeline
	MaxPipelines = 4096 // books kept; lines of further pipelines are not
	MaxLineBytes = 4096 // longer lines are cut
	followBuffer = 256  // lines that a slow follower may lag behind before it misses some
)

// Line is one log line of a pipeline.
type Line struct {
	Time     time.Time
	Level    slog.Level
	Operator string
	Task     int
	Text     string
}

// Book holds the lines of all pipelines.
type Book struct {
	mu        sync.Mutex // guards what follows
	pipelines map[string]*ring
}

type ring struct {
	lines     []Line
	next      int
	followers []chan Line
}

// New makes an empty book.
func New() *Book { return &Book{pipelines: map[string]*ring{}} }

// Add writes a line of a pipeline.
func (b *Book) Add(pipeline string, l Line) {
	if len(l.Text) > MaxLineBytes {
		l.Text = strings.ToValidUTF8(l.Text[:MaxLineBytes], "") + "…"
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.ring(pipeline)
	if r == nil {
		return
	}
	if len(r.lines) < MaxLines {
		r.lines = append(r.lines, l)
	} else {
		r.lines[r.next] = l
		r.next = (r.next + 1) % MaxLines
	}
	for _, f := range r.followers {
		select {
		case f <- l:
		default: // a follower that does not keep up misses lines rather than holding a task back
		}
	}
}

func (b *Book) ring(pipeline string) *ring {
	r := b.pipelines[pipeline]
	if r == nil && len(b.pipelines) < MaxPipelines {
		r = &ring{}
		b.pipelines[pipeline] = r
	}
	return r
}

// Tail gives the last n lines, oldest first; n 0 means all that are kept.
func (b *Book) Tail(pipeline string, n int) []Line {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tail(pipeline, n)
}

func (b *Book) tail(pipeline string, n int) []Line {
	r := b.pipelines[pipeline]
	if r == nil {
		return nil
	}
	all := slices.Concat(r.lines[r.next:], r.lines[:r.next])
	if n > 0 && len(all) > n {
		all = all[len(all)-n:]
	}
	return all
}

// Follow gives the last n lines and then every new one until ctx ends.
func (b *Book) Follow(ctx context.Context, pipeline string, n int) ([]Line, <-chan Line) {
	b.mu.Lock()
	defer b.mu.Unlock()
	past := b.tail(pipeline, n)
	r := b.ring(pipeline)
	c := make(chan Line, followBuffer)
	if r == nil {
		return past, c
	}
	r.followers = append(r.followers, c)
	context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		r.followers = slices.DeleteFunc(r.followers, func(f chan Line) bool { return f == c })
	})
	return past, c
}

// Forget drops a pipeline's lines.
func (b *Book) Forget(pipeline string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pipelines, pipeline)
}
