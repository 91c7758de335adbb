package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	// progressAfter is how long a command works in silence.
	progressAfter = time.Second
	// progressEvery is how often its line is redrawn.
	progressEvery = 200 * time.Millisecond
)

// progress draws one line on a terminal while something takes more than a
// second. In a pipe, and with -q, it draws nothing.
type progress struct {
	w      io.Writer // nil: draws nothing
	text   func(elapsed time.Duration) string
	start  time.Time
	stop   chan struct{} // closed when the work is over
	idle   sync.WaitGroup
	drawn  bool
	closed sync.Once
}

// startProgress draws what text says until end is called. text is called from
// another goroutine.
func (a *app) startProgress(text func(elapsed time.Duration) string) *progress {
	p := &progress{text: text, start: time.Now(), stop: make(chan struct{})}
	if a.env.ErrTerminal && !a.quiet {
		p.w = a.env.Stderr
		p.idle.Go(p.draw)
	}
	return p
}

func (p *progress) draw() {
	wait := time.NewTimer(progressAfter)
	defer wait.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-wait.C:
			fmt.Fprintf(p.w, "\r\x1b[K%s", p.text(time.Since(p.start)))
			p.drawn = true
			wait.Reset(progressEvery)
		}
	}
}

// end takes the line away.
func (p *progress) end() {
	p.closed.Do(func() { close(p.stop) })
	p.idle.Wait()
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

// waiting is the text of work whose end is unknown.
func waiting(what string) func(time.Duration) string {
	return func(elapsed time.Duration) string {
		dots := strings.Repeat(".", 1+int(elapsed/(400*time.Millisecond))%3)
		return fmt.Sprintf("%s %s%s", what, elapsed.Round(100*time.Millisecond), dots)
	}
}
