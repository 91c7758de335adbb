package sim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Errors of the network.
var (
	errRefused = errors.New("connection refused")
	errTimeout = errors.New("no answer")
)

// Behaviour of the network between processes.
const (
	quickest = 50 * time.Microsecond
	slowest  = 5 * time.Millisecond
	tail     = 300 * time.Millisecond // of a few
	loss     = 0.01                   // of calls, each way, while it is lossy
	silence  = 2 * time.Second        // after which a connection counts as lost
)

// network carries calls between processes.
type network struct {
	rng *random

	mu    sync.Mutex // guards what follows
	down  map[string]bool
	cuts  map[[2]string]bool
	lossy bool
	moved chan struct{} // closed when any of it changes
}

func newNetwork(rng *random) *network {
	return &network{rng: rng, down: map[string]bool{}, cuts: map[[2]string]bool{}, moved: make(chan struct{})}
}

func (n *network) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.moved)
	n.moved = make(chan struct{})
}

func (n *network) setDown(id string, down bool) { n.change(func() { n.down[id] = down }) }

func (n *network) cut(a, b string, cut bool) {
	n.change(func() { n.cuts[[2]string{a, b}], n.cuts[[2]string{b, a}] = cut, cut })
}

func (n *network) heal() { n.change(func() { clear(n.cuts); n.lossy = false }) }

// state tells whether two processes reach each other, and when that may change.
func (n *network) state(a, b string) (down, cut bool, moved <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.down[a] || n.down[b], n.cuts[[2]string{a, b}], n.moved
}

// delay is how long a message takes; false if it is lost.
func (n *network) delay(ctx context.Context) bool {
	n.mu.Lock()
	lossy := n.lossy
	n.mu.Unlock()
	most := slowest
	if lossy && n.rng.chance(0.05) {
		most = tail
	}
	sleep(ctx, n.rng.between(quickest, most))
	return !lossy || !n.rng.chance(loss)
}

// call does something at another process: it may fail before or after it was done.
func (n *network) call(ctx context.Context, from, to string, do func(context.Context) error) error {
	for range 2 {
		down, cut, _ := n.state(from, to)
		switch {
		case down:
			return fmt.Errorf("%s calls %s: %w", from, to, errRefused)
		case cut, !n.delay(ctx):
			sleep(ctx, silence)
			return fmt.Errorf("%s calls %s: %w", from, to, errTimeout)
		}
		if do == nil {
			break
		}
		err := do(ctx)
		if err != nil {
			return err
		}
		do = nil // now the answer's way back
	}
	return nil
}

// watch calls broken when two processes no longer reach each other: at once if
// one is gone, after a silence if they are cut apart. It ends with ctx.
func (n *network) watch(ctx context.Context, a, b string, broken func(error)) {
	for {
		down, cut, moved := n.state(a, b)
		switch {
		case down:
			broken(errRefused)
			return
		case cut:
			sleep(ctx, silence)
			broken(errTimeout)
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}
